/*
 * deliver_transform.c
 *	  Deliveries whose bodies the host makes: those that wait for it, and what
 *	  has become of them.
 *
 * Part of the pipeline: called by deliver.c. A subscription may have a
 * transform, a function that only the host can call. When the engine is about
 * to start a delivery of such a subscription, it puts it aside instead: for
 * the queue it is in flight, it has its place among the requests under way,
 * and it waits here until the host has time. Of a batch the host is asked for
 * one body after the other. With the last of them the request starts, or, where
 * none is to be sent or one could not be made, the delivery has ended without.
 *
 * Subscriptions take turns, so that one whose function is slow does not keep
 * the others' waiting for all that it has here. A rate limit is about requests: one whose body is ready could not wait for
 * it, so the host is asked only when the request may start at once.
 */
#include "deliver_transform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deliver_batch.h"
#include "deliver_internal.h"
#include "deliver_tests.h"

static int64_t
may_start_at(const WhDelivery *lead, const WhDeliver *e)
{
	const Endpoint *endpoint = wh_queue_owner(e->queue, lead->subscription_id);

	/* without an endpoint it will only be dropped; a test passes everything by */
	return endpoint && !lead->test ? wh_engine_may_go_at(e, endpoint) : 0;
}

/* Of those that may start the subscription's whose turn is next: in a round, by their ids. */
static WhDelivery *
next_lead(const WhDeliver *e)
{
	WhDelivery *first = NULL;
	uint64_t least = UINT64_MAX;

	for (WhDelivery *lead = e->transforming.head; lead; lead = lead->next)
	{
		/* how far behind the last one's; those that are not behind it come around at the end */
		uint64_t turn = (uint64_t) lead->subscription_id - (uint64_t) e->asked_last - 1;

		if ((first == NULL || turn < least) && may_start_at(lead, e) <= e->now_us)
		{
			first = lead;
			least = turn;
		}
	}
	return first;
}

static void
take_out(WhList *waiting, WhDelivery *lead)
{
	WhList all = *waiting;
	WhDelivery *d;

	*waiting = (WhList){0};
	while ((d = wh_list_pop(&all)) != NULL)
		if (d != lead)
			wh_list_push(waiting, d);
}

static WhDelivery *
next_of(WhDelivery *lead)
{
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		if (d->transformed == WH_NOT_TRANSFORMED)
			return d;
	return NULL;
}

static bool
any_to_be_sent(const WhDelivery *lead)
{
	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		if (d->transformed != WH_LEFT_OUT)
			return true;
	return false;
}

void
wh_transform_forget(WhDelivery *lead)
{
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		free(d->body);
		d->body = NULL;
		d->body_len = 0;
		d->transformed = WH_NOT_TRANSFORMED;
	}
}

/* The bodies of a batch together must not be larger than one may be. */
static bool
too_large(const WhDelivery *lead, size_t len)
{
	for (const WhDelivery *d = lead; d && len <= WH_BODY_MAX; d = wh_batch_next(lead, d))
		len += d->body_len;
	return len > WH_BODY_MAX;
}

/* As much of a text as fits, but no part of a character. */
static void
tell(WhTransfer *t, const char *text, size_t len)
{
	size_t keep = len < sizeof(t->error) ? len : sizeof(t->error) - 1;

	while (keep < len && keep > 0 && ((unsigned char) text[keep] & 0xC0) == 0x80)
		keep--;
	snprintf(t->error, sizeof(t->error), "%.*s", (int) keep, text);
}

static bool
take_in(const WhDelivery *lead, WhDelivery *d, WhOutcomeKind kind, const char *text, size_t len,
		WhTransfer *t)
{
	t->kind = kind;
	if (kind == WH_OUT_SKIPPED)
	{
		d->transformed = WH_LEFT_OUT;
		return true;
	}
	if (kind != WH_OUT_DELIVERED)
	{
		tell(t, text, len);
		return false;
	}
	if (too_large(lead, len))
	{
		t->kind = WH_OUT_BODY_TOO_LARGE;
		snprintf(t->error, sizeof(t->error), "the transform made more than %d bytes", WH_BODY_MAX);
		return false;
	}
	if ((d->body = malloc(len + 1)) == NULL)
	{
		t->kind = WH_OUT_INTERNAL;
		snprintf(t->error, sizeof(t->error), "out of memory");
		return false;
	}
	memcpy(d->body, text, len);
	d->body[len] = '\0';
	d->body_len = len;
	d->transformed = WH_TRANSFORMED;
	return true;
}

