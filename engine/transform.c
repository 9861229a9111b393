/*
 * transform.c
 *	  Deliveries whose bodies the host makes: those that wait for it, and what
 *	  has become of them.
 *
 * Part of the pipeline. A subscription may have a
 * transform, a function that only the host can call. When the engine is about
 * to start a delivery of such a subscription, it puts it aside instead: for
 * the queue it is in flight, it has its place among the requests under way,
 * and it waits here until the host is ready for it and has answered. Of a batch
 * the host is asked for one body after the other. With the last of them the
 * request starts, or, where none is to be sent or one could not be made, the
 * delivery has ended without.
 *
 * What the host is asked for has a token. It is forgotten as soon as its lead
 * leaves here for whatever reason, so an answer that comes later finds nothing.
 *
 * Subscriptions take turns, so that one that has much here does not keep the
 * others waiting. A rate limit is about requests: one whose body is ready could
 * not wait for it, so the host is asked only when the request may start at once,
 * and for one of a subscription at a time.
 *
 * Bodies that wait for their requests are memory that people's functions
 * decide on: while there are BODIES_MAX bytes of them, none is begun.
 */
#include "transform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "pipeline_send.h"
#include "test_events.h"

#define BODIES_MAX ((size_t) 2 * WH_TRANSFORM_MAX)

static int64_t
may_start_at(const WhDelivery *lead, const WhEngine *e)
{
	const Endpoint *endpoint = wh_queue_owner(e->queue, lead->subscription_id);

	/* without an endpoint it will only be dropped; a test passes everything by */
	return endpoint && !lead->test ? wh_pipeline_may_go_at(e, endpoint) : 0;
}

/* What the host is asked for; of a token, a subscription, or NULL: a free one. */
static Ask *
ask_of(WhEngine *e, uint64_t token)
{
	for (Ask *ask = e->asks; ask < e->asks + WH_ASKS_MAX; ask++)
		if (ask->lead && ask->token == token)
			return ask;
	return NULL;
}

static Ask *
free_ask(WhEngine *e)
{
	for (Ask *ask = e->asks; ask < e->asks + WH_ASKS_MAX; ask++)
		if (ask->lead == NULL)
			return ask;
	return NULL;
}

static bool
is_asked_for(const WhEngine *e, int64_t subscription_id)
{
	for (int i = 0; i < WH_ASKS_MAX; i++)
		if (e->asks[i].lead && e->asks[i].lead->subscription_id == subscription_id)
			return true;
	return false;
}

/* May the host be asked for it now? The last subscription's answer is kept: many leads of one may be here. */
typedef struct Readiness
{
	WhReady ready;
	void *arg;
	int64_t subscription_id;
	bool is; /* of that one */
} Readiness;

static bool
is_ready(const WhEngine *e, Readiness *r, const WhDelivery *lead)
{
	if (lead->transformed == WH_NOT_TRANSFORMED && wh_bodies_held() >= BODIES_MAX)
		return false;
	if (r->subscription_id != lead->subscription_id)
	{
		r->subscription_id = lead->subscription_id;
		r->is = !is_asked_for(e, r->subscription_id) && r->ready(r->arg, r->subscription_id);
	}
	return r->is;
}

/* Of those that may start the subscription's whose turn is next: in a round, by their ids. */
static WhDelivery *
next_lead(const WhEngine *e, Readiness *readiness)
{
	WhDelivery *first = NULL;
	uint64_t least = UINT64_MAX;

	for (WhDelivery *lead = e->transforming.head; lead; lead = lead->next)
	{
		/* how far behind the last one's; those that are not behind it come around at the end */
		uint64_t turn = (uint64_t) lead->subscription_id - (uint64_t) e->asked_last - 1;

		if ((first == NULL || turn < least) && may_start_at(lead, e) <= e->now_us &&
			is_ready(e, readiness, lead))
		{
			first = lead;
			least = turn;
		}
	}
	return first;
}

