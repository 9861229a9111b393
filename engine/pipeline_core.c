/*
 * pipeline_core.c
 *	  How a delivery ends, and how one that was to be sent goes back to the queue.
 *
 * Deliveries that wait for a body or a token, and deliveries that were sent, end here.
 * This file depends on none of those that call it. Owns nothing.
 */
#include "pipeline_core.h"

#include "batch.h"
#include "retry.h"
#include "test_events.h"

/* Move what the queue gave back to the outcomes. */
void
wh_pipeline_take_back(WhEngine *e, WhList *given_back)
{
	WhDelivery *d;

	if (given_back->n > 0)
		wh_breakers_look_soon(&e->breakers); /* a probe may be among them */
	while ((d = wh_list_pop(given_back)) != NULL)
		wh_list_push(&e->outcomes, d);
}

/* A request has ended: decide what happens next, tell the queue, add the outcomes. */
void
wh_pipeline_conclude(WhEngine *e, WhDelivery *d, WhTransfer *t)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);
	WhList given_back = {0};
	int64_t now = e->config.now_us();
	/* most responses have no such header; then there is no need to read the clock */
	int64_t requested_us = t->retry_after[0] ? wh_retry_after(t->retry_after, wh_pipeline_wall(e)) : -1;

	e->now_us = now;
	if (endpoint)
		wh_profile_judge(endpoint->profile, t);
	wh_batch_ended(d, t, endpoint ? &endpoint->sub.retry : NULL, now, requested_us, e->config.random());
	if (d->test)
	{
		wh_tests_ended(d);
		wh_list_push(&e->outcomes, d);
		return;
	}
	for (const WhDelivery *each = d; endpoint && each; each = wh_batch_next(d, each))
		wh_endpoint_count(endpoint, each, now);
	wh_queue_done(e->queue, d, &given_back);
	if (!wh_outcome_may_ask(d->kind))
		requested_us = -1;
	if (endpoint) /* counts as one request, however many deliveries it has */
		wh_breakers_ended(&e->breakers, endpoint, d, now, requested_us, e->config.random(), &given_back);
	wh_batch_list(&e->outcomes, d);
	wh_pipeline_take_back(e, &given_back);
}

bool
wh_pipeline_must_stay(const Endpoint *endpoint, const WhDelivery *lead)
{
	return !lead->test &&
		   (endpoint->sub.paused || (endpoint->breaker.state != WH_BREAKER_CLOSED && !lead->probe));
}

int64_t
wh_pipeline_may_go_at(const WhEngine *e, const Endpoint *endpoint)
{
	int64_t at = wh_rate_next(&endpoint->rate);

	return at <= e->now_us + WH_QUEUE_REST_MAX_US ? at : 0;
}

void
wh_pipeline_put_back(WhEngine *e, Endpoint *endpoint, WhDelivery *lead)
{
	WhList given_back = {0};

	if (lead->probe && endpoint->breaker.state == WH_BREAKER_HALF_OPEN)
	{
		wh_breaker_probe_unsent(&endpoint->breaker, e->now_us);
		wh_breakers_look_soon(&e->breakers);
	}
	lead->probe = lead->refused = false;
	wh_batch_forget_bodies(lead);
	wh_queue_abort(e->queue, lead);
	if (endpoint->sub.paused || endpoint->breaker.state != WH_BREAKER_CLOSED)
		wh_queue_give_back(e->queue, endpoint->sub.id, &given_back);
	wh_pipeline_take_back(e, &given_back);
}
