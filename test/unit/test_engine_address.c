/*
 * test_engine_address.c
 *	  The engine dials no address that may not be dialled, however it came by
 *	  it: names that resolve to something internal, names whose answer changes
 *	  between two look-ups (DNS rebinding), names with several answers,
 *	  connections that are reused after the list of allowed networks changed.
 *
 * Names are resolved by a getaddrinfo of this program's, which libcurl finds
 * before the C library's; it is called in a thread of libcurl's, so that what
 * it shares with the test has a lock.
 */
#include "engine_unit.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>

#define ANSWERS_MAX 3

/* What a look-up of any name that is no address answers: the n-th look-up the n-th row, the last for ever. */
static char answers[ANSWERS_MAX][ANSWERS_MAX][64];
static int n_answers;
/*
 * How often was asked for the name that is subscribed. Since 8.20 libcurl asks for
 * each family by itself, at the same time: each is half of a look-up, and as the
 * first may be all that it takes, the other may come late.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char subscribed[64];
static int asked;
static int asked_v6;

static int
lookups(void)
{
	int n;

	pthread_mutex_lock(&lock);
	n = asked > asked_v6 ? asked : asked_v6;
	pthread_mutex_unlock(&lock);
	return n;
}

/* One more of it; how many there were before. */
static int
note_question(const char *name, bool v6)
{
	int *n = v6 ? &asked_v6 : &asked;
	int before;

	pthread_mutex_lock(&lock);
	before = *n;
	if (strcmp(name, subscribed) == 0)
		(*n)++;
	pthread_mutex_unlock(&lock);
	return before;
}

/* One list node with its address behind it, as our freeaddrinfo expects. */
static struct addrinfo *
node_of(const char *ip, in_port_t service)
{
	struct addrinfo *node = calloc(1, sizeof(*node) + sizeof(struct sockaddr_in6));
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = service};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = service};

	node->ai_addr = (struct sockaddr *) (node + 1);
	node->ai_socktype = SOCK_STREAM;
	node->ai_protocol = IPPROTO_TCP;
	if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
	{
		node->ai_family = AF_INET;
		node->ai_addrlen = sizeof(in);
		memcpy(node + 1, &in, sizeof(in));
	}
	else
	{
		assert_int_equal(inet_pton(AF_INET6, ip, &in6.sin6_addr), 1);
		node->ai_family = AF_INET6;
		node->ai_addrlen = sizeof(in6);
		memcpy(node + 1, &in6, sizeof(in6));
	}
	return node;
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	bool half = hints && hints->ai_family == AF_INET6;
	int n = note_question(name, half);
	char(*answer)[64] = answers[n < n_answers ? n : n_answers - 1];
	struct addrinfo **end = found;

	*found = NULL;
	for (int i = 0; i < ANSWERS_MAX && answer[i][0]; i++)
	{
		if (half && !strchr(answer[i], ':'))
			continue;
		*end = node_of(answer[i], htons((in_port_t) (service ? atoi(service) : 0)));
		end = &(*end)->ai_next;
	}
	return *found ? 0 : EAI_NONAME;
}

void
freeaddrinfo(struct addrinfo *list)
{
	while (list)
	{
		struct addrinfo *next = list->ai_next;

		free(list);
		list = next;
	}
}

/* The next look-ups' answers, each a list of addresses separated by blanks. */
static void
resolve_to(int n, const char *const *rows)
{
	memset(answers, 0, sizeof(answers));
	for (int i = 0; i < n; i++)
		sscanf(rows[i], "%63s %63s %63s", answers[i][0], answers[i][1], answers[i][2]);
	n_answers = n;
	pthread_mutex_lock(&lock);
	asked = asked_v6 = 0;
	pthread_mutex_unlock(&lock);
}

static void
allow(const char *networks)
{
	WhEngineConfig changed = config;

	changed.allowed_networks = networks;
	assert_true(wh_engine_configure(e, &changed));
}

static void
named(const char *host)
{
	pthread_mutex_lock(&lock);
	snprintf(subscribed, sizeof(subscribed), "%s", host);
	pthread_mutex_unlock(&lock);
	snprintf(url, sizeof(url), "http://%s:%d/status/200", host, port);
	subscribe(1, url);
}

