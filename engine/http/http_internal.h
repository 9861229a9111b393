/*
 * http_internal.h
 *	  What http.c (requests in flight), http_easy.c (the settings of one request)
 *	  and http_outcome.c (how it ended) share. For no other file.
 */
#ifndef WEBHOOK_HTTP_INTERNAL_H
#define WEBHOOK_HTTP_INTERNAL_H

#include "http.h"

#include <curl/curl.h>
#include <signal.h>

typedef struct Slot
{
	WhTransfer transfer; /* first, so that a WhTransfer is a Slot */
	struct Slot *next;   /* in the free or the finished list; or of those under way */
	struct Slot *before; /* of those under way */
	struct WhHttp *http;
	CURL *easy;         /* between start and release; and beyond it, if it may serve again */
	uint32_t made_with; /* http->settings when it was made */
	bool special;       /* it was given more than all requests have */
	bool ended_well;    /* its request; then, unless it is special, it may serve again */
	struct curl_slist *headers;
	char *proxy;                      /* NULL: none */
	struct curl_slist *proxy_headers; /* for it alone; NULL: none */
	int tries;                        /* that libcurl has made, its own repetitions included */
	bool under_way;
	bool in_turns; /* see wh_http_in_turns; while it is under way */
	bool address_refused;
	bool too_large;
	bool headers_ended; /* of the final response, or else of the last interim one */
	bool header_hidden; /* the last one is none that is kept, nor are lines that continue it */
	size_t sent_piece;  /* of the body: where libcurl has read to, if it is in pieces */
	size_t sent_of_it;
	size_t received;        /* bytes of body so far */
	size_t header_received; /* bytes of headers so far */
	WhBuffer keep;          /* the first WH_RESPONSE_KEPT of them */
	char message[CURL_ERROR_SIZE];
} Slot;

struct WhHttp
{
	WhHttpConfig config;
	char *ca_file;
	CURLM *multi;
	int epoll_fd;
	size_t body_max;
	int64_t timer_ms;    /* as libcurl last asked: -1 none */
	bool timer_changed;  /* since deadline_us was computed */
	int64_t deadline_us; /* INT64_MAX: none */
	Slot *free_list;
	int n_free;
	Slot *under_way; /* all of them, in no order */
	Slot *finished_head;
	Slot *finished_tail;
	int in_use;
	int in_turns;             /* of those under way */
	bool handles_serve_again; /* see http_easy.c */
	uint32_t settings;        /* how often those of all handles have changed */
	int entered;              /* how deep: signals are blocked while it is not 0 */
	sigset_t signals;         /* the mask before */
	bool connected;           /* a new connection, since wake_waiting */
	CURL *nobody;             /* for wake_waiting */
};

/*
 * Gives this slot a handle, for its body and headers; false: libcurl refuses them. In
 * either case wh_http_easy_done, at the end of the request, frees it or keeps it.
 */
extern bool wh_http_easy(Slot *slot, const char *url, int64_t timeout_us, const WhHttpAccess *access);
extern void wh_http_easy_done(Slot *slot);

/* Note whether a request that is under way needs several turns. */
extern void wh_http_set_in_turns(Slot *slot, bool in_turns);

/* May a handle of the libcurl that is loaded serve a second request? */
extern bool wh_http_handles_serve_again(void);

/*
 * Stores a line of the headers, except a cookie, which is the endpoint's own. One that does not fit any more is left out.
 */
extern void wh_http_keep_header(Slot *slot, const char *line, size_t len);

/* Stores the value of a Retry-After header, trimmed. One that is too long for a date is ignored. */
extern void wh_http_keep_retry_after(Slot *slot, const char *value, size_t len);

/* Fills in how the transfer of this slot ended; rc is libcurl's result. */
extern void wh_http_outcome(Slot *slot, CURLcode rc);

#endif /* WEBHOOK_HTTP_INTERNAL_H */
