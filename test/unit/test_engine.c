/*
 * test_engine.c
 *	  The engine end to end: what is sent, connections, limits, changes while
 *	  requests are under way, stopping, and each allocation failing. How
 *	  requests end is in test_engine_outcomes.c.
 */
#include "engine_unit.h"

#include "http.h"
#include "sign.h"

static void
discard(void)
{
	WhDelivery *d;

	while ((d = wh_engine_take(e)) != NULL)
		wh_delivery_free(d);
}

static void
test_request(void **state)
{
	static const char body[] =
		"{\"entity_id\":\"a \\\"b\\\"\",\"entity_type\":\"order\",\"action_type\":\"new\",\"result\":{\"n\": "
		"1}}";
	WhSubscription sub = subscription(1, at("/status/200?x=1"));
	char *headers[] = {"X-One: 1", "Authorization: Bearer abc"};
	ServerRequest r;
	WhKey key;
	const char *why;
	const char *value;
	int64_t timestamp;

	(void) state;
	sub.n_headers = 2;
	sub.headers = headers;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 42, "a \"b\"");
	delivered(42);
	r = server_request(0);
	assert_memory_equal(r.head, "POST /status/200?x=1 HTTP/1.1\r\n", 31);
	assert_int_equal(r.body_len, strlen(body));
	assert_string_equal(r.body, body);
	assert_string_equal(request_header(&r, "Content-Type"), "application/json");
	assert_string_equal(request_header(&r, "User-Agent"), "pgwebhook/1.1");
	assert_string_equal(request_header(&r, "X-One"), "1");
	assert_string_equal(request_header(&r, "Authorization"), "Bearer abc");
	assert_null(request_header(&r, "Expect"));
	assert_string_equal(request_header(&r, "webhook-id"), "evt_" INSTANCE "_42");
	value = request_header(&r, "webhook-timestamp");
	assert_non_null(value);
	timestamp = atoll(value);
	assert_int_in_range(timestamp, START / SECOND, clock_last / SECOND);
	value = request_header(&r, "webhook-signature");
	assert_non_null(value);
	assert_true(wh_secret_decode(&wh_signing_standard, SECRET, &key, &why));
	assert_true(wh_verify(&wh_signing_standard, &key,
						  &(WhMessage){"evt_" INSTANCE "_42", timestamp, r.body, r.body_len, NULL}, value));
	assert_false(wh_verify(&wh_signing_standard, &key,
						   &(WhMessage){"evt_" INSTANCE "_43", timestamp, r.body, r.body_len, NULL}, value));
	wh_key_wipe(&key);
}

static int64_t
a_year_later(void)
{
	return START + INT64_C(365) * 86400 * SECOND;
}

/* What receivers see is by the wall clock; what waits is not. */
static void
test_wall_clock(void **state)
{
	(void) state;
	config.wall_us = a_year_later;
	assert_true(wh_engine_configure(e, &config));
	subscribe(1, at("/status/200"));
	submit(1, 42, "a");
	delivered(42);
	ServerRequest r = server_request(0);
	assert_int_equal(atoll(request_header(&r, "webhook-timestamp")), a_year_later() / SECOND);
	assert_true(clock_last < a_year_later());
}

/* One delivery after the other over one connection, and the same id on a retry. */
static void
test_keep_alive(void **state)
{
	WhSubmit again = {
		.subscription_id = 1, .from = WH_FROM_STORED, .lane = 1, .attempts = 2, .first_us = START};
	ServerRequest r;

	(void) state;
	subscribe(1, at("/status/200"));
	subscribe(2, at("/status/201"));
	for (int64_t id = 1; id <= 20; id++)
		submit(1, id, "a");
	for (int64_t id = 1; id <= 20; id++)
		delivered(id);
	submit(2, 21, "b");
	delivered(21);
	assert_true(submit_as(&again, 20, "a"));
	delivered(20);
	assert_int_equal(server_requests(), 22);
	assert_int_equal(server_connections(), 1);
	r = server_request(21);
	assert_string_equal(request_header(&r, "webhook-id"), "evt_" INSTANCE "_20");
}

