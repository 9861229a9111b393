/*
 * engine_unit.h
 *	  What the tests of the whole engine share: an engine with a clock and
 *	  randomness of the test's, subscriptions at the local server, and waiting
 *	  for outcomes with a deadline. For one test program each: it has its own
 *	  copy of the state.
 */
#ifndef ENGINE_UNIT_H
#define ENGINE_UNIT_H

#include "unit.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "engine.h"
#include "local_server.h"
#include "profile_unit.h"

#define SECOND INT64_C(1000000)
#define START (INT64_C(1700000000) * SECOND)
#define PATIENCE (20 * SECOND) /* longer than anything takes */
#define INSTANCE "0123abcd"
#define SECRET "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" /* 0123456789abcdef twice */

static WhEngine *e;
static WhEngineConfig config;
static int port;
static int64_t skew;       /* of the engine's clock */
static int64_t clock_last; /* the time it was last told */
static char url[256];

static inline int64_t
real_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static inline int64_t
now_us(void)
{
	static int64_t origin;

	if (origin == 0)
		origin = real_us();
	clock_last = START + real_us() - origin + skew;
	return clock_last;
}

static inline double
no_jitter(void)
{
	return 0.5;
}

static inline int
set_up(void **state)
{
	(void) state;
	skew = 0;
	port = server_start();
	config = (WhEngineConfig){.instance = INSTANCE,
							  .max_in_flight = 8,
							  .allowed_networks = "127.0.0.1",
							  .now_us = now_us,
							  .random = no_jitter};
	e = wh_engine_create(&config);
	assert_non_null(e);
	return 0;
}

static inline int
tear_down(void **state)
{
	(void) state;
	wh_engine_free(e);
	server_stop();
	return 0;
}

static inline const char *
at(const char *path)
{
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", port, path);
	return url;
}

/* A subscription as most tests want it; the strings are not copied. */
static inline WhSubscription
subscription(int64_t id, const char *to)
{
	return (WhSubscription){.id = id,
							.name = "test",
							.url = (char *) to,
							.max_in_flight = 100,
							.batch_size = 1,
							.timeout_us = 10 * SECOND,
							.retry = {3, {SECOND, 2 * SECOND, 5 * SECOND}, 3600 * SECOND},
							.n_secrets = 1,
							.secrets = {SECRET},
							.profile = &profile_entity};
}

static inline void
subscribe(int64_t id, const char *to)
{
	WhSubscription sub = subscription(id, to);

	assert_true(wh_engine_subscribe(e, &sub));
}

static inline bool
submit_as(const WhSubmit *submit, int64_t id, const char *entity)
{
	WhEvent from = {.id = id,
					.entity_id = entity,
					.entity_type = "order",
					.action_type = "new",
					.result = "{\"n\": 1}",
					.result_len = 8};
	WhSubmit copy = *submit;
	bool taken;

	if ((copy.event = wh_event_make(&from)) == NULL)
		return false;
	taken = wh_engine_submit(e, &copy);
	wh_event_release(copy.event);
	return taken;
}

static inline void
submit(int64_t sub, int64_t id, const char *entity)
{
	WhSubmit submit = {.subscription_id = sub, .from = WH_FROM_LOG, .page = 1};

	assert_true(submit_as(&submit, id, entity));
}

/* Run the engine as its host does, until `enough` says so. */
static inline void
run_until(bool (*enough)(int n), int n)
{
	int64_t deadline = real_us() + PATIENCE;

	for (wh_engine_run(e); !enough(n); wh_engine_run(e))
	{
		struct pollfd fd = {.fd = wh_engine_fd(e), .events = POLLIN};
		int64_t wait = wh_engine_deadline(e);

		if (wait != INT64_MAX)
			wait = wait > now_us() ? (wait - clock_last + 999) / 1000 : 0;
		/* what the server has seen does not wake us up */
		poll(&fd, 1, wait > 20 ? 20 : (int) wait);
		if (real_us() > deadline)
			fail_msg("nothing happens any more: %d outcomes, %d in flight, %d requests",
					 wh_engine_outcomes(e), wh_engine_in_flight(e), server_requests());
	}
}

static inline bool
outcomes_are(int n)
{
	return wh_engine_outcomes(e) >= n;
}

static inline bool
requests_are(int n)
{
	return server_requests() >= n;
}

/* Run until there is one more outcome, and take it. */
static inline WhDelivery *
outcome(void)
{
	run_until(outcomes_are, 1);
	return wh_engine_take(e);
}

static inline void
delivered(int64_t id)
{
	WhDelivery *d = outcome();

	assert_int_equal(d->event->id, id);
	assert_string_equal(wh_delivery_error(d), "");
	assert_int_equal(d->kind, WH_OUT_DELIVERED);
	assert_int_equal(d->disposal, WH_DO_DONE);
	wh_delivery_free(d);
}

#define with_engine(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif /* ENGINE_UNIT_H */
