/*
 * deliver.c
 *	  The engine's public face and its pipeline: queue -> envelope ->
 *	  signature -> request -> verdict -> outcome.
 *
 * The only file that knows all leaves of the engine; they do not know each
 * other. What is kept of each subscription is in deliver_endpoint.c, what
 * becomes of them by their breakers in deliver_breakers.c. A delivery made
 * here moves queue -> transfer -> outcome list and is freed by whoever takes it
 * from there. No PostgreSQL in here: memory is
 * malloc's, time and randomness come from the caller.
 *
 * Called by worker/worker*.c, from one thread.
 */
#include "deliver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "deliver_breakers.h"
#include "deliver_endpoint.h"
#include "envelope.h"
#include "http.h"
#include "queue.h"
#include "retry.h"
#include "sign.h"
#include "target.h"

struct WhDeliver
{
	WhDeliverConfig config; /* its strings are not kept */
	WhNetworks allowed;
	WhQueue *queue;
	WhHttp *http;
	Breakers breakers;
	Endpoint **endpoints;
	int n_endpoints;
	int cap_endpoints;
	WhList outcomes;
	bool draining; /* nothing more is started */
};

/*
 * Settings
 */

static bool
address_ok(void *arg, const struct sockaddr *address)
{
	WhDeliver *e = arg;

	return wh_target_address_ok(address, &e->allowed);
}

static bool
ip_ok(void *arg, const char *ip)
{
	WhDeliver *e = arg;

	return wh_target_ip_ok(ip, &e->allowed);
}

WhDeliver *
wh_deliver_create(const WhDeliverConfig *config)
{
	WhDeliver *e = calloc(1, sizeof(WhDeliver));
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
	if (e->queue == NULL || e->http == NULL || !wh_deliver_configure(e, config))
	{
		wh_deliver_free(e);
		return NULL;
	}
	return e;
}

bool
wh_deliver_configure(WhDeliver *e, const WhDeliverConfig *config)
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
static void
take_back(WhDeliver *e, WhList *given_back)
{
	WhDelivery *d;

	if (given_back->n > 0)
		wh_breakers_look_soon(&e->breakers); /* a probe may be among them */
	while ((d = wh_list_pop(given_back)) != NULL)
		wh_list_push(&e->outcomes, d);
}

static bool
add_endpoint(WhDeliver *e, Endpoint *endpoint)
{
	if (e->n_endpoints == e->cap_endpoints)
	{
		int cap = e->cap_endpoints ? e->cap_endpoints * 2 : 64;
		Endpoint **larger = realloc(e->endpoints, (size_t) cap * sizeof(Endpoint *));

		if (larger == NULL)
			return false;
		e->endpoints = larger;
		e->cap_endpoints = cap;
	}
	endpoint->index = e->n_endpoints;
	e->endpoints[e->n_endpoints++] = endpoint;
	return true;
}

bool
wh_deliver_subscribe(WhDeliver *e, const WhSubscription *subscription)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, subscription->id);
	WhSubscription copy;
	WhList given_back = {0};
	bool anew;

	if (!wh_endpoint_copy(&copy, subscription))
		return false;
	if (endpoint == NULL)
	{
		endpoint = calloc(1, sizeof(Endpoint));
		if (endpoint == NULL || !add_endpoint(e, endpoint))
		{
			free(endpoint);
			wh_endpoint_free_copy(&copy);
			return false;
		}
	}
	if (!wh_queue_subscribe(e->queue, copy.id, endpoint, copy.paused, copy.max_in_flight, &given_back))
	{
		/* only a new one can fail, and it is the last of the array */
		e->n_endpoints--;
		free(endpoint);
		wh_endpoint_free_copy(&copy);
		return false;
	}
	/* somebody has changed where it goes, or said that it shall go on */
	anew = endpoint->sub.url &&
		   (strcmp(endpoint->sub.url, copy.url) != 0 || (endpoint->sub.paused && !copy.paused));
	wh_endpoint_set(endpoint, &copy, subscription);
	take_back(e, &given_back);
	if (anew)
		wh_breakers_reset(&e->breakers, endpoint);
	return true;
}

void
wh_deliver_unsubscribe(WhDeliver *e, int64_t subscription_id)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, subscription_id);
	WhList given_back = {0};

	if (endpoint == NULL)
		return;
	wh_breakers_forget(&e->breakers, endpoint);
	wh_queue_unsubscribe(e->queue, subscription_id, &given_back);
	take_back(e, &given_back);
	e->endpoints[endpoint->index] = e->endpoints[--e->n_endpoints];
	e->endpoints[endpoint->index]->index = endpoint->index;
	wh_endpoint_free(endpoint);
}

