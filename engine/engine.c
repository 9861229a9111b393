/*
 * engine.c
 *	  The engine's public face and its pipeline: queue -> template ->
 *	  signature -> request -> verdict -> outcome.
 *
 * The only file that knows all leaves of the engine; they do not know each
 * other. What the engine is made of is in engine_internal.h, what it wants of
 * webhook.pending in pending.c. What is kept of each subscription is in endpoint.c, and of
 * their profiles in profile.c, what becomes of them by their breakers in breakers.c, their tokens in oauth.c, how a request is
 * made of a delivery in request.c, and what is shared by those that go
 * with one request in batch.c, and those whose bodies the host makes
 * in transform.c. A delivery moves queue -> transfer ->
 * outcome list and is freed by whoever takes it from there. No PostgreSQL in
 * here: memory is malloc's, time and randomness come from the caller.
 *
 * Called by worker/worker*.c, from one thread.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "engine_internal.h"
#include "oauth.h"
#include "request.h"
#include "test_events.h"
#include "transform.h"
#include "retry.h"

/*
 * Settings
 */

static bool
address_ok(void *arg, const struct sockaddr *address)
{
	WhEngine *e = arg;

	return wh_target_address_ok(address, &e->allowed);
}

static bool
ip_ok(void *arg, const char *ip)
{
	WhEngine *e = arg;

	return wh_target_ip_ok(ip, &e->allowed);
}

WhEngine *
wh_engine_create(const WhEngineConfig *config)
{
	WhEngine *e = calloc(1, sizeof(WhEngine));
	WhHttpConfig http = {.max_transfers = config->max_transfers,
						 .ca_file = config->ca_file,
						 .address_ok = address_ok,
						 .ip_ok = ip_ok,
						 .arg = e};

	if (e == NULL)
		return NULL;
	e->queue = wh_queue_create();
	wh_breakers_init(&e->breakers, e->queue);
	e->http = wh_http_create(&http);
	if (e->queue == NULL || e->http == NULL || !wh_engine_configure(e, config))
	{
		wh_engine_free(e);
		return NULL;
	}
	return e;
}

bool
wh_engine_configure(WhEngine *e, const WhEngineConfig *config)
{
	WhNetworks allowed;
	char bad[64];

	if (!wh_networks_parse(config->allowed_networks ? config->allowed_networks : "", &allowed, bad,
						   sizeof(bad)))
		return false;
	if (!wh_http_configure(e->http, config->ca_file))
	{
		wh_networks_free(&allowed);
		return false;
	}
	wh_queue_limits(e->queue, config->waiting_max ? config->waiting_max : WH_QUEUE_BYTES,
					config->flight_max ? config->flight_max : WH_FLIGHT_BYTES,
					config->batch_max ? config->batch_max : WH_BATCH_BYTES);
	wh_http_body_max(e->http, config->body_max ? config->body_max : WH_BODY_MAX);
	wh_networks_free(&e->allowed);
	e->allowed = allowed;
	e->config = *config;
	e->config.ca_file = NULL;
	e->config.allowed_networks = NULL;
	return true;
}

/*
 * Subscriptions
 */

/* What the queue gave back goes to the outcomes. */
void
wh_engine_take_back(WhEngine *e, WhList *given_back)
{
	WhDelivery *d;

	if (given_back->n > 0)
		wh_breakers_look_soon(&e->breakers); /* a probe may be among them */
	while ((d = wh_list_pop(given_back)) != NULL)
		wh_list_push(&e->outcomes, d);
}

