/*
 * transform.c
 *	  Deliveries whose bodies the host makes: those that wait, and what happens to
 *	  them.
 *
 * A subscription may have a transform, a function that only the host can call. When the
 * engine is about to start a delivery of such a subscription, it sets the delivery aside
 * instead. For the queue it is in flight, and it has its place among the requests in
 * flight. It waits here until the host is ready and has answered. For a batch, the host
 * makes one body after the other. After the last one the request starts. If nothing is
 * to be sent, or a body could not be made, the delivery ends without a request.
 *
 * Each body that the host is asked for has a token. The token is forgotten as soon as
 * the lead leaves, for whatever reason, so a later answer finds nothing.
 *
 * Subscriptions take turns, so that one with many deliveries here does not keep the
 * others waiting. A rate limit applies to requests, and a delivery with its body could
 * not wait for it here. So the host is asked only when the request may start at once, and
 * for one delivery of a subscription at a time.
 *
 * How much memory waiting bodies take is up to people's functions. So while there are
 * BODIES_MAX bytes of bodies, no further one is begun.
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

	/* without an endpoint it will only be dropped; a test bypasses rate limits */
	return endpoint && !lead->test ? wh_pipeline_may_go_at(e, endpoint) : 0;
}

/* The body that the host is asked for under this token; NULL: none. */
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

/*
 * May the host be asked for a subscription now? The last answer is kept, because many
 * leads of one subscription may be here.
 */
typedef struct Readiness
{
	WhReady ready;
	void *arg;
	int64_t subscription_id;
	bool is; /* the answer for that subscription */
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

/* Of the leads that may start, the one whose subscription's turn is next: a round by ids. */
static WhDelivery *
next_lead(const WhEngine *e, Readiness *readiness)
{
	WhDelivery *first = NULL;
	uint64_t least = UINT64_MAX;

	for (WhDelivery *lead = e->transforming.head; lead; lead = lead->next)
	{
		/* how far its id is after the last one's; smaller ids wrap around and come last */
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

/* Take a lead out, and forget what the host was asked for it. */
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

/* The bodies of a batch together may not be larger than a single body may. */
static bool
too_large(const WhDelivery *lead, size_t len, size_t max)
{
	for (const WhDelivery *d = lead; d && len <= max; d = wh_batch_next(lead, d))
		len += d->body_len;
	return len > max;
}

/* Note as much of a text as fits, in whole characters. */
static void
tell(WhTransfer *t, const char *text, size_t len)
{
	size_t keep = len < sizeof(t->error) ? len : sizeof(t->error) - 1;

	while (keep < len && keep > 0 && ((unsigned char) text[keep] & 0xC0) == 0x80)
		keep--;
	snprintf(t->error, sizeof(t->error), "%.*s", (int) keep, text);
}

/* Take over the host's answer, `text`. */
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
	/* with a rate limit, its others must wait for this one instead of taking places */
	if (!d->test && endpoint->sub.rate_limit > 0)
		wh_queue_not_before(e->queue, d->subscription_id, e->now_us + WH_QUEUE_REST_MAX_US);
}

/* Its subscription was removed while it waited for its body. */
static void
drop(WhEngine *e, WhDelivery *lead)
{
	WhList given_back = {0};

	if (lead->test)
	{
		wh_tests_drop(lead, &e->outcomes);
		return;
	}
	lead->disposal = WH_DO_RETRY; /* the queue makes it WH_DO_DROP */
	wh_queue_done(e->queue, lead, &given_back);
	wh_batch_list(&e->outcomes, lead);
	wh_pipeline_take_back(e, &given_back);
}

/* It ends without a request. */
static void
end_unsent(WhEngine *e, const Endpoint *endpoint, WhDelivery *lead, WhTransfer *t)
{
	t->duration_us = e->config.now_us() - lead->started_us;
	if (!lead->test)
		wh_queue_not_before(e->queue, lead->subscription_id, wh_rate_next(&endpoint->rate));
	wh_pipeline_conclude(e, lead, t);
}

/* Does it no longer need the host? Then it goes where it belongs. */
static bool
leaves(WhEngine *e, WhDelivery *lead)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, lead->subscription_id);
	bool held = endpoint && wh_pipeline_must_stay(endpoint, lead);
	WhTransfer *t;

	if (endpoint && endpoint->sub.transform && !held)
		return false;
	take_out(e, lead);
	wh_batch_forget_bodies(lead);
	if (endpoint == NULL)
		drop(e, lead);
	else if (!held && (t = wh_http_acquire(e->http)) != NULL)
		wh_pipeline_send(e, endpoint, lead, t);
	else if (lead->test) /* there is no memory: it begins once more */
		wh_list_push(&e->tests, lead);
	else /* the same; or held, perhaps because of one before it: store it, like all others */
		wh_pipeline_put_back(e, endpoint, lead);
	return true;
}

static void
let_leave(WhEngine *e)
{
	WhDelivery *lead = e->transforming.head;

	/* when one leaves, the list has changed: start again */
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
	/* without memory for a transfer, the host must make it again */
	WhTransfer *t = lead && kind != WH_OUT_ABORTED ? wh_http_acquire(e->http) : NULL;
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
			return 0; /* it must leave now */
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
