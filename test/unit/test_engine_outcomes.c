/*
 * test_engine_outcomes.c
 *	  The engine end to end: how requests end, what is told of it, and what is
 *	  to be done next.
 */
#include "engine_unit.h"

#include "http.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#define LABEL "a123456789b123456789c123456789d123456789e123456789f123456789g12345" /* longer than 63 */

static const struct
{
	const char *path; /* or a URL, with %d for the server's port */
	WhOutcomeKind kind;
	const char *word;
	int status;
	WhClass class;
	const char *response;
	const char *error; /* part of it; "" none */
} rows[] = {
	{"/status/200", WH_OUT_DELIVERED, "delivered", 200, WH_CLASS_DELIVERED, "status 200", ""},
	{"/status/201", WH_OUT_DELIVERED, "delivered", 201, WH_CLASS_DELIVERED, "status 201", ""},
	{"/status/299", WH_OUT_DELIVERED, "delivered", 299, WH_CLASS_DELIVERED, "status 299", ""},
	{"/last", WH_OUT_DELIVERED, "delivered", 200, WH_CLASS_DELIVERED, NULL, ""},
	{"/redirect", WH_OUT_REDIRECT, "redirect", 302, WH_CLASS_RETRY, NULL, "status 302"},
	{"/status/300", WH_OUT_REDIRECT, "redirect", 300, WH_CLASS_RETRY, "status 300", "status 300"},
	{"/status/304", WH_OUT_REDIRECT, "redirect", 304, WH_CLASS_RETRY, NULL, "status 304"},
	{"/status/400", WH_OUT_BAD_REQUEST, "bad_request", 400, WH_CLASS_RETRY, "status 400", "status 400"},
	{"/status/401", WH_OUT_UNAUTHORIZED, "unauthorized", 401, WH_CLASS_RETRY, "status 401", "status 401"},
	{"/status/403", WH_OUT_FORBIDDEN, "forbidden", 403, WH_CLASS_RETRY, "status 403", "status 403"},
	{"/status/404", WH_OUT_NOT_FOUND, "not_found", 404, WH_CLASS_RETRY, "status 404", "status 404"},
	{"/status/408", WH_OUT_REQUEST_TIMEOUT, "request_timeout", 408, WH_CLASS_ENDPOINT, "status 408",
	 "status 408"},
	{"/status/409", WH_OUT_CONFLICT, "conflict", 409, WH_CLASS_RETRY, "status 409", "status 409"},
	{"/status/410", WH_OUT_GONE, "gone", 410, WH_CLASS_DISABLE, "status 410", "status 410"},
	{"/status/413", WH_OUT_PAYLOAD_TOO_LARGE, "payload_too_large", 413, WH_CLASS_GIVE_UP, "status 413",
	 "status 413"},
	{"/status/418", WH_OUT_CLIENT_ERROR, "client_error", 418, WH_CLASS_RETRY, "status 418", "status 418"},
	{"/status/422", WH_OUT_UNPROCESSABLE, "unprocessable", 422, WH_CLASS_RETRY, "status 422", "status 422"},
	{"/status/429", WH_OUT_TOO_MANY_REQUESTS, "too_many_requests", 429, WH_CLASS_ENDPOINT, "status 429",
	 "status 429"},
	{"/status/500", WH_OUT_SERVER_ERROR, "server_error", 500, WH_CLASS_ENDPOINT, "status 500", "status 500"},
	{"/status/502", WH_OUT_BAD_GATEWAY, "bad_gateway", 502, WH_CLASS_ENDPOINT, "status 502", "status 502"},
	{"/status/503", WH_OUT_UNAVAILABLE, "unavailable", 503, WH_CLASS_ENDPOINT, "status 503", "status 503"},
	{"/status/504", WH_OUT_GATEWAY_TIMEOUT, "gateway_timeout", 504, WH_CLASS_ENDPOINT, "status 504",
	 "status 504"},
	{"/status/599", WH_OUT_SERVER_ERROR, "server_error", 599, WH_CLASS_ENDPOINT, "status 599", "status 599"},
	{"/status/600", WH_OUT_HTTP_ERROR, "http_error", 600, WH_CLASS_RETRY, "status 600", "status 600"},
	{"/close", WH_OUT_RESET, "reset", 0, WH_CLASS_ENDPOINT, NULL, "mpty reply"},
	{"/partial", WH_OUT_RESET, "reset", 200, WH_CLASS_ENDPOINT, "half of it", " 90 bytes "},
	{"/cut", WH_OUT_RESET, "reset", 200, WH_CLASS_ENDPOINT, NULL, "during the response headers"},
	{"/garbage", WH_OUT_RESET, "reset", 0, WH_CLASS_ENDPOINT, NULL, "HTTP/0.9"},
	{"/large", WH_OUT_RESPONSE_TOO_LARGE, "response_too_large", 200, WH_CLASS_RETRY, "0123456789abcdef",
	 "larger than"},
	{"/headers", WH_OUT_RESPONSE_TOO_LARGE, "response_too_large", 200, WH_CLASS_RETRY, NULL, "larger than"},
	{"/line", WH_OUT_RESPONSE_TOO_LARGE, "response_too_large", 200, WH_CLASS_RETRY, NULL, "larger than"},
	{"/dirty", WH_OUT_DELIVERED, "delivered", 200, WH_CLASS_DELIVERED,
	 "a?b?\?(?\?\?\xe2\x82\xac\xf0\x9f\x98\x80", ""},
	{"https://127.0.0.1:%d/", WH_OUT_TLS, "tls", 0, WH_CLASS_ENDPOINT, NULL, "wrong version number"},
	{"http://" LABEL ".invalid:%d/", WH_OUT_DNS, "dns", 0, WH_CLASS_ENDPOINT, NULL, "resolve host"},
	{"http://127.0.0.2:%d/", WH_OUT_ADDRESS, "address_refused", 0, WH_CLASS_RETRY, NULL,
	 "address of the endpoint is not allowed"},
	{"http://[::1]:%d/", WH_OUT_ADDRESS, "address_refused", 0, WH_CLASS_RETRY, NULL,
	 "address of the endpoint is not allowed"},
	{"ftp://127.0.0.1:%d/", WH_OUT_INTERNAL, "internal", 0, WH_CLASS_RETRY, NULL, "rotocol"},
};

