/*
 * test_engine_large.c
 *	  The engine with large bodies, which are sent from where they are, and with
 *	  many requests at once.
 */
#include "engine_unit.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"
#include "pipeline_core.h"
#include "sign.h"

static void
submit_large(int64_t id, char *json, size_t len)
{
	WhEvent from = {.id = id,
					.entity_id = "a",
					.entity_type = "order",
					.action_type = "new",
					.result = json,
					.result_len = len};
	WhSubmit submit = {.subscription_id = 1, .from = WH_FROM_LOG, .page = 1, .event = wh_event_make(&from)};

	assert_non_null(submit.event);
	assert_true(wh_engine_submit(e, &submit));
	wh_event_release(submit.event);
}

/* Small and large bodies by turns, also over a connection that has died: each is the right one, and signed. */
static void
test_large_bodies(void **state)
{
	static const size_t sizes[] = {WH_LENT_MIN - 1, 10, WH_LENT_MIN, 150000, 20000, 100000};
	static char json[150001];
	static char expected[SERVER_BODY_MAX];
	WhKey key;
	const char *why;

	(void) state;
	assert_true(wh_secret_decode(&wh_signing_standard, SECRET, &key, &why));
	subscribe(1, at("/status/200"));
	for (size_t i = 0; i < lengthof(sizes); i++)
	{
		ServerRequest r;
		WhMessage m = {.body = r.body};
		char id[64];

		for (size_t k = 0; k < sizes[i]; k++)
			json[k] = (char) ('a' + (k * 7 + i) % 26);
		json[0] = json[sizes[i] - 1] = '"';
		submit_large((int64_t) i + 1, json, sizes[i]);
		delivered((int64_t) i + 1);
		r = server_request(0);
		snprintf(expected, sizeof(expected),
				 "{\"entity_id\":\"a\",\"entity_type\":\"order\",\"action_type\":\"new\",\"result\":%.*s}",
				 (int) sizes[i], json);
		assert_int_equal(r.body_len, strlen(expected));
		assert_memory_equal(r.body, expected, r.body_len);
		snprintf(id, sizeof(id), "evt_" INSTANCE "_%zu", i + 1);
		m.id = id;
		m.body_len = r.body_len;
		m.timestamp = atoll(request_header(&r, "webhook-timestamp"));
		assert_true(wh_verify(&wh_signing_standard, &key, &m, request_header(&r, "webhook-signature")));
		assert_null(request_header(&r, "Expect"));
		server_forget(); /* the next one finds its connection closed */
	}
	wh_key_wipe(&key);
}

/* A kept connection that dies with the request: libcurl sends it once more, from the beginning. */
static void
test_large_body_again(void **state)
{
	static char json[100000];
	WhDelivery *d;
	ServerRequest r;

	(void) state;
	memset(json, 'x', sizeof(json));
	json[0] = json[sizeof(json) - 1] = '"';
	subscribe(1, at("/status/200"));
	submit(1, 1, "a");
	delivered(1);
	subscribe(1, at("/close"));
	submit_large(2, json, sizeof(json));
	d = outcome();
	assert_int_equal(d->kind, WH_OUT_RESET);
	wh_delivery_free(d);
	assert_int_equal(server_requests(), 3);
	r = server_request(2);
	assert_true(r.body_len > sizeof(json));
	assert_memory_equal(r.body + r.body_len - 1 - sizeof(json), json, sizeof(json));
	assert_memory_equal(r.body, server_request(1).body, r.body_len);
}

/* libcurl's own repetitions for one request are not those of the next one with the same handle. */
static void
test_connections_that_die(void **state)
{
	(void) state;
	e->http->handles_serve_again = true; /* as with a newer libcurl */
	subscribe(1, at("/first"));
	for (int i = 1; i <= 15; i++)
	{
		submit(1, i, "a");
		delivered(i);
	}
	assert_true(server_requests() > 15);
}

static bool
at_most_in_flight(int n)
{
	return wh_engine_in_flight(e) <= n;
}

/*
 * Many more requests at once, and then few again: those under way end as usual, no
 * transfer is lost, and of the unused ones not all are kept.
 */
