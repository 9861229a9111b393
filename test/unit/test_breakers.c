/*
 * test_breakers.c
 *	  The engine and a breaker, end to end: it opens, what waits is given back,
 *	  a probe goes out when it is due, and the answer to it closes it or not.
 */
#include "engine_unit.h"

#include "breaker.h"

#define ENTITIES 30

static WhCounts
counts(void)
{
	WhCounts c;
	int64_t id;

	assert_true(wh_engine_counts(e, 0, &id, &c));
	return c;
}

static int
forget_outcomes(WhDisposal disposal)
{
	WhDelivery *d;
	int n = 0;

	while ((d = wh_engine_take(e)) != NULL)
	{
		n += d->disposal == disposal;
		wh_delivery_free(d);
	}
	return n;
}

/* Fail until it opens: the first ten, and those that are under way then; all else is deferred. */
static void
open_it(void)
{
	int failed;
	int deferred = 0;
	WhDelivery *d;

	subscribe(1, at("/recover"));
	for (int i = 1; i <= ENTITIES; i++)
	{
		char entity[] = {(char) ('A' + i), '\0'};

		submit(1, i, entity);
	}
	run_until(outcomes_are, ENTITIES);
	failed = server_requests();
	assert_int_in_range(failed, WH_BREAKER_FAILURES, WH_BREAKER_FAILURES + 8);
	while ((d = wh_engine_take(e)) != NULL)
	{
		assert_int_equal(d->disposal, d->attempted ? WH_DO_RETRY : WH_DO_DEFER);
		assert_int_equal(d->attempts, d->attempted ? 1 : 0);
		deferred += !d->attempted;
		wh_delivery_free(d);
	}
	assert_int_equal(deferred, ENTITIES - failed);
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	assert_int_equal(counts().queued, 0);
	server_forget();
}

static void
test_open(void **state)
{
	int64_t held[2] = {0};
	int room;

	(void) state;
	assert_int_equal(wh_engine_not_due(e, (int64_t[2]){0}, 2), 0);
	open_it();
	assert_int_equal(wh_engine_not_due(e, held, 2), 1);
	assert_int_equal(held[0], 1);
	assert_int_equal(wh_engine_not_due(e, held, 0), 0);
	wh_engine_run(e);
	assert_true(wh_engine_deadline(e) > now_us() + 3 * SECOND);
	assert_true(wh_engine_deadline(e) < now_us() + 6 * SECOND);

	/* what comes now is kept; nothing is fetched; nothing is sent; no probe yet */
	submit(1, 100, "new");
	wh_engine_run(e);
	assert_int_equal(forget_outcomes(WH_DO_DEFER), 1);
	assert_int_equal(wh_engine_deferred_to_fetch(e, &room), 0);
	assert_int_equal(wh_engine_to_probe(e), 0);
	assert_int_equal(wh_engine_to_expedite(e), 0);
	assert_int_equal(server_requests(), 0);
}

/* What a delivery may not be put off by, its breaker may not be either: Retry-After of any other status. */
static void
test_retry_after(void **state)
{
	static const struct
	{
		const char *path;
		int64_t wait_us;
	} asked[] = {
		{"/retry-after/503/3600", 3600 * SECOND},
		{"/retry-after/429/3600", 3600 * SECOND},
		{"/retry-after/500/3600", 5 * SECOND},
		{"/retry-after/502/3600", 5 * SECOND},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(asked); i++)
	{
		int64_t wait_us;

		subscribe(1, at(asked[i].path));
		for (int n = 1; n <= WH_BREAKER_FAILURES; n++)
		{
			char entity[] = {(char) ('A' + n), '\0'};

			submit(1, n, entity);
		}
		run_until(outcomes_are, WH_BREAKER_FAILURES);
		assert_int_equal(forget_outcomes(WH_DO_RETRY), WH_BREAKER_FAILURES);
		assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
		wh_engine_run(e); /* it looks when that is */
		wait_us = wh_engine_deadline(e) - now_us();
		if (wait_us > asked[i].wait_us * 11 / 10 || wait_us < asked[i].wait_us * 8 / 10)
			fail_msg("%s: the probe is due in %" PRId64 " us", asked[i].path, wait_us);
		wh_engine_unsubscribe(e, 1);
	}
}

static void
probe(int64_t id, WhPushFrom from)
{
	WhSubmit row = {.subscription_id = 1, .from = from, .lane = 77, .attempts = 2, .first_us = START};

	wh_engine_run(e);
	assert_int_equal(wh_engine_to_probe(e), 1);
	assert_int_equal(wh_engine_to_probe(e), 0);
	assert_true(submit_as(&row, id, "B"));
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	wh_engine_run(e); /* it is started, and may have ended too */
}

