/*
 * http_internal.h
 *	  What http.c, which makes requests, and http_outcome.c, which says how they
 *	  ended, share. For nobody else.
 */
#ifndef WEBHOOK_HTTP_INTERNAL_H
#define WEBHOOK_HTTP_INTERNAL_H

#include "http.h"

#include <curl/curl.h>

typedef struct Slot
{
	WhTransfer transfer; /* first, so that a WhTransfer is a Slot */
	struct Slot *next;   /* in the free or the finished list */
	struct WhHttp *http;
	CURL *easy; /* NULL but between start and release */
	struct curl_slist *headers;
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

/* Note what a Retry-After header says: without the blanks around it; too long for a date, it is as good as none. */
extern void wh_http_keep_retry_after(Slot *slot, const char *value, size_t len);

/* Fill in how the transfer of this slot ended: rc is what libcurl said of it. */
extern void wh_http_outcome(Slot *slot, CURLcode rc);

#endif /* WEBHOOK_HTTP_INTERNAL_H */
