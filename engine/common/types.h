/*
 * types.h
 *	  The data that passes through the engine: event, subscription, delivery,
 *	  outcome and verdict. Data only; event.c makes and frees it.
 *
 * Shared by the engine and the worker's PostgreSQL half
 * (store.c, worker.c). No PostgreSQL header, so that the engine can be built,
 * tested, fuzzed and sanitised without a server. All text is UTF-8.
 */
#ifndef WEBHOOK_TYPES_H
#define WEBHOOK_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WH_RESPONSE_KEPT 4096               /* bytes of a response body that the log keeps */
#define WH_HEADERS_KEPT 2048                /* and of the headers, of a failure alone */
#define WH_ERROR_MAX 256                    /* bytes of an error text, with its NUL */
#define WH_SECRETS_MAX 4                    /* live secrets of one subscription */
#define WH_KEY_MAX 200                      /* bytes of a signing key */
#define WH_SCHEDULE_MAX 32                  /* intervals of a retry schedule */
#define WH_TRANSFORM_MAX (32 * 1024 * 1024) /* bytes that transforms make for one request */
#define WH_INSTANCE_LEN 8                   /* hex digits; they distinguish one database's events */
#define WH_FLIGHT_EACH (80 * 1024) /* bytes of a request and its connection, beside events and body */

/*
 * One row of webhook.outbox. Immutable once made; shared by all its
 * deliveries and freed with the last reference. One allocation: the strings
 * point behind the struct. NULL where the column is null.
 */
typedef struct WhEvent
{
	int refs;
	int16_t segment;
	int64_t id;
	uint64_t xid;
	int64_t created_us;      /* microseconds since the Unix epoch */
	int64_t subscription_id; /* 0: for every matching subscription */
	const char *entity_id;
	const char *entity_type;
	const char *action_type;
	const char *result; /* JSON text, as captured */
	size_t result_len;
	const char *previous;
	size_t previous_len;
	const char *tenant;
	const char *context;
	const char *problem; /* NULL; else why its content could not be read, and it cannot be sent */
	size_t size;         /* bytes of the whole allocation, for bounding memory */
} WhEvent;

/*
 * Makes an event with a copy of everything that `from` points to. The caller holds one
 * reference. NULL: out of memory.
 */
extern WhEvent *wh_event_make(const WhEvent *from);
/*
 * The same, with room for JSON of these lengths (0: null). The caller fills it in: no copy.
 * Before each there are WH_JSON_HEAD bytes that the caller may write on, on a boundary of 4.
 */
#define WH_JSON_HEAD 4
extern WhEvent *wh_event_begin(const WhEvent *from, size_t result_len, size_t previous_len,
							   size_t context_len);
extern void wh_event_release(WhEvent *event);

/* Where a delivery comes from when it is given to the engine. */
typedef enum WhPushFrom
{
	WH_FROM_LOG,         /* just read from the outbox; no row in pending */
	WH_FROM_STORED,      /* from pending, 'retry' or 'blocked' there: its lane counts it already */
	WH_FROM_DEFERRED,    /* taken from pending, where it was 'deferred' */
	WH_FROM_INTERRUPTED, /* from the outbox again: a worker may have died while it was in flight */
} WhPushFrom;

/* Whether the endpoint is worth trying: see breaker.h. */
typedef enum WhBreakerState
{
	WH_BREAKER_CLOSED,
	WH_BREAKER_OPEN,
	WH_BREAKER_HALF_OPEN /* a probe is in flight */
} WhBreakerState;

/* What a subscription has in memory, and its counters since the engine was made. */
typedef struct WhCounts
{
	int queued;
	int in_flight;
	int64_t deferred; /* rows of pending that are 'deferred', or will be */
	int blocked;      /* lanes that wait for rows of pending */
	bool catching_up;
	WhBreakerState breaker;
	int64_t next_probe_us; /* while the breaker is open: when its next probe is due; else 0 */
	int64_t delivered;
	int64_t failed;          /* attempts that failed */
	int64_t last_success_us; /* 0: never */
	int64_t last_failure_us; /* 0: never */
	const char *last_error;  /* its word; NULL: never */
} WhCounts;

