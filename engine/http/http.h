/*
 * http.h
 *	  Requests in flight: libcurl's multi interface, an epoll descriptor, and the
 *	  transfers, of which some are kept for the next requests.
 */
#ifndef WEBHOOK_HTTP_H
#define WEBHOOK_HTTP_H

#include "buffer.h"
#include "types.h"

struct sockaddr;

#define WH_BODY_MAX (256 * 1024 * 1024)      /* bytes of a request body */
#define WH_RESPONSE_BODY_MAX (1024 * 1024)   /* bytes of a response body; more is an error */
#define WH_RESPONSE_HEADER_MAX (64 * 1024)   /* bytes of all response headers */
#define WH_PRIVATE_MAX (16 * 1024)           /* bytes of a private response; more is an error */
#define WH_RETRY_AFTER_MAX 64                /* bytes kept of it; the longest date has 33 */
#define WH_CONNECT_TIMEOUT_US (10 * 1000000) /* or the request's timeout, if that is shorter */

typedef struct WhHttp WhHttp;

typedef struct WhHttpConfig
{
	const char *ca_file; /* NULL or "": the system's; copied */
	/* is this address allowed? Checked for each new connection; as text, for each reused one */
	bool (*address_ok)(void *arg, const struct sockaddr *address);
	bool (*ip_ok)(void *arg, const char *ip);
	void *arg;
} WhHttpConfig;

/* One request, and how it ended. Owned by the pool. */
typedef struct WhTransfer
{
	void *owner; /* the caller's */
	WhBuffer
		body; /* the caller writes the request's body here before wh_http_start; what it lends must stay */

	/*
	 * Set by the caller before wh_http_start: body and response are secret. The
	 * whole response is kept in `answer`, and both are wiped on release.
	 */
	bool private;
	WhBuffer answer;

	/* how it ended: set when wh_http_finished returns it */
	WhOutcomeKind kind;
	int http_status;
	char retry_after[WH_RETRY_AFTER_MAX]; /* that header of the response, as it came; "": none */
	int64_t duration_us;
	/*
	 * The first WH_RESPONSE_KEPT bytes, made valid UTF-8 without NUL; NULL: none. The
	 * caller may take it (and set NULL), else it is freed.
	 */
	char *response;
	WhBuffer headers; /* the first lines of it that fit, as they came: see wh_http_response_headers */
	char error[WH_ERROR_MAX];
} WhTransfer;

/* NULL: out of memory or descriptors. Call it once per process, before any other thread. */
extern WhHttp *wh_http_create(const WhHttpConfig *config);
extern void wh_http_free(WhHttp *http); /* aborts what is in flight */

/* Changes the settings for requests started from now on. */
extern bool wh_http_configure(WhHttp *http, const char *ca_file);

/*
 * How many connections may be open, those included that are kept for the next requests.
 * What is beyond a limit that is lowered ends as usual. How many requests there may be is
 * for the caller to decide: where there are more than connections, some wait for one.
 */
extern void wh_http_limit(WhHttp *http, int connections);

/* Sets the largest body of requests acquired from now on; at most WH_BODY_MAX, the default. */
extern void wh_http_body_max(WhHttp *http, size_t bytes);

/* An unused transfer with an empty body and no headers; NULL: out of memory. */
extern WhTransfer *wh_http_acquire(WhHttp *http);

/* Adds a request header, "Name: value"; false: out of memory. */
extern bool wh_http_header(WhTransfer *transfer, const char *line);

/*
 * Put these around many calls of the functions below, so that signals are blocked
 * once and not for each call. Every enter needs a leave.
 */
extern void wh_http_enter(WhHttp *http);
extern void wh_http_leave(WhHttp *http);

/* TLS settings of one request; NULL: the defaults. Copied by wh_http_start. */
typedef struct WhHttpAccess
{
	const char *client_certificate; /* PEM */
	const char *client_key;
	const char *ca; /* PEM, in place of ca_file */
} WhHttpAccess;

/*
 * Use the proxy "http://host:port"; the address check then applies to the proxy.
 * authorization: a header for the proxy alone, "" for none. False: out of memory.
 */
extern bool wh_http_proxy(WhTransfer *transfer, const char *address, const char *authorization);

/*
 * POSTs the transfer's body to the URL. On success wh_http_finished returns the
 * transfer later. On failure (false) nothing was sent, the transfer has kind
 * INTERNAL and an error, and the caller releases it.
 */
extern bool wh_http_start(WhHttp *http, WhTransfer *transfer, const char *url, int64_t timeout_us,
						  const WhHttpAccess *access);

/* Advances all transfers without waiting. */
extern void wh_http_run(WhHttp *http, int64_t now_us);

/* A transfer that has ended; NULL: none. The caller releases it. */
extern WhTransfer *wh_http_finished(WhHttp *http);

/*
 * The headers of a response, a line each, made valid UTF-8 without NUL, at most
 * WH_HEADERS_KEPT bytes, malloc'd; NULL: there are none, or no memory.
 */
extern char *wh_http_response_headers(const WhTransfer *transfer);

/* Aborts a transfer in flight and returns it; NULL: there is none. The caller releases it. */
extern WhTransfer *wh_http_abort_one(WhHttp *http);

extern void wh_http_release(WhHttp *http, WhTransfer *transfer);

extern int wh_http_fd(const WhHttp *http); /* readable when wh_http_run has something to do */
/* when wh_http_run must be called in any case; microseconds, INT64_MAX: never */
extern int64_t wh_http_deadline(const WhHttp *http);
extern int wh_http_in_use(const WhHttp *http); /* transfers acquired */
/*
 * Requests under way for which a turn is not the last one: they wait for a name, a connection
 * or TLS, have a body that does not go out at once, or have received part of a response. The
 * others have been sent, and wait for a response that usually comes in one piece.
 */
extern int wh_http_in_turns(const WhHttp *http);

#endif /* WEBHOOK_HTTP_H */
