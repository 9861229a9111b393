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
	struct Slot *next;   /* in the free or the finished list */
	struct WhHttp *http;
	CURL *easy; /* NULL except between start and release */
	struct curl_slist *headers;
	char *proxy;                      /* NULL: none */
	struct curl_slist *proxy_headers; /* for it alone; NULL: none */
	bool under_way;
	bool address_refused;
	bool too_large;
	bool headers_ended;     /* of the final response, or else of the last interim one */
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
 * Makes the handle of this slot, for its body and headers; false: libcurl refuses
 * them. In either case wh_http_release frees it.
 */
extern bool wh_http_easy(Slot *slot, const char *url, int64_t timeout_us, const WhHttpAccess *access);

/* Stores the value of a Retry-After header, trimmed. One that is too long for a date is ignored. */
extern void wh_http_keep_retry_after(Slot *slot, const char *value, size_t len);

/* Fills in how the transfer of this slot ended; rc is libcurl's result. */
extern void wh_http_outcome(Slot *slot, CURLcode rc);

#endif /* WEBHOOK_HTTP_INTERNAL_H */
