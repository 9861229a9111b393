/*
 * api.h
 *	  Runs routes: the statements of one request after another, on one connection.
 */
#ifndef CONSOLE_API_H
#define CONSOLE_API_H

#include "db.h"
#include "httpd.h"
#include "routes.h"

#define CHANNEL_CALLS_MAX 16

/* A connection and what waits for it. Whoever owns it closes its Db, after channel_abandon. */
typedef struct Channel
{
	Db *db;
	struct Call *first; /* the one that runs */
	struct Call *last;
	int n;
	bool shared; /* of tokens: each request takes the role of its own */
} Channel;

/*
 * Run a route for a request, which is answered later. `params` are those of the path; they
 * are copied. `digest` is that of the token, in hex, on a shared channel.
 */
extern void api_run(Channel *channel, Request *request, const Route *route, const char *const *params,
					int n_params, const char *digest);

/* Answer everything that waits, or runs, with this. Nothing is called back any more. */
extern void channel_abandon(Channel *channel, unsigned int status, const char *why);

#endif /* CONSOLE_API_H */