/* An idle connection that the endpoint has closed costs no attempt. */
static void
test_closed_while_idle(void **state)
{
	(void) state;
	subscribe(1, at("/status/200"));
	submit(1, 1, "a");
	delivered(1);
	server_forget();
	submit(1, 2, "a");
	delivered(2);
	assert_int_equal(server_connections(), 1);
	submit(1, 3, "a");
	delivered(3);
	assert_int_equal(server_connections(), 1);
}

static void
test_in_flight(void **state)
{
	WhSubscription sub = subscription(2, at("/wait"));

	(void) state;
	subscribe(1, sub.url);
	sub.max_in_flight = 2;
	assert_true(wh_engine_subscribe(e, &sub));
	for (int i = 0; i < 20; i++)
	{
		char entity[] = {(char) ('a' + i), '\0'};

		submit(1, i + 1, entity);
		submit(2, i + 1, entity);
	}
	/* the first may have as many as there are places left, of eight */
	run_until(requests_are, 3 + 2);
	wh_engine_run(e);
	assert_int_equal(wh_engine_in_flight(e), 3 + 2);
	assert_int_equal(server_requests(), 3 + 2);
	for (int i = 0; i < 2; i++)
	{
		int64_t id;
		WhCounts c;

		assert_true(wh_engine_counts(e, i, &id, &c));
		assert_int_equal(c.in_flight, id == 1 ? 3 : 2);
	}
	server_release();
	run_until(outcomes_are, 40);
	assert_int_equal(server_requests(), 40);
	assert_true(server_connections() <= 8);
	discard();
}

/* A rate limit counts what is started; it can be changed at any time. */
static void
test_rate_limit(void **state)
{
	WhSubscription sub = subscription(1, at("/status/200"));

	(void) state;
	sub.rate_limit = 1;
	assert_true(wh_engine_subscribe(e, &sub));
	subscribe(2, sub.url);
	for (int i = 1; i <= 60; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
	}
	delivered(1);
	wh_engine_run(e);
	assert_int_equal(wh_engine_in_flight(e), 0);
	assert_int_equal(wh_engine_queued(e), 59);
	assert_int_in_range(wh_engine_deadline(e), clock_last, clock_last + SECOND + SECOND / 50);
	submit(2, 100, "a"); /* nobody else waits */
	delivered(100);
	assert_true(wh_engine_subscribe(e, &sub)); /* no change, no request */
	skew += SECOND + SECOND / 50;
	delivered(2);
	wh_engine_run(e);
	assert_int_equal(wh_engine_in_flight(e), 0);
	sub.rate_limit = 50;
	assert_true(wh_engine_subscribe(e, &sub));
	delivered(3);
	skew += 3600 * SECOND; /* what was not used is lost */
	wh_engine_run(e);
	assert_int_in_range(wh_engine_in_flight(e) + wh_engine_outcomes(e), 1, 3);
	sub.rate_limit = 0;
	assert_true(wh_engine_subscribe(e, &sub));
	run_until(outcomes_are, 57);
	assert_int_equal(server_requests(), 61);
	discard();
}

/* A failing entity keeps its own deliveries back, and no others. */
static void
test_lanes(void **state)
{
	static const WhOrdering orderings[] = {WH_ORDER_ENTITY, WH_ORDER_STRICT, WH_ORDER_NONE};
	static const int sent[] = {2, 1, 3};

	(void) state;
	for (size_t i = 0; i < lengthof(orderings); i++)
	{
		WhSubscription sub = subscription((int64_t) i + 1, at("/status/500"));

		server_forget();
		sub.ordering = orderings[i];
		assert_true(wh_engine_subscribe(e, &sub));
		submit(sub.id, 1, "a");
		submit(sub.id, 2, "a");
		submit(sub.id, 3, NULL);
		run_until(outcomes_are, 3);
		assert_int_equal(server_requests(), sent[i]);
		for (int k = 0; k < 3; k++)
		{
			WhDelivery *d = wh_engine_take(e);

			assert_int_equal(d->disposal, d->attempted ? WH_DO_RETRY : WH_DO_BLOCK);
			assert_int_equal(d->attempts, d->attempted ? 1 : 0);
			wh_delivery_free(d);
		}
	}
}

