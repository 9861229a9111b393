/*
 * tls_server.h
 *	  An HTTPS server on 127.0.0.1 for the engine's tests: certificates made
 *	  on the spot, each wrong in its own way, and 200 for whoever gets as far
 *	  as sending a request.
 */
#ifndef TLS_SERVER_H
#define TLS_SERVER_H

#define TLS_SERVER_HOLDS 16

typedef enum Certificate
{
	CERT_GOOD,        /* for 127.0.0.1, by the authority */
	CERT_OTHER_HOST,  /* for another host */
	CERT_EXPIRED,     /* since an hour */
	CERT_TOO_EARLY,   /* valid in an hour */
	CERT_SELF_SIGNED, /* by itself */
	CERT_OTHER_CA,    /* by an authority nobody knows */
	CERT_FORGED,      /* as if by the authority, whose signature it is not */
	CERT_OF_CLIENT,   /* by the authority, for clients */
} Certificate;

extern int tls_server_start(Certificate certificate); /* returns its port */
extern void tls_server_stop(void);
extern void
tls_server_hang(void); /* from now on it reads requests, TLS_SERVER_HOLDS at most, and answers none */
extern int tls_server_requests(void);   /* read since the start */
extern const char *tls_authority(void); /* a file with its certificate, removed at exit */

#endif /* TLS_SERVER_H */
