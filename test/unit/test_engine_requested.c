/*
 * test_engine_requested.c
 *	  What else happens while deliveries are put aside for the host to make their
 *	  bodies: breakers, rate limits, turns, a stop, subscriptions that go. Each
 *	  comes back, once.
 */
#include "transform_unit.h"

#include "breaker.h"

/* Timeouts open the breaker; what had been put aside by then is kept, and the host not asked for it. */
static void
test_timeouts(void **state)
{
	(void) state;
	config.max_in_flight = 8;
	subscribe_transformed(1, at("/status/200"));
	for (int i = 1; i <= WH_BREAKER_FAILURES + 3; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
	}
	for (int i = 1; i <= WH_BREAKER_FAILURES; i++)
	{
		handed_out(i);
		assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
		failed(WH_OUT_TRANSFORM_TIMEOUT, "too slow");
		if (i < WH_BREAKER_FAILURES)
			wh_delivery_free(ended(i, "transform_timeout", WH_DO_RETRY));
	}
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	wh_delivery_free(ended(WH_BREAKER_FAILURES, "transform_timeout", WH_DO_RETRY));
	wh_engine_run(e);
	assert_null(to_transform());
	assert_int_equal(wh_engine_in_flight(e), 0);
	for (int i = 0; i < 3; i++)
	{
		WhDelivery *d = wh_engine_take(e);

		assert_non_null(d);
		assert_true(d->event->id > WH_BREAKER_FAILURES);
		assert_false(d->attempted);
		assert_int_equal(d->attempts, 0);
		assert_int_equal(d->disposal, WH_DO_DEFER);
		wh_delivery_free(d);
	}
	assert_null(wh_engine_take(e));
	assert_int_equal(server_requests(), 0);
}

/* The breaker is open, and the probe due and taken from pending. */
static void
open_and_probe(int64_t id)
{
	WhSubmit probe = {.subscription_id = 1, .from = WH_FROM_DEFERRED, .attempts = 1, .lane = (uint64_t) id};
	int64_t asked;

	for (int64_t deadline = real_us() + PATIENCE; (asked = wh_engine_to_probe(e)) == 0;)
	{
		WhDelivery *d;

		while ((d = wh_engine_take(e)) != NULL)
			wh_delivery_free(d);
		wh_engine_run(e);
		assert_true(real_us() < deadline);
	}
	assert_int_equal(asked, 1);
	assert_true(submit_as(&probe, id, "probe"));
	handed_out(id);
	assert_int_equal(counts().breaker, WH_BREAKER_HALF_OPEN);
}

static void
open_breaker(void)
{
	subscribe_transformed(1, at("/status/200"));
	for (int i = 1; i <= WH_BREAKER_FAILURES; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
		handed_out(i);
		failed(WH_OUT_TRANSFORM_TIMEOUT, "too slow");
		wh_delivery_free(ended(i, "transform_timeout", WH_DO_RETRY));
	}
	skew += 3600 * SECOND;
}

static void
test_probe_skipped(void **state)
{
	(void) state;
	open_breaker();
	open_and_probe(100);
	skipped();
	/* that tells nothing about the endpoint: the next one is the probe, at once */
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	wh_delivery_free(ended(100, "skipped", WH_DO_DONE));
	open_and_probe(101);
	made("101");
	delivered(101);
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
}

static void
test_probe_failed(void **state)
{
	(void) state;
	open_breaker();
	open_and_probe(100);
	failed(WH_OUT_TRANSFORM, "no");
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	wh_delivery_free(ended(100, "transform_failed", WH_DO_RETRY));
	/* not again before the breaker's wait is over */
	wh_engine_run(e);
	assert_int_equal(wh_engine_to_probe(e), 0);
	assert_true(wh_engine_deadline(e) > clock_last + 4 * SECOND);
	skew += 3600 * SECOND;
	open_and_probe(101);
	made("101");
	delivered(101);
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
}

/* Errors of a function say nothing about the endpoint, neither good nor bad. */
static void
test_breaker_unmoved(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/500"));
	for (int i = 1; i <= 2 * WH_BREAKER_FAILURES - 1; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
		handed_out(i);
		if (i % 4 == 2)
			skipped();
		else if (i % 4 == 0)
			failed(WH_OUT_TRANSFORM, "no");
		else
			made("1");
		wh_delivery_free(outcome());
		assert_int_equal(counts().breaker,
						 i < 2 * WH_BREAKER_FAILURES - 1 ? WH_BREAKER_CLOSED : WH_BREAKER_OPEN);
	}
}

/* One function after the other, whoever has more here. */
static void
test_turns(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "B");
	submit(1, 3, "C");
	wh_engine_run(e);
	subscribe_transformed(2, at("/status/200"));
	submit(2, 4, "A");
	handed_out(1);
	made("1");
	handed_out(4);
	made("4");
	handed_out(2);
}

static void
subscribe_one_a_second(void)
{
	WhSubscription sub = transformed(1, at("/status/200"));

	sub.rate_limit = 1;
	assert_true(wh_engine_subscribe(e, &sub));
}