static void
test_outcomes(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		const char *name = rows[i].path;
		int64_t before;
		WhDelivery *d;

		if (rows[i].path[0] == '/')
			at(rows[i].path);
		else
			snprintf(url, sizeof(url), rows[i].path, port);
		subscribe(1, url);
		submit(1, 5, "a");
		before = now_us();
		d = outcome();
		check_row(name, d->attempted && d->attempts == 1 && d->event->id == 5 && d->page == 1);
		if (d->kind != rows[i].kind)
			fail_msg("%s: %s: %s", name, d->word, wh_delivery_error(d));
		check_row(name, strcmp(d->word, rows[i].word) == 0);
		check_row(name, d->http_status == rows[i].status);
		check_row(name, d->class == rows[i].class);
		if (rows[i].kind == WH_OUT_RESPONSE_TOO_LARGE && rows[i].response)
			check_row(name, d->response && strlen(d->response) == WH_RESPONSE_KEPT &&
								strncmp(d->response, rows[i].response, 16) == 0);
		else
			check_row(name, rows[i].response ? d->response && strcmp(d->response, rows[i].response) == 0
											 : d->response == NULL);
		if (rows[i].error[0] == '\0' ? d->error != NULL : strstr(wh_delivery_error(d), rows[i].error) == NULL)
			fail_msg("%s: error \"%s\"", name, wh_delivery_error(d));
		check_row(name, d->started_us >= before && d->started_us <= clock_last);
		check_row(name, d->first_us == d->started_us);
		check_row(name, d->duration_us >= 0 && d->duration_us <= clock_last - before);
		if (rows[i].class == WH_CLASS_DELIVERED)
			check_row(name, d->disposal == WH_DO_DONE);
		else if (rows[i].class == WH_CLASS_GIVE_UP)
			check_row(name, d->disposal == WH_DO_DEAD_LETTER);
		else
			check_row(name, d->disposal == WH_DO_RETRY && d->due_us == clock_last + SECOND);
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1); /* forgets that the lane is blocked */
	}
}

static void
test_redirect_is_not_followed(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/redirect"));
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->http_status, 302);
	assert_int_equal(server_requests(), 1);
	wh_delivery_free(d);
}