static void
test_configure(void **state)
{
	WhEngineConfig other = config;
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/status/200"));
	submit(1, 1, "a");
	delivered(1);

	other.allowed_networks = "10.0.0.0/8, nonsense";
	assert_false(wh_engine_configure(e, &other));
	submit(1, 2, "a");
	delivered(2);

	/* also the connection that is there already may not be used */
	other.allowed_networks = "10.0.0.0/8";
	assert_true(wh_engine_configure(e, &other));
	submit(1, 3, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_ADDRESS);
	wh_delivery_free(d);
	assert_int_equal(server_requests(), 2);

	other.allowed_networks = "127.0.0.0/8";
	assert_true(wh_engine_configure(e, &other));
	submit(1, 4, "b");
	delivered(4);
	assert_int_equal(server_requests(), 3);
}

/* A request under way ends as it began; the next one of the same handle has the new settings. */
static void
test_configure_ca_file(void **state)
{
	WhEngineConfig other = config;
	WhDelivery *d;

	(void) state;
	other.max_in_flight = 1;
	assert_true(wh_engine_configure(e, &other));
	subscribe(1, at("/wait"));
	submit(1, 1, "a");
	run_until(requests_are, 1);
	other.ca_file = "no/such/file.pem";
	assert_true(wh_engine_configure(e, &other));
	assert_true(wh_engine_configure(e, &other));
	server_release();
	delivered(1);

	snprintf(url, sizeof(url), "https://127.0.0.1:%d/", port);
	subscribe(1, url);
	submit(1, 2, "a");
	d = outcome();
	assert_int_not_equal(d->kind, WH_OUT_DELIVERED);
	assert_non_null(strstr(wh_delivery_error(d), "no/such/file.pem"));
	wh_delivery_free(d);
	other.ca_file = "";
	assert_true(wh_engine_configure(e, &other));
	submit(1, 3, "b");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_TLS);
	wh_delivery_free(d);
}

static void
test_stop(void **state)
{
	WhSubmit stored = {
		.subscription_id = 2, .from = WH_FROM_STORED, .lane = 9, .attempts = 3, .first_us = START};
	int64_t before;

	(void) state;
	subscribe(1, at("/hang"));
	subscribe(2, url);
	assert_true(wh_engine_restore_lane(e, 2, 9, 2));
	submit(1, 1, "a");
	submit(1, 2, "a");
	assert_true(submit_as(&stored, 1, "a"));
	assert_true(submit_as(&stored, 2, "a"));
	run_until(requests_are, 2);
	before = real_us();
	wh_engine_stop(e);
	assert_true(real_us() - before < SECOND);
	assert_int_equal(wh_engine_outcomes(e), 4);
	assert_int_equal(wh_engine_in_flight(e), 0);
	assert_int_equal(wh_engine_queued(e), 0);
	for (int i = 0; i < 4; i++)
	{
		WhDelivery *d = wh_engine_take(e);

		assert_false(d->attempted);
		assert_int_equal(d->attempts, d->stored ? 2 : 0);
		if (!d->stored)
			assert_int_equal(d->disposal, WH_DO_DEFER);
		else
		{
			assert_int_equal(d->disposal, d->event->id == 1 ? WH_DO_RETRY : WH_DO_BLOCK);
			assert_int_equal(d->due_us, 0);
		}
		wh_delivery_free(d);
	}
	wh_engine_stop(e);
	assert_int_equal(wh_engine_outcomes(e), 0);
}

/* All that it holds is freed with it. */
static void
test_free_while_busy(void **state)
{
	(void) state;
	subscribe(1, at("/hang"));
	subscribe(2, at("/status/500"));
	submit(1, 1, "a");
	submit(1, 2, "a");
	submit(2, 3, "a");
	submit(2, 4, "a");
	run_until(outcomes_are, 2);
	run_until(requests_are, 2);
}

