/*
 * test_test_events.c
 *	  A test event is sent whatever holds its subscription up, is tried once,
 *	  and leaves nothing behind: no retry, no dead letter, no mark on the breaker
 *	  or in the figures.
 */
#include "engine_unit.h"

#include "breaker.h"
#include "test_events.h"

static void
submit_test_as(WhPushFrom from, int64_t id)
{
	WhEvent event = {
		.id = id, .subscription_id = 1, .entity_id = "A", .entity_type = "order", .action_type = "test"};
	WhSubmit submit = {.subscription_id = 1, .from = from, .page = 1};

	submit.event = wh_event_make(&event);
	assert_non_null(submit.event);
	assert_true(wh_engine_submit(e, &submit));
	wh_event_release(submit.event);
}

static void
submit_test(int64_t id)
{
	submit_test_as(WH_FROM_LOG, id);
}

/* The next outcome is this test's, and it is the end of it. */
static void
ended(int64_t id, bool attempted, WhDisposal disposal)
{
	WhDelivery *d = outcome();

	assert_int_equal(d->event->id, id);
	assert_int_equal(d->attempted, attempted);
	assert_int_equal(d->disposal, disposal);
	assert_int_equal(d->page, 1);
	wh_delivery_free(d);
}

static WhCounts
counts(void)
{
	WhCounts c;
	int64_t id;

	assert_true(wh_engine_counts(e, 0, &id, &c));
	return c;
}

static void
test_paused(void **state)
{
	WhSubscription sub = subscription(1, at("/status/200"));

	(void) state;
	sub.paused = true;
	assert_true(wh_engine_subscribe(e, &sub));
	submit_test(1);
	ended(1, true, WH_DO_DONE);
	assert_int_equal(counts().delivered, 0);
}

static void
test_behind_nothing(void **state)
{
	(void) state;
	/* an earlier delivery of the same entity hangs; the test passes it, and what comes after is not held up by it */
	subscribe(1, at("/hang"));
	submit(1, 1, "A");
	run_until(requests_are, 1);
	subscribe(1, at("/status/200"));
	submit_test(2);
	ended(2, true, WH_DO_DONE);
	submit(1, 3, "B");
	delivered(3);
}

static void
test_failing(void **state)
{
	(void) state;
	subscribe(1, at("/status/500"));
	for (int i = 1; i <= 2 * WH_BREAKER_FAILURES; i++)
	{
		submit_test(i);
		ended(i, true, WH_DO_DROP);
	}
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
	assert_int_equal(counts().failed, 0);
}

static void
test_gone(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/status/410"));
	submit_test(1);
	d = outcome();
	assert_int_equal(d->http_status, 410);
	assert_int_equal(d->class, WH_CLASS_GIVE_UP); /* and not WH_CLASS_DISABLE */
	assert_int_equal(d->disposal, WH_DO_DROP);
	wh_delivery_free(d);
}

static void
test_lost(void **state)
{
	(void) state;
	subscribe(1, at("/status/200"));
	submit_test_as(WH_FROM_INTERRUPTED, 1);
	ended(1, false, WH_DO_DROP);
	assert_int_equal(server_requests(), 0);
}

static void
test_stop(void **state)
{
	(void) state;
	subscribe(1, at("/hang"));
	for (int i = 1; i <= 9; i++) /* eight requests at once, so that one waits */
		submit_test(i);
	run_until(requests_are, 8);
	wh_engine_stop(e);
	for (int i = 0; i < 9; i++)
	{
		WhDelivery *d = wh_engine_take(e);

		assert_non_null(d);
		assert_false(d->attempted);
		assert_int_equal(d->disposal, WH_DO_DROP);
		wh_delivery_free(d);
	}
	assert_null(wh_engine_take(e));
}

static void
test_bounded(void **state)
{
	(void) state;
	subscribe(1, at("/status/200"));
	assert_true(wh_engine_has_room(e));
	for (int i = 1; i <= WH_TESTS_MAX; i++)
		submit_test(i);
	assert_false(wh_engine_has_room(e));
	run_until(outcomes_are, WH_TESTS_MAX);
	assert_true(wh_engine_has_room(e));
}

static void
test_unsubscribed(void **state)
{
	(void) state;
	subscribe(1, at("/status/200"));
	submit_test(1);
	wh_engine_unsubscribe(e, 1);
	wh_engine_run(e);
	ended(1, false, WH_DO_DROP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_paused),  with_engine(test_behind_nothing), with_engine(test_failing),
		with_engine(test_gone),    with_engine(test_lost),           with_engine(test_stop),
		with_engine(test_bounded), with_engine(test_unsubscribed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