void
wh_deliver_restore_parked(WhDeliver *e, int64_t subscription_id, int64_t rows)
{
	wh_queue_restore_parked(e->queue, subscription_id, rows);
}

bool
wh_deliver_restore_lane(WhDeliver *e, int64_t subscription_id, uint64_t lane, int rows)
{
	return wh_queue_restore_lane(e->queue, subscription_id, lane, rows);
}

/*
 * Deliveries
 */

bool
wh_deliver_submit(WhDeliver *e, const WhSubmit *submit)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, submit->subscription_id);
	WhEvent *event = submit->event;
	WhDelivery *d;

	if (endpoint == NULL || (d = calloc(1, sizeof(WhDelivery))) == NULL)
		return false;
	d->event = event;
	d->subscription_id = submit->subscription_id;
	d->page = submit->page;
	d->stored = submit->from == WH_FROM_STORED || submit->from == WH_FROM_PARKED;
	d->lane = d->stored ? submit->lane : wh_endpoint_lane(endpoint, event);
	d->attempts = d->stored ? submit->attempts : 1;
	d->first_us = submit->first_us;
	event->refs++;

	switch (wh_queue_push(e->queue, d, submit->from, e->config.now_us()))
	{
		case WH_PUSHED:
			return true;
		case WH_PUSH_BEHIND:
			d->disposal = WH_DO_BEHIND;
			d->attempts--;
			break;
		case WH_PUSH_PARK:
			d->disposal = WH_DO_PARK;
			if (submit->from == WH_FROM_LOST)
			{
				/* where the next event was to be the probe, it is now this row */
				wh_breakers_look_soon(&e->breakers);
				/* it counts as tried, so that a payload that kills the worker runs out of attempts */
				d->first_us = e->config.now_us();
				snprintf(d->error, sizeof(d->error),
						 "the worker was lost while this may have been under way");
			}
			else
				d->attempts--;
			break;
		case WH_PUSH_DUPLICATE:
		case WH_PUSH_UNKNOWN:
		case WH_PUSH_NO_MEMORY:
			wh_delivery_free(d);
			return false;
	}
	wh_list_push(&e->outcomes, d);
	return true;
}

/* Render, sign and send. False: the transfer holds the reason. */
static bool
start_request(WhDeliver *e, const Endpoint *endpoint, const WhDelivery *d, WhTransfer *t)
{
	const WhSubscription *sub = &endpoint->sub;
	char id[WH_EVENT_ID_MAX];
	char signature[WH_SIGNATURE_MAX];
	char line[WH_SIGNATURE_MAX + 64];
	int64_t timestamp = d->started_us / 1000000;
	const WhKey *keys[WH_SECRETS_MAX];
	int n_keys = wh_endpoint_keys(endpoint, d->started_us, keys);
	bool ok;

	if (d->event->size > WH_BODY_MAX)
	{
		t->kind = WH_OUT_BODY_TOO_LARGE;
		snprintf(t->error, sizeof(t->error), "the event is larger than %d bytes", WH_BODY_MAX);
		return false;
	}
	t->kind = WH_OUT_INTERNAL;
	snprintf(t->error, sizeof(t->error), "out of memory, or the body is larger than %d bytes", WH_BODY_MAX);
	if (!wh_envelope_entity(d->event, &t->body))
		return false;

	wh_event_id(e->config.instance, d->event->id, id);
	snprintf(t->error, sizeof(t->error),
			 "the request could not be signed: the subscription has no usable secret");
	if (!wh_sign(&wh_signing_standard, keys, n_keys, &(WhMessage){id, timestamp, t->body.data, t->body.len},
				 signature, sizeof(signature)))
		return false;

	snprintf(t->error, sizeof(t->error), "out of memory");
	ok = wh_http_header(t, "Content-Type: application/json");
	ok = ok && wh_http_header(t, "Expect:"); /* no extra round trip for a large body */
	snprintf(line, sizeof(line), "webhook-id: %s", id);
	ok = ok && wh_http_header(t, line);
	snprintf(line, sizeof(line), "webhook-timestamp: %" PRId64, timestamp);
	ok = ok && wh_http_header(t, line);
	snprintf(line, sizeof(line), "webhook-signature: %s", signature);
	ok = ok && wh_http_header(t, line);
	for (int i = 0; ok && i < sub->n_headers; i++)
		ok = wh_http_header(t, sub->headers[i]);
	return ok && wh_http_start(e->http, t, sub->url, sub->timeout_us);
}