/*
 * A response whose first header continues the last one: of the response before,
 * as libcurl 7.88 would have it, in memory that it has freed. What it is
 * called does not matter, that it is no use of that memory does: ASan sees it.
 */
static void
test_folded_header(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
	{
		WhDelivery *d;

		subscribe(1, at("/status/200"));
		submit(1, 1, "a");
		delivered(1);
		wh_engine_unsubscribe(e, 1);
		subscribe(1, at("/folded"));
		submit(1, 2, "a");
		d = outcome();
		assert_true(d->kind == WH_OUT_RESET || d->kind == WH_OUT_DELIVERED);
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1);
	}
}

static void
test_long_response(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/long"));
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_DELIVERED);
	/* no half of a character at the end */
	assert_int_equal(strlen(d->response), WH_RESPONSE_KEPT - 1);
	assert_memory_equal(d->response + WH_RESPONSE_KEPT - 3, "\xc3\xa9", 3);
	wh_delivery_free(d);
}

/* Those of a failure alone: the final ones, no cookie, whole lines. */
static void
test_response_headers(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/cookie/500"));
	subscribe(2, at("/cookie/200"));
	subscribe(3, at("/many-headers"));
	submit(1, 1, "a");
	d = outcome();
	assert_string_equal(d->headers, "X-Request-Id: 7?\nX-Last: a\n b\nContent-Length: 0");
	wh_delivery_free(d);
	submit(2, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_DELIVERED);
	assert_null(d->headers);
	wh_delivery_free(d);
	submit(3, 1, "a");
	d = outcome();
	assert_in_range(strlen(d->headers), WH_HEADERS_KEPT - 40, WH_HEADERS_KEPT);
	assert_memory_equal(d->headers + strlen(d->headers) - 7, "89abcde", 7);
	wh_delivery_free(d);
}

static void
test_refused_port(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	WhDelivery *d;

	(void) state;
	/* bound, so that nobody else gets it, but not listening */
	assert_int_equal(bind(fd, (struct sockaddr *) &address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *) &address, &len), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
	subscribe(1, url);
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_REFUSED);
	assert_int_equal(d->class, WH_CLASS_ENDPOINT);
	assert_string_equal(d->word, "refused");
	wh_delivery_free(d);
	close(fd);
}

/* Its queue of connections is full, so that no further one is answered. */
static void
test_connect_timeout(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int clients[8];
	WhSubscription sub;
	WhDelivery *d;

	(void) state;
	assert_int_equal(bind(fd, (struct sockaddr *) &address, len), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *) &address, &len), 0);
	for (size_t i = 0; i < lengthof(clients); i++)
	{
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(clients[i], (struct sockaddr *) &address, len);
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
	sub = subscription(1, url);
	sub.timeout_us = SECOND / 5;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_CONNECT_TIMEOUT);
	assert_int_equal(d->class, WH_CLASS_ENDPOINT);
	assert_string_equal(d->word, "connect_timeout");
	wh_delivery_free(d);
	for (size_t i = 0; i < lengthof(clients); i++)
		close(clients[i]);
	close(fd);
}

/* What is larger than we send anything is not tried: it will not shrink. */
static void
test_body_too_large(void **state)
{
	WhEvent from = {.id = 1, .entity_type = "order", .action_type = "new"};
	WhSubmit large = {.subscription_id = 1, .from = WH_FROM_LOG, .event = wh_event_make(&from)};
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/status/200"));
	large.event->size = WH_BODY_MAX + 1; /* not really: it would take a while */
	assert_true(wh_engine_submit(e, &large));
	wh_event_release(large.event);
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_BODY_TOO_LARGE);
	assert_string_equal(d->word, "body_too_large");
	assert_int_equal(d->disposal, WH_DO_DEAD_LETTER);
	assert_int_equal(server_requests(), 0);
	wh_delivery_free(d);
}

/* The same with the host's own limit: the event fits, and what the profile makes of it does not. */
static void
test_body_beyond_the_limit(void **state)
{
	WhDelivery *d;

	(void) state;
	config.body_max = 300;
	assert_true(wh_engine_configure(e, &config));
	subscribe(1, at("/status/200"));
	submit(1, 1, "short");
	delivered(1);
	config.body_max = 20;
	assert_true(wh_engine_configure(e, &config));
	submit(1, 2, "short");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_BODY_TOO_LARGE);
	assert_non_null(strstr(wh_delivery_error(d), "larger than 20 bytes"));
	assert_int_equal(d->disposal, WH_DO_DEAD_LETTER);
	assert_int_equal(server_requests(), 1);
	wh_delivery_free(d);
}