static void
test_unsubscribe(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/wait"));
	submit(1, 1, "a");
	submit(1, 2, "a");
	run_until(requests_are, 1);
	wh_engine_unsubscribe(e, 1);
	wh_engine_unsubscribe(e, 1);
	d = wh_engine_take(e);
	assert_int_equal(d->event->id, 2);
	assert_int_equal(d->disposal, WH_DO_DROP);
	assert_false(d->attempted);
	wh_delivery_free(d);
	assert_false(submit_as(&(WhSubmit){.subscription_id = 1}, 3, "a"));
	server_release();
	delivered(1);

	/* one that fails, one that is aborted, and subscribed again meanwhile */
	server_forget();
	subscribe(2, at("/wait"));
	submit(2, 4, "a");
	run_until(requests_are, 1);
	wh_engine_unsubscribe(e, 2);
	server_forget(); /* breaks the connection */
	d = outcome();
	assert_int_equal(d->disposal, WH_DO_DROP);
	assert_int_equal(d->kind, WH_OUT_RESET);
	wh_delivery_free(d);
	assert_true(submit_as(&(WhSubmit){.subscription_id = 2}, 5, "a") == false);
	subscribe(3, at("/hang"));
	submit(3, 6, "a");
	run_until(requests_are, 1);
	wh_engine_unsubscribe(e, 3);
	subscribe(3, at("/status/200"));
	submit(3, 7, "b");
	delivered(7);
	wh_engine_unsubscribe(e, 3);
	wh_engine_stop(e);
	d = wh_engine_take(e);
	assert_int_equal(d->event->id, 6);
	assert_int_equal(d->disposal, WH_DO_DROP);
	wh_delivery_free(d);
}

static void
test_pending(void **state)
{
	WhSubscription sub = subscription(1, at("/status/200"));
	WhSubmit submit_it = {.subscription_id = 1, .from = WH_FROM_INTERRUPTED};
	WhDelivery *d;
	uint64_t lane;
	int64_t id;
	int room;

	(void) state;
	assert_true(wh_engine_subscribe(e, &sub));
	wh_engine_restore_deferred(e, 1, 1);
	assert_true(submit_as(&submit_it, 1, "a"));                 /* lost: it counts as tried */
	assert_int_equal(wh_engine_deferred_to_fetch(e, &room), 0); /* its row is not written yet */
	d = wh_engine_take(e);
	assert_int_equal(d->disposal, WH_DO_DEFER);
	assert_int_equal(d->attempts, 1);
	assert_true(d->first_us > START && !d->attempted && d->error != NULL);
	lane = d->lane;
	wh_delivery_free(d);
	assert_int_equal(wh_engine_deferred_to_fetch(e, &room), 1);

	submit_it = (WhSubmit){
		.subscription_id = 1, .from = WH_FROM_DEFERRED, .lane = lane, .attempts = 2, .first_us = START};
	assert_true(submit_as(&submit_it, 1, "a"));
	submit_it.from = WH_FROM_LOG;
	assert_true(submit_as(&submit_it, 2, "a"));
	d = wh_engine_take(e);
	assert_int_equal(d->disposal, WH_DO_DEFER);
	assert_int_equal(d->attempts, 0);
	wh_delivery_free(d);
	delivered(1);
	assert_int_equal(wh_engine_deferred_to_fetch(e, &room), 1);
	wh_engine_deferred_is_empty(e, 1);
	assert_int_equal(wh_engine_deferred_to_fetch(e, &room), 0);

	assert_true(wh_engine_restore_lane(e, 1, lane, 2));
	submit(1, 3, "a");
	d = wh_engine_take(e);
	assert_int_equal(d->disposal, WH_DO_BLOCK);
	assert_int_equal(d->attempts, 0);
	wh_delivery_free(d);
	submit_it.from = WH_FROM_STORED;
	assert_true(submit_as(&submit_it, 1, "a"));
	assert_false(submit_as(&submit_it, 1, "a"));
	run_until(outcomes_are, 1);
	assert_false(wh_engine_lane_to_fetch(e, &id, &lane));
	delivered(1);
	assert_true(wh_engine_lane_to_fetch(e, &id, &lane));
	wh_engine_lane_fetch_again(e, id, lane);
	assert_true(wh_engine_lane_to_fetch(e, &id, &lane));
	wh_engine_lane_is_empty(e, id, lane);
	submit(1, 4, "a");
	delivered(4);

	submit(1, 5, "a");
	sub.paused = true;
	assert_true(wh_engine_subscribe(e, &sub));
	d = wh_engine_take(e);
	assert_int_equal(d->disposal, WH_DO_DEFER);
	wh_delivery_free(d);
	assert_true(wh_engine_has_room(e));
}

