/*
 * pipeline_core.h
 *	  The engine itself, as the files of its pipeline share it, and what each of
 *	  them may do with a delivery: end it, or put it back.
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
	WhList transforming; /* leads of which the host is still to make bodies */
	Ask asks[WH_ASKS_MAX];
	uint64_t last_token;
	int64_t asked_last; /* the subscription whose turn was the last */
	WhList outcomes;
	WhDelivery *coming; /* a batch taken from pending, of which not all has been submitted */
	bool draining;      /* nothing more is started */
	bool frozen;        /* the same, for now */
	int64_t now_us;     /* when something was last looked at: what may start then does */
};

/* It has ended as the transfer tells: decide, tell the queue, hand the outcomes back. */
extern void wh_pipeline_conclude(WhEngine *e, WhDelivery *d, WhTransfer *t);

/*
 * What waits, for its body or its token, must it not go out any more? Its
 * subscription has been paused, or its breaker has opened, meanwhile.
 */
extern bool wh_pipeline_must_stay(const Endpoint *endpoint, const WhDelivery *lead);

/* When its rate limit lets the next request go; 0: at once, also where a clock that was set back says otherwise. */
extern int64_t wh_pipeline_may_go_at(const WhEngine *e, const Endpoint *endpoint);

/* What has waited goes back into the queue, unattempted; and out of it, where it is held. No tests. */
extern void wh_pipeline_put_back(WhEngine *e, Endpoint *endpoint, WhDelivery *lead);

/* The time as people and receivers see it. */
static inline int64_t
wh_pipeline_wall(const WhEngine *e)
{
	return e->config.wall_us ? e->config.wall_us() : e->config.now_us();
}

/* What the queue gave back goes to the outcomes. */
extern void wh_pipeline_take_back(WhEngine *e, WhList *given_back);

#endif /* WEBHOOK_PIPELINE_CORE_H */
