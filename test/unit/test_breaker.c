/*
 * test_breaker.c
 *	  The breaker: when it opens, how long it waits, what closes it, and that
 *	  no sequence of events makes an illegal move.
 */
#include "unit.h"

#include <stdlib.h>

#include "breaker.h"

#define SECOND INT64_C(1000000)
#define NOW INT64_C(1700000000000000)
#define RAND_MIDDLE 0.5 /* no jitter */

static bool
ended(WhBreaker *b, WhClass class)
{
	return wh_breaker_ended(b, class, false, NOW, -1, RAND_MIDDLE);
}

static bool
probe_ended(WhBreaker *b, WhClass class, int64_t asked_us)
{
	return wh_breaker_ended(b, class, true, NOW, asked_us, RAND_MIDDLE);
}

static WhBreaker
opened(void)
{
	WhBreaker b = {0};

	for (int i = 1; i < WH_BREAKER_FAILURES; i++)
		assert_false(ended(&b, WH_CLASS_ENDPOINT));
	assert_true(ended(&b, WH_CLASS_ENDPOINT));
	assert_int_equal(b.state, WH_BREAKER_OPEN);
	return b;
}

static void
test_opens_after_failures_in_a_row(void **state)
{
	static const WhClass answers[] = {WH_CLASS_DELIVERED, WH_CLASS_RETRY, WH_CLASS_GIVE_UP, WH_CLASS_DISABLE};
	WhBreaker b = {0};

	(void) state;
	/* any answer restarts the count; what was not tried says nothing */
	for (size_t i = 0; i < lengthof(answers); i++)
	{
		for (int k = 1; k < WH_BREAKER_FAILURES; k++)
		{
			assert_false(ended(&b, WH_CLASS_ENDPOINT));
			assert_false(ended(&b, WH_CLASS_ABORTED));
		}
		assert_false(ended(&b, answers[i]));
		assert_int_equal(b.state, WH_BREAKER_CLOSED);
	}
	assert_false(wh_breaker_probe_due(&b, INT64_MAX));
	b = opened();
	assert_false(wh_breaker_probe_due(&b, NOW + 5 * SECOND - 1));
	assert_true(wh_breaker_probe_due(&b, NOW + 5 * SECOND));
}

static void
test_stragglers_do_not_count(void **state)
{
	WhBreaker b = opened();

	(void) state;
	assert_false(ended(&b, WH_CLASS_DELIVERED));
	assert_false(ended(&b, WH_CLASS_ENDPOINT));
	assert_int_equal(b.state, WH_BREAKER_OPEN);
	assert_int_equal(b.probe_at_us, NOW + 5 * SECOND);
	wh_breaker_probe(&b);
	assert_int_equal(b.state, WH_BREAKER_HALF_OPEN);
	assert_false(ended(&b, WH_CLASS_DELIVERED));
	assert_false(ended(&b, WH_CLASS_ENDPOINT));
	assert_false(probe_ended(&b, WH_CLASS_ABORTED, -1));
	assert_int_equal(b.state, WH_BREAKER_HALF_OPEN);
	assert_false(wh_breaker_probe_due(&b, INT64_MAX));
}

static void
test_backoff(void **state)
{
	static const int waits[] = {5, 10, 20, 40, 80, 160, 320, 600, 600, 600};
	WhBreaker b = opened();

	(void) state;
	for (size_t i = 0; i < lengthof(waits); i++)
	{
		assert_int_equal(b.probe_at_us, NOW + waits[i] * SECOND);
		wh_breaker_probe(&b);
		assert_true(probe_ended(&b, WH_CLASS_ENDPOINT, -1));
		assert_int_equal(b.state, WH_BREAKER_OPEN);
	}
	/* when it opens the next time it starts again */
	wh_breaker_probe(&b);
	assert_true(probe_ended(&b, WH_CLASS_DELIVERED, -1));
	assert_int_equal(b.state, WH_BREAKER_CLOSED);
	b = opened();
	assert_int_equal(b.probe_at_us, NOW + 5 * SECOND);
}

static void
test_jitter(void **state)
{
	WhBreaker b = {.failures = WH_BREAKER_FAILURES - 1};
	WhBreaker c = b;

	(void) state;
	assert_true(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, -1, 0.0));
	assert_int_in_range(b.probe_at_us - NOW, 45 * SECOND / 10 - 1, 45 * SECOND / 10);
	assert_true(wh_breaker_ended(&c, WH_CLASS_ENDPOINT, false, NOW, -1, 0.9999999));
	assert_int_in_range(c.probe_at_us - NOW, 55 * SECOND / 10 - 10, 55 * SECOND / 10);
}

