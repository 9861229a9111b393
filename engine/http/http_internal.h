/*
 * http_internal.h
 *	  What http.c, which has requests under way, http_easy.c, which tells libcurl
 *	  of one, and http_outcome.c, which says how it ended, share. For nobody else.
 */
#ifndef WEBHOOK_HTTP_INTERNAL_H
#define WEBHOOK_HTTP_INTERNAL_H

#include "http.h"

#include <curl/curl.h>
#include <signal.h>

typedef struct Slot
{
	WhTransfer transfer; /* first, so that a WhTransfer is a Slot */
	struct Slot *next;   /* in the free or the finished list */
	struct WhHttp *http;
	CURL *easy; /* NULL but between start and release */
	struct curl_slist *headers;
	char *proxy;                      /* NULL: none */
	struct curl_slist *proxy_headers; /* for it alone; NULL: none */
	bool under_way;
	bool address_refused;
	bool too_large;
	bool headers_ended;     /* of the response that is not interim, or else of the last interim one */
	size_t received;        /* bytes of body so far */
	size_t header_received; /* bytes of headers so far */
	size_t kept;
	char keep[WH_RESPONSE_KEPT];
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
	Slot *slots;
	Slot *free_list;
	Slot *finished_head;
	Slot *finished_tail;
	int in_use;
	int entered;      /* how deep: signals are blocked while it is not 0 */
	sigset_t signals; /* the mask before */
	bool connected;   /* a new connection, since wake_waiting */
	CURL *nobody;     /* for wake_waiting */
};

/*
 * Make the handle of this slot, for its body and headers; false where libcurl
 * does not take them. Either way wh_http_release frees it.
 */
extern bool wh_http_easy(Slot *slot, const char *url, int64_t timeout_us, const WhHttpAccess *access);

/* Note what a Retry-After header says: without the blanks around it; too long for a date, it is as good as none. */
extern void wh_http_keep_retry_after(Slot *slot, const char *value, size_t len);

/* Fill in how the transfer of this slot ended: rc is what libcurl said of it. */
extern void wh_http_outcome(Slot *slot, CURLcode rc);

#endif /* WEBHOOK_HTTP_INTERNAL_H */