typedef enum WhOrdering
{
	WH_ORDER_ENTITY,
	WH_ORDER_NONE,
	WH_ORDER_STRICT
} WhOrdering;

/* A signing key, decoded. Wiped when freed. */
typedef struct WhKey
{
	unsigned char bytes[WH_KEY_MAX];
	size_t len;
} WhKey;

typedef struct WhRetryPolicy
{
	int n;                             /* intervals in use, at least 1 */
	int64_t delay_us[WH_SCHEDULE_MAX]; /* waits between attempts; the last one repeats */
	int64_t give_up_us;                /* counted from the first attempt */
} WhRetryPolicy;

/*
 * A row of webhook.profile as text; NULL where the column is null. Nothing but
 * strings, so that profile.c can copy and compare it as an array.
 */
typedef struct WhProfile
{
	const char *name;
	const char *envelope;       /* a template */
	const char *batch_envelope; /* of an element of a batch; NULL: as envelope */
	const char *content_type;
	const char *batch_content_type; /* NULL: content_type */
	const char *headers;            /* templates, a line each: "Name: text" */
	const char *id_header;
	const char *timestamp_header;
	const char *event_prefix;
	const char *transaction_prefix;
	const char *algorithm; /* from here on see sign.h */
	const char *encoding;
	const char *secret_encoding;
	const char *signed_content;
	const char *signature_header;
	const char *signature_format;
	const char *separator;
	const char *failure;        /* a JSON object: see response_rule.h */
	const char *failure_fields; /* names, a line each */
} WhProfile;

/*
 * A credential of a subscription, as text; credential.h says what it may be. The
 * value is NULL if it could not be read: then nothing is sent, rather than a
 * request without it. Whoever frees it wipes it.
 */
typedef struct WhCredential
{
	char *kind;
	char *value;
} WhCredential;

/* A row of webhook.subscription, decoded. */
typedef struct WhSubscription
{
	int64_t id;
	char *name;
	char *url;
	bool paused; /* keep its deliveries, send none */
	WhOrdering ordering;
	int max_in_flight;
	int rate_limit; /* requests started per second; 0: no limit */
	int batch_size; /* most events in one request */
	int64_t timeout_us;
	WhRetryPolicy retry;
	int n_secrets;
	char *secrets[WH_SECRETS_MAX];             /* as text, the newest first; wiped when freed */
	int64_t secret_expires_us[WH_SECRETS_MAX]; /* until when each signs; 0: for good */
	int n_headers;                             /* the operator's own headers, "Name: value" */
	char **headers;
	int n_credentials;
	WhCredential *credentials;
	char *params;   /* a JSON object; NULL: none */
	bool transform; /* its bodies are made by the host: see engine.h */
	const WhProfile *profile;
} WhSubscription;

/*
 * How a request ended. The table in retry.c gives each its word in the log and
 * its class, and maps HTTP statuses to them; docs/outcomes.md is that table for
 * people.
 */
