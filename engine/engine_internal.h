/*
 * engine_internal.h
 *	  The engine itself, as the files of its pipeline share it: engine.c, which
 *	  owns all of it, pending.c, transform.c and oauth.c.
 *
 * For nobody else.
 */
#ifndef WEBHOOK_ENGINE_INTERNAL_H
#define WEBHOOK_ENGINE_INTERNAL_H

#include "engine.h"
#include "breakers.h"
#include "endpoint.h"
#include "http.h"
#include "queue.h"
#include "address_policy.h"

#define WH_ASKS_MAX 16 /* bodies that the host makes at once; more than it has processes for */

/* The host makes a body of this lead's batch. */
typedef struct Ask
{
	uint64_t token;   /* the host's name for it: never used twice */
	WhDelivery *lead; /* NULL: none */
} Ask;

struct WhEngine
{
	WhEngineConfig config; /* its strings are not kept */
	WhNetworks allowed;
	WhQueue *queue;
	WhHttp *http;
	Breakers breakers;
	Profile *profiles; /* those that endpoints hold */
	Endpoint **endpoints;
	int n_endpoints;
	int cap_endpoints;
	int asking;          /* requests for tokens under way */
	WhList tests;        /* to be sent */
	WhList waiting;      /* for a token: see oauth.c */
	WhList transforming; /* leads of which the host is still to make bodies */
	Ask asks[WH_ASKS_MAX];
	uint64_t last_token;
	int64_t asked_last; /* the subscription whose turn was the last */
	WhList outcomes;
	WhDelivery *coming; /* a batch taken from pending, of which not all has been submitted */
	bool draining;      /* nothing more is started */
	bool held;          /* the same, for now */
	int64_t now_us;     /* when something was last looked at: what may start then does */
};

/*
 * What there is goes out: a request starts, or has failed to, or waits for a
 * token. The transfer is one that was acquired for it.
 */
extern void wh_engine_send(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t);

/* It has ended as the transfer tells: decide, tell the queue, hand the outcomes back. */
extern void wh_engine_conclude(WhEngine *e, WhDelivery *d, WhTransfer *t);

/*
 * What waits, for its body or its token, must it not go out any more? Its
 * subscription has been paused, or its breaker has opened, meanwhile.
 */
extern bool wh_engine_held(const Endpoint *endpoint, const WhDelivery *lead);

/* When its rate limit lets the next request go; 0: at once, also where a clock that was set back says otherwise. */
extern int64_t wh_engine_may_go_at(const WhEngine *e, const Endpoint *endpoint);

/* What has waited goes back into the queue, unattempted; and out of it, where it is held. No tests. */
extern void wh_engine_put_back(WhEngine *e, Endpoint *endpoint, WhDelivery *lead);

/* The time as people and receivers see it. */
static inline int64_t
wh_engine_wall(const WhEngine *e)
{
	return e->config.wall_us ? e->config.wall_us() : e->config.now_us();
}

/* What the queue gave back goes to the outcomes. */
extern void wh_engine_take_back(WhEngine *e, WhList *given_back);

#endif /* WEBHOOK_ENGINE_INTERNAL_H */
