/*
 * test_request_auth.c
 *	  What credentials add to a request: headers of the kinds basic, bearer and
 *	  header:Name, a proxy; and that nothing is sent without one that cannot be
 *	  used.
 */
#include "engine_unit.h"

static void
subscribe_with(WhCredential *credentials, int n, const char *to)
{
	WhSubscription sub = subscription(1, to);

	sub.credentials = credentials;
	sub.n_credentials = n;
	assert_true(wh_engine_subscribe(e, &sub));
}

static void
test_headers(void **state)
{
	static const struct
	{
		const char *kind;
		const char *value;
		const char *header;
		const char *sent;
	} rows[] = {
		/* RFC 7617, section 2 */
		{"basic", "Aladdin:open sesame", "Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
		{"basic", "test:123\xc2\xa3", "Authorization", "Basic dGVzdDoxMjPCow=="},
		{"bearer", "abc.def~", "Authorization", "Bearer abc.def~"},
		{"header:X-Api-Key", "k e y", "X-Api-Key", "k e y"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhCredential one = {(char *) rows[i].kind, (char *) rows[i].value};
		ServerRequest r;

		server_forget();
		subscribe_with(&one, 1, at("/status/200"));
		submit(1, 1, "a");
		delivered(1);
		r = server_request(0);
		assert_non_null(request_header(&r, rows[i].header));
		assert_string_equal(request_header(&r, rows[i].header), rows[i].sent);
	}
	/* several together, and none any more */
	subscribe_with((WhCredential[]){{"bearer", "t"}, {"header:X-One", "1"}, {"header:X-Two", "2"}}, 3,
				   at("/status/200"));
	submit(1, 1, "a");
	delivered(1);
	subscribe(1, at("/status/200"));
	submit(1, 2, "a");
	delivered(2);
	{
		ServerRequest with = server_request(1);
		ServerRequest without = server_request(2);

		assert_string_equal(request_header(&with, "X-One"), "1");
		assert_string_equal(request_header(&with, "X-Two"), "2");
		assert_string_equal(request_header(&with, "Authorization"), "Bearer t");
		assert_null(request_header(&without, "X-One"));
		assert_null(request_header(&without, "Authorization"));
	}
}

/* A value that is not there, or not what its kind asks for: nothing is sent, and nothing of it is told. */
static void
test_unusable(void **state)
{
	static WhCredential rows[] = {
		{"bearer", NULL},
		{"bearer", "two\nlines"},
		{"basic", "nocolon"},
		{"header:X-Key", "a\r\nX-More: b"},
		{"proxy", "socks5://127.0.0.1:1"},
		{"proxy", "http://me:50%1Cab@127.0.0.1:1"}, /* libcurl would do without it */
		{"proxy", "http://me:s3cret@proxy:99999"},
		{"oauth2", NULL},
		{"nonsense", "x"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		char error[WH_ERROR_MAX];
		WhDelivery *d;

		subscribe_with(&rows[i], 1, at("/status/200"));
		submit(1, (int64_t) i + 1, "a");
		d = outcome();
		check_row(rows[i].kind, d->kind == WH_OUT_INTERNAL && d->disposal == WH_DO_RETRY);
		snprintf(error, sizeof(error), "invalid credential of the subscription: %.*s",
				 (int) strcspn(rows[i].kind, ":"), rows[i].kind);
		assert_string_equal(wh_delivery_error(d), error);
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1);
	}
	assert_int_equal(server_requests(), 0);
}

/* Plain HTTP goes to the proxy as it is, with the whole URL; the address that must be allowed is the proxy's. */
static void
test_proxy(void **state)
{
	char proxy[64];
	WhCredential one = {"proxy", proxy};
	ServerRequest r;
	WhDelivery *d;

	(void) state;
	snprintf(proxy, sizeof(proxy), "http://u:p%%40@127.0.0.1:%d", port);
	setenv("no_proxy", "*", 1); /* nobody asks the environment */
	subscribe_with(&one, 1, "http://nowhere.test/status/200");
	submit(1, 1, "a");
	d = outcome(); /* the server does not take whole URLs */
	assert_int_equal(d->kind, WH_OUT_RESET);
	wh_delivery_free(d);
	unsetenv("no_proxy");
	r = server_request(0);
	assert_memory_equal(r.head, "POST http://nowhere.test/status/200 HTTP/1.1\r\n", 46);
	/* base64 of u:p@ */
	assert_string_equal(request_header(&r, "Proxy-Authorization"), "Basic dTpwQA==");

	snprintf(proxy, sizeof(proxy), "http://127.0.0.2:%d", port);
	subscribe_with(&one, 1, "http://8.8.8.8/status/200");
	submit(1, 2, "b");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_ADDRESS);
	wh_delivery_free(d);

	/* a tunnel that is refused: what is for the endpoint was not sent */
	snprintf(proxy, sizeof(proxy), "http://u:p@127.0.0.1:%d", port);
	subscribe_with((WhCredential[]){one, {"bearer", "t"}}, 2, "https://nowhere.test/");
	server_forget();
	submit(1, 4, "d");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_PROXY);
	assert_int_equal(d->http_status, 0);
	assert_null(strstr(wh_delivery_error(d), "u:p"));
	wh_delivery_free(d);
	r = server_request(0);
	assert_memory_equal(r.head, "CONNECT nowhere.test:443 HTTP/1.1\r\n", 35);
	assert_string_equal(request_header(&r, "Proxy-Authorization"), "Basic dTpw");
	assert_null(request_header(&r, "Authorization"));

	/* one whose name does not resolve */
	snprintf(proxy, sizeof(proxy), "http://nowhere.invalid:1");
	subscribe_with(&one, 1, "http://8.8.8.8/status/200");
	submit(1, 3, "c");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_PROXY);
	assert_string_equal(wh_delivery_error(d), "the proxy's name does not resolve");
	wh_delivery_free(d);

	/* and without one, there is none */
	server_forget();
	subscribe(1, at("/status/200"));
	submit(1, 5, "e");
	delivered(5);
	r = server_request(0);
	assert_memory_equal(r.head, "POST /status/200 HTTP/1.1\r\n", 27);
	assert_null(request_header(&r, "Proxy-Authorization"));
}

/* Other credentials may be what was wanting: what waits for its time is tried at once. */
static void
test_mended(void **state)
{
	(void) state;
	subscribe_with(&(WhCredential){"bearer", "a"}, 1, at("/status/200"));
	assert_int_equal(wh_engine_to_expedite(e), 0);
	subscribe_with(&(WhCredential){"bearer", "b"}, 1, at("/status/200"));
	assert_int_equal(wh_engine_to_expedite(e), 1);
	subscribe_with(&(WhCredential){"bearer", "b"}, 1, at("/status/200"));
	assert_int_equal(wh_engine_to_expedite(e), 0);
	subscribe(1, at("/status/200"));
	assert_int_equal(wh_engine_to_expedite(e), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_headers),
		with_engine(test_unusable),
		with_engine(test_proxy),
		with_engine(test_mended),
	};

	return cmocka_run_group_tests_name("deliver_access", tests, NULL, NULL);
}