bool
wh_engine_subscribe(WhEngine *e, const WhSubscription *subscription)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, subscription->id);
	Profile *profile = wh_profile_hold(&e->profiles, subscription->profile);
	WhSubscription copy = {0};
	WhList given_back = {0};
	bool anew;

	if (profile == NULL || !wh_endpoint_copy(&copy, subscription))
		return wh_endpoint_discard(&copy, profile);
	if (endpoint == NULL)
	{
		endpoint = calloc(1, sizeof(Endpoint));
		if (endpoint == NULL ||
			!wh_endpoints_add(&e->endpoints, &e->n_endpoints, &e->cap_endpoints, endpoint))
		{
			free(endpoint);
			return wh_endpoint_discard(&copy, profile);
		}
	}
	if (!wh_queue_subscribe(e->queue, copy.id, endpoint, copy.paused, copy.max_in_flight, copy.batch_size,
							&given_back))
	{
		/* only a new one can fail, and it is the last of the array */
		e->n_endpoints--;
		free(endpoint);
		return wh_endpoint_discard(&copy, profile);
	}
	anew = endpoint->sub.url && wh_endpoint_mended(&endpoint->sub, &copy);
	wh_endpoint_set(endpoint, &copy, profile, subscription);
	wh_rate_set(&endpoint->rate, endpoint->sub.rate_limit, e->config.now_us());
	wh_queue_not_before(e->queue, endpoint->sub.id, wh_rate_next(&endpoint->rate));
	wh_engine_take_back(e, &given_back);
	if (anew)
		wh_breakers_reset(&e->breakers, endpoint);
	return true;
}

void
wh_engine_unsubscribe(WhEngine *e, int64_t subscription_id)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, subscription_id);
	WhList given_back = {0};

	if (endpoint == NULL)
		return;
	wh_breakers_forget(&e->breakers, endpoint);
	wh_oauth_put_back(e, subscription_id);
	wh_queue_unsubscribe(e->queue, subscription_id, &given_back);
	wh_engine_take_back(e, &given_back);
	e->endpoints[endpoint->index] = e->endpoints[--e->n_endpoints];
	e->endpoints[endpoint->index]->index = endpoint->index;
	wh_endpoint_free(endpoint);
}

void
wh_engine_restore_deferred(WhEngine *e, int64_t subscription_id, int64_t rows)
{
	wh_queue_restore_deferred(e->queue, subscription_id, rows);
}

bool
wh_engine_restore_lane(WhEngine *e, int64_t subscription_id, uint64_t lane, int rows)
{
	return wh_queue_restore_lane(e->queue, subscription_id, lane, rows);
}

uint64_t
wh_engine_lane(const WhEngine *e, int64_t subscription_id, const WhEvent *event)
{
	const Endpoint *endpoint = wh_queue_owner(e->queue, subscription_id);

	return endpoint ? wh_endpoint_lane(endpoint, event) : 0;
}

/*
 * Deliveries
 */

/* What of a batch has come will not become whole. */
static bool
refuse(WhEngine *e, WhDelivery *d)
{
	wh_batch_free(d);
	wh_batch_free(e->coming);
	e->coming = NULL;
	return false;
}

bool
wh_engine_submit(WhEngine *e, const WhSubmit *submit)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, submit->subscription_id);
	WhDelivery *d = endpoint ? wh_batch_delivery(submit, endpoint) : NULL;
	WhDelivery *lead = d;

	if (d == NULL || (submit->batch != 0 && !wh_batch_assemble(&e->coming, d, submit->more, &lead)))
		return refuse(e, d);
	if (lead == NULL)
		return true;
	if (!d->stored && wh_event_is_test(d->event))
	{
		wh_tests_add(&e->tests, d, submit->from, &e->outcomes);
		return true;
	}
	switch (wh_queue_push(e->queue, lead, submit->from, e->config.now_us()))
	{
		case WH_PUSHED:
			return true;
		case WH_PUSH_BEHIND:
			d->disposal = WH_DO_BLOCK;
			d->attempts--;
			break;
		case WH_PUSH_DEFER:
			d->disposal = WH_DO_DEFER;
			if (submit->from == WH_FROM_INTERRUPTED)
			{
				/* where the next event was to be the probe, it is now this row */
				wh_breakers_look_soon(&e->breakers);
				/* it counts as tried, so that a payload that kills the worker runs out of attempts */
				d->first_us = e->config.now_us();
				snprintf(d->error, sizeof(d->error), "the worker ended while this may have been under way");
			}
			else
				d->attempts--;
			break;
		case WH_PUSH_DUPLICATE:
		case WH_PUSH_UNKNOWN:
		case WH_PUSH_NO_MEMORY:
			return refuse(e, lead);
	}
	wh_list_push(&e->outcomes, d);
	return true;
}