/* Whichever allocation fails: no crash, no leak, and nothing is lost. */
static void
test_no_memory(void **state)
{
	bool failed = true;
	int succeeded = 0;

	(void) state;
	wh_engine_free(e);
	for (long n = 1; failed; n++)
	{
		WhSubscription sub = subscription(1, at("/status/200"));
		char *headers[] = {"X-One: 1"};
		int taken = 0;

		sub.n_headers = 1;
		sub.headers = headers;
		fail_malloc_at(n);
		e = wh_engine_create(&config);
		if (e != NULL && wh_engine_subscribe(e, &sub))
		{
			WhSubmit one = {.subscription_id = 1, .from = WH_FROM_LOG};

			for (int i = 1; i <= 3; i++)
				taken += submit_as(&one, i, "a");
			run_until(outcomes_are, taken > 0);
			while (wh_engine_queued(e) > 0 || wh_engine_in_flight(e) > 0)
				run_until(outcomes_are, wh_engine_outcomes(e) + 1);
			assert_int_equal(wh_engine_outcomes(e), taken);
			succeeded++;
		}
		failed = malloc_has_failed();
		assert_true(failed || taken == 3);
		if (failed)
			wh_engine_free(e);
		assert_true(n < 1000);
	}
	assert_true(succeeded > 10);
}

/* While held, what is under way ends, and nothing more is started. */
static void
test_hold(void **state)
{
	(void) state;
	subscribe(1, at("/status/200"));
	wh_engine_freeze(e, true);
	for (int64_t id = 1; id <= 3; id++)
		submit(1, id, "a");
	for (int i = 0; i < 10; i++)
		wh_engine_run(e);
	assert_int_equal(wh_engine_in_flight(e), 0);
	assert_int_equal(wh_engine_queued(e), 3);
	assert_int_equal(server_requests(), 0);
	wh_engine_freeze(e, false);
	for (int64_t id = 1; id <= 3; id++)
		delivered(id);
	assert_int_equal(server_requests(), 3);
}

static void
test_many(void **state)
{
	enum
	{
		MANY = 1000
	};
	static bool seen[MANY + 1];

	(void) state;
	subscribe(1, at("/status/200"));
	for (int i = 1; i <= MANY; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i % 50);
		submit(1, i, entity);
	}
	for (int i = 1; i <= MANY; i++)
	{
		WhDelivery *d = outcome();

		assert_int_equal(d->disposal, WH_DO_DONE);
		assert_false(seen[d->event->id]);
		assert_true(d->event->id <= 50 || seen[d->event->id - 50]);
		seen[d->event->id] = true;
		wh_delivery_free(d);
	}
	assert_true(server_connections() <= 8);
	assert_int_equal(wh_engine_queued(e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_request),
		with_engine(test_wall_clock),
		with_engine(test_keep_alive),
		with_engine(test_closed_while_idle),
		with_engine(test_in_flight),
		with_engine(test_rate_limit),
		with_engine(test_lanes),
		with_engine(test_configure),
		with_engine(test_configure_ca_file),
		with_engine(test_stop),
		with_engine(test_free_while_busy),
		with_engine(test_unsubscribe),
		with_engine(test_pending),
		with_engine(test_no_memory),
		with_engine(test_hold),
		with_engine(test_many),
	};

	return cmocka_run_group_tests_name("deliver", tests, NULL, NULL);
}