/* A request has ended: decide, tell the queue, hand the outcome back. */
static void
conclude(WhDeliver *e, WhDelivery *d, WhTransfer *t)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);
	WhList given_back = {0};
	int64_t now = e->config.now_us();
	int64_t asked_us = wh_retry_after(t->retry_after, now);
	WhVerdict verdict = {WH_CLASS_RETRY, 0};

	d->attempted = true;
	d->kind = t->kind == WH_OUT_HTTP_ERROR ? wh_outcome_of_status(t->http_status) : t->kind;
	d->word = wh_outcome_word(d->kind);
	d->http_status = t->http_status;
	d->duration_us = t->duration_us;
	d->response = t->response;
	t->response = NULL;
	memcpy(d->error, t->error, sizeof(d->error));

	if (endpoint)
		verdict = wh_retry_verdict(&endpoint->sub.retry, d->kind, d->attempts, d->first_us, now, asked_us,
								   e->config.random());
	else if (d->kind == WH_OUT_DELIVERED)
		verdict.class = WH_CLASS_DELIVERED;
	d->class = verdict.class;
	switch (verdict.class)
	{
		case WH_CLASS_DELIVERED:
			d->disposal = WH_DO_FORGET;
			break;
		case WH_CLASS_GIVE_UP:
			d->disposal = WH_DO_BURY;
			break;
		case WH_CLASS_RETRY:
		case WH_CLASS_ENDPOINT:
		case WH_CLASS_DISABLE:
		case WH_CLASS_ABORTED:
			d->disposal = WH_DO_RETRY;
			d->due_us = now + verdict.delay_us;
			break;
	}
	if (endpoint)
		wh_endpoint_count(endpoint, d, now);
	wh_queue_done(e->queue, d, &given_back);
	if (endpoint)
		wh_breakers_ended(&e->breakers, endpoint, d, now, asked_us, e->config.random(), &given_back);
	wh_list_push(&e->outcomes, d);
	take_back(e, &given_back);
}

static void
start_what_may_start(WhDeliver *e)
{
	while (!e->draining && wh_http_in_use(e->http) < e->config.max_in_flight)
	{
		WhTransfer *t = wh_http_acquire(e->http);
		Endpoint *endpoint;
		WhDelivery *d;

		if (t == NULL)
			return;
		if ((d = wh_queue_next(e->queue)) == NULL)
		{
			wh_http_release(e->http, t);
			return;
		}
		d->started_us = e->config.now_us();
		if (d->first_us == 0)
			d->first_us = d->started_us;
		t->owner = d;
		endpoint = wh_queue_owner(e->queue, d->subscription_id);
		wh_breakers_started(&e->breakers, endpoint, d);
		if (!start_request(e, endpoint, d, t))
		{
			conclude(e, d, t);
			wh_http_release(e->http, t);
		}
	}
}

void
wh_deliver_run(WhDeliver *e)
{
	WhTransfer *t;

	wh_breakers_look(&e->breakers, e->endpoints, e->n_endpoints, e->config.now_us());
	start_what_may_start(e);
	wh_http_run(e->http, e->config.now_us());
	while ((t = wh_http_finished(e->http)) != NULL)
	{
		conclude(e, t->owner, t);
		wh_http_release(e->http, t);
	}
	start_what_may_start(e);
}

WhDelivery *
wh_deliver_take(WhDeliver *e)
{
	WhDelivery *d = wh_list_pop(&e->outcomes);

	return d;
}

int
wh_deliver_outcomes(const WhDeliver *e)
{
	return e->outcomes.n;
}

bool
wh_deliver_has_room(WhDeliver *e)
{
	WhList given_back = {0};
	bool room = wh_queue_has_room(e->queue, e->config.now_us(), &given_back);

	take_back(e, &given_back);
	return room;
}

bool
wh_deliver_lane_to_fetch(WhDeliver *e, int64_t *subscription_id, uint64_t *lane)
{
	/* rows that are among the outcomes are not in the table yet */
	return e->outcomes.n == 0 && wh_queue_lane_to_fetch(e->queue, subscription_id, lane);
}

