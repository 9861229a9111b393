/*
 * test_deliver_transform.c
 *	  Bodies that the host makes: a delivery is handed out, goes on with what was
 *	  made of it, or ends without a request; whatever happens while it is out,
 *	  it comes back, once.
 */
#include "deliver_unit.h"

#include "breaker.h"
#include "http.h"

/* The body of the i-th request, from 0. */
static const char *
server_body(int i)
{
	static ServerRequest r;

	assert_true(i < server_requests());
	r = server_request(i);
	return r.body;
}

static WhSubscription
transformed(int64_t id, const char *to)
{
	WhSubscription sub = subscription(id, to);

	sub.transform = true;
	return sub;
}

static void
subscribe_transformed(int64_t id, const char *to)
{
	WhSubscription sub = transformed(id, to);

	assert_true(wh_deliver_subscribe(e, &sub));
}

/* The engine hands this event out. */
static void
handed_out(int64_t id)
{
	const WhDelivery *d;

	wh_deliver_run(e);
	d = wh_deliver_to_transform(e);
	assert_non_null(d);
	assert_int_equal(d->event->id, id);
}

static void
made(const char *body)
{
	wh_deliver_transformed(e, WH_OUT_DELIVERED, body, strlen(body));
}

static void
skipped(void)
{
	wh_deliver_transformed(e, WH_OUT_SKIPPED, NULL, 0);
}

static void
failed(WhOutcomeKind kind, const char *why)
{
	wh_deliver_transformed(e, kind, why, strlen(why));
}

/* The next outcome. */
static WhDelivery *
ended(int64_t id, const char *word, WhDisposal disposal)
{
	WhDelivery *d = outcome();

	assert_int_equal(d->event->id, id);
	assert_true(d->attempted);
	assert_string_equal(d->word, word);
	assert_int_equal(d->disposal, disposal);
	return d;
}

/* It comes back not attempted. */
static void
came_back(int64_t id, WhDisposal disposal, int attempts)
{
	WhDelivery *d = wh_deliver_take(e);

	assert_non_null(d);
	assert_int_equal(d->event->id, id);
	assert_false(d->attempted);
	assert_int_equal(d->disposal, disposal);
	assert_int_equal(d->attempts, attempts);
	wh_delivery_free(d);
}

static WhCounts
counts(void)
{
	WhCounts c;
	int64_t id;

	assert_true(wh_deliver_counts(e, 0, &id, &c));
	return c;
}

static void
test_body(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	assert_null(wh_deliver_to_transform(e));
	assert_true(wh_deliver_transform_due(e) == INT64_MAX);
	submit(1, 1, "A");
	submit(1, 2, "A");
	handed_out(1);
	assert_int_equal(wh_deliver_transform_due(e), 0);
	assert_int_equal(server_requests(), 0);
	assert_int_equal(wh_deliver_in_flight(e), 1); /* it has its place; 2 waits behind it, as ever */
	made(" {\"mine\":  1}\n");
	delivered(1);
	assert_string_equal(server_body(0), " {\"mine\":  1}\n");
	handed_out(2);
	made("2");
	delivered(2);
	assert_string_equal(server_body(1), "2");
	assert_int_equal(counts().delivered, 2);
}

static void
test_skipped(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "A");
	handed_out(1);
	skipped();
	d = ended(1, "skipped", WH_DO_FORGET);
	assert_int_equal(d->http_status, 0);
	assert_string_equal(d->error, "");
	wh_delivery_free(d);
	handed_out(2); /* its lane goes on */
	made("2");
	delivered(2);
	assert_int_equal(server_requests(), 1);
	assert_int_equal(counts().delivered, 1);
	assert_int_equal(counts().failed, 0);
}

static void
test_failed(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "A");
	submit(1, 3, "B");
	handed_out(1);
	failed(WH_OUT_TRANSFORM, "division by zero");
	d = ended(1, "transform_failed", WH_DO_RETRY);
	assert_string_equal(d->error, "division by zero");
	assert_int_equal(d->attempts, 1);
	assert_true(d->first_us > 0);
	assert_in_range(d->due_us - d->started_us, SECOND, 2 * SECOND - 1); /* by the schedule */
	wh_delivery_free(d);
	came_back(2, WH_DO_BEHIND, 0); /* what is behind it waits */
	handed_out(3);                 /* others do not */
	made("3");
	delivered(3);
	assert_int_equal(counts().failed, 1);
	assert_string_equal(counts().last_error, "transform_failed");
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
}

