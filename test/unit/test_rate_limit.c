/*
 * test_rate_limit.c
 *	  The rate limit: no second sees more starts than it allows, wherever the
 *	  second begins and however late the host wakes up; and nearly as many are
 *	  made as it allows.
 */
#include "unit.h"

#include <stdlib.h>

#include "rate_limit.h"

#define SECOND INT64_C(1000000)
#define START (INT64_C(1700000000) * SECOND)
#define SECONDS 20

static const int rates[] = {1, 2, 3, 7, 50, 51, 99, 100, 1000, 9999, 100000};

static uint64_t dice = 1;

static int64_t
below(int64_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (int64_t) ((dice >> 20) % (uint64_t) n);
}

/* Start as many as may be for SECONDS, waking up late by up to `late` microseconds; returns how many. */
static int
run(int rate, int64_t late, int64_t idle_until)
{
	int64_t *at = calloc((size_t) rate * SECONDS + 1, sizeof(int64_t));
	WhRate r = {0};
	int64_t now = START;
	int n = 0;

	wh_rate_set(&r, rate, now);
	now += idle_until;
	while (now < START + SECONDS * SECOND)
	{
		if (wh_rate_next(&r) > now)
		{
			now = wh_rate_next(&r) + (late > 0 ? below(late) : 0);
			continue;
		}
		/* within a second there were fewer than `rate` before this one */
		if (n >= rate)
			assert_true(now - at[n - rate] >= SECOND);
		at[n++] = now;
		wh_rate_take(&r, now);
	}
	free(at);
	return n;
}

static void
test_never_more(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(rates); i++)
		for (int64_t late = 0; late <= 200000; late = late * 10 + 20)
		{
			run(rates[i], late, 0);
			run(rates[i], late, 5 * SECOND);
		}
}

/* On time, or late by less than the slack, the pace is kept, except for a fiftieth. */
static void
test_nearly_all(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(rates); i++)
		for (int64_t late = 0; late <= WH_RATE_SLACK_US; late += WH_RATE_SLACK_US / 4)
		{
			int n = run(rates[i], late, 0);

			assert_int_in_range(n, rates[i] * SECONDS * 0.975, rates[i] * SECONDS);
		}
}

static void
test_no_limit(void **state)
{
	WhRate r = {0};

	(void) state;
	assert_int_equal(wh_rate_next(&r), 0);
	wh_rate_take(&r, START);
	assert_int_equal(wh_rate_next(&r), 0);
	wh_rate_set(&r, 5, START);
	wh_rate_take(&r, START);
	assert_true(wh_rate_next(&r) > START);
	wh_rate_set(&r, 0, START);
	assert_int_equal(wh_rate_next(&r), 0);
}

/* A change counts at once, in both directions; what is no change takes nothing back. */
static void
test_change(void **state)
{
	WhRate r = {0};
	int64_t next;

	(void) state;
	wh_rate_set(&r, 1, START);
	assert_true(wh_rate_next(&r) <= START);
	wh_rate_take(&r, START);
	next = wh_rate_next(&r);
	assert_int_in_range(next, START + SECOND, START + SECOND + WH_RATE_SLACK_US);
	wh_rate_set(&r, 1, START + 10);
	assert_int_equal(wh_rate_next(&r), next);
	wh_rate_set(&r, 1000, START + 10);
	assert_true(wh_rate_next(&r) <= START + 10);
	for (int i = 0; i < 30; i++)
		wh_rate_take(&r, START + 10);
	wh_rate_set(&r, 2, START + 20);
	wh_rate_take(&r, START + 20);
	assert_int_in_range(wh_rate_next(&r), START + 20 + SECOND / 2 - WH_RATE_SLACK_US, START + 20 + SECOND);
}

static void
test_clock_set_back(void **state)
{
	WhRate r = {0};

	(void) state;
	wh_rate_set(&r, 10, START);
	wh_rate_take(&r, START);
	wh_rate_take(&r, START - 3600 * SECOND);
	assert_int_in_range(wh_rate_next(&r), START - 3600 * SECOND, START - 3599 * SECOND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_never_more),     cmocka_unit_test(test_nearly_all),
		cmocka_unit_test(test_no_limit),       cmocka_unit_test(test_change),
		cmocka_unit_test(test_clock_set_back),
	};

	return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