/* A request has ended: decide, tell the queue, hand the outcomes back. */
void
wh_engine_conclude(WhEngine *e, WhDelivery *d, WhTransfer *t)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);
	WhList given_back = {0};
	int64_t now = e->config.now_us();
	/* without the header, which is nearly always, the clock need not be asked */
	int64_t asked_us = t->retry_after[0] ? wh_retry_after(t->retry_after, wh_engine_wall(e)) : -1;

	e->now_us = now;
	if (endpoint)
		wh_profile_judge(endpoint->profile, t);
	wh_batch_ended(d, t, endpoint ? &endpoint->sub.retry : NULL, now, asked_us, e->config.random());
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
		asked_us = -1;
	if (endpoint) /* one request, however many deliveries */
		wh_breakers_ended(&e->breakers, endpoint, d, now, asked_us, e->config.random(), &given_back);
	wh_batch_list(&e->outcomes, d);
	wh_engine_take_back(e, &given_back);
}

bool
wh_engine_held(const Endpoint *endpoint, const WhDelivery *lead)
{
	return !lead->test &&
		   (endpoint->sub.paused || (endpoint->breaker.state != WH_BREAKER_CLOSED && !lead->probe));
}

int64_t
wh_engine_may_go_at(const WhEngine *e, const Endpoint *endpoint)
{
	int64_t at = wh_rate_next(&endpoint->rate);

	return at <= e->now_us + WH_QUEUE_REST_MAX_US ? at : 0;
}

void
wh_engine_put_back(WhEngine *e, Endpoint *endpoint, WhDelivery *lead)
{
	WhList given_back = {0};

	if (lead->probe && endpoint->breaker.state == WH_BREAKER_HALF_OPEN)
	{
		wh_breaker_probe_unsent(&endpoint->breaker, e->now_us);
		wh_breakers_look_soon(&e->breakers);
	}
	lead->probe = lead->refused = false;
	wh_transform_forget(lead);
	wh_queue_abort(e->queue, lead);
	if (endpoint->sub.paused || endpoint->breaker.state != WH_BREAKER_CLOSED)
		wh_queue_give_back(e->queue, endpoint->sub.id, &given_back);
	wh_engine_take_back(e, &given_back);
}

/* What there is goes out: a request starts, or, where there is no token for it, waits for one. */
void
wh_engine_send(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t)
{
	if (wh_oauth_must_wait(endpoint, e->now_us))
	{
		wh_oauth_wait(e, endpoint, d, t);
		return;
	}
	wh_batch_started(d, e->config.now_us(), wh_engine_wall(e));
	t->owner = d;
	d->token = endpoint->oauth ? endpoint->oauth->number : 0;
	if (!d->test)
	{
		wh_rate_take(&endpoint->rate, d->started_us);
		wh_queue_not_before(e->queue, d->subscription_id, wh_rate_next(&endpoint->rate));
	}
	if (!wh_request_start(e->http, t, e->config.instance, endpoint, d))
	{
		wh_engine_conclude(e, d, t);
		wh_http_release(e->http, t);
	}
}

/* Start one more, if one may be started. */
static bool
start_one(WhEngine *e)
{
	int free = e->config.max_in_flight - wh_engine_in_flight(e);
	WhTransfer *t = free > 0 ? wh_http_acquire(e->http) : NULL;
	Endpoint *endpoint;
	WhDelivery *d;

	if (t == NULL)
		return false;
	if ((d = wh_oauth_next(e)) != NULL)
	{
		wh_engine_send(e, wh_queue_owner(e->queue, d->subscription_id), d, t);
		return true;
	}
	d = wh_tests_next(&e->tests, e->queue, &e->outcomes);
	if (d == NULL && (d = wh_queue_next(e->queue, e->now_us, free)) == NULL)
	{
		wh_http_release(e->http, t);
		return false;
	}
	endpoint = wh_queue_owner(e->queue, d->subscription_id);
	if (!d->test)
		wh_breakers_started(&e->breakers, endpoint, d);
	if (endpoint->sub.transform && d->event->problem == NULL)
	{
		wh_http_release(e->http, t);
		wh_transform_put_aside(e, endpoint, d);
	}
	else
		wh_engine_send(e, endpoint, d, t);
	return true;
}

static void
start_what_may_start(WhEngine *e)
{
	wh_queue_wake(e->queue, e->now_us); /* even if there is no place for it */
	while (!e->draining && !e->held && start_one(e))
		;
}