/* libcurl takes no setting of more than 8,000,000 bytes; no such URL can be saved. */
static void
test_not_taken_by_libcurl(void **state)
{
	size_t len = 9000000;
	char *endless = malloc(len + 1);
	WhDelivery *d;

	(void) state;
	assert_non_null(endless);
	memset(endless, 'a', len);
	memcpy(endless, "http://127.0.0.1/", 17);
	endless[len] = '\0';
	subscribe(1, endless);
	free(endless);
	submit(1, 1, "a");
	d = outcome();
	assert_true(d->attempted);
	assert_int_equal(d->kind, WH_OUT_INTERNAL);
	assert_int_equal(d->disposal, WH_DO_RETRY);
	assert_non_null(strstr(wh_delivery_error(d), "refused the request"));
	wh_delivery_free(d);
}

static void
test_retry_after(void **state)
{
	static const struct
	{
		const char *path;
		int64_t delay_us;
	} asked[] = {
		{"/retry-after/503/120", 120 * SECOND},
		{"/retry-after/429/120", 120 * SECOND},
		{"/retry-after/500/120", SECOND},
		{"/retry-after/503/0", SECOND},
		{"/retry-after/503/soon", SECOND},
		{"/retry-after/503/1234567890123456789012345678901234567890123456789012345678901234567890", SECOND},
		{"/retry-after/503/Tue,_14_Nov_2023_23:13:20_GMT", 3600 * SECOND},
		{"/retry-after/503/Tue,_14_Nov_2023_21:13:20_GMT", SECOND},
		{"/retry-after/503/999999", 7200 * SECOND}, /* not beyond the moment of giving up */
	};

	(void) state;
	for (size_t i = 0; i < lengthof(asked); i++)
	{
		WhSubscription sub = subscription(1, at(asked[i].path));
		WhDelivery *d;
		int64_t difference;

		sub.retry.give_up_us = 7200 * SECOND;
		assert_true(wh_engine_subscribe(e, &sub));
		submit(1, 1, "a");
		d = outcome();
		/* a date is an absolute time, and giving up counts from the start of the request */
		difference = d->due_us - clock_last - asked[i].delay_us;
		if (d->disposal != WH_DO_RETRY || difference > 0 || difference < -5 * SECOND)
			fail_msg("%s: due %" PRId64 " us off", asked[i].path, difference);
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1);
	}
}

static void
test_timeout(void **state)
{
	WhSubscription sub = subscription(1, at("/hang"));
	WhDelivery *d;

	(void) state;
	sub.timeout_us = SECOND / 10;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_TIMEOUT);
	assert_string_equal(d->word, "timeout");
	assert_int_equal(d->class, WH_CLASS_ENDPOINT);
	assert_true(d->duration_us >= SECOND / 10);
	assert_int_equal(server_requests(), 1);
	wh_delivery_free(d);
}

/* The time of day may jump; a request hangs no longer for it. */
static void
test_timeout_when_clock_is_set_back(void **state)
{
	WhSubscription sub = subscription(1, at("/hang"));
	WhDelivery *d;

	(void) state;
	sub.timeout_us = SECOND / 5;
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 1, "a");
	run_until(requests_are, 1);
	skew = -3600 * SECOND;
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_TIMEOUT);
	wh_delivery_free(d);
}

