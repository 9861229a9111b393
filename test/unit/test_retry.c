/*
 * test_retry.c
 *	  Outcome -> word and class, every kind and every status; the schedule, its
 *	  jitter, and the last attempt, which is made when its time ends.
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

/* One row per outcome, by the words of docs/outcomes.md. */
static const struct
{
	WhOutcomeKind kind;
	const char *word;
	WhClass class;
} kinds[] = {
	{WH_OUT_DELIVERED, "delivered", WH_CLASS_DELIVERED},
	{WH_OUT_SKIPPED, "skipped", WH_CLASS_DELIVERED},
	{WH_OUT_REJECTED, "rejected", WH_CLASS_RETRY},
	{WH_OUT_REDIRECT, "redirect", WH_CLASS_RETRY},
	{WH_OUT_BAD_REQUEST, "bad_request", WH_CLASS_RETRY},
	{WH_OUT_UNAUTHORIZED, "unauthorized", WH_CLASS_RETRY},
	{WH_OUT_FORBIDDEN, "forbidden", WH_CLASS_RETRY},
	{WH_OUT_NOT_FOUND, "not_found", WH_CLASS_RETRY},
	{WH_OUT_REQUEST_TIMEOUT, "request_timeout", WH_CLASS_ENDPOINT},
	{WH_OUT_CONFLICT, "conflict", WH_CLASS_RETRY},
	{WH_OUT_GONE, "gone", WH_CLASS_DISABLE},
	{WH_OUT_PAYLOAD_TOO_LARGE, "payload_too_large", WH_CLASS_GIVE_UP},
	{WH_OUT_UNPROCESSABLE, "unprocessable", WH_CLASS_RETRY},
	{WH_OUT_TOO_MANY_REQUESTS, "too_many_requests", WH_CLASS_ENDPOINT},
	{WH_OUT_CLIENT_ERROR, "client_error", WH_CLASS_RETRY},
	{WH_OUT_BAD_GATEWAY, "bad_gateway", WH_CLASS_ENDPOINT},
	{WH_OUT_UNAVAILABLE, "unavailable", WH_CLASS_ENDPOINT},
	{WH_OUT_GATEWAY_TIMEOUT, "gateway_timeout", WH_CLASS_ENDPOINT},
	{WH_OUT_SERVER_ERROR, "server_error", WH_CLASS_ENDPOINT},
	{WH_OUT_HTTP_ERROR, "http_error", WH_CLASS_RETRY},
	{WH_OUT_REFUSED, "refused", WH_CLASS_ENDPOINT},
	{WH_OUT_RESET, "reset", WH_CLASS_ENDPOINT},
	{WH_OUT_DNS, "dns", WH_CLASS_ENDPOINT},
	{WH_OUT_CONNECT_TIMEOUT, "connect_timeout", WH_CLASS_ENDPOINT},
	{WH_OUT_TIMEOUT, "timeout", WH_CLASS_ENDPOINT},
	{WH_OUT_TLS_UNKNOWN_CA, "tls_unknown_ca", WH_CLASS_ENDPOINT},
	{WH_OUT_TLS_WRONG_HOST, "tls_wrong_host", WH_CLASS_ENDPOINT},
	{WH_OUT_TLS_EXPIRED, "tls_expired", WH_CLASS_ENDPOINT},
	{WH_OUT_TLS, "tls", WH_CLASS_ENDPOINT},
	{WH_OUT_PROXY, "proxy", WH_CLASS_ENDPOINT},
	{WH_OUT_OAUTH, "oauth", WH_CLASS_ENDPOINT},
	{WH_OUT_ADDRESS, "address_refused", WH_CLASS_RETRY},
	{WH_OUT_RESPONSE_TOO_LARGE, "response_too_large", WH_CLASS_RETRY},
	{WH_OUT_BODY_TOO_LARGE, "body_too_large", WH_CLASS_GIVE_UP},
	{WH_OUT_TRANSFORM, "transform_failed", WH_CLASS_RETRY},
	{WH_OUT_TRANSFORM_TIMEOUT, "transform_timeout", WH_CLASS_ENDPOINT},
	{WH_OUT_INTERNAL, "internal", WH_CLASS_RETRY},
	{WH_OUT_INTERRUPTED, "interrupted", WH_CLASS_RETRY},
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
		check_row(kinds[i].word, i >= WH_OUT_COUNT || kinds[i].kind == (WhOutcomeKind) i);
		check_row(kinds[i].word, strcmp(wh_outcome_word(kinds[i].kind), kinds[i].word) == 0);
		check_row(kinds[i].word, wh_outcome_class(kinds[i].kind) == kinds[i].class);
		for (size_t k = 0; k < i && i < WH_OUT_COUNT; k++)
			check_row(kinds[i].word, strcmp(kinds[i].word, kinds[k].word) != 0);
	}
}