typedef enum WhOutcomeKind
{
	WH_OUT_DELIVERED, /* 2xx */
	WH_OUT_SKIPPED,   /* the subscription's transform returned null: not sent */
	WH_OUT_REJECTED,  /* 2xx, but the body is a failure by the profile's rule */
	/* a response with another status; http.c calls them all HTTP_ERROR, retry.c tells them apart */
	WH_OUT_REDIRECT,          /* 3xx: never followed */
	WH_OUT_BAD_REQUEST,       /* 400 */
	WH_OUT_UNAUTHORIZED,      /* 401 */
	WH_OUT_FORBIDDEN,         /* 403 */
	WH_OUT_NOT_FOUND,         /* 404 */
	WH_OUT_REQUEST_TIMEOUT,   /* 408 */
	WH_OUT_CONFLICT,          /* 409 */
	WH_OUT_GONE,              /* 410 */
	WH_OUT_PAYLOAD_TOO_LARGE, /* 413 */
	WH_OUT_UNPROCESSABLE,     /* 422 */
	WH_OUT_TOO_MANY_REQUESTS, /* 429 */
	WH_OUT_CLIENT_ERROR,      /* any other 4xx */
	WH_OUT_BAD_GATEWAY,       /* 502 */
	WH_OUT_UNAVAILABLE,       /* 503 */
	WH_OUT_GATEWAY_TIMEOUT,   /* 504 */
	WH_OUT_SERVER_ERROR,      /* 500 and any other 5xx */
	WH_OUT_HTTP_ERROR,        /* a status that HTTP does not know as a final one */
	/* no response, or not the whole of it */
	WH_OUT_REFUSED, /* connection refused */
	WH_OUT_RESET,   /* connection reset or closed early */
	WH_OUT_DNS,     /* host name does not resolve */
	WH_OUT_CONNECT_TIMEOUT,
	WH_OUT_TIMEOUT,            /* connected, but the response took too long */
	WH_OUT_TLS_UNKNOWN_CA,     /* certificate of an authority that is not trusted */
	WH_OUT_TLS_WRONG_HOST,     /* certificate of another host */
	WH_OUT_TLS_EXPIRED,        /* certificate out of date */
	WH_OUT_TLS,                /* anything else about the handshake or the certificate */
	WH_OUT_PROXY,              /* the forward proxy refuses, or cannot be found */
	WH_OUT_OAUTH,              /* no token available; nothing was sent to the endpoint */
	WH_OUT_ADDRESS,            /* address not allowed */
	WH_OUT_RESPONSE_TOO_LARGE, /* response larger than WH_RESPONSE_BODY_MAX */
	WH_OUT_BODY_TOO_LARGE,     /* the body to send is larger than the limit */
	WH_OUT_TRANSFORM,          /* the subscription's transform failed */
	WH_OUT_TRANSFORM_TIMEOUT,  /* it took too long */
	WH_OUT_INTERNAL,           /* could not be rendered, signed or started */
	WH_OUT_INTERRUPTED,        /* the worker died while it was in flight */
	WH_OUT_ABORTED,            /* not sent, or taken back; no attempt counted */
	WH_OUT_COUNT
} WhOutcomeKind;

typedef enum WhClass
{
	WH_CLASS_DELIVERED,
	WH_CLASS_RETRY,    /* this event, later */
	WH_CLASS_ENDPOINT, /* the endpoint is failing: later, and counts for the breaker */
	WH_CLASS_GIVE_UP,  /* never again: dead letter */
	WH_CLASS_DISABLE,  /* the endpoint wants no more */
	WH_CLASS_ABORTED   /* no attempt was made */
} WhClass;

/* What to do about a request that ended. */
typedef struct WhVerdict
{
	WhClass class;
	int64_t delay_us; /* until the next attempt; 0: there is none */
} WhVerdict;

/*
 * What becomes of a delivery that the engine returns. The store records it in
 * webhook.pending and webhook.dead_letter.
 */
typedef enum WhDisposal
{
	WH_DO_DONE,        /* delivered: nothing is left to do */
	WH_DO_RETRY,       /* try again at due_us */
	WH_DO_BLOCK,       /* keep behind an earlier delivery of its lane */
	WH_DO_DEFER,       /* keep until the subscription has caught up */
	WH_DO_DEAD_LETTER, /* give up: dead letter */
	WH_DO_DROP         /* its subscription is gone, or it was a test: forget it */
} WhDisposal;

/* What a subscription's transform did with a delivery. */
typedef enum WhTransformed
{
	WH_NOT_TRANSFORMED, /* not called, or there is none */
	WH_TRANSFORMED,     /* the body that is sent */
	WH_LEFT_OUT         /* returned null: not sent */
} WhTransformed;

/* A list of deliveries in order. */
typedef struct WhList
{
	struct WhDelivery *head;
	struct WhDelivery *tail;
	int n;
} WhList;

/*
 * One event for one subscription. Made by engine.c, owned by the queue while
 * it waits, by the transfer while it is in flight, by the outcome list when it
 * has ended, and freed by whoever takes it from there.
 */
