/*
 * httpd.h
 *	  Requests and answers: what is between microhttpd and the rest of the program.
 */
#ifndef CONSOLE_HTTPD_H
#define CONSOLE_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_BODY_MAX (64 * 1024)
#define HTTP_HEADERS_MAX (8 * 1024)
#define HTTP_CONNECTIONS_MAX 256

typedef struct Request Request;

typedef struct HttpOptions
{
	int listen_fd;     /* listening */
	bool behind_proxy; /* the proxy says who asks, and speaks https */
	bool tls;
	const char *tls_cert; /* PEM */
	const char *tls_key;
	const char *const *hosts; /* names that Host may have, with a port where they need one; ends with NULL */
} HttpOptions;

/*
 * `handle` is called for each request that is whole, once. It answers at once, or later.
 * `refuse` answers those that are refused before that.
 */
extern bool http_start(const HttpOptions *options, void (*handle)(Request *request),
					   void (*refuse)(Request *request, unsigned int status, const char *why,
									  const char *hint));
extern void http_stop(void);

/* Before each wait, and with the clock. */
extern void http_before_wait(void);
extern void http_tick(void);

/* What was asked. Strings live as long as the request; NULL: there is no such thing. */
extern const char *http_method(const Request *request); /* GET also where it was HEAD */
extern const char *http_path(const Request *request);   /* as sent, without the query */
extern const char *http_header(const Request *request, const char *name);
extern const char *http_cookie(const Request *request, const char *name);
extern const char *http_address(const Request *request); /* of whoever asks */
extern char *http_body(Request *request, size_t *len);   /* ends with a NUL that is not counted */

/* Query parameters, decoded; `i` from 0. False: there are no more. */
extern bool http_arg(const Request *request, size_t i, const char **name, const char **value);

/* Does the page that sent it belong to this origin, as far as the browser says? */
extern bool http_same_origin(const Request *request);

/* One header more for the answer; at most four. The value is copied. */
extern void http_set_header(Request *request, const char *name, const char *value);

/*
 * The answer. The body is copied, unless `fixed` says that it lives as long as the program.
 * Once for each request; the request is gone afterwards.
 */
typedef enum HttpBody
{
	HTTP_COPY,
	HTTP_FIXED
} HttpBody;
extern void http_answer(Request *request, unsigned int status, const char *type, const char *body, size_t len,
						HttpBody kind);

/* For /metrics. */
extern uint64_t http_requests_answered(void);
extern unsigned int http_connections(void);

#endif /* CONSOLE_HTTPD_H */