/* A message that is cut is cut between characters. */
static void
test_message(void **state)
{
	char text[WH_ERROR_MAX + 100];
	WhDelivery *d;

	(void) state;
	memset(text, 'x', sizeof(text));
	memcpy(text + WH_ERROR_MAX - 2, "\xc3\xa9", 2); /* the last byte that fits is the first half of it */
	text[sizeof(text) - 1] = '\0';
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	failed(WH_OUT_TRANSFORM, text);
	d = ended(1, "transform_failed", WH_DO_RETRY);
	assert_int_equal(strlen(d->error), WH_ERROR_MAX - 2);
	assert_int_equal(strspn(d->error, "x"), WH_ERROR_MAX - 2);
	wh_delivery_free(d);
}

/* Timeouts open the breaker; what had been put aside by then is kept, and the host not asked for it. */
static void
test_timeouts(void **state)
{
	(void) state;
	config.max_in_flight = config.max_transfers = 8;
	subscribe_transformed(1, at("/status/200"));
	for (int i = 1; i <= WH_BREAKER_FAILURES + 3; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
	}
	for (int i = 1; i <= WH_BREAKER_FAILURES; i++)
	{
		handed_out(i);
		assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
		failed(WH_OUT_TRANSFORM_TIMEOUT, "too slow");
		if (i < WH_BREAKER_FAILURES)
			wh_delivery_free(ended(i, "transform_timeout", WH_DO_RETRY));
	}
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	wh_delivery_free(ended(WH_BREAKER_FAILURES, "transform_timeout", WH_DO_RETRY));
	wh_deliver_run(e);
	assert_null(wh_deliver_to_transform(e));
	assert_int_equal(wh_deliver_in_flight(e), 0);
	for (int i = 0; i < 3; i++)
	{
		WhDelivery *d = wh_deliver_take(e);

		assert_non_null(d);
		assert_true(d->event->id > WH_BREAKER_FAILURES);
		assert_false(d->attempted);
		assert_int_equal(d->attempts, 0);
		assert_int_equal(d->disposal, WH_DO_PARK);
		wh_delivery_free(d);
	}
	assert_null(wh_deliver_take(e));
	assert_int_equal(server_requests(), 0);
}

/* The breaker is open, and the probe due and taken from pending. */
static void
open_and_probe(int64_t id)
{
	WhSubmit probe = {.subscription_id = 1, .from = WH_FROM_PARKED, .attempts = 1, .lane = (uint64_t) id};
	int64_t asked;

	for (int64_t deadline = real_us() + PATIENCE; (asked = wh_deliver_to_probe(e)) == 0;)
	{
		WhDelivery *d;

		while ((d = wh_deliver_take(e)) != NULL)
			wh_delivery_free(d);
		wh_deliver_run(e);
		assert_true(real_us() < deadline);
	}
	assert_int_equal(asked, 1);
	assert_true(submit_as(&probe, id, "probe"));
	handed_out(id);
	assert_int_equal(counts().breaker, WH_BREAKER_HALF_OPEN);
}

static void
open_breaker(void)
{
	subscribe_transformed(1, at("/status/200"));
	for (int i = 1; i <= WH_BREAKER_FAILURES; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
		handed_out(i);
		failed(WH_OUT_TRANSFORM_TIMEOUT, "too slow");
		wh_delivery_free(ended(i, "transform_timeout", WH_DO_RETRY));
	}
	skew += 3600 * SECOND;
}

static void
test_probe_skipped(void **state)
{
	(void) state;
	open_breaker();
	open_and_probe(100);
	skipped();
	/* that tells nothing about the endpoint: the next one is the probe, at once */
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	wh_delivery_free(ended(100, "skipped", WH_DO_FORGET));
	open_and_probe(101);
	made("101");
	delivered(101);
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
}

static void
test_probe_failed(void **state)
{
	(void) state;
	open_breaker();
	open_and_probe(100);
	failed(WH_OUT_TRANSFORM, "no");
	assert_int_equal(counts().breaker, WH_BREAKER_OPEN);
	wh_delivery_free(ended(100, "transform_failed", WH_DO_RETRY));
	/* not again before the breaker's wait is over */
	wh_deliver_run(e);
	assert_int_equal(wh_deliver_to_probe(e), 0);
	assert_true(wh_deliver_deadline(e) > clock_last + 4 * SECOND);
	skew += 3600 * SECOND;
	open_and_probe(101);
	made("101");
	delivered(101);
	assert_int_equal(counts().breaker, WH_BREAKER_CLOSED);
}