void
wh_deliver_lane_fetch_again(WhDeliver *e, int64_t subscription_id, uint64_t lane)
{
	wh_queue_lane_fetch_again(e->queue, subscription_id, lane);
}

void
wh_deliver_lane_is_empty(WhDeliver *e, int64_t subscription_id, uint64_t lane)
{
	wh_queue_lane_is_empty(e->queue, subscription_id, lane);
}

int64_t
wh_deliver_parked_to_fetch(WhDeliver *e, int *room)
{
	return e->outcomes.n == 0 ? wh_queue_parked_to_fetch(e->queue, room) : 0;
}

void
wh_deliver_parked_is_empty(WhDeliver *e, int64_t subscription_id)
{
	wh_queue_parked_is_empty(e->queue, subscription_id);
}

int
wh_deliver_held(const WhDeliver *e, int64_t *subscription_ids, int max)
{
	int n = 0;

	for (int i = 0; i < e->n_endpoints && n < e->breakers.n_held; i++)
		if (e->endpoints[i]->breaker.state != WH_BREAKER_CLOSED)
		{
			if (n < max)
				subscription_ids[n] = e->endpoints[i]->sub.id;
			n++;
		}
	return n;
}

int64_t
wh_deliver_to_probe(WhDeliver *e)
{
	return e->outcomes.n == 0 ? wh_breakers_to_probe(&e->breakers, e->endpoints, e->n_endpoints) : 0;
}

void
wh_deliver_probe_is_empty(WhDeliver *e, int64_t subscription_id)
{
	wh_queue_nothing_stored(e->queue, subscription_id);
	wh_breakers_look_soon(&e->breakers);
}

int64_t
wh_deliver_to_hurry(WhDeliver *e)
{
	return e->outcomes.n == 0 ? wh_breakers_to_hurry(&e->breakers, e->endpoints, e->n_endpoints) : 0;
}

void
wh_deliver_hurry_again(WhDeliver *e, int64_t subscription_id)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, subscription_id);

	if (endpoint)
		wh_breakers_hurry(&e->breakers, endpoint);
}

void
wh_deliver_drain(WhDeliver *e)
{
	WhList given_back = {0};

	e->draining = true;
	wh_queue_give_back_all(e->queue, &given_back);
	take_back(e, &given_back);
}

void
wh_deliver_stop(WhDeliver *e)
{
	WhList given_back = {0};
	WhTransfer *t;

	while ((t = wh_http_abort_one(e->http)) != NULL)
	{
		wh_queue_abort(e->queue, t->owner);
		wh_http_release(e->http, t);
	}
	wh_queue_give_back_all(e->queue, &given_back);
	take_back(e, &given_back);
}

void
wh_deliver_free(WhDeliver *e)
{
	WhDelivery *d;

	if (e == NULL)
		return;
	if (e->queue && e->http)
		wh_deliver_stop(e);
	while ((d = wh_list_pop(&e->outcomes)) != NULL)
		wh_delivery_free(d);
	while (e->n_endpoints > 0)
		wh_endpoint_free(e->endpoints[--e->n_endpoints]);
	free(e->endpoints);
	wh_networks_free(&e->allowed);
	wh_http_free(e->http);
	wh_queue_free(e->queue);
	free(e);
}

int
wh_deliver_fd(const WhDeliver *e)
{
	return wh_http_fd(e->http);
}

int64_t
wh_deliver_deadline(const WhDeliver *e)
{
	int64_t http = wh_http_deadline(e->http);

	return http < e->breakers.look_at_us ? http : e->breakers.look_at_us;
}

int
wh_deliver_in_flight(const WhDeliver *e)
{
	return wh_http_in_use(e->http);
}

int
wh_deliver_queued(const WhDeliver *e)
{
	return wh_queue_total(e->queue);
}

bool
wh_deliver_counts(const WhDeliver *e, int i, int64_t *subscription_id, WhCounts *out)
{
	const Endpoint *endpoint;

	if (i < 0 || i >= e->n_endpoints)
		return false;
	endpoint = e->endpoints[i];
	memset(out, 0, sizeof(*out));
	*subscription_id = endpoint->sub.id;
	wh_queue_counts(e->queue, endpoint->sub.id, out);
	out->breaker = endpoint->breaker.state;
	out->delivered = endpoint->delivered;
	out->failed = endpoint->failed;
	out->last_success_us = endpoint->last_success_us;
	out->last_failure_us = endpoint->last_failure_us;
	out->last_error = endpoint->last_error;
	return true;
}