/* Send an event, and expect that this becomes of it. */
static void
expect(WhOutcomeKind kind)
{
	WhDelivery *d;

	submit(1, 1, "a");
	d = outcome();
	if (d->kind != kind)
		fail_msg("outcome %s: %s", d->word, wh_delivery_error(d));
	if (kind == WH_OUT_ADDRESS)
		assert_string_equal(wh_delivery_error(d), "the address of the endpoint is not allowed");
	wh_delivery_free(d);
	wh_engine_unsubscribe(e, 1); /* forgets that the lane is blocked */
}

/* Each as the answer to a look-up, with nothing allowed: none is dialled. */
static void
test_names_of_internal_addresses(void **state)
{
	static const char *const rows[] = {"127.0.0.1",
									   "0.0.0.0",
									   "10.0.0.1",
									   "169.254.169.254",
									   "192.168.1.1",
									   "100.100.100.200",
									   "::1",
									   "::",
									   "::ffff:127.0.0.1",
									   "::127.0.0.1",
									   "fd00:ec2::254",
									   "fe80::1",
									   "64:ff9b::7f00:1",
									   "2002:7f00:1::1",
									   "2001:0:7f00:1::1",
									   "64:ff9b:1::7f00:1"};

	(void) state;
	allow("");
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		char host[64];

		resolve_to(1, &rows[i]);
		/* a name of its own for each: look-ups are remembered for a minute */
		snprintf(host, sizeof(host), "n%zu.example", i);
		named(host);
		expect(WH_OUT_ADDRESS);
		/* libcurl may ask again: since 8.20 for a link-local address without a scope */
		check_row(rows[i], lookups() >= 1 && server_connections() == 0);
	}
}

/* The same name, good at first; then, at a new look-up, bad. */
static void
test_rebinding(void **state)
{
	static const char *const rows[] = {"127.0.0.1", "127.0.0.2"};

	(void) state;
	resolve_to(2, rows);
	named("rebind.example");
	expect(WH_OUT_DELIVERED);
	/* another port is looked up again, as the same one is after a minute */
	snprintf(url, sizeof(url), "http://rebind.example:%d/status/200", port == 65535 ? 1 : port + 1);
	subscribe(1, url);
	expect(WH_OUT_ADDRESS);
	assert_int_equal(lookups(), 2);
	assert_int_equal(server_requests(), 1);
}

/* Of several addresses those that may not be dialled are passed over. */
static void
test_several_addresses(void **state)
{
	static const char *const mixed[] = {"169.254.169.254 10.0.0.1 127.0.0.1"};
	static const char *const bad[] = {"169.254.169.254 10.0.0.1 127.0.0.2"};

	(void) state;
	resolve_to(1, mixed);
	named("mixed.example");
	expect(WH_OUT_DELIVERED);
	resolve_to(1, bad);
	named("bad.example");
	expect(WH_OUT_ADDRESS);
	assert_int_equal(server_requests(), 1);
}

/* A connection that is open already is no way round the list as it is now. */
static void
test_reused_connection(void **state)
{
	static const char *const rows[] = {"127.0.0.1"};

	(void) state;
	resolve_to(1, rows);
	for (int i = 0; i < 2; i++)
	{
		named("reused.example");
		expect(WH_OUT_DELIVERED);
	}
	assert_int_equal(server_connections(), 1);
	allow("10.0.0.0/8");
	named("reused.example");
	expect(WH_OUT_ADDRESS);
	assert_int_equal(server_connections(), 1);
	assert_int_equal(server_requests(), 2);
	allow("127.0.0.1");
	named("reused.example");
	expect(WH_OUT_DELIVERED);
}

/* A new connection is judged by the list as it is now, though the look-up is remembered. */
static void
test_new_connection(void **state)
{
	static const char *const rows[] = {"127.0.0.1"};

	(void) state;
	resolve_to(1, rows);
	named("remembered.example");
	expect(WH_OUT_DELIVERED);
	server_forget(); /* closes it */
	allow("");
	named("remembered.example");
	expect(WH_OUT_ADDRESS);
	assert_int_equal(lookups(), 1);
	assert_int_equal(server_connections(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_names_of_internal_addresses),
		with_engine(test_rebinding),
		with_engine(test_several_addresses),
		with_engine(test_reused_connection),
		with_engine(test_new_connection),
	};

	return cmocka_run_group_tests_name("deliver_address", tests, NULL, NULL);
}