/* The promise of rate_limit.h holds for requests, however long a body takes to be made. */
static void
test_rate(void **state)
{
	(void) state;
	subscribe_one_a_second();
	submit(1, 1, "A");
	submit(1, 2, "B");
	submit(1, 3, "C");
	handed_out(1);
	assert_int_equal(wh_engine_in_flight(e), 1); /* the others wait where they hold no place */
	skew += SECOND / 2;
	skipped(); /* no request, so the next may start at once */
	wh_delivery_free(ended(1, "skipped", WH_DO_DONE));
	handed_out(2);
	skew += SECOND / 2; /* this one takes long */
	made("2");
	delivered(2);
	wh_engine_run(e);
	assert_null(to_transform());
	skew += SECOND + SECOND / 20;
	handed_out(3);
	made("3");
	delivered(3);
}

/* Also for what was put aside too early: the limit of its subscription was read again meanwhile. */
static void
test_rate_read_anew(void **state)
{
	(void) state;
	subscribe_one_a_second();
	submit(1, 1, "A");
	submit(1, 2, "B");
	handed_out(1);
	subscribe_one_a_second();
	wh_engine_run(e);
	assert_int_equal(wh_engine_in_flight(e), 2);
	made("1");
	assert_null(to_transform());
	assert_int_in_range(transform_due() - clock_last, SECOND / 2, SECOND + SECOND / 20);
	delivered(1);
	skew += SECOND + SECOND / 20;
	handed_out(2);
	made("2");
	delivered(2);
}

static void
test_stop(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "A");
	handed_out(1);
	wh_engine_stop(e);
	came_back(1, WH_DO_DEFER, 0);
	came_back(2, WH_DO_DEFER, 0);
	assert_null(wh_engine_take(e));
	made("1"); /* too late, and no harm */
	assert_int_equal(wh_engine_in_flight(e), 0);
	assert_null(to_transform());
}

static void
test_drain(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "B");
	handed_out(1);
	wh_engine_drain(e);
	came_back(1, WH_DO_DEFER, 0);
	came_back(2, WH_DO_DEFER, 0);
	assert_int_equal(wh_engine_in_flight(e), 0);
	assert_null(to_transform());
}

/* A batch in the making is dissolved. */
static void
test_stop_batch(void **state)
{
	(void) state;
	subscribe_batch(at("/status/200"), 2);
	submit_batch_of(2);
	handed_out(1);
	made("1");
	handed_out(2);
	wh_engine_stop(e);
	for (int i = 0; i < 2; i++)
	{
		WhDelivery *d = wh_engine_take(e);

		assert_non_null(d);
		assert_int_equal(d->batch, 0);
		assert_int_equal(d->disposal, WH_DO_DEFER);
		wh_delivery_free(d);
	}
}

static void
test_unsubscribed(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "A");
	handed_out(1);
	wh_engine_unsubscribe(e, 1);
	came_back(2, WH_DO_DROP, 0);
	assert_null(to_transform());
	came_back(1, WH_DO_DROP, 1);
	assert_int_equal(wh_engine_in_flight(e), 0);
	assert_int_equal(server_requests(), 0);
}

/* The same, and then the host says what it has made. */
static void
test_unsubscribed_meanwhile(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	wh_engine_unsubscribe(e, 1);
	made("1");
	came_back(1, WH_DO_DROP, 1);
	assert_int_equal(wh_engine_in_flight(e), 0);
	assert_int_equal(server_requests(), 0);
}

/* An answer for what has gone meanwhile is nobody's, even while the same delivery is out again. */
static void
test_late_answer(void **state)
{
	uint64_t before;

	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	before = token;
	wh_engine_unsubscribe(e, 1);
	assert_null(to_transform());
	came_back(1, WH_DO_DROP, 1);
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	answer(before, WH_OUT_DELIVERED, "late");
	wh_engine_run(e);
	assert_int_equal(server_requests(), 0);
	assert_int_equal(wh_engine_in_flight(e), 1);
	made("1");
	delivered(1);
	assert_string_equal(server_body(0), "1");
}

/* It was paused, and the answer came before anybody looked: what was made is not sent. */
static void
test_paused_at_the_answer(void **state)
{
	WhSubscription sub = transformed(1, at("/status/200"));

	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	sub.paused = true;
	assert_true(wh_engine_subscribe(e, &sub));
	made("1");
	came_back(1, WH_DO_DEFER, 0);
	assert_int_equal(wh_bodies_held(), 0);
	assert_int_equal(wh_engine_in_flight(e), 0);
	wh_engine_run(e);
	assert_int_equal(server_requests(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_timeouts),       with_engine(test_probe_skipped),
		with_engine(test_probe_failed),   with_engine(test_breaker_unmoved),
		with_engine(test_turns),          with_engine(test_rate),
		with_engine(test_rate_read_anew), with_engine(test_stop),
		with_engine(test_drain),          with_engine(test_stop_batch),
		with_engine(test_unsubscribed),   with_engine(test_unsubscribed_meanwhile),
		with_engine(test_late_answer),    with_engine(test_paused_at_the_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