typedef struct WhDelivery
{
	struct WhDelivery *next; /* in whichever list it is */
	WhEvent *event;          /* holds a reference */
	int64_t subscription_id;
	uint64_t lane;    /* deliveries of one lane go one after the other */
	bool stored;      /* has a row in webhook.pending */
	bool keep;        /* is to be deferred in any case */
	bool unjudged;    /* whether the event is for it is looked at when it is taken from there */
	bool test;        /* never in the queue: see test_events.c */
	bool probe;       /* sent to see whether the endpoint is well again */
	bool refused;     /* sent again at once, because a token was refused: see oauth.c */
	uint32_t token;   /* which token it was sent with; 0: none */
	int attempts;     /* attempts made, one in flight included */
	int64_t first_us; /* when the first attempt was made; 0: not yet */
	int64_t queued_us;
	uint64_t page; /* the page it was read with, for the worker's page tracker */

	/*
	 * The batch it goes with: the event id of its lead, which is the lowest in
	 * it; 0: it goes by itself. The lead alone is in whichever list the batch
	 * is, and holds the others in order of their event ids.
	 */
	int64_t batch;
	bool kept;           /* of a lead: the batch has been tried before, and stays as it is */
	size_t flight_bytes; /* of a lead in flight: what it counts for */
	bool flight_large;   /* and among which */
	WhList others;
	struct WhDelivery *bound_next; /* the queue's: in its lane */

	WhTransformed transformed;
	char *body; /* what its subscription's transform has made; see wh_delivery_set_body */
	size_t body_len;

	/* how it ended */
	WhDisposal disposal;
	bool disabled;  /* with it its subscription was: said by who settles it */
	bool attempted; /* a request was made: the fields below tell of it */
	WhOutcomeKind kind;
	const char *word; /* the outcome's, for the log: a constant */
	WhClass class;
	int http_status; /* 0: no response */
	int64_t due_us;  /* with WH_DO_RETRY */
	int64_t started_us;
	int64_t wall_us; /* the same, as people and receivers see it */
	int64_t duration_us;
	char *response; /* malloc'd UTF-8 without NUL, at most WH_RESPONSE_KEPT bytes; NULL: none */
	char *headers;  /* of the response, if it failed: as response, at most WH_HEADERS_KEPT bytes */
	char *error;    /* malloc'd, shorter than WH_ERROR_MAX: see wh_delivery_set_error; NULL: none */
} WhDelivery;

extern void wh_delivery_free(WhDelivery *d);

/*
 * Keep a copy of an error text of `len` bytes; of an empty text, none. False: out of
 * memory, and it has none. Few deliveries have one, so there is no room reserved for it.
 */
extern bool wh_delivery_set_error(WhDelivery *d, const char *text, size_t len);

/* The text, or "". */
static inline const char *
wh_delivery_error(const WhDelivery *d)
{
	return d->error ? d->error : "";
}

/* Set its body, which is malloc'd and freed with the delivery; NULL: none. */
extern void wh_delivery_set_body(WhDelivery *d, char *body, size_t len);

/* Bytes of all the bodies that deliveries of this process hold. */
extern size_t wh_bodies_held(void);

static inline void
wh_list_push(WhList *list, WhDelivery *d)
{
	d->next = NULL;
	if (list->tail)
		list->tail->next = d;
	else
		list->head = d;
	list->tail = d;
	list->n++;
}

static inline WhDelivery *
wh_list_pop(WhList *list)
{
	WhDelivery *d = list->head;

	if (d)
	{
		list->head = d->next;
		if (list->head == NULL)
			list->tail = NULL;
		list->n--;
		d->next = NULL;
	}
	return d;
}

/* The one after `d` in the batch of a lead, in order; NULL: there are no more. */
static inline WhDelivery *
wh_batch_next(const WhDelivery *lead, const WhDelivery *d)
{
	return d == lead ? lead->others.head : d->next;
}

#endif /* WEBHOOK_TYPES_H */
