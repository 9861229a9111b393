/*
 * test_oauth.c
 *	  OAuth 2 against a token endpoint: how a token is asked for, that it is
 *	  asked for once and used until a little before its end, and how it ends where
 *	  there is none. Time is the test's: it sets the
 *	  engine's clock forward.
 */
#include "breaker.h"
#include "oauth_unit.h"

/* RFC 6749, sections 4.4.2 and 2.3.1 with appendix B: form, and form encoded before base64. */
static void
test_request(void **state)
{
	ServerRequest r;

	(void) state;
	subscribe_with(1, "/from/1", "/token/3600", ", \"scope\": \"a b/c\"");
	submit(1, 1, "a");
	delivered(1);
	assert_int_equal(server_requests(), 2);
	r = server_request(0);
	assert_string_equal(path_of(&r), "/token/3600");
	assert_string_equal(r.body, "grant_type=client_credentials&scope=a+b%2Fc");
	assert_string_equal(request_header(&r, "Content-Type"), "application/x-www-form-urlencoded");
	/* base64 of an+id:s%C3%A9cret%3A%2B */
	assert_string_equal(request_header(&r, "Authorization"), "Basic YW4raWQ6cyVDMyVBOWNyZXQlM0ElMkI=");
	assert_null(request_header(&r, "webhook-signature"));
	r = server_request(1);
	assert_string_equal(path_of(&r), "/from/1");
	assert_string_equal(request_header(&r, "Authorization"), "Bearer token-1");
	assert_non_null(request_header(&r, "webhook-signature"));
}

/* The client's secret in the form, and the fields that other servers ask for (RFC 8707 has resource). */
static void
test_request_post(void **state)
{
	ServerRequest r;

	(void) state;
	subscribe_with(1, "/from/1", "/token/3600",
				   ", \"auth\": \"post\", \"audience\": \"https://api/\", \"resource\": \"r&s\"");
	submit(1, 1, "a");
	delivered(1);
	r = server_request(0);
	assert_string_equal(r.body,
						"grant_type=client_credentials&client_id=an+id&client_secret=s%C3%A9cret%3A%2B"
						"&audience=https%3A%2F%2Fapi%2F&resource=r%26s");
	assert_null(request_header(&r, "Authorization"));
}

/* However many wait, one asks; and what comes later uses the same one. */
static void
test_one_for_all(void **state)
{
	char entity[2] = "a";

	(void) state;
	subscribe_with(1, "/from/1", "/token/3600", "");
	for (int i = 1; i <= 20; i++, entity[0]++)
		submit(1, i, entity);
	for (int i = 1; i <= 20; i++)
	{
		WhDelivery *d = outcome(); /* in whichever order they are answered */

		assert_int_equal(d->kind, WH_OUT_DELIVERED);
		wh_delivery_free(d);
	}
	submit(1, 21, "a");
	delivered(21);
	assert_int_equal(requests_to("/token"), 1);
}

/* A token that lives 100 s is used for 90, one that lives 3600 s for 3540. */
static void
test_expiry(void **state)
{
	static const struct
	{
		const char *path;
		int used;
	} rows[] = {{"/token/100", 90}, {"/token/3600", 3540}, {"/token/\\\"100\\\"", 90}};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		int64_t id = (int64_t) i + 1;

		server_forget();
		subscribe_with(id, "/status/200", rows[i].path, "");
		submit(id, 1, "a");
		delivered(1);
		skew += (rows[i].used - 5) * SECOND; /* the test itself takes less than 5 s */
		submit(id, 2, "a");
		delivered(2);
		check_row(rows[i].path, requests_to("/token") == 1);
		skew += 5 * SECOND;
		submit(id, 3, "a");
		delivered(3);
		check_row(rows[i].path, requests_to("/token") == 2);
	}
}

/* One that does not say how long it lives is used until it is refused. */
static void
test_no_expiry(void **state)
{
	(void) state;
	subscribe_with(1, "/status/200", "/token/null", "");
	submit(1, 1, "a");
	delivered(1);
	skew += 30 * 24 * 3600 * SECOND;
	submit(1, 2, "a");
	delivered(2);
	assert_int_equal(requests_to("/token"), 1);
}

/* One that has ended already, by its own account, is used for what waits, and not for ever. */
static void
test_ended(void **state)
{
	static const char *const rows[] = {"/token/0", "/token/-1"};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		int64_t id = (int64_t) i + 1;

		server_forget();
		subscribe_with(id, "/status/200", rows[i], "");
		submit(id, 1, "a");
		delivered(1);
		check_row(rows[i], requests_to("/token") == 1);
		skew += SECOND;
		submit(id, 2, "a");
		delivered(2);
		check_row(rows[i], requests_to("/token") == 2);
	}
}

/* It is not the token that is wanting where another credential cannot be used. */
static void
test_unusable(void **state)
{
	WhSubscription sub;
	WhDelivery *d;

	(void) state;
	subscribe_with(1, "/from/1", "/token/3600", ""); /* writes the credential */
	sub = subscription(1, at("/from/1"));
	sub.credentials = (WhCredential[]){{"header:X-Key", NULL}, credentials[0]};
	sub.n_credentials = 2;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_INTERNAL);
	assert_string_equal(wh_delivery_error(d), "invalid credential of the subscription: header");
	assert_int_equal(server_requests(), 0);
	wh_delivery_free(d);
}