/* A probe may come later than Retry-After asks for, not sooner. */
static void
test_retry_after(void **state)
{
	WhBreaker b = {.failures = WH_BREAKER_FAILURES - 1};

	(void) state;
	assert_true(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, 3600 * SECOND, RAND_MIDDLE));
	assert_int_equal(b.probe_at_us, NOW + 3600 * SECOND);
	wh_breaker_probe(&b);
	assert_true(probe_ended(&b, WH_CLASS_ENDPOINT, SECOND));
	assert_int_equal(b.probe_at_us, NOW + 10 * SECOND);
	wh_breaker_probe(&b);
	assert_true(probe_ended(&b, WH_CLASS_ENDPOINT, INT64_MAX));
	assert_int_equal(b.probe_at_us, NOW + 86400 * SECOND);
}

/* The latest time that any of the failures asked for counts, whichever opens it; an answer ends that. */
static void
test_retry_after_of_each(void **state)
{
	WhBreaker b = {0};

	(void) state;
	assert_false(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, 7200 * SECOND, RAND_MIDDLE));
	assert_false(ended(&b, WH_CLASS_RETRY));
	assert_false(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, 3600 * SECOND, RAND_MIDDLE));
	assert_false(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, 60 * SECOND, RAND_MIDDLE));
	while (b.failures < WH_BREAKER_FAILURES - 1)
		assert_false(ended(&b, WH_CLASS_ENDPOINT));
	assert_true(ended(&b, WH_CLASS_ENDPOINT));
	assert_int_equal(b.probe_at_us, NOW + 3600 * SECOND);
	/* one that was under way when it opened */
	assert_false(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, 60 * SECOND, RAND_MIDDLE));
	assert_int_equal(b.probe_at_us, NOW + 3600 * SECOND);
	assert_false(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, 3601 * SECOND, RAND_MIDDLE));
	assert_int_equal(b.probe_at_us, NOW + 3601 * SECOND);
	/* when a probe has been made that time is over */
	wh_breaker_probe(&b);
	assert_true(probe_ended(&b, WH_CLASS_ENDPOINT, -1));
	assert_int_equal(b.probe_at_us, NOW + 10 * SECOND);
	/* and so it is when somebody has changed what was wrong */
	assert_false(wh_breaker_ended(&b, WH_CLASS_ENDPOINT, false, NOW, 3600 * SECOND, RAND_MIDDLE));
	assert_true(wh_breaker_reset(&b));
	assert_int_equal(b.asked_at_us, 0);
}

static void
test_any_answer_closes(void **state)
{
	static const WhClass answers[] = {WH_CLASS_DELIVERED, WH_CLASS_RETRY, WH_CLASS_GIVE_UP, WH_CLASS_DISABLE};

	(void) state;
	for (size_t i = 0; i < lengthof(answers); i++)
	{
		WhBreaker b = opened();

		wh_breaker_probe(&b);
		assert_true(probe_ended(&b, answers[i], -1));
		assert_int_equal(b.state, WH_BREAKER_CLOSED);
		assert_int_equal(b.failures, 0);
	}
}

static void
test_reset(void **state)
{
	WhBreaker b = {.failures = 9};

	(void) state;
	assert_false(wh_breaker_reset(&b));
	assert_int_equal(b.failures, 0);
	b = opened();
	assert_true(wh_breaker_reset(&b));
	b = opened();
	wh_breaker_probe(&b);
	assert_true(wh_breaker_reset(&b));
	assert_int_equal(b.state, WH_BREAKER_CLOSED);
	/* the probe of before ends: one request like any other */
	assert_false(probe_ended(&b, WH_CLASS_ENDPOINT, -1));
	assert_int_equal(b.failures, 1);
}

/* Whatever happens: the assertions in breaker.c hold, and it never waits forever. */
static void
test_any_sequence(void **state)
{
	WhBreaker b = {0};
	int64_t now = NOW;
	bool n_in_flight = false;
	int moves = 0;

	(void) state;
	srandom(1);
	for (int i = 0; i < 200000; i++)
	{
		WhClass class = random() % 8 ? WH_CLASS_ENDPOINT : (WhClass) (random() % (WH_CLASS_ABORTED + 1));
		bool probe = n_in_flight && random() % 2;

		now += random() % (60 * SECOND);
		if (wh_breaker_probe_due(&b, now))
		{
			wh_breaker_probe(&b);
			n_in_flight = true;
		}
		moves +=
			wh_breaker_ended(&b, class, probe, now, random() % 64 ? -1 : random(), (random() % 1000) / 1e3);
		n_in_flight = n_in_flight && b.state == WH_BREAKER_HALF_OPEN;
		if (random() % 1000 == 0)
			moves += wh_breaker_reset(&b);
		if (b.state == WH_BREAKER_OPEN)
			assert_int_in_range(b.probe_at_us, NOW, now + 660 * SECOND + RAND_MAX);
	}
	assert_true(moves > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opens_after_failures_in_a_row),
		cmocka_unit_test(test_stragglers_do_not_count),
		cmocka_unit_test(test_backoff),
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_retry_after_of_each),
		cmocka_unit_test(test_any_answer_closes),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_any_sequence),
	};

	return cmocka_run_group_tests_name("breaker", tests, NULL, NULL);
}