/* The table that people read is this one: as many rows, each with its word and class. */
static void
test_documented(void **state)
{
	static const char *const classes[] = {[WH_CLASS_DELIVERED] = "delivered",
										  [WH_CLASS_RETRY] = "retry",
										  [WH_CLASS_ENDPOINT] = "endpoint trouble",
										  [WH_CLASS_GIVE_UP] = "give up",
										  [WH_CLASS_DISABLE] = "disable"};
	FILE *doc = fopen(DOCS "/outcomes.md", "r");
	char line[1024];
	size_t n = 0;

	(void) state;
	assert_non_null(doc);
	while (fgets(line, sizeof(line), doc))
	{
		char word[32];
		char class[32];
		size_t i = 0;

		if (sscanf(line, "| %*[^|]| `%31[a-z_0-9]` | %31[a-z ] |", word, class) != 2)
			continue;
		class[strcspn(class, "|")] = '\0';
		while (i < WH_OUT_ABORTED && strcmp(kinds[i].word, word) != 0)
			i++;
		check_row(word, i < WH_OUT_ABORTED);
		check_row(word, strncmp(class, classes[kinds[i].class], strlen(classes[kinds[i].class])) == 0);
		n++;
	}
	fclose(doc);
	assert_int_equal(n, WH_OUT_ABORTED); /* "aborted" is never logged */
}