static void
test_schedule(void **state)
{
	static const struct
	{
		int attempts;
		int64_t age_us; /* of the first attempt */
		WhDisposal disposal;
		int64_t delay_us;
	} tries[] = {
		{1, 0, WH_DO_RETRY, SECOND},
		{2, 10 * SECOND, WH_DO_RETRY, 2 * SECOND},
		{3, 10 * SECOND, WH_DO_RETRY, 5 * SECOND},
		{50, 3590 * SECOND, WH_DO_RETRY, 5 * SECOND},
		{51, 3601 * SECOND, WH_DO_DEAD_LETTER, 0},
	};

	(void) state;
	subscribe(1, at("/status/500"));
	for (size_t i = 0; i < lengthof(tries); i++)
	{
		int64_t first_us = tries[i].age_us ? now_us() - tries[i].age_us : 0;
		WhSubmit again = {.subscription_id = 1,
						  .from = WH_FROM_STORED,
						  .lane = 77,
						  .attempts = tries[i].attempts,
						  .first_us = first_us};
		WhDelivery *d;

		assert_true(submit_as(&again, 9, "a"));
		d = outcome();
		assert_true(d->stored && d->lane == 77);
		assert_int_equal(d->attempts, tries[i].attempts);
		assert_int_equal(d->first_us, first_us ? first_us : d->started_us);
		assert_int_equal(d->disposal, tries[i].disposal);
		if (d->disposal == WH_DO_RETRY)
			assert_int_equal(d->due_us, clock_last + tries[i].delay_us);
		wh_delivery_free(d);
	}
}

static void
test_secrets(void **state)
{
	static char *const secrets[] = {NULL, "", "whsec_", "whsec_short", "not a secret"};

	(void) state;
	for (size_t i = 0; i < lengthof(secrets); i++)
	{
		WhSubscription sub = subscription(1, at("/status/200"));
		WhDelivery *d;

		sub.n_secrets = secrets[i] ? 1 : 0;
		sub.secrets[0] = secrets[i];
		assert_true(wh_engine_subscribe(e, &sub));
		submit(1, 1, "a");
		d = outcome();
		assert_true(d->attempted);
		assert_int_equal(d->kind, WH_OUT_INTERNAL);
		assert_int_equal(d->disposal, WH_DO_RETRY);
		assert_non_null(strstr(wh_delivery_error(d), "no valid secret"));
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1);
	}
	assert_int_equal(server_requests(), 0);
}

static void
test_counts(void **state)
{
	WhCounts c;
	int64_t id;
	WhDelivery *d;

	(void) state;
	subscribe(1, at("/status/200"));
	subscribe(2, at("/status/500"));
	submit(1, 1, "a");
	delivered(1);
	submit(2, 2, "a");
	submit(2, 3, "a");
	assert_true(wh_engine_queued(e) > 0);
	assert_int_equal(wh_engine_queued(e), 2);
	run_until(outcomes_are, 2);
	assert_true(wh_engine_counts(e, 0, &id, &c));
	assert_int_equal(id, 1);
	assert_int_equal(c.delivered, 1);
	assert_int_equal(c.failed, 0);
	assert_true(c.last_success_us > START && c.last_failure_us == 0);
	assert_null(c.last_error);
	assert_true(wh_engine_counts(e, 1, &id, &c));
	assert_int_equal(id, 2);
	assert_int_equal(c.delivered, 0);
	assert_int_equal(c.failed, 1);
	assert_int_equal(c.blocked, 1);
	assert_int_equal(c.queued, 0);
	assert_string_equal(c.last_error, "server_error");
	assert_false(wh_engine_counts(e, 2, &id, &c));
	assert_false(wh_engine_counts(e, -1, &id, &c));

	d = wh_engine_take(e);
	assert_int_equal(d->disposal, WH_DO_RETRY);
	wh_delivery_free(d);
	d = wh_engine_take(e);
	assert_int_equal(d->disposal, WH_DO_BLOCK);
	assert_int_equal(d->attempts, 0);
	wh_delivery_free(d);
	assert_null(wh_engine_take(e));
	assert_int_equal(wh_engine_queued(e), 0);
	assert_int_equal(wh_engine_in_flight(e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_folded_header),
		with_engine(test_outcomes),
		with_engine(test_redirect_is_not_followed),
		with_engine(test_long_response),
		with_engine(test_response_headers),
		with_engine(test_refused_port),
		with_engine(test_timeout),
		with_engine(test_timeout_when_clock_is_set_back),
		with_engine(test_schedule),
		with_engine(test_secrets),
		with_engine(test_counts),
		with_engine(test_connect_timeout),
		with_engine(test_body_too_large),
		with_engine(test_body_beyond_the_limit),
		with_engine(test_not_taken_by_libcurl),
		with_engine(test_retry_after),
	};

	return cmocka_run_group_tests_name("deliver_outcomes", tests, NULL, NULL);
}