/* Errors of a function say nothing about the endpoint, neither good nor bad. */
static void
test_breaker_unmoved(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/500"));
	for (int i = 1; i <= 2 * WH_BREAKER_FAILURES - 1; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
		handed_out(i);
		if (i % 4 == 2)
			skipped();
		else if (i % 4 == 0)
			failed(WH_OUT_TRANSFORM, "no");
		else
			made("1");
		wh_delivery_free(outcome());
		assert_int_equal(counts().breaker,
						 i < 2 * WH_BREAKER_FAILURES - 1 ? WH_BREAKER_CLOSED : WH_BREAKER_OPEN);
	}
}

static void
submit_batch_of(int n)
{
	for (int i = 1; i <= n; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
	}
}

static void
subscribe_batch(const char *to, int n)
{
	WhSubscription sub = transformed(1, to);

	sub.batch_size = n;
	assert_true(wh_deliver_subscribe(e, &sub));
}

static void
test_batch(void **state)
{
	static const char *const words[] = {"skipped", "delivered", "skipped", "delivered"};

	(void) state;
	subscribe_batch(at("/status/200"), 4);
	submit_batch_of(4);
	handed_out(1);
	skipped();
	handed_out(2);
	made("{\"n\":2}");
	handed_out(3);
	skipped();
	handed_out(4);
	assert_int_equal(server_requests(), 0);
	made("4");
	for (int i = 0; i < 4; i++)
	{
		WhDelivery *d = ended(i + 1, words[i], WH_DO_FORGET);

		assert_int_equal(d->http_status, i % 2 == 0 ? 0 : 200);
		wh_delivery_free(d);
	}
	assert_int_equal(server_requests(), 1);
	assert_string_equal(server_body(0), "[{\"n\":2},4]");
	assert_int_equal(counts().delivered, 2);
}

static void
test_batch_for_nobody(void **state)
{
	(void) state;
	subscribe_batch(at("/status/200"), 2);
	submit_batch_of(2);
	handed_out(1);
	skipped();
	handed_out(2);
	skipped();
	wh_delivery_free(ended(1, "skipped", WH_DO_FORGET));
	wh_delivery_free(ended(2, "skipped", WH_DO_FORGET));
	assert_int_equal(server_requests(), 0);
}

/* One that fails fails all: the batch is kept as it is, what was left out with it. */
static void
test_batch_failed(void **state)
{
	(void) state;
	subscribe_batch(at("/status/200"), 3);
	submit_batch_of(3);
	handed_out(1);
	skipped();
	handed_out(2);
	failed(WH_OUT_TRANSFORM, "no"); /* 3 is not asked for */
	wh_delivery_free(ended(1, "transform_failed", WH_DO_RETRY));
	wh_delivery_free(ended(2, "transform_failed", WH_DO_BEHIND));
	wh_delivery_free(ended(3, "transform_failed", WH_DO_BEHIND));
	assert_null(wh_deliver_to_transform(e));
}

static void
test_batch_refused(void **state)
{
	(void) state;
	subscribe_batch(at("/status/500"), 2);
	submit_batch_of(2);
	handed_out(1);
	made("1");
	handed_out(2);
	skipped();
	wh_delivery_free(ended(1, "server_error", WH_DO_RETRY));
	wh_delivery_free(ended(2, "server_error", WH_DO_BEHIND)); /* it is asked about with the batch again */
}

/* One function after the other, whoever has more here. */
static void
test_turns(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "B");
	submit(1, 3, "C");
	wh_deliver_run(e);
	subscribe_transformed(2, at("/status/200"));
	submit(2, 4, "A");
	handed_out(1);
	made("1");
	handed_out(4);
	made("4");
	handed_out(2);
}

/* The promise of rate.h holds for requests, however long a body takes to be made. */
static void
test_rate(void **state)
{
	WhSubscription sub = transformed(1, at("/status/200"));

	(void) state;
	sub.rate_limit = 1;
	assert_true(wh_deliver_subscribe(e, &sub));
	submit(1, 1, "A");
	submit(1, 2, "B");
	submit(1, 3, "C");
	handed_out(1);
	assert_int_equal(wh_deliver_in_flight(e), 1); /* the others wait where they hold no place */
	skew += SECOND / 2;
	skipped(); /* no request, so the next may start at once */
	wh_delivery_free(ended(1, "skipped", WH_DO_FORGET));
	handed_out(2);
	skew += SECOND / 2; /* this one takes long */
	made("2");
	delivered(2);
	wh_deliver_run(e);
	assert_null(wh_deliver_to_transform(e));
	skew += SECOND + SECOND / 20;
	handed_out(3);
	made("3");
	delivered(3);
}

