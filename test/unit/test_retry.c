/*
 * test_retry.c
 *	  Outcome -> word and class, every kind and every status; the schedule, its
 *	  jitter, and the edge where giving up begins.
 */
#include "unit.h"

#include "retry.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define NOW INT64_C(1700000000000000)

#define RAND_MIDDLE 0.5 /* no jitter */
#define RAND_MOST 0.99999999999999989

static const WhRetryPolicy policy = {3, {10 * SECOND, 60 * SECOND, HOUR}, 3 * DAY};

static const struct
{
	WhOutcomeKind kind;
	const char *word;
	WhClass class; /* with a status of 0 */
} kinds[] = {
	{WH_OUT_DELIVERED, "delivered", WH_CLASS_DELIVERED},
	{WH_OUT_HTTP_ERROR, "http_error", WH_CLASS_RETRY},
	{WH_OUT_REFUSED, "refused", WH_CLASS_ENDPOINT},
	{WH_OUT_RESET, "reset", WH_CLASS_ENDPOINT},
	{WH_OUT_DNS, "dns", WH_CLASS_ENDPOINT},
	{WH_OUT_CONNECT_TIMEOUT, "connect_timeout", WH_CLASS_ENDPOINT},
	{WH_OUT_TIMEOUT, "timeout", WH_CLASS_ENDPOINT},
	{WH_OUT_TLS, "tls", WH_CLASS_ENDPOINT},
	{WH_OUT_ADDRESS, "address_refused", WH_CLASS_RETRY},
	{WH_OUT_TOO_LARGE, "too_large", WH_CLASS_RETRY},
	{WH_OUT_INTERNAL, "internal", WH_CLASS_RETRY},
	{WH_OUT_LOST, "lost", WH_CLASS_RETRY},
	{WH_OUT_ABORTED, "aborted", WH_CLASS_ABORTED},
	/* what no caller should ask */
	{WH_OUT_COUNT, "internal", WH_CLASS_RETRY},
	{(WhOutcomeKind) 1000, "internal", WH_CLASS_RETRY},
};

static void
test_kinds(void **state)
{
	(void) state;
	assert_true(lengthof(kinds) == WH_OUT_COUNT + 2);
	for (size_t i = 0; i < lengthof(kinds); i++)
	{
		check_row(kinds[i].word, strcmp(wh_outcome_word(kinds[i].kind), kinds[i].word) == 0);
		check_row(kinds[i].word, wh_outcome_class(kinds[i].kind, 0) == kinds[i].class);
		/* the status is looked at only where there was one */
		if (kinds[i].kind != WH_OUT_HTTP_ERROR)
			check_row(kinds[i].word, wh_outcome_class(kinds[i].kind, 410) == kinds[i].class);
	}
}

static void
test_statuses(void **state)
{
	(void) state;
	for (int status = -1; status < 1000; status++)
	{
		WhClass class = wh_outcome_class(WH_OUT_HTTP_ERROR, status);
		WhClass right = WH_CLASS_RETRY;

		if (status == 410)
			right = WH_CLASS_DISABLE;
		else if (status == 408 || status == 429 || status / 100 == 5)
			right = WH_CLASS_ENDPOINT;
		if (class != right)
			fail_msg("status %d has class %d", status, (int) class);
	}
}

static void
test_schedule(void **state)
{
	static const struct
	{
		int attempts;
		int64_t delay_us;
	} rows[] = {
		{-1, 10 * SECOND}, {0, 10 * SECOND}, {1, 10 * SECOND}, {2, 60 * SECOND},
		{3, HOUR},         {4, HOUR},        {1000, HOUR},     {INT32_MAX, HOUR},
	};
	WhRetryPolicy one = {1, {5 * SECOND}, DAY};
	WhRetryPolicy none = {0, {5 * SECOND}, DAY};
	WhRetryPolicy full = {WH_SCHEDULE_MAX, {0}, DAY};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
		assert_int_equal(wh_retry_delay(&policy, rows[i].attempts), rows[i].delay_us);
	assert_int_equal(wh_retry_delay(&one, 1), 5 * SECOND);
	assert_int_equal(wh_retry_delay(&one, 7), 5 * SECOND);
	assert_int_equal(wh_retry_delay(&none, 1), 0);

	for (int i = 0; i < WH_SCHEDULE_MAX; i++)
		full.delay_us[i] = i;
	for (int i = 1; i <= WH_SCHEDULE_MAX; i++)
		assert_int_equal(wh_retry_delay(&full, i), i - 1);
	full.n = WH_SCHEDULE_MAX + 1; /* must not be read past its end */
	assert_int_equal(wh_retry_delay(&full, 100), WH_SCHEDULE_MAX - 1);
}

static WhVerdict
verdict(WhOutcomeKind kind, int status, int attempts, int64_t age_us, double rand)
{
	return wh_retry_verdict(&policy, kind, status, attempts, NOW - age_us, NOW, rand);
}

