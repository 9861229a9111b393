/*
 * test_log_throttle.c
 *	  Lines of the log: at most one a minute of each subscription, and whatever
 *	  happens in between is in the next one, also where nothing more comes.
 */
#include "unit.h"

#include <stdlib.h>

#include "log_throttle.h"

#define SECOND INT64_C(1000000)
#define START (INT64_C(1700000000) * SECOND)
#define MINUTE WH_LOG_LINE_EVERY_US

static int
set_up(void **state)
{
	*state = wh_log_throttle_new();
	return *state ? 0 : -1;
}

static int
tear_down(void **state)
{
	wh_log_throttle_free(*state);
	return 0;
}

static void
dead_letter(WhLogThrottle *lines, int64_t id, const char *outcome)
{
	WhNews *news = wh_log_throttle_news(lines, id);

	assert_non_null(news);
	news->dead_letters++;
	news->outcome = outcome;
}

static WhNews
expect(WhLogThrottle *lines, int64_t now, int64_t id)
{
	WhNews news;
	int64_t got;

	assert_true(wh_log_throttle_take(lines, now, &got, &news));
	assert_int_equal(got, id);
	return news;
}

static void
expect_none(WhLogThrottle *lines, int64_t now)
{
	WhNews news;
	int64_t got;

	assert_false(wh_log_throttle_take(lines, now, &got, &news));
}

static void
test_at_once(void **state)
{
	WhLogThrottle *lines = *state;
	WhNews news;

	expect_none(lines, START);
	assert_int_equal(wh_log_throttle_due(lines), INT64_MAX);
	dead_letter(lines, 7, "gone");
	dead_letter(lines, 7, "timeout");
	dead_letter(lines, 8, "refused");
	assert_true(wh_log_throttle_due(lines) <= START);
	news = expect(lines, START, 7);
	assert_int_equal(news.dead_letters, 2);
	assert_string_equal(news.outcome, "timeout");
	assert_false(news.again);
	news = expect(lines, START, 8);
	assert_int_equal(news.dead_letters, 1);
	expect_none(lines, START);
}

static void
test_within_the_minute(void **state)
{
	WhLogThrottle *lines = *state;
	WhNews news;

	dead_letter(lines, 7, "gone");
	(void) expect(lines, START, 7);
	for (int i = 0; i < 5; i++)
		dead_letter(lines, 7, "timeout");
	wh_log_throttle_news(lines, 7)->opened++;
	expect_none(lines, START);
	expect_none(lines, START + MINUTE - 1);
	/* nothing more comes: there is a time to say what there is */
	assert_int_equal(wh_log_throttle_due(lines), START + MINUTE);
	news = expect(lines, START + MINUTE, 7);
	assert_int_equal(news.dead_letters, 5);
	assert_int_equal(news.opened, 1);
	assert_true(news.again);
	expect_none(lines, START + MINUTE);
	/* and a minute is counted from there, however late that was */
	dead_letter(lines, 7, "timeout");
	expect_none(lines, START + 2 * MINUTE - 1);
	news = expect(lines, START + 2 * MINUTE, 7);
	assert_int_equal(news.dead_letters, 1);
}

static void
test_quiet_for_a_minute(void **state)
{
	WhLogThrottle *lines = *state;
	WhNews news;

	dead_letter(lines, 7, "gone");
	(void) expect(lines, START, 7);
	expect_none(lines, START + MINUTE);
	assert_int_equal(wh_log_throttle_due(lines), INT64_MAX); /* nothing is kept of it */
	dead_letter(lines, 7, "gone");
	news = expect(lines, START + MINUTE + 1, 7);
	assert_false(news.again);
}

static void
test_others_do_not_wait(void **state)
{
	WhLogThrottle *lines = *state;

	dead_letter(lines, 7, "gone");
	(void) expect(lines, START, 7);
	dead_letter(lines, 7, "gone");
	dead_letter(lines, 7 + 1024, "gone"); /* in its bucket */
	(void) expect(lines, START + 1, 7 + 1024);
	expect_none(lines, START + 1);
	(void) expect(lines, START + MINUTE, 7);
	expect_none(lines, START + MINUTE);
}

/* The worker ends: it asks for what there would be in a minute. */
static void
test_all_that_is_left(void **state)
{
	WhLogThrottle *lines = *state;

	for (int64_t id = 1; id <= 3; id++)
	{
		dead_letter(lines, id, "gone");
		(void) expect(lines, START + id, id);
		dead_letter(lines, id, "gone");
	}
	for (int64_t id = 1; id <= 3; id++)
		(void) expect(lines, START + 3 + MINUTE, id);
	expect_none(lines, START + 3 + MINUTE);
}

/* However things fall: no two lines of one within a minute, nothing lost, and due when there is something. */
static void
test_any_order(void **state)
{
	enum
	{
		SUBSCRIPTIONS = 3000
	};
	WhLogThrottle *lines = *state;
	int64_t *last = calloc(SUBSCRIPTIONS, sizeof(int64_t));
	int64_t now = START;
	int64_t noted = 0;
	int64_t said = 0;
	uint64_t dice = 1;
	int64_t id;
	WhNews news;

	assert_non_null(last);
	for (int i = 0; i < 200000; i++)
	{
		dice ^= dice << 13;
		dice ^= dice >> 7;
		dice ^= dice << 17;
		now += (int64_t) (dice >> 40) % 5000;
		dead_letter(lines, (int64_t) ((dice >> 8) % SUBSCRIPTIONS), "gone");
		noted++;
		if (i % 7 == 0)
			while (wh_log_throttle_take(lines, now, &id, &news))
			{
				assert_true(last[id] == 0 || now - last[id] >= MINUTE);
				assert_true(news.dead_letters > 0);
				assert_true(news.again || last[id] == 0 || now - last[id] >= MINUTE);
				last[id] = now;
				said += news.dead_letters;
			}
	}
	while (wh_log_throttle_due(lines) != INT64_MAX)
	{
		now = wh_log_throttle_due(lines) > now ? wh_log_throttle_due(lines) : now;
		while (wh_log_throttle_take(lines, now, &id, &news))
			said += news.dead_letters;
	}
	assert_int_equal(said, noted);
	free(last);
}

static void
test_no_memory(void **state)
{
	WhLogThrottle *lines = *state;

	dead_letter(lines, 7, "gone");
	fail_malloc_at(1);
	assert_null(wh_log_throttle_news(lines, 8));
	assert_true(malloc_has_failed());
	fail_malloc_at(1);
	assert_non_null(wh_log_throttle_news(lines, 7)); /* needs none */
	assert_null(wh_log_throttle_new());
	fail_malloc_at(0);
	(void) expect(lines, START, 7);
	expect_none(lines, START);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_within_the_minute, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_quiet_for_a_minute, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_others_do_not_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_all_that_is_left, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_any_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