static void
test_stop(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "A");
	handed_out(1);
	wh_deliver_stop(e);
	came_back(1, WH_DO_PARK, 0);
	came_back(2, WH_DO_PARK, 0);
	assert_null(wh_deliver_take(e));
	made("1"); /* too late, and no harm */
	assert_int_equal(wh_deliver_in_flight(e), 0);
	assert_null(wh_deliver_to_transform(e));
}

static void
test_drain(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "B");
	handed_out(1);
	wh_deliver_drain(e);
	came_back(1, WH_DO_PARK, 0);
	came_back(2, WH_DO_PARK, 0);
	assert_int_equal(wh_deliver_in_flight(e), 0);
	assert_null(wh_deliver_to_transform(e));
}

/* A batch in the making is dissolved. */
static void
test_stop_batch(void **state)
{
	(void) state;
	subscribe_batch(at("/status/200"), 2);
	submit_batch_of(2);
	handed_out(1);
	made("1");
	handed_out(2);
	wh_deliver_stop(e);
	for (int i = 0; i < 2; i++)
	{
		WhDelivery *d = wh_deliver_take(e);

		assert_non_null(d);
		assert_int_equal(d->batch, 0);
		assert_int_equal(d->disposal, WH_DO_PARK);
		wh_delivery_free(d);
	}
}

static void
test_unsubscribed(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "A");
	handed_out(1);
	wh_deliver_unsubscribe(e, 1);
	came_back(2, WH_DO_DROP, 0);
	assert_null(wh_deliver_to_transform(e));
	came_back(1, WH_DO_DROP, 1);
	assert_int_equal(wh_deliver_in_flight(e), 0);
	assert_int_equal(server_requests(), 0);
}

/* The same, and then the host says what it has made. */
static void
test_unsubscribed_meanwhile(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	wh_deliver_unsubscribe(e, 1);
	made("1");
	came_back(1, WH_DO_DROP, 1);
	assert_int_equal(wh_deliver_in_flight(e), 0);
	assert_int_equal(server_requests(), 0);
}

/* Somebody has taken the transform away: the template makes the body. */
static void
test_no_longer(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	subscribe(1, at("/status/200"));
	assert_null(wh_deliver_to_transform(e));
	delivered(1);
	assert_non_null(strstr(server_body(0), "\"entity_id\""));
}

/* A test is transformed too, paused or not, and counts for nothing. */
static void
test_test(void **state)
{
	WhEvent event = {
		.id = 1, .subscription_id = 1, .entity_id = "A", .entity_type = "order", .action = "test"};
	WhSubmit submit = {.subscription_id = 1, .from = WH_FROM_LOG, .page = 1};
	WhSubscription sub = transformed(1, at("/status/200"));

	(void) state;
	sub.paused = true;
	assert_true(wh_deliver_subscribe(e, &sub));
	submit.event = wh_event_make(&event);
	assert_non_null(submit.event);
	assert_true(wh_deliver_submit(e, &submit));
	handed_out(1);
	made("1");
	delivered(1);
	assert_true(wh_deliver_submit(e, &submit));
	handed_out(1);
	skipped();
	wh_delivery_free(ended(1, "skipped", WH_DO_DROP));
	assert_true(wh_deliver_submit(e, &submit));
	handed_out(1);
	wh_deliver_stop(e);
	came_back(1, WH_DO_DROP, 1);
	wh_event_release(submit.event);
	assert_int_equal(counts().delivered, 0);
}

static void
test_large(void **state)
{
	size_t len = (size_t) WH_BODY_MAX + 1;
	char *body = malloc(len);

	(void) state;
	assert_non_null(body);
	memset(body, '1', len);
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	wh_deliver_transformed(e, WH_OUT_DELIVERED, body, len);
	wh_delivery_free(ended(1, "body_too_large", WH_DO_BURY));
	free(body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_body),
		with_engine(test_skipped),
		with_engine(test_failed),
		with_engine(test_message),
		with_engine(test_timeouts),
		with_engine(test_probe_skipped),
		with_engine(test_probe_failed),
		with_engine(test_breaker_unmoved),
		with_engine(test_batch),
		with_engine(test_batch_for_nobody),
		with_engine(test_batch_failed),
		with_engine(test_batch_refused),
		with_engine(test_turns),
		with_engine(test_rate),
		with_engine(test_stop),
		with_engine(test_drain),
		with_engine(test_stop_batch),
		with_engine(test_unsubscribed),
		with_engine(test_unsubscribed_meanwhile),
		with_engine(test_no_longer),
		with_engine(test_test),
		with_engine(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
