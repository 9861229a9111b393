/*
 * pipeline_core.h
 *	  The engine's state, as the files of its pipeline share it, and the two things
 *	  each of them may do with a delivery: end it, or put it back.
 *
 * For those files only: engine.c, which owns all of it, pipeline_send.c,
 * oauth.c, transform.c and pending.c.
 */
#ifndef WEBHOOK_PIPELINE_CORE_H
#define WEBHOOK_PIPELINE_CORE_H

#include "engine_types.h"
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
	WhList transforming; /* leads whose bodies the host has not made yet */
	Ask asks[WH_ASKS_MAX];
	uint64_t last_token;
	int64_t asked_last; /* the subscription whose turn was the last */
	WhList outcomes;
	WhDelivery *coming; /* a batch taken from pending, not yet completely submitted */
	bool draining;      /* nothing more is started */
	bool frozen;        /* the same, for now */
	int64_t now_us;     /* when something was last looked at: what may start then does */
};

/* Its transfer has ended: decides, informs the queue, and queues the outcomes. */
extern void wh_pipeline_conclude(WhEngine *e, WhDelivery *d, WhTransfer *t);

/*
 * Must a delivery that waits for its body or its token not be sent any more,
 * because its subscription was paused or its breaker opened meanwhile?
 */
extern bool wh_pipeline_must_stay(const Endpoint *endpoint, const WhDelivery *lead);

/* When its rate limit allows the next request; 0: at once. A clock set back delays nothing. */
extern int64_t wh_pipeline_may_go_at(const WhEngine *e, const Endpoint *endpoint);

/*
 * Puts a waiting delivery back into the queue, unattempted; or out of it, if it is held.
 * Not for test events.
 */
extern void wh_pipeline_put_back(WhEngine *e, Endpoint *endpoint, WhDelivery *lead);

/* The time as people and receivers see it. */
static inline int64_t
wh_pipeline_wall(const WhEngine *e)
{
	return e->config.wall_us ? e->config.wall_us() : e->config.now_us();
}

/* Moves what the queue gave back to the outcomes. */
extern void wh_pipeline_take_back(WhEngine *e, WhList *given_back);

#endif /* WEBHOOK_PIPELINE_CORE_H */
