/*
 * test_oauth_refused.c
 *	  OAuth 2, where an endpoint answers with 401: it is asked once more with
 *	  another token, and not for ever with ever others.
 */
#include "oauth_unit.h"

/* The first 401 is not how it ends: it is sent again with another token, and that is one attempt. */
static void
test_refused_once(void **state)
{
	WhCounts counts;
	int64_t id;

	(void) state;
	subscribe_with(1, "/from/2", "/token/3600", "");
	for (int i = 1; i <= 8; i++)
		submit(1, i, (char[]){(char) ('a' + i), '\0'});
	run_until(outcomes_are, 8);
	for (int i = 1; i <= 8; i++)
	{
		WhDelivery *d = wh_engine_take(e);

		assert_int_equal(d->kind, WH_OUT_DELIVERED);
		assert_int_equal(d->attempts, 1);
		wh_delivery_free(d);
	}
	/* however many of them had been sent with the first token, one asked for the next */
	assert_int_equal(requests_to("/token"), 2);
	assert_int_in_range(requests_to("/from"), 8 + 1, 8 + 8);
	assert_true(wh_engine_counts(e, 0, &id, &counts));
	assert_int_equal(counts.failed, 0);
	assert_int_equal(counts.in_flight, 0);
}

/* With a rate limit of 1, one delivery is sent that will be answered with 401. */
static void
send_first_of_one_a_second(void)
{
	WhSubscription sub;

	subscribe_with(1, "/from/2", "/token/3600", ""); /* writes the credential */
	sub = subscription(1, at("/from/2"));
	sub.credentials = credentials;
	sub.n_credentials = 1;
	sub.rate_limit = 1;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 1, "a");
	run_until(requests_are, 2); /* a token, and the first */
}

/* The repetition is a request as well: it keeps to the rate limit, and the engine wakes up for it. */
static void
test_refused_rate(void **state)
{
	int64_t first_us;

	(void) state;
	send_first_of_one_a_second();
	first_us = real_us();
	delivered(1);
	assert_int_equal(requests_to("/from"), 2);
	assert_true(real_us() - first_us > SECOND * 8 / 10);
}

/* A clock that is set back does not keep it waiting for as long. */
static void
test_refused_clock(void **state)
{
	(void) state;
	send_first_of_one_a_second();
	skew -= 3600 * SECOND;
	delivered(1);
}

/* A body that the host has made is made once, however long it waits and however often it is sent. */
static void
test_transformed(void **state)
{
	WhSubscription sub;

	(void) state;
	subscribe_with(1, "/from/2", "/token/3600", ""); /* writes the credential */
	sub = transformed(1, at("/from/2"));
	sub.credentials = credentials;
	sub.n_credentials = 1;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 1, "a");
	handed_out(1);
	made("{\"made\":1}");
	delivered(1);
	assert_int_equal(server_requests(), 4);
	for (int i = 0; i < 4; i++)
	{
		ServerRequest r = server_request(i);

		assert_string_equal(path_of(&r), i % 2 == 0 ? "/token/3600" : "/from/2");
		if (i % 2 == 1)
			assert_string_equal(r.body, "{\"made\":1}");
	}
	assert_null(to_transform());
}

static void
test_refused_twice(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe_with(1, "/from/9", "/token/3600", "");
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_UNAUTHORIZED);
	assert_int_equal(d->http_status, 401);
	assert_int_equal(d->disposal, WH_DO_RETRY);
	assert_int_equal(requests_to("/token"), 2);
	assert_int_equal(requests_to("/from"), 2);
	wh_delivery_free(d);
}

static void
unauthorized(int64_t id)
{
	WhDelivery *d;

	submit(1, id, (char[]){(char) ('a' + id), '\0'});
	d = outcome();
	assert_int_equal(d->event->id, id);
	assert_int_equal(d->kind, WH_OUT_UNAUTHORIZED);
	wh_delivery_free(d);
}

/* Where another token is refused as well, none is asked for because of that: for a minute, then for two ... */
static void
test_refused_for_good(void **state)
{
	(void) state;
	subscribe_with(1, "/from/4", "/token/99999", "");
	unauthorized(1);
	assert_int_equal(requests_to("/token"), 2);
	skew += 50 * SECOND; /* the test itself takes less than 10 s */
	unauthorized(2);
	assert_int_equal(requests_to("/token"), 2);
	skew += 10 * SECOND;
	unauthorized(3);
	assert_int_equal(requests_to("/token"), 3);
	skew += 110 * SECOND;
	unauthorized(4);
	assert_int_equal(requests_to("/token"), 3);
	skew += 10 * SECOND;
	/* the fourth is good */
	submit(1, 10, "z");
	delivered(10);
	assert_int_equal(requests_to("/token"), 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_refused_once), with_engine(test_refused_rate),  with_engine(test_refused_clock),
		with_engine(test_transformed),  with_engine(test_refused_twice), with_engine(test_refused_for_good),
	};

	return cmocka_run_group_tests_name("deliver_oauth_refused", tests, NULL, NULL);
}