static void
test_statuses(void **state)
{
	static const struct
	{
		int status;
		WhOutcomeKind kind;
	} named[] = {
		{400, WH_OUT_BAD_REQUEST},
		{401, WH_OUT_UNAUTHORIZED},
		{403, WH_OUT_FORBIDDEN},
		{404, WH_OUT_NOT_FOUND},
		{407, WH_OUT_PROXY},
		{408, WH_OUT_REQUEST_TIMEOUT},
		{409, WH_OUT_CONFLICT},
		{410, WH_OUT_GONE},
		{413, WH_OUT_PAYLOAD_TOO_LARGE},
		{422, WH_OUT_UNPROCESSABLE},
		{429, WH_OUT_TOO_MANY_REQUESTS},
		{502, WH_OUT_BAD_GATEWAY},
		{503, WH_OUT_UNAVAILABLE},
		{504, WH_OUT_GATEWAY_TIMEOUT},
	};

	(void) state;
	for (int status = -1; status < 1000; status++)
	{
		WhOutcomeKind right = WH_OUT_HTTP_ERROR;

		if (status >= 200 && status < 600)
			right = status < 300   ? WH_OUT_DELIVERED
					: status < 400 ? WH_OUT_REDIRECT
					: status < 500 ? WH_OUT_CLIENT_ERROR
								   : WH_OUT_SERVER_ERROR;
		for (size_t i = 0; i < lengthof(named); i++)
			if (named[i].status == status)
				right = named[i].kind;
		if (wh_outcome_of_status(status) != right)
			fail_msg("status %d is \"%s\"", status, wh_outcome_word(wh_outcome_of_status(status)));
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
verdict(WhOutcomeKind kind, int attempts, int64_t age_us, double rand)
{
	return wh_retry_verdict(&policy, kind, attempts, NOW - age_us, NOW, -1, rand);
}

static void
test_verdicts(void **state)
{
	static const struct
	{
		const char *name;
		WhOutcomeKind kind;
		int attempts;
		int64_t age_us; /* of the first attempt */
		WhClass class;
		int64_t delay_us;
	} rows[] = {
		{"delivered", WH_OUT_DELIVERED, 1, 0, WH_CLASS_DELIVERED, 0},
		{"delivered late", WH_OUT_DELIVERED, 90, 30 * DAY, WH_CLASS_DELIVERED, 0},
		{"aborted", WH_OUT_ABORTED, 0, 0, WH_CLASS_ABORTED, 0},
		{"aborted late", WH_OUT_ABORTED, 9, 30 * DAY, WH_CLASS_ABORTED, 0},
		{"first 404", WH_OUT_NOT_FOUND, 1, 0, WH_CLASS_RETRY, 10 * SECOND},
		{"first 503", WH_OUT_UNAVAILABLE, 1, 0, WH_CLASS_ENDPOINT, 10 * SECOND},
		{"third refusal", WH_OUT_REFUSED, 3, 70 * SECOND, WH_CLASS_ENDPOINT, HOUR},
		{"interrupted", WH_OUT_INTERRUPTED, 2, SECOND, WH_CLASS_RETRY, 60 * SECOND},
		{"404 too late", WH_OUT_NOT_FOUND, 80, 3 * DAY, WH_CLASS_GIVE_UP, 0},
		{"503 too late", WH_OUT_UNAVAILABLE, 80, 3 * DAY, WH_CLASS_GIVE_UP, 0},
		{"last one just in time", WH_OUT_DNS, 80, 3 * DAY - HOUR, WH_CLASS_ENDPOINT, HOUR},
		{"a microsecond later", WH_OUT_DNS, 80, 3 * DAY - HOUR + 1, WH_CLASS_ENDPOINT, HOUR - 1},
		{"a microsecond left", WH_OUT_DNS, 80, 3 * DAY - 1, WH_CLASS_ENDPOINT, 1},
		{"410", WH_OUT_GONE, 1, 0, WH_CLASS_DISABLE, 10 * SECOND},
		{"410 too late", WH_OUT_GONE, 80, 9 * DAY, WH_CLASS_DISABLE, HOUR},
		{"413", WH_OUT_PAYLOAD_TOO_LARGE, 1, 0, WH_CLASS_GIVE_UP, 0},
		{"body too large", WH_OUT_BODY_TOO_LARGE, 1, 0, WH_CLASS_GIVE_UP, 0},
		{"clock set back", WH_OUT_RESET, 1, -DAY, WH_CLASS_ENDPOINT, 10 * SECOND},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhVerdict v = verdict(rows[i].kind, rows[i].attempts, rows[i].age_us, RAND_MIDDLE);

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
	assert_int_in_range(verdict(WH_OUT_TIMEOUT, 3, 0, 0.0).delay_us, HOUR * 9 / 10 - 1, HOUR * 9 / 10);
	assert_int_in_range(verdict(WH_OUT_TIMEOUT, 3, 0, RAND_MOST).delay_us, HOUR * 11 / 10 - 2,
						HOUR * 11 / 10);
	for (int i = 0; i < 1000; i++)
	{
		WhVerdict v = verdict(WH_OUT_TIMEOUT, 3, 0, i / 1000.0);

		assert_int_in_range(v.delay_us, HOUR * 9 / 10 - 1, HOUR * 11 / 10);
		assert_true(v.delay_us > before);
		before = v.delay_us;
	}
}

/* It is the jittered delay that ends in time. */
static void
test_jitter_at_the_edge(void **state)
{
	(void) state;
	assert_int_in_range(verdict(WH_OUT_TLS, 80, 3 * DAY - HOUR, 0.0).delay_us, HOUR * 9 / 10 - 1,
						HOUR * 9 / 10);
	assert_int_equal(verdict(WH_OUT_TLS, 80, 3 * DAY - HOUR, RAND_MOST).delay_us, HOUR);
}

/* Retry-After: from the schedule's own delay to a day, and not beyond giving up. */
static void
test_retry_after(void **state)
{
	static const struct
	{
		const char *name;
		WhOutcomeKind kind;
		int64_t asked_us;
		int64_t age_us;
		WhClass class;
		int64_t delay_us;
	} rows[] = {
		{"none", WH_OUT_UNAVAILABLE, -1, 0, WH_CLASS_ENDPOINT, 10 * SECOND},
		{"0", WH_OUT_UNAVAILABLE, 0, 0, WH_CLASS_ENDPOINT, 10 * SECOND},
		{"sooner than the schedule", WH_OUT_UNAVAILABLE, 9 * SECOND, 0, WH_CLASS_ENDPOINT, 10 * SECOND},
		{"later", WH_OUT_UNAVAILABLE, 120 * SECOND, 0, WH_CLASS_ENDPOINT, 120 * SECOND},
		{"429", WH_OUT_TOO_MANY_REQUESTS, 120 * SECOND, 0, WH_CLASS_ENDPOINT, 120 * SECOND},
		{"a day", WH_OUT_TOO_MANY_REQUESTS, DAY, 0, WH_CLASS_ENDPOINT, DAY},
		{"more than a day", WH_OUT_TOO_MANY_REQUESTS, DAY + 1, 0, WH_CLASS_ENDPOINT, DAY},
		{"forever", WH_OUT_UNAVAILABLE, INT64_MAX, 0, WH_CLASS_ENDPOINT, DAY},
		{"beyond giving up", WH_OUT_UNAVAILABLE, DAY, 3 * DAY - HOUR, WH_CLASS_ENDPOINT, HOUR},
		{"given up anyway", WH_OUT_UNAVAILABLE, DAY, 3 * DAY, WH_CLASS_GIVE_UP, 0},
		{"500 may not ask", WH_OUT_SERVER_ERROR, HOUR, 0, WH_CLASS_ENDPOINT, 10 * SECOND},
		{"nor may 404", WH_OUT_NOT_FOUND, HOUR, 0, WH_CLASS_RETRY, 10 * SECOND},
		{"nor may 410", WH_OUT_GONE, HOUR, 0, WH_CLASS_DISABLE, 10 * SECOND},
		{"delivered", WH_OUT_DELIVERED, HOUR, 0, WH_CLASS_DELIVERED, 0},
	};
	WhRetryPolicy slow = {1, {2 * DAY}, 9 * DAY};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhVerdict v = wh_retry_verdict(&policy, rows[i].kind, 1, NOW - rows[i].age_us, NOW, rows[i].asked_us,
									   RAND_MIDDLE);

		check_row(rows[i].name, v.class == rows[i].class);
		check_row(rows[i].name, v.delay_us == rows[i].delay_us);
	}
	assert_int_equal(wh_retry_verdict(&slow, WH_OUT_UNAVAILABLE, 1, NOW, NOW, 3 * DAY, RAND_MIDDLE).delay_us,
					 2 * DAY);
}

/* An endpoint that fails for ever: when each attempt is made; returns how many until it is given up. */
static int
walk(const WhRetryPolicy *schedule, double (*spread)(int attempt), int64_t *at_us, int max)
{
	int64_t now = NOW; /* attempts that take no time */
	int n = 0;

	for (;;)
	{
		WhVerdict v;

		assert_true(n < max);
		at_us[n++] = now - NOW;
		v = wh_retry_verdict(schedule, WH_OUT_SERVER_ERROR, n, NOW, now, -1, spread(n));
		if (v.class == WH_CLASS_GIVE_UP)
			return n;
		assert_int_equal(v.class, WH_CLASS_ENDPOINT);
		now += v.delay_us;
	}
}

static double
in_the_middle(int attempt)
{
	(void) attempt;
	return RAND_MIDDLE;
}

static double
to_and_fro(int attempt)
{
	return attempt % 2 ? 0.0 : RAND_MOST;
}

/* The default: 5 s, 5 min, 30 min, 2 h, 5 h, then 10 h again and again, for 3 days. */
static void
test_default_schedule(void **state)
{
	static const WhRetryPolicy schedule = {
		6, {5 * SECOND, 300 * SECOND, 1800 * SECOND, 2 * HOUR, 5 * HOUR, 10 * HOUR}, 3 * DAY};
	int64_t at_us[20];
	/* the first four waits make 35 min 5 s and 2 h; then 7 h 35 min 5 s, and 10 h more each time */
	int64_t expected[13] = {0, 5 * SECOND, 305 * SECOND, 2105 * SECOND, 2105 * SECOND + 2 * HOUR};
	int n = walk(&schedule, in_the_middle, at_us, lengthof(at_us));

	(void) state;
	for (int i = 5; i < 12; i++)
		expected[i] = 2105 * SECOND + 7 * HOUR + (i - 5) * 10 * HOUR;
	/* the 12th is at 67 h 35 min; a whole wait would end after the third day, so the 13th is at its end */
	expected[12] = 3 * DAY;
	assert_int_equal(n, 13);
	for (int i = 0; i < n; i++)
		assert_int_equal(at_us[i], expected[i]);
}

/* Website Toolbox's rule: every hour for three days. */
static void
test_hourly_schedule(void **state)
{
	static const WhRetryPolicy schedule = {1, {HOUR}, 3 * DAY};
	int64_t at_us[100];
	int n = walk(&schedule, in_the_middle, at_us, lengthof(at_us));

	(void) state;
	assert_int_equal(n, 1 + 72); /* the last retry is made when the three days end */
	for (int i = 0; i < n; i++)
		assert_int_equal(at_us[i], i * HOUR);

	/* with the most of jitter: each wait an hour give or take six minutes, except the last */
	n = walk(&schedule, to_and_fro, at_us, lengthof(at_us));
	assert_int_in_range(n, 73, 74);
	for (int i = 1; i < n - 1; i++)
		assert_int_in_range(at_us[i] - at_us[i - 1], HOUR * 9 / 10 - 1, HOUR * 11 / 10);
	assert_int_equal(at_us[n - 1], 3 * DAY);
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
	v = wh_retry_verdict(&endless, WH_OUT_DNS, 1, 0, 0, -1, RAND_MOST);
	assert_int_equal(v.class, WH_CLASS_ENDPOINT);
	assert_int_equal(v.delay_us, INT64_MAX);
	v = wh_retry_verdict(&endless, WH_OUT_DNS, 1, 0, 1, -1, RAND_MOST);
	assert_int_equal(v.class, WH_CLASS_ENDPOINT);
	assert_int_equal(v.delay_us, INT64_MAX - 1);
	v = wh_retry_verdict(&endless, WH_OUT_DNS, 1, 0, INT64_MAX, -1, 0.0);
	assert_int_equal(v.class, WH_CLASS_GIVE_UP);

	v = wh_retry_verdict(&at_once, WH_OUT_DNS, 1, NOW, NOW, -1, RAND_MIDDLE);
	assert_int_equal(v.class, WH_CLASS_ENDPOINT);
	assert_int_equal(v.delay_us, 0);
	v = wh_retry_verdict(&at_once, WH_OUT_DNS, 1, NOW - 1, NOW, -1, RAND_MIDDLE);
	assert_int_equal(v.class, WH_CLASS_GIVE_UP);

	v = wh_retry_verdict(&negative, WH_OUT_DNS, 1, NOW, NOW, -1, RAND_MIDDLE);
	assert_int_equal(v.delay_us, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),           cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_schedule),        cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_jitter),          cmocka_unit_test(test_jitter_at_the_edge),
		cmocka_unit_test(test_extremes),        cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_documented),      cmocka_unit_test(test_default_schedule),
		cmocka_unit_test(test_hourly_schedule),
	};

	return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
