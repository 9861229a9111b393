/*
 * pending.c
 *	  The engine's interface for rows of webhook.pending: which must be fetched, and
 *	  which must not.
 *
 * The queue and the breakers know that. This file decides when they may be asked. Owns
 * nothing.
 */
#include "engine.h"

#include "pipeline_core.h"

bool
wh_engine_lane_to_fetch(WhEngine *e, int64_t *subscription_id, uint64_t *lane)
{
	/* rows among the outcomes are not in the table yet */
	return e->outcomes.n == 0 && wh_queue_lane_to_fetch(e->queue, subscription_id, lane);
}

void
wh_engine_lane_fetch_again(WhEngine *e, int64_t subscription_id, uint64_t lane)
{
	wh_queue_lane_fetch_again(e->queue, subscription_id, lane);
}

void
wh_engine_lane_is_empty(WhEngine *e, int64_t subscription_id, uint64_t lane)
{
	wh_queue_lane_is_empty(e->queue, subscription_id, lane);
}

int64_t
wh_engine_deferred_to_fetch(WhEngine *e, int *room)
{
	return e->outcomes.n == 0 ? wh_queue_deferred_to_fetch(e->queue, room) : 0;
}

void
wh_engine_deferred_is_empty(WhEngine *e, int64_t subscription_id)
{
	wh_queue_deferred_is_empty(e->queue, subscription_id);
}

int
wh_engine_not_due(WhEngine *e, int64_t *subscription_ids, int max)
{
	int n = 0;

	if (e->breakers.n_held == 0 && !wh_queue_any_saturated(e->queue))
		return 0;
	for (int i = 0; i < e->n_endpoints && n < max; i++)
		if (e->endpoints[i]->breaker.state != WH_BREAKER_CLOSED ||
			wh_queue_saturated(e->queue, e->endpoints[i]->sub.id))
			subscription_ids[n++] = e->endpoints[i]->sub.id;
	return n;
}

bool
wh_engine_wants_more(WhEngine *e)
{
	return wh_queue_wants_more(e->queue);
}

int64_t
wh_engine_to_probe(WhEngine *e)
{
	return e->outcomes.n == 0 ? wh_breakers_to_probe(&e->breakers, e->endpoints, e->n_endpoints) : 0;
}

void
wh_engine_probe_is_empty(WhEngine *e, int64_t subscription_id)
{
	wh_queue_nothing_stored(e->queue, subscription_id);
	wh_breakers_look_soon(&e->breakers);
}

int64_t
wh_engine_to_expedite(WhEngine *e)
{
	return e->outcomes.n == 0 ? wh_breakers_to_expedite(&e->breakers, e->endpoints, e->n_endpoints) : 0;
}

void
wh_engine_expedite_again(WhEngine *e, int64_t subscription_id)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, subscription_id);

	if (endpoint)
		wh_breakers_expedite(&e->breakers, endpoint);
}