void
wh_transform_put_aside(WhDeliver *e, Endpoint *endpoint, WhDelivery *d)
{
	wh_list_push(&e->transforming, d);
	/* what has a rate limit is to wait for this one, and not to take further places */
	if (!d->test && endpoint->sub.rate_limit > 0)
		wh_queue_not_before(e->queue, d->subscription_id, e->now_us + WH_QUEUE_REST_MAX_US);
}

/* Its subscription has gone while it waited for its body. */
static void
drop(WhDeliver *e, WhDelivery *lead)
{
	WhList given_back = {0};

	if (lead->test)
	{
		wh_tests_drop(lead, &e->outcomes);
		return;
	}
	lead->disposal = WH_DO_RETRY; /* as far as we know; the queue knows better */
	wh_queue_done(e->queue, lead, &given_back);
	wh_batch_list(&e->outcomes, lead);
	wh_engine_take_back(e, &given_back);
}

/* It has ended without a request. */
static void
end_unsent(WhDeliver *e, const Endpoint *endpoint, WhDelivery *lead, WhTransfer *t)
{
	t->duration_us = e->config.now_us() - lead->started_us;
	if (!lead->test)
		wh_queue_not_before(e->queue, lead->subscription_id, wh_rate_next(&endpoint->rate));
	wh_engine_conclude(e, lead, t);
}

const WhDelivery *
wh_deliver_to_transform(WhDeliver *e)
{
	WhDelivery *lead;

	e->now_us = e->config.now_us();
	while ((lead = next_lead(e)) != NULL)
	{
		Endpoint *endpoint = wh_queue_owner(e->queue, lead->subscription_id);
		bool held = endpoint && wh_engine_held(endpoint, lead);

		if (endpoint && endpoint->sub.transform && !held)
		{
			if (next_of(lead) == lead)
				wh_batch_started(lead, e->now_us, wh_engine_wall(e));
			e->asked = lead;
			e->asked_last = lead->subscription_id;
			return next_of(lead);
		}
		take_out(&e->transforming, lead);
		wh_transform_forget(lead);
		if (held) /* perhaps by what was made before it: it is kept like all others */
			wh_engine_put_back(e, endpoint, lead);
		else if (endpoint)
			wh_engine_send(e, endpoint, lead, wh_http_acquire(e->http));
		else
			drop(e, lead);
	}
	return NULL;
}

void
wh_deliver_transformed(WhDeliver *e, WhOutcomeKind kind, const char *text, size_t len)
{
	WhDelivery *lead = e->asked;
	WhTransfer *t = lead ? wh_http_acquire(e->http) : NULL; /* its place is kept for it */
	Endpoint *endpoint;
	bool ok;

	if (t == NULL)
		return;
	e->asked = NULL;
	endpoint = wh_queue_owner(e->queue, lead->subscription_id);
	ok = take_in(lead, next_of(lead), kind, text, len, t);
	if (ok && next_of(lead))
	{
		wh_http_release(e->http, t);
		return;
	}
	take_out(&e->transforming, lead);
	if (ok && endpoint && any_to_be_sent(lead))
	{
		wh_engine_send(e, endpoint, lead, t);
		return;
	}
	if (endpoint)
		end_unsent(e, endpoint, lead, t);
	else
		drop(e, lead);
	wh_http_release(e->http, t);
}

int64_t
wh_deliver_transform_due(const WhDeliver *e)
{
	int64_t due = INT64_MAX;

	for (const WhDelivery *lead = e->transforming.head; lead; lead = lead->next)
	{
		int64_t at = may_start_at(lead, e);

		due = at < due ? at : due;
	}
	return due;
}

void
wh_transform_put_back(WhDeliver *e)
{
	WhDelivery *lead;

	e->asked = NULL;
	while ((lead = wh_list_pop(&e->transforming)) != NULL)
		if (lead->test)
			wh_tests_drop(lead, &e->outcomes);
		else
			wh_queue_abort(e->queue, lead);
}
