/*
 * local_server.h
 *	  An HTTP server on 127.0.0.1 for the engine's tests: one thread, plain
 *	  sockets. The path of a request says how it is answered:
 *
 *	  /status/NNN   with that status; 200 also says what the body was
 *	  /retry-after/NNN/...  with that status and that header, "_" for a blank
 *	  /wait         200, but not before server_release
 *	  /recover      500 and "ill_", and 200 and "well" after server_release
 *	  /hang         never
 *	  /close        the connection is closed instead
 *	  /partial      closed within the body
 *	  /cut          closed within the headers, after a status of 200
 *	  /folded       200, whose headers begin with a folded line
 *	  /first        200 to the first request of a connection; at the second it is closed
 *	  /last         200, and then the connection is closed
 *	  /token/NNN    200 with a token, "token-1" and so on, that lives NNN seconds
 *	  /error/WORD   400 with a JSON body that has this error
 *	  /from/N       200 to whoever has the N-th token or a later one, else 401
 *	  /redirect     302 to /status/200
 *	  /refuse       200 with a JSON body that says it failed
 *	  /garbage      by something that is not HTTP
 *	  /long         200 with 9999 bytes of "é" from the second byte on
 *	  /dirty        200 with what is not UTF-8, NUL bytes and a cut character
 *	  /large        200 with 8 MB
 *	  /cookie/NNN   that status with a cookie and lines that are folded, after a 103
 *	  /many-headers 500 with 4 kB of headers
 *	  /headers      200 with 1 MB of headers
 *	  /line         200 with a header of 1 MB
 *
 * CONNECT is answered with 407, whatever the password.
 *
 * It allocates nothing, so that the test may let allocations fail.
 */
#ifndef LOCAL_SERVER_H
#define LOCAL_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#define SERVER_BODY_MAX (192 * 1024)

/* A request as it came. */
typedef struct ServerRequest
{
	char head[4096]; /* request line and headers, with NUL */
	char body[SERVER_BODY_MAX];
	size_t body_len;
} ServerRequest;

extern int server_start(void); /* returns its port */
extern void server_stop(void);

extern void server_forget(void);            /* count from zero, and close idle connections */
extern void server_release(void);           /* answer all that /wait, and those that come */
extern int server_connections(void);        /* accepted */
extern int server_requests(void);           /* received in full */
extern ServerRequest server_request(int i); /* the i-th, from 0; of the first 64 */

/* The value of a header, up to 511 bytes, in a static buffer; NULL: it is not there. */
extern const char *request_header(const ServerRequest *r, const char *name);

#endif /* LOCAL_SERVER_H */