/* Who leaves does not wait for a token that nobody waits for. */
static void
test_drained(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe_with(1, "/from/1", "/hang", "");
	submit(1, 1, "a");
	run_until(requests_are, 1);
	assert_int_equal(wh_engine_in_flight(e), 1);
	wh_engine_drain(e);
	d = outcome();
	assert_false(d->attempted);
	wh_delivery_free(d);
	assert_int_equal(wh_engine_in_flight(e), 0);
}

static bool
in_flight_are(int n)
{
	WhCounts counts;
	int64_t id;

	return wh_engine_counts(e, 0, &id, &counts) && counts.in_flight >= n;
}

/* Of one request for a token that fails, one delivery is the one that has failed. */
static void
test_fails_once(void **state)
{
	WhCounts counts;
	WhDelivery *d;
	int64_t id;

	(void) state;
	subscribe_with(1, "/from/1", "/wait", ""); /* what comes in the end is no token */
	for (int i = 1; i <= 20; i++)
		submit(1, i, (char[]){(char) ('a' + i), '\0'});
	for (int i = 1; i <= 5; i++, skew += SECOND)
		run_until(in_flight_are, i);
	server_release();
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_OAUTH);
	assert_true(d->attempted);
	wh_delivery_free(d);
	assert_int_equal(wh_engine_outcomes(e), 0);
	assert_true(wh_engine_counts(e, 0, &id, &counts));
	assert_int_equal(counts.failed, 1);
	assert_int_equal(counts.in_flight, 0);
	assert_int_equal(counts.queued, 19);

	/* further ones open the breaker; what is left then has not been attempted */
	for (int failures = 1; failures < WH_BREAKER_FAILURES; failures++)
	{
		skew += SECOND;
		d = outcome();
		assert_int_equal(d->kind, WH_OUT_OAUTH);
		assert_true(d->attempted);
		wh_delivery_free(d);
	}
	for (int i = WH_BREAKER_FAILURES + 1; i <= 20; i++)
	{
		d = outcome();
		assert_false(d->attempted);
		assert_int_equal(d->attempts, 0);
		wh_delivery_free(d);
	}
	assert_int_equal(requests_to("/wait"), WH_BREAKER_FAILURES);
}

/* What waits for a token when its subscription is paused is not sent, but kept; nor is it an attempt. */
static void
test_paused(void **state)
{
	WhSubscription sub;

	(void) state;
	subscribe_with(1, "/from/1", "/hang", "");
	for (int i = 1; i <= 5; i++)
		submit(1, i, (char[]){(char) ('a' + i), '\0'});
	for (int i = 1; i <= 3; i++, skew += SECOND)
		run_until(in_flight_are, i);
	sub = subscription(1, at("/from/1"));
	sub.credentials = credentials;
	sub.n_credentials = 1;
	sub.paused = true;
	assert_true(wh_engine_subscribe(e, &sub));
	for (int i = 1; i <= 5; i++)
	{
		WhDelivery *d = outcome();

		assert_false(d->attempted);
		assert_int_equal(d->attempts, 0);
		assert_int_equal(d->disposal, WH_DO_DEFER);
		wh_delivery_free(d);
	}
	assert_int_equal(requests_to("/from"), 0);
}

static void
test_no_token(void **state)
{
	static const struct
	{
		const char *path;
		const char *error;
	} rows[] = {
		{"/status/500", "the token endpoint answered with status 500"},
		{"/status/200", "the token endpoint answered with status 200 and no bearer token"},
		{"/error/invalid_client", "the token endpoint answered with status 400: invalid_client"},
		/* who knows what that is */
		{"/error/secret", "the token endpoint answered with status 400"},
		{"/redirect", "the token endpoint answered with status 302"},
		{"/close", "no answer from the token endpoint: "},
		{"/large", "the token endpoint's answer is larger than 16384 bytes"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhDelivery *d;

		server_forget();
		subscribe_with(1, "/from/1", rows[i].path, "");
		submit(1, 1, "a");
		d = outcome();
		check_row(rows[i].path, d->kind == WH_OUT_OAUTH);
		check_row(rows[i].path, strcmp(d->word, "oauth") == 0);
		check_row(rows[i].path, d->class == WH_CLASS_ENDPOINT && d->disposal == WH_DO_RETRY);
		check_row(rows[i].path, d->http_status == 0 && d->response == NULL && d->attempted);
		check_row(wh_delivery_error(d),
				  strncmp(wh_delivery_error(d), rows[i].error, strlen(rows[i].error)) == 0);
		check_row(rows[i].path, requests_to("/from") == 0);
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1);
	}
}