static void
test_probe(void **state)
{
	int64_t sub = 0;
	uint64_t lane;
	WhDelivery *d;

	(void) state;
	open_it();
	assert_true(wh_engine_restore_lane(e, 1, 77, 2));
	skew += 6 * SECOND;
	probe(1, WH_FROM_STORED);
	d = outcome();
	assert_int_equal(d->disposal, WH_DO_RETRY);
	assert_true(d->probe);
	wh_delivery_free(d);
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	assert_int_equal(server_requests(), 1);

	/* the next one not before ten seconds */
	skew += 6 * SECOND;
	wh_engine_run(e);
	assert_int_equal(wh_engine_to_probe(e), 0);
	skew += 6 * SECOND;
	server_release();
	probe(1, WH_FROM_STORED);
	delivered(1);
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
	assert_int_equal(wh_engine_not_due(e, (int64_t[2]){0}, 2), 0);
	assert_int_equal(wh_engine_to_expedite(e), 1);
	assert_int_equal(wh_engine_to_expedite(e), 0);
	assert_true(wh_engine_lane_to_fetch(e, &sub, &lane));
	assert_true(sub == 1 && lane == 77);
}

/* That a delivery is given up says nothing good about the endpoint: it opens all the same, and a probe does not close it. */
static void
test_given_up(void **state)
{
	WhSubscription sub = subscription(1, at("/recover"));
	WhDelivery *d;

	(void) state;
	sub.retry.give_up_us = 0;
	assert_true(wh_engine_subscribe(e, &sub));
	for (int i = 1; i <= WH_BREAKER_FAILURES; i++)
	{
		char entity[] = {(char) ('A' + i), '\0'};

		submit(1, i, entity);
	}
	run_until(outcomes_are, WH_BREAKER_FAILURES);
	assert_int_equal(forget_outcomes(WH_DO_DEAD_LETTER), WH_BREAKER_FAILURES);
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	submit(1, 100, "kept");
	wh_engine_run(e);
	assert_int_equal(forget_outcomes(WH_DO_DEFER), 1);
	skew += 6 * SECOND;
	probe(100, WH_FROM_DEFERRED);
	d = outcome();
	assert_true(d->probe);
	assert_int_equal(d->disposal, WH_DO_DEAD_LETTER);
	wh_delivery_free(d);
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	assert_int_equal(wh_engine_to_expedite(e), 0);
}

/* A probe that could not be fetched is asked for again; and there may be no row at all. */
static void
test_probe_is_empty(void **state)
{
	(void) state;
	open_it();
	skew += 6 * SECOND;
	wh_engine_run(e);
	assert_int_equal(wh_engine_to_probe(e), 1);
	assert_true(wh_engine_deadline(e) <= now_us() + SECOND);
	skew += SECOND;
	wh_engine_run(e);
	assert_int_equal(wh_engine_to_probe(e), 1);
	wh_engine_probe_is_empty(e, 1);
	wh_engine_run(e);
	assert_int_equal(wh_engine_to_probe(e), 0);
	assert_true(wh_engine_deadline(e) > now_us() + SECOND);

	/* then the next event is it, and the one after that must wait */
	server_release();
	submit(1, 100, "new");
	submit(1, 101, "newer");
	run_until(outcomes_are, 2);
	assert_int_equal(forget_outcomes(WH_DO_DEFER), 1);
	assert_int_equal(server_requests(), 1);
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
	assert_true(counts().catching_up);
}

/* Another URL, or a resume, is a reason to try at once. */
static void
test_reset(void **state)
{
	WhSubscription sub = subscription(1, url);

	(void) state;
	open_it();
	assert_true(wh_engine_subscribe(e, &sub));
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	sub.paused = true;
	assert_true(wh_engine_subscribe(e, &sub));
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	skew += 6 * SECOND;
	wh_engine_run(e);
	assert_int_equal(wh_engine_to_probe(e), 0);
	sub.paused = false;
	assert_true(wh_engine_subscribe(e, &sub));
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
	assert_int_equal(wh_engine_to_expedite(e), 1);
	wh_engine_expedite_again(e, 1);
	wh_engine_unsubscribe(e, 1);
	assert_int_equal(wh_engine_to_expedite(e), 0);

	server_forget();
	open_it();
	subscribe(1, at("/status/200"));
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
}

static void
test_unsubscribe(void **state)
{
	WhDelivery *d;

	(void) state;
	open_it();
	skew += 6 * SECOND;
	probe(1, WH_FROM_DEFERRED);
	wh_engine_unsubscribe(e, 1);
	assert_int_equal(wh_engine_not_due(e, (int64_t[2]){0}, 2), 0);
	/* the same again, while the probe of before is under way */
	subscribe(1, at("/status/200"));
	d = outcome();
	assert_true(d->probe);
	wh_delivery_free(d);
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
	submit(1, 200, "a");
	delivered(200);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_open),        with_engine(test_probe),       with_engine(test_probe_is_empty),
		with_engine(test_reset),       with_engine(test_unsubscribe), with_engine(test_given_up),
		with_engine(test_retry_after),
	};

	return cmocka_run_group_tests_name("deliver_breaker", tests, NULL, NULL);
}