/* It is not to be found here any more; nor is what the host is asked for of it. */
static void
take_out(WhEngine *e, WhDelivery *lead)
{
	WhList all = e->transforming;
	WhDelivery *d;

	e->transforming = (WhList){0};
	while ((d = wh_list_pop(&all)) != NULL)
		if (d != lead)
			wh_list_push(&e->transforming, d);
	for (Ask *ask = e->asks; ask < e->asks + WH_ASKS_MAX; ask++)
		if (ask->lead == lead)
			ask->lead = NULL;
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

/* The bodies of a batch together must not be larger than one alone may be. */
static bool
too_large(const WhDelivery *lead, size_t len, size_t max)
{
	for (const WhDelivery *d = lead; d && len <= max; d = wh_batch_next(lead, d))
		len += d->body_len;
	return len > max;
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

/* Take over the text. */
static bool
take_in(const WhDelivery *lead, WhDelivery *d, WhOutcomeKind kind, char *text, size_t len, WhTransfer *t)
{
	size_t max = t->body.limit < WH_TRANSFORM_MAX ? t->body.limit : WH_TRANSFORM_MAX;

	t->kind = kind;
	if (kind == WH_OUT_DELIVERED && too_large(lead, len, max))
	{
		t->kind = WH_OUT_BODY_TOO_LARGE;
		snprintf(t->error, sizeof(t->error), "the transform returned more than %zu bytes", max);
	}
	else if (kind == WH_OUT_DELIVERED)
	{
		wh_delivery_set_body(d, text, len);
		d->transformed = WH_TRANSFORMED;
		return true;
	}
	else if (kind == WH_OUT_SKIPPED)
		d->transformed = WH_LEFT_OUT;
	else if (text)
		tell(t, text, len);
	free(text);
	return kind == WH_OUT_SKIPPED;
}

void
wh_transform_put_aside(WhEngine *e, Endpoint *endpoint, WhDelivery *d)
{
	wh_list_push(&e->transforming, d);
	/* what has a rate limit is to wait for this one, and not to take further places */
	if (!d->test && endpoint->sub.rate_limit > 0)
		wh_queue_not_before(e->queue, d->subscription_id, e->now_us + WH_QUEUE_REST_MAX_US);
}

/* Its subscription has gone while it waited for its body. */
static void
drop(WhEngine *e, WhDelivery *lead)
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
	wh_pipeline_take_back(e, &given_back);
}

/* It has ended without a request. */
static void
end_unsent(WhEngine *e, const Endpoint *endpoint, WhDelivery *lead, WhTransfer *t)
{
	t->duration_us = e->config.now_us() - lead->started_us;
	if (!lead->test)
		wh_queue_not_before(e->queue, lead->subscription_id, wh_rate_next(&endpoint->rate));
	wh_pipeline_conclude(e, lead, t);
}

/* Is the host to be asked for it no longer? Then it goes where it belongs. */
static bool
leaves(WhEngine *e, WhDelivery *lead)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, lead->subscription_id);
	bool held = endpoint && wh_pipeline_must_stay(endpoint, lead);

	if (endpoint && endpoint->sub.transform && !held)
		return false;
	take_out(e, lead);
	wh_batch_forget_bodies(lead);
	if (held) /* perhaps by what was made before it: it is kept like all others */
		wh_pipeline_put_back(e, endpoint, lead);
	else if (endpoint)
		wh_pipeline_send(e, endpoint, lead, wh_http_acquire(e->http));
	else
		drop(e, lead);
	return true;
}

static void
let_leave(WhEngine *e)
{
	WhDelivery *lead = e->transforming.head;

	/* when one leaves, the list is another one */
	while (lead)
		lead = leaves(e, lead) ? e->transforming.head : lead->next;
}

const WhDelivery *
wh_transform_next(WhEngine *e, WhReady ready, void *arg, uint64_t *token)
{
	Readiness readiness = {.ready = ready, .arg = arg};
	Ask *ask = free_ask(e);
	WhDelivery *lead;

	e->now_us = e->config.now_us();
	let_leave(e);
	if (ask == NULL || (lead = next_lead(e, &readiness)) == NULL)
		return NULL;
	if (next_of(lead) == lead)
		wh_batch_started(lead, e->now_us, wh_pipeline_wall(e));
	*ask = (Ask){.token = ++e->last_token, .lead = lead};
	e->asked_last = lead->subscription_id;
	*token = ask->token;
	return next_of(lead);
}

void
wh_transform_answered(WhEngine *e, uint64_t token, WhOutcomeKind kind, char *text, size_t len)
{
	Ask *ask = ask_of(e, token);
	WhDelivery *lead = ask ? ask->lead : NULL;
	WhTransfer *t =
		lead && kind != WH_OUT_ABORTED ? wh_http_acquire(e->http) : NULL; /* its place is kept for it */
	Endpoint *endpoint;
	bool ok;

	if (ask)
		ask->lead = NULL;
	if (t == NULL)
	{
		free(text);
		return;
	}
	e->now_us = e->config.now_us();
	endpoint = wh_queue_owner(e->queue, lead->subscription_id);
	ok = take_in(lead, next_of(lead), kind, text, len, t);
	if (ok && next_of(lead))
	{
		wh_http_release(e->http, t);
		return;
	}
	take_out(e, lead);
	if (endpoint == NULL)
		drop(e, lead);
	else if (!ok || !any_to_be_sent(lead))
		end_unsent(e, endpoint, lead, t);
	else if (wh_pipeline_must_stay(endpoint, lead)) /* meanwhile */
		wh_pipeline_put_back(e, endpoint, lead);
	else
	{
		wh_pipeline_send(e, endpoint, lead, t);
		return;
	}
	wh_http_release(e->http, t);
}

int64_t
wh_transform_next_at(const WhEngine *e, WhReady ready, void *arg)
{
	Readiness readiness = {.ready = ready, .arg = arg};
	int64_t due = INT64_MAX;

	for (const WhDelivery *lead = e->transforming.head; lead && due > 0; lead = lead->next)
	{
		const Endpoint *endpoint = wh_queue_owner(e->queue, lead->subscription_id);
		int64_t at = may_start_at(lead, e);

		if (endpoint == NULL || !endpoint->sub.transform || wh_pipeline_must_stay(endpoint, lead))
			return 0; /* it leaves */
		if (at <= e->now_us)
			at = is_ready(e, &readiness, lead) ? 0 : INT64_MAX;
		due = at < due ? at : due;
	}
	return due;
}

void
wh_transform_put_back(WhEngine *e)
{
	WhDelivery *lead;

	memset(e->asks, 0, sizeof(e->asks));
	while ((lead = wh_list_pop(&e->transforming)) != NULL)
		if (lead->test)
			wh_tests_drop(lead, &e->outcomes);
		else
			wh_queue_abort(e->queue, lead);
}
