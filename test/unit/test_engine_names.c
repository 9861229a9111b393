/*
 * test_engine_names.c
 *	  The engine and names: look-ups that hang, and hosts of which some
 *	  addresses may be dialled and others not.
 *
 * The resolver is this file's own: libcurl calls getaddrinfo() from its
 * threads, and finds the one below before the C library's.
 */
#include "engine_unit.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>

/* What names stand for; NULL where it ends. What is not here does not exist. */
static const struct
{
	const char *name;
	const char *addresses[4];
} hosts[] = {
	{"good.test", {"127.0.0.1"}},
	{"refused.test", {"127.0.0.2"}},
	{"refused-twice.test", {"127.0.0.2", "169.254.169.254"}},
	{"refused-first.test", {"127.0.0.2", "127.0.0.1"}},
	{"refused-last.test", {"127.0.0.1", "127.0.0.2"}},
	{"refused-both.test", {"127.0.0.2", "127.0.0.1", "169.254.169.254"}},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t released = PTHREAD_COND_INITIALIZER;
static bool hanging;   /* look-ups of hang.test do not end while this is so */
static int n_hanging;  /* of them, those under way */
static int n_look_ups; /* of any name */

static int
look_ups_hanging(void)
{
	int n;

	pthread_mutex_lock(&lock);
	n = n_hanging;
	pthread_mutex_unlock(&lock);
	return n;
}

static int
resolve(const char *name, const char *service, struct addrinfo **list)
{
	struct addrinfo **last = list;

	*list = NULL;
	for (size_t i = 0; i < lengthof(hosts); i++)
	{
		if (strcmp(hosts[i].name, name) != 0)
			continue;
		for (int k = 0; hosts[i].addresses[k]; k++)
		{
			/* one block each, which freeaddrinfo() below frees */
			struct
			{
				struct addrinfo info;
				struct sockaddr_in address;
			} *one = calloc(1, sizeof(*one));

			one->address.sin_family = AF_INET;
			one->address.sin_port = htons((in_port_t) (service ? strtol(service, NULL, 10) : 0));
			inet_pton(AF_INET, hosts[i].addresses[k], &one->address.sin_addr);
			one->info = (struct addrinfo){.ai_family = AF_INET,
										  .ai_socktype = SOCK_STREAM,
										  .ai_addrlen = sizeof(one->address),
										  .ai_addr = (struct sockaddr *) &one->address};
			*last = &one->info;
			last = &one->info.ai_next;
		}
		return 0;
	}
	return EAI_NONAME;
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
	/* since 8.20 libcurl asks for each family by itself; these names have none of the other one */
	if (hints && hints->ai_family == AF_INET6)
		return EAI_NONAME;
	pthread_mutex_lock(&lock);
	n_look_ups++;
	if (strcmp(name, "hang.test") == 0)
	{
		struct timespec end; /* so that whoever waits for it is told apart, and not waited for */

		clock_gettime(CLOCK_REALTIME, &end);
		end.tv_sec += PATIENCE / SECOND;
		n_hanging++;
		while (hanging && pthread_cond_timedwait(&released, &lock, &end) == 0)
			;
		n_hanging--;
		pthread_cond_broadcast(&released);
	}
	pthread_mutex_unlock(&lock);
	return resolve(name, service, list);
}

void
freeaddrinfo(struct addrinfo *list)
{
	struct addrinfo *next;

	for (; list; list = next)
	{
		next = list->ai_next;
		free(list);
	}
}

static const char *
url_of(const char *name)
{
	snprintf(url, sizeof(url), "http://%s:%d/status/200", name, port);
	return url;
}

static void
test_addresses(void **state)
{
	static const struct
	{
		const char *name;
		WhOutcomeKind kind;
	} rows[] = {
		{"good.test", WH_OUT_DELIVERED},
		{"refused.test", WH_OUT_ADDRESS},
		{"refused-twice.test", WH_OUT_ADDRESS},
		/* one that may be dialled is enough, wherever it stands */
		{"refused-first.test", WH_OUT_DELIVERED},
		{"refused-last.test", WH_OUT_DELIVERED},
		{"refused-both.test", WH_OUT_DELIVERED},
		{"nowhere.test", WH_OUT_DNS},
	};
	int requests = 0;

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhDelivery *d;

		subscribe(1, url_of(rows[i].name));
		submit(1, 1, "a");
		d = outcome();
		check_row(rows[i].name, d->kind == rows[i].kind);
		requests += d->kind == WH_OUT_DELIVERED;
		/* there is but one server, at the address that may be dialled */
		check_row(rows[i].name, server_requests() == requests);
		wh_delivery_free(d);
		wh_engine_unsubscribe(e, 1);
	}
	assert_true(n_look_ups >= (int) lengthof(rows)); /* it was this resolver that was asked */
}

static bool
look_ups_hang(int n)
{
	return look_ups_hanging() >= n;
}

/* Look-ups that hang: others are delivered meanwhile, their own requests end at their timeout, the engine at once. */
static void
test_hanging(void **state)
{
	const int n = 25; /* more than libcurl's own threads, since 8.20 */
	const int good = n + 1;

	(void) state;
	wh_engine_free(e);
	config.max_in_flight = config.max_connections = 2 * n;
	e = wh_engine_create(&config);
	assert_non_null(e);
	hanging = true;
	for (int i = 1; i <= n; i++)
	{
		WhSubscription sub = subscription(i, url_of("hang.test"));

		sub.timeout_us = SECOND;
		assert_true(wh_engine_subscribe(e, &sub));
		submit(i, i, "a");
	}
	run_until(look_ups_hang, n);
	subscribe(good, url_of("good.test"));
	for (int i = 0; i < 5; i++)
	{
		submit(good, 100 + i, "a");
		delivered(100 + i);
	}
	for (int i = 0; i < n; i++)
	{
		WhDelivery *d = outcome();

		assert_int_in_range(d->event->id, 1, n);
		assert_int_equal(d->class, WH_CLASS_ENDPOINT);
		assert_int_equal(d->disposal, WH_DO_RETRY);
		assert_string_equal(d->word, "connect_timeout");
		assert_true(d->duration_us < 5 * SECOND);
		wh_delivery_free(d);
	}
	/* and again, under way when the engine ends: it leaves them behind */
	submit(good, 200, "a");
	delivered(200);
	wh_engine_unsubscribe(e, 1);
	subscribe(1, url_of("hang.test"));
	submit(1, 201, "a");
	run_until(look_ups_hang, n + 1);
	wh_engine_free(e);
	e = NULL;
	assert_int_equal(look_ups_hanging(), n + 1);

	pthread_mutex_lock(&lock);
	hanging = false;
	pthread_cond_broadcast(&released);
	while (n_hanging > 0)
		pthread_cond_wait(&released, &lock);
	pthread_mutex_unlock(&lock);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_addresses),
		with_engine(test_hanging),
	};

	return cmocka_run_group_tests_name("deliver_names", tests, NULL, NULL);
}