/* The token endpoint's address is under the same policy as an endpoint's. */
static void
test_address(void **state)
{
	static char there[] =
		"{\"token_url\": \"http://127.0.0.2:1/\", \"client_id\": \"i\", \"client_secret\": \"s\"}";
	WhCredential elsewhere[] = {{"oauth2", there}};
	WhSubscription sub = subscription(1, at("/status/200"));
	WhDelivery *d;

	(void) state;
	sub.credentials = elsewhere;
	sub.n_credentials = 1;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_OAUTH);
	assert_string_equal(wh_delivery_error(d),
						"no answer from the token endpoint: the address of the endpoint is not allowed");
	wh_delivery_free(d);
}

/* While one waits for its token, the others go on; and it can be given up in every way. */
static void
test_waiting(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe_with(1, "/from/1", "/hang", "");
	subscribe(2, at("/status/200"));
	for (int i = 1; i <= 10; i++)
		submit(1, i, (char[]){(char) ('a' + i), '\0'});
	submit(2, 11, "a");
	submit(2, 12, "a");
	delivered(11);
	delivered(12);
	run_until(requests_are, 3);
	assert_int_equal(requests_to("/hang"), 1);
	assert_int_equal(wh_engine_in_flight(e), 1);

	/* other credentials: another request, and the old one is nobody's */
	subscribe_with(1, "/from/1", "/token/3600", "");
	for (int i = 1; i <= 10; i++)
	{
		d = outcome();
		assert_int_equal(d->kind, WH_OUT_DELIVERED);
		wh_delivery_free(d);
	}
	/* in a new place, gone while it waits */
	subscribe_with(3, "/from/1", "/hang", "");
	submit(3, 13, "a");
	run_until(requests_are, 3 + 1 + 10 + 1);
	wh_engine_unsubscribe(e, 3);
	d = outcome();
	assert_int_equal(d->event->id, 13);
	assert_int_equal(d->disposal, WH_DO_DROP);
	assert_false(d->attempted);
	wh_delivery_free(d);
	/* and stopping */
	subscribe_with(4, "/from/1", "/hang", "");
	submit(4, 14, "a");
	run_until(requests_are, 3 + 1 + 10 + 1 + 1);
	wh_engine_stop(e);
	d = wh_engine_take(e);
	assert_int_equal(d->event->id, 14);
	assert_false(d->attempted);
	wh_delivery_free(d);
	assert_int_equal(wh_engine_in_flight(e), 0);
}

/* Saying the same again does not throw the token away; other credentials do. */
static void
test_subscribed_again(void **state)
{
	(void) state;
	subscribe_with(1, "/from/1", "/token/3600", "");
	submit(1, 1, "a");
	delivered(1);
	subscribe_with(1, "/from/1", "/token/3600", "");
	submit(1, 2, "a");
	delivered(2);
	assert_int_equal(requests_to("/token"), 1);
	subscribe_with(1, "/from/1", "/token/3600", ", \"scope\": \"more\"");
	submit(1, 3, "a");
	delivered(3);
	assert_int_equal(requests_to("/token"), 2);
}

/* Whichever allocation fails: no crash, no leak, nothing is lost, and nothing is sent without its token. */
static void
test_no_memory(void **state)
{
	bool failed = true;
	int succeeded = 0;

	(void) state;
	subscribe_with(1, "/from/1", "/token/3600", ""); /* writes the credential */
	wh_engine_free(e);
	for (long n = 1; failed; n++)
	{
		char to[64];
		WhSubscription sub = subscription(1, to);
		int taken = 0;

		snprintf(to, sizeof(to), "http://127.0.0.1:%d/from/1", port);
		sub.credentials = credentials;
		sub.n_credentials = 1;
		fail_malloc_at(n);
		e = wh_engine_create(&config);
		if (e != NULL && wh_engine_subscribe(e, &sub))
		{
			WhSubmit one = {.subscription_id = 1, .from = WH_FROM_LOG};
			WhDelivery *d;

			for (int i = 1; i <= 2; i++)
				taken += submit_as(&one, i, i == 1 ? "a" : "b");
			while (wh_engine_outcomes(e) < taken)
				run_until(outcomes_are, taken);
			while ((d = wh_engine_take(e)) != NULL)
			{
				assert_int_not_equal(d->kind, WH_OUT_UNAUTHORIZED);
				succeeded += d->kind == WH_OUT_DELIVERED;
				wh_delivery_free(d);
			}
			assert_int_equal(wh_engine_in_flight(e), 0);
		}
		failed = malloc_has_failed();
		if (failed)
			wh_engine_free(e);
		assert_true(n < 1000);
	}
	assert_true(succeeded > 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_request),      with_engine(test_one_for_all), with_engine(test_expiry),
		with_engine(test_no_expiry),    with_engine(test_no_token),    with_engine(test_address),
		with_engine(test_no_memory),    with_engine(test_waiting),     with_engine(test_subscribed_again),
		with_engine(test_ended),        with_engine(test_unusable),    with_engine(test_drained),
		with_engine(test_request_post), with_engine(test_fails_once),  with_engine(test_paused),
	};

	return cmocka_run_group_tests_name("deliver_oauth", tests, NULL, NULL);
}