void
wh_engine_run(WhEngine *e)
{
	WhTransfer *t;

	wh_http_enter(e->http);
	e->now_us = e->config.now_us();
	wh_breakers_look(&e->breakers, e->endpoints, e->n_endpoints, e->now_us);
	start_what_may_start(e);
	wh_http_run(e->http, e->config.now_us());
	while ((t = wh_http_finished(e->http)) != NULL)
	{
		if (t->private)
			wh_oauth_answered(e, t);
		else if (!wh_oauth_refused(e, t->owner, t))
			wh_engine_conclude(e, t->owner, t);
		wh_http_release(e->http, t);
	}
	start_what_may_start(e);
	wh_http_leave(e->http);
}

WhDelivery *
wh_engine_take(WhEngine *e)
{
	return wh_list_pop(&e->outcomes);
}

int
wh_engine_outcomes(const WhEngine *e)
{
	return e->outcomes.n;
}

bool
wh_engine_has_room(WhEngine *e)
{
	WhList given_back = {0};
	bool room = wh_queue_has_room(e->queue, e->config.now_us(), &given_back);

	wh_engine_take_back(e, &given_back);
	return room && e->tests.n < WH_TESTS_MAX;
}

void
wh_engine_drain(WhEngine *e)
{
	WhList given_back = {0};

	e->draining = true;
	wh_transform_put_back(e);
	wh_oauth_put_back(e, 0);
	wh_queue_give_back_all(e->queue, &given_back);
	wh_engine_take_back(e, &given_back);
}

void
wh_engine_hold(WhEngine *e, bool held)
{
	e->held = held;
}

void
wh_engine_stop(WhEngine *e)
{
	WhList given_back = {0};
	WhDelivery *d;
	WhTransfer *t;

	wh_transform_put_back(e);
	while ((t = wh_http_abort_one(e->http)) != NULL)
	{
		d = t->owner;
		if (t->private)
			wh_oauth_broken_off(e, t);
		else if (d->test)
			wh_tests_drop(d, &e->outcomes);
		else
			wh_queue_abort(e->queue, d);
		wh_http_release(e->http, t);
	}
	wh_oauth_put_back(e, 0);
	while ((d = wh_list_pop(&e->tests)) != NULL)
		wh_tests_drop(d, &e->outcomes);
	wh_queue_give_back_all(e->queue, &given_back);
	wh_engine_take_back(e, &given_back);
}

void
wh_engine_free(WhEngine *e)
{
	WhDelivery *d;

	if (e == NULL)
		return;
	if (e->queue && e->http)
		wh_engine_stop(e);
	while ((d = wh_list_pop(&e->outcomes)) != NULL)
		wh_delivery_free(d);
	wh_batch_free(e->coming);
	while (e->n_endpoints > 0)
		wh_endpoint_free(e->endpoints[--e->n_endpoints]);
	free(e->endpoints);
	wh_networks_free(&e->allowed);
	wh_http_free(e->http);
	wh_queue_free(e->queue);
	free(e);
}

int
wh_engine_fd(const WhEngine *e)
{
	return wh_http_fd(e->http);
}

int64_t
wh_engine_deadline(const WhEngine *e)
{
	int64_t deadline = wh_http_deadline(e->http);

	if (e->breakers.look_at_us < deadline)
		deadline = e->breakers.look_at_us;
	if (wh_oauth_due(e) < deadline)
		deadline = wh_oauth_due(e);
	return wh_queue_deadline(e->queue) < deadline ? wh_queue_deadline(e->queue) : deadline;
}

int
wh_engine_in_flight(const WhEngine *e)
{
	/* in the end nobody waits for a token any more, so nobody waits for who asks for one */
	return wh_http_in_use(e->http) + e->transforming.n - (e->draining ? e->asking : 0);
}

int
wh_engine_queued(const WhEngine *e)
{
	return wh_queue_total(e->queue);
}

bool
wh_engine_counts(const WhEngine *e, int i, int64_t *subscription_id, WhCounts *out)
{
	const Endpoint *endpoint;

	if (i < 0 || i >= e->n_endpoints)
		return false;
	endpoint = e->endpoints[i];
	memset(out, 0, sizeof(*out));
	*subscription_id = endpoint->sub.id;
	wh_queue_counts(e->queue, endpoint->sub.id, out);
	wh_endpoint_counts(endpoint, out);
	return true;
}
