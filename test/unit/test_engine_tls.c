/*
 * test_engine_tls.c
 *	  The engine against endpoints whose certificates are wrong, each in its
 *	  own way: what the log calls it, and that nothing is told to them. And
 *	  one that does not speak HTTP/2.
 */
#include "engine_unit.h"

#include "tls_server.h"

static const struct
{
	Certificate certificate;
	WhOutcomeKind kind;
	const char *word;
} rows[] = {
	{CERT_GOOD, WH_OUT_DELIVERED, "delivered"},
	{CERT_OTHER_HOST, WH_OUT_TLS_WRONG_HOST, "tls_wrong_host"},
	{CERT_EXPIRED, WH_OUT_TLS_EXPIRED, "tls_expired"},
	{CERT_TOO_EARLY, WH_OUT_TLS_EXPIRED, "tls_expired"},
	{CERT_SELF_SIGNED, WH_OUT_TLS_UNKNOWN_CA, "tls_unknown_ca"},
	{CERT_OTHER_CA, WH_OUT_TLS_UNKNOWN_CA, "tls_unknown_ca"},
	{CERT_FORGED, WH_OUT_TLS, "tls"},
	{CERT_OF_CLIENT, WH_OUT_TLS, "tls"},
	{CERT_GOOD, WH_OUT_DELIVERED, "delivered"}, /* with the same handles */
};

static void
test_certificates(void **state)
{
	WhEngineConfig with_ca = config;

	(void) state;
	with_ca.ca_file = tls_authority();
	assert_true(wh_engine_configure(e, &with_ca));
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhDelivery *d;

		snprintf(url, sizeof(url), "https://127.0.0.1:%d/", tls_server_start(rows[i].certificate));
		subscribe(1, url);
		submit(1, 1, "a");
		d = outcome();
		if (d->kind != rows[i].kind)
			fail_msg("row %zu: %s, %s", i, d->word, wh_delivery_error(d));
		assert_string_equal(d->word, rows[i].word);
		if (d->kind != WH_OUT_DELIVERED)
		{
			assert_int_equal(d->class, WH_CLASS_ENDPOINT);
			assert_int_equal(d->disposal, WH_DO_RETRY);
			assert_int_equal(d->http_status, 0);
			assert_true(d->error != NULL);
		}
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1);
		tls_server_stop();
	}
}

/* Without the authority's certificate the good one is of an unknown authority. */
static void
test_no_authority(void **state)
{
	WhDelivery *d;

	(void) state;
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/", tls_server_start(CERT_GOOD));
	subscribe(1, url);
	submit(1, 1, "a");
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_TLS_UNKNOWN_CA);
	wh_delivery_free(d);
	tls_server_stop();
}

static bool
tls_requests_are(int n)
{
	return tls_server_requests() >= n;
}

/*
 * An endpoint that speaks HTTP/1.1 only and hangs: the second request waits to
 * learn whether it may share the first one's connection, and must not wait for
 * its answer.
 */
static void
test_hangs_without_http2(void **state)
{
	WhEngineConfig with_ca = config;
	int share = (config.max_in_flight + 1) / 2; /* of one subscription alone */

	(void) state;
	with_ca.ca_file = tls_authority();
	assert_true(wh_engine_configure(e, &with_ca));
	snprintf(url, sizeof(url), "https://127.0.0.1:%d/", tls_server_start(CERT_GOOD));
	tls_server_hang();
	subscribe(1, url);
	for (int i = 0; i < config.max_in_flight; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i + 1, entity);
	}
	run_until(tls_requests_are, share);
	assert_int_equal(wh_engine_in_flight(e), share);
	wh_engine_stop(e);
	tls_server_stop();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_certificates),
		with_engine(test_no_authority),
		with_engine(test_hangs_without_http2),
	};

	return cmocka_run_group_tests_name("deliver_tls", tests, NULL, NULL);
}
