/*
 * engine.c
 *	  The engine's interface, and its run loop.
 *
 * Owns the engine: its subscriptions (endpoint.c), their profiles (profile.c) and
 * breakers (breakers.c). A delivery moves queue -> transfer -> list of outcomes, and
 * whoever takes it from there frees it. On its way it may wait for its body
 * (transform.c) or for a token (oauth.c). pipeline_send.c sends it, and it ends in
 * pipeline_core.c. pending.c says which rows of webhook.pending the engine needs.
 *
 * There is no PostgreSQL here: memory is malloc's, time and randomness come from the
 * caller, and there is one thread.
 */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "oauth.h"
#include "pipeline_core.h"
#include "pipeline_send.h"
#include "test_events.h"
#include "transform.h"

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
	WhHttpConfig http = {.ca_file = config->ca_file, .address_ok = address_ok, .ip_ok = ip_ok, .arg = e};

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
	/* none of those that are under way, or will be, waits for another one's connection */
	int requests =
		config->max_in_flight > wh_engine_in_flight(e) ? config->max_in_flight : wh_engine_in_flight(e);
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
					config->large_max ? config->large_max : WH_FLIGHT_BYTES,
					config->batch_max ? config->batch_max : WH_BATCH_BYTES);
	wh_http_limit(e->http, config->max_connections > requests ? config->max_connections : requests);
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

bool
wh_engine_subscribe(WhEngine *e, const WhSubscription *subscription)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, subscription->id);
	Profile *profile = wh_profile_hold(&e->profiles, subscription->profile);
	EndpointKey *keys = wh_endpoint_key_room(subscription);
	WhSubscription copy = {0};
	WhList given_back = {0};
	bool known;
	bool changed;

	if (profile == NULL || keys == NULL || !wh_endpoint_copy(&copy, subscription))
		return wh_endpoint_discard(&copy, profile, keys);
	if (endpoint == NULL)
	{
		endpoint = calloc(1, sizeof(Endpoint));
		if (endpoint == NULL ||
			!wh_endpoints_add(&e->endpoints, &e->n_endpoints, &e->cap_endpoints, endpoint))
		{
			free(endpoint);
			return wh_endpoint_discard(&copy, profile, keys);
		}
	}
	if (!wh_queue_subscribe(e->queue, copy.id, endpoint, copy.paused, copy.max_in_flight, copy.batch_size,
							&given_back))
	{
		/* only a new one can fail, and a new one is the array's last */
		e->n_endpoints--;
		free(endpoint);
		return wh_endpoint_discard(&copy, profile, keys);
	}
	known = endpoint->sub.url != NULL;
	changed = known && wh_endpoint_repaired(&endpoint->sub, &copy);
	/* the failures may also have been due to the old secret */
	changed = (wh_endpoint_set(endpoint, &copy, profile, keys, subscription) && known) || changed;
	wh_rate_set(&endpoint->rate, endpoint->sub.rate_limit, e->config.now_us());
	wh_queue_not_before(e->queue, endpoint->sub.id, wh_rate_next(&endpoint->rate));
	wh_pipeline_take_back(e, &given_back);
	if (changed)
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
	wh_pipeline_take_back(e, &given_back);
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

/* Free what has come of a batch that will not be complete. */
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
	static const char interrupted[] = "the worker ended while this request may have been in flight";
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
				/* if the next event was to be the probe, this row is now */
				wh_breakers_look_soon(&e->breakers);
				/* counts as tried, so that a payload that kills the worker uses up its attempts */
				d->first_us = e->config.now_us();
				(void) wh_delivery_set_error(d, interrupted, strlen(interrupted));
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

/* Start one more, if one may start. */
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
		wh_pipeline_send(e, wh_queue_owner(e->queue, d->subscription_id), d, t);
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
		wh_pipeline_send(e, endpoint, d, t);
	return true;
}

static void
start_what_may_start(WhEngine *e)
{
	wh_queue_wake(e->queue, e->now_us); /* even if there is no place for it */
	while (!e->draining && !e->frozen && start_one(e))
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
			wh_pipeline_conclude(e, t->owner, t);
		wh_http_release(e->http, t);
	}
	start_what_may_start(e);
	wh_http_leave(e->http);
}

const WhDelivery *
wh_engine_to_transform(WhEngine *e, WhReady ready, void *arg, uint64_t *token)
{
	return wh_transform_next(e, ready, arg, token);
}

void
wh_engine_transformed(WhEngine *e, uint64_t token, WhOutcomeKind kind, char *text, size_t len)
{
	wh_transform_answered(e, token, kind, text, len);
}

int64_t
wh_engine_transform_due(const WhEngine *e, WhReady ready, void *arg)
{
	return wh_transform_next_at(e, ready, arg);
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

	wh_pipeline_take_back(e, &given_back);
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
	wh_pipeline_take_back(e, &given_back);
}

void
wh_engine_freeze(WhEngine *e, bool frozen)
{
	e->frozen = frozen;
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
	wh_pipeline_take_back(e, &given_back);
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
	/* while draining, no delivery waits for a token, so requests for tokens do not count */
	return wh_http_in_use(e->http) + e->transforming.n - (e->draining ? e->asking : 0);
}

int
wh_engine_in_turns(const WhEngine *e)
{
	return wh_http_in_turns(e->http);
}

int
wh_engine_beyond(const WhEngine *e)
{
	return wh_queue_beyond(e->queue);
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