static void
test_raised_and_lowered(void **state)
{
	enum
	{
		SUBS = 8,
		EACH = 60
	};
	WhEngineConfig other = config;

	(void) state;
	other.max_in_flight = 300;
	assert_true(wh_engine_configure(e, &other));
	for (int sub = 1; sub <= SUBS; sub++)
		subscribe(sub, at("/wait"));
	for (int i = 1; i <= EACH; i++)
		for (int sub = 1; sub <= SUBS; sub++)
		{
			char entity[16];

			snprintf(entity, sizeof(entity), "%d", i);
			submit(sub, i, entity);
		}
	run_until(requests_are, 260);
	assert_true(wh_engine_in_flight(e) <= 300);
	other.max_in_flight = 2;
	assert_true(wh_engine_configure(e, &other));
	server_release();
	run_until(at_most_in_flight, 2); /* what was under way ends, and no more begins */
	assert_true(wh_engine_outcomes(e) >= 260);
	for (int i = 0; i < SUBS * EACH; i++)
	{
		WhDelivery *d = outcome();

		assert_int_equal(d->kind, WH_OUT_DELIVERED);
		wh_delivery_free(d);
		assert_true(wh_engine_in_flight(e) <= 2);
	}
	assert_int_equal(server_requests(), SUBS * EACH);
}

static int peer; /* of the connection that test_in_turns accepts */

static void
answer(const char *text)
{
	assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool
in_turns_are(int n)
{
	return wh_engine_in_turns(e) == n;
}

/* Has the peer received this many bytes? It goes on receiving. */
static bool
received_are(int n)
{
	static int received;
	char bytes[4096];
	ssize_t len;

	if (n == 0)
		return (received = 0) == 0;
	while ((len = recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		received += (int) len;
	return received >= n;
}

/*
 * Several turns are needed for a connection, for a large body, and for a response that has
 * begun. A small request that has been sent needs one more.
 */
static void
test_in_turns(void **state)
{
	static char json[100000];
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listening = socket(AF_INET, SOCK_STREAM, 0);
	char to[64];

	(void) state;
	assert_int_equal(bind(listening, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(listen(listening, 8), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *) &address, &len), 0);

	snprintf(to, sizeof(to), "http://127.0.0.1:%d/", ntohs(address.sin_port));
	subscribe(1, to);
	submit(1, 1, "a");
	run_until(in_turns_are, 0);
	assert_int_equal(wh_engine_in_flight(e), 1);
	peer = accept(listening, NULL, NULL);
	received_are(0);
	run_until(received_are, 100);
	assert_int_equal(wh_engine_in_turns(e), 0);
	answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1");
	run_until(in_turns_are, 1);
	answer("2");
	delivered(1);
	assert_int_equal(wh_engine_in_turns(e), 0);

	memset(json, 'x', sizeof(json));
	json[0] = json[sizeof(json) - 1] = '"';
	submit_large(2, json, sizeof(json));
	received_are(0);
	run_until(received_are, (int) sizeof(json));
	wh_engine_run(e);
	assert_int_equal(wh_engine_in_turns(e), 1);
	answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	delivered(2);
	assert_int_equal(wh_engine_in_turns(e), 0);
	close(peer);

	/* connected, but TLS is not: nobody says hello */
	snprintf(to, sizeof(to), "https://127.0.0.1:%d/", ntohs(address.sin_port));
	subscribe(2, to);
	submit(2, 3, "a");
	run_until(in_turns_are, 1);
	peer = accept(listening, NULL, NULL);
	received_are(0);
	run_until(received_are, 100);
	for (int i = 0; i < 10; i++)
		wh_engine_run(e);
	assert_int_equal(wh_engine_in_turns(e), 1);
	close(peer);
	close(listening);
	wh_delivery_free(outcome());
	assert_int_equal(wh_engine_in_turns(e), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_large_bodies),
		with_engine(test_large_body_again),
		with_engine(test_connections_that_die),
		with_engine(test_raised_and_lowered),
		with_engine(test_in_turns),
	};

	return cmocka_run_group_tests_name("deliver_large", tests, NULL, NULL);
}