static void
test_verdicts(void **state)
{
	static const struct
	{
		const char *name;
		WhOutcomeKind kind;
		int status;
		int attempts;
		int64_t age_us; /* of the first attempt */
		WhClass class;
		int64_t delay_us;
	} rows[] = {
		{"delivered", WH_OUT_DELIVERED, 200, 1, 0, WH_CLASS_DELIVERED, 0},
		{"delivered late", WH_OUT_DELIVERED, 200, 90, 30 * DAY, WH_CLASS_DELIVERED, 0},
		{"aborted", WH_OUT_ABORTED, 0, 0, 0, WH_CLASS_ABORTED, 0},
		{"aborted late", WH_OUT_ABORTED, 0, 9, 30 * DAY, WH_CLASS_ABORTED, 0},
		{"first 404", WH_OUT_HTTP_ERROR, 404, 1, 0, WH_CLASS_RETRY, 10 * SECOND},
		{"first 503", WH_OUT_HTTP_ERROR, 503, 1, 0, WH_CLASS_ENDPOINT, 10 * SECOND},
		{"third refusal", WH_OUT_REFUSED, 0, 3, 70 * SECOND, WH_CLASS_ENDPOINT, HOUR},
		{"lost", WH_OUT_LOST, 0, 2, SECOND, WH_CLASS_RETRY, 60 * SECOND},
		{"404 too late", WH_OUT_HTTP_ERROR, 404, 80, 3 * DAY, WH_CLASS_GIVE_UP, 0},
		{"503 too late", WH_OUT_HTTP_ERROR, 503, 80, 3 * DAY, WH_CLASS_GIVE_UP, 0},
		{"last one just in time", WH_OUT_DNS, 0, 80, 3 * DAY - HOUR, WH_CLASS_ENDPOINT, HOUR},
		{"a microsecond later", WH_OUT_DNS, 0, 80, 3 * DAY - HOUR + 1, WH_CLASS_GIVE_UP, 0},
		{"410", WH_OUT_HTTP_ERROR, 410, 1, 0, WH_CLASS_DISABLE, 10 * SECOND},
		{"410 too late", WH_OUT_HTTP_ERROR, 410, 80, 9 * DAY, WH_CLASS_DISABLE, HOUR},
		{"clock set back", WH_OUT_RESET, 0, 1, -DAY, WH_CLASS_ENDPOINT, 10 * SECOND},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhVerdict v = verdict(rows[i].kind, rows[i].status, rows[i].attempts, rows[i].age_us, RAND_MIDDLE);

		check_row(rows[i].name, v.class == rows[i].class);
		check_row(rows[i].name, v.delay_us == rows[i].delay_us);
	}
}

/* 90 % to 110 %, reached at the ends, and monotonic between them. */
static void
test_jitter(void **state)
{
	int64_t before = 0;

	(void) state;
	assert_in_range(verdict(WH_OUT_TIMEOUT, 0, 3, 0, 0.0).delay_us, HOUR * 9 / 10 - 1, HOUR * 9 / 10);
	assert_in_range(verdict(WH_OUT_TIMEOUT, 0, 3, 0, RAND_MOST).delay_us, HOUR * 11 / 10 - 2, HOUR * 11 / 10);
	for (int i = 0; i < 1000; i++)
	{
		WhVerdict v = verdict(WH_OUT_TIMEOUT, 0, 3, 0, i / 1000.0);

		assert_in_range(v.delay_us, HOUR * 9 / 10 - 1, HOUR * 11 / 10);
		assert_true(v.delay_us > before);
		before = v.delay_us;
	}
}

/* It is the jittered delay that has to end in time. */
static void
test_jitter_at_the_edge(void **state)
{
	(void) state;
	assert_int_equal(verdict(WH_OUT_TLS, 0, 80, 3 * DAY - HOUR, 0.0).class, WH_CLASS_ENDPOINT);
	assert_int_equal(verdict(WH_OUT_TLS, 0, 80, 3 * DAY - HOUR, RAND_MOST).class, WH_CLASS_GIVE_UP);
}

/* Nonsense in a policy must not overflow. */
static void
test_extremes(void **state)
{
	WhRetryPolicy endless = {1, {INT64_MAX}, INT64_MAX};
	WhRetryPolicy at_once = {1, {0}, 0};
	WhRetryPolicy negative = {1, {-5}, 10};
	WhVerdict v;

	(void) state;
	v = wh_retry_verdict(&endless, WH_OUT_DNS, 0, 1, 0, 0, RAND_MOST);
	assert_int_equal(v.class, WH_CLASS_ENDPOINT);
	assert_int_equal(v.delay_us, INT64_MAX);
	v = wh_retry_verdict(&endless, WH_OUT_DNS, 0, 1, 0, 1, RAND_MOST);
	assert_int_equal(v.class, WH_CLASS_GIVE_UP);
	v = wh_retry_verdict(&endless, WH_OUT_DNS, 0, 1, 0, INT64_MAX, 0.0);
	assert_int_equal(v.class, WH_CLASS_GIVE_UP);

	v = wh_retry_verdict(&at_once, WH_OUT_DNS, 0, 1, NOW, NOW, RAND_MIDDLE);
	assert_int_equal(v.class, WH_CLASS_ENDPOINT);
	assert_int_equal(v.delay_us, 0);
	v = wh_retry_verdict(&at_once, WH_OUT_DNS, 0, 1, NOW - 1, NOW, RAND_MIDDLE);
	assert_int_equal(v.class, WH_CLASS_GIVE_UP);

	v = wh_retry_verdict(&negative, WH_OUT_DNS, 0, 1, NOW, NOW, RAND_MIDDLE);
	assert_int_equal(v.delay_us, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),    cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_schedule), cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_jitter),   cmocka_unit_test(test_jitter_at_the_edge),
		cmocka_unit_test(test_extremes),
	};

	return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
