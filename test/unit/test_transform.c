/*
 * test_transform.c
 *	  Bodies that the host makes: a delivery, or batch, is handed out, and goes
 *	  on with what was made of it or ends without a request.
 */
#include "transform_unit.h"

#include "http.h"

static void
test_body(void **state)
{
	(void) state;
	subscribe_transformed(1, at("/status/200"));
	assert_null(to_transform());
	assert_true(transform_due() == INT64_MAX);
	submit(1, 1, "A");
	submit(1, 2, "A");
	wh_engine_run(e);
	assert_int_equal(transform_due(), 0);
	handed_out(1);
	assert_true(transform_due() == INT64_MAX);
	assert_int_equal(server_requests(), 0);
	assert_int_equal(wh_engine_in_flight(e), 1); /* it has its place; 2 waits behind it, as ever */
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
	d = ended(1, "skipped", WH_DO_DONE);
	assert_int_equal(d->http_status, 0);
	assert_string_equal(wh_delivery_error(d), "");
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
	assert_string_equal(wh_delivery_error(d), "division by zero");
	assert_int_equal(d->attempts, 1);
	assert_true(d->first_us > 0);
	assert_int_in_range(d->due_us - d->started_us, SECOND, 2 * SECOND - 1); /* by the schedule */
	wh_delivery_free(d);
	came_back(2, WH_DO_BLOCK, 0); /* what is behind it waits */
	handed_out(3);                /* others do not */
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
	assert_int_equal(strlen(wh_delivery_error(d)), WH_ERROR_MAX - 2);
	assert_int_equal(strspn(wh_delivery_error(d), "x"), WH_ERROR_MAX - 2);
	wh_delivery_free(d);
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
		WhDelivery *d = ended(i + 1, words[i], WH_DO_DONE);

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
	wh_delivery_free(ended(1, "skipped", WH_DO_DONE));
	wh_delivery_free(ended(2, "skipped", WH_DO_DONE));
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
	wh_delivery_free(ended(2, "transform_failed", WH_DO_BLOCK));
	wh_delivery_free(ended(3, "transform_failed", WH_DO_BLOCK));
	assert_null(to_transform());
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
	wh_delivery_free(ended(2, "server_error", WH_DO_BLOCK)); /* it is asked about with the batch again */
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
	assert_null(to_transform());
	delivered(1);
	assert_non_null(strstr(server_body(0), "\"entity_id\""));
}

/* A test is transformed too, paused or not, and counts for nothing. */
static void
test_test(void **state)
{
	WhEvent event = {
		.id = 1, .subscription_id = 1, .entity_id = "A", .entity_type = "order", .action_type = "test"};
	WhSubmit submit = {.subscription_id = 1, .from = WH_FROM_LOG, .page = 1};
	WhSubscription sub = transformed(1, at("/status/200"));

	(void) state;
	sub.paused = true;
	assert_true(wh_engine_subscribe(e, &sub));
	submit.event = wh_event_make(&event);
	assert_non_null(submit.event);
	assert_true(wh_engine_submit(e, &submit));
	handed_out(1);
	made("1");
	delivered(1);
	assert_true(wh_engine_submit(e, &submit));
	handed_out(1);
	skipped();
	wh_delivery_free(ended(1, "skipped", WH_DO_DROP));
	assert_true(wh_engine_submit(e, &submit));
	handed_out(1);
	wh_engine_stop(e);
	came_back(1, WH_DO_DROP, 1);
	wh_event_release(submit.event);
	assert_int_equal(counts().delivered, 0);
}

/* A body that is nobody's: `len` bytes. */
static char *
digits(size_t len)
{
	char *body = malloc(len);

	assert_non_null(body);
	memset(body, '1', len);
	return body;
}

static void
test_large(void **state)
{
	size_t len = (size_t) WH_TRANSFORM_MAX + 1;

	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	wh_engine_transformed(e, token, WH_OUT_DELIVERED, digits(len), len);
	wh_delivery_free(ended(1, "body_too_large", WH_DO_DEAD_LETTER));
	assert_int_equal(wh_bodies_held(), 0);
}

/* What a batch's bodies are together is what counts. */
static void
test_large_batch(void **state)
{
	size_t len = (size_t) WH_TRANSFORM_MAX / 2 + 1;

	(void) state;
	subscribe_batch(at("/status/200"), 3);
	submit_batch_of(3);
	handed_out(1);
	wh_engine_transformed(e, token, WH_OUT_DELIVERED, digits(len), len);
	handed_out(2);
	wh_engine_transformed(e, token, WH_OUT_DELIVERED, digits(len), len);
	for (int i = 1; i <= 3; i++)
		wh_delivery_free(ended(i, "body_too_large", WH_DO_DEAD_LETTER));
	assert_int_equal(wh_bodies_held(), 0);
}

/* Bodies that wait for their requests are bounded; a batch that was begun is made to its end. */
static void
test_bodies_held(void **state)
{
	size_t len = (size_t) WH_TRANSFORM_MAX - 10;

	(void) state;
	for (int id = 1; id <= 4; id++)
	{
		WhSubscription sub = transformed(id, at("/status/200"));

		sub.batch_size = 2;
		assert_true(wh_engine_subscribe(e, &sub));
		submit(id, 10 * id, "A");
		submit(id, 10 * id + 1, "B");
	}
	handed_out(10);
	wh_engine_transformed(e, token, WH_OUT_DELIVERED, digits(len), len);
	handed_out(20);
	wh_engine_transformed(e, token, WH_OUT_DELIVERED, digits(len), len);
	handed_out(30);
	made("0123456789012345678901234567890123456789");
	assert_true(wh_bodies_held() >= 2 * (size_t) WH_TRANSFORM_MAX);
	for (int id = 1; id <= 3; id++) /* and not 40 */
	{
		handed_out(10 * id + 1);
		assert_int_equal(wh_bodies_held() >= 2 * (size_t) WH_TRANSFORM_MAX, id == 1);
		failed(WH_OUT_TRANSFORM, "no");
		wh_delivery_free(ended(10 * id, "transform_failed", WH_DO_RETRY));
		wh_delivery_free(ended(10 * id + 1, "transform_failed", WH_DO_BLOCK));
	}
	assert_int_equal(wh_bodies_held(), 0);
	handed_out(40);
}

/* The host has no memory for what was made. */
static void
test_no_memory(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe_transformed(1, at("/status/200"));
	submit(1, 1, "A");
	handed_out(1);
	failed(WH_OUT_INTERNAL, "out of memory");
	d = ended(1, "internal", WH_DO_RETRY);
	assert_string_equal(wh_delivery_error(d), "out of memory");
	wh_delivery_free(d);
	assert_int_equal(server_requests(), 0);
}

/* The host makes several at once, and answers in any order. */
static void
test_several(void **state)
{
	uint64_t tokens[3];

	(void) state;
	for (int id = 1; id <= 3; id++)
	{
		subscribe_transformed(id, at("/status/200"));
		submit(id, id, "A");
		submit(id, id + 3, "B");
	}
	for (int i = 0; i < 3; i++)
	{
		handed_out(i + 1);
		tokens[i] = token;
	}
	assert_null(to_transform()); /* of each subscription one */
	answer(tokens[1], WH_OUT_DELIVERED, "2");
	delivered(2);
	assert_string_equal(server_body(0), "2");
	handed_out(5);
	answer(tokens[2], WH_OUT_SKIPPED, NULL);
	wh_delivery_free(ended(3, "skipped", WH_DO_DONE));
	answer(tokens[2], WH_OUT_DELIVERED, "again"); /* said already */
	made("5");
	delivered(5);
	answer(tokens[0], WH_OUT_TRANSFORM, "no");
	wh_delivery_free(ended(1, "transform_failed", WH_DO_RETRY));
	assert_int_equal(server_requests(), 2);
}

static bool
ready_for(void *arg, int64_t subscription_id)
{
	return subscription_id == *(int64_t *) arg;
}

/* Those that the host is not ready for wait, and keep nobody waiting. */
static void
test_ready(void **state)
{
	int64_t id = 2;

	(void) state;
	subscribe_transformed(1, at("/status/200"));
	subscribe_transformed(2, at("/status/200"));
	submit(1, 1, "A");
	submit(1, 2, "B");
	submit(2, 3, "A");
	wh_engine_run(e);
	assert_int_equal(wh_engine_transform_due(e, ready_for, &id), 0);
	assert_int_equal(wh_engine_to_transform(e, ready_for, &id, &token)->event->id, 3);
	assert_null(wh_engine_to_transform(e, ready_for, &id, &token));
	assert_true(wh_engine_transform_due(e, ready_for, &id) == INT64_MAX);
	made("3");
	delivered(3);
	handed_out(1);
	made("1");
	delivered(1);
}

/* There is no end of subscriptions, but one of what is asked for at once. */
static void
test_most(void **state)
{
	int n = 0;

	(void) state;
	config.max_in_flight = 40;
	wh_engine_free(e);
	e = wh_engine_create(&config);
	assert_non_null(e);
	for (int id = 1; id <= 20; id++)
	{
		subscribe_transformed(id, at("/status/200"));
		submit(id, id, "A");
	}
	wh_engine_run(e);
	while (to_transform())
		n++;
	assert_int_equal(n, 16);
	made("x");
	handed_out(17);
}

static void
submit_test(int64_t sub, int64_t id)
{
	WhEvent event = {
		.id = id, .subscription_id = sub, .entity_id = "A", .entity_type = "order", .action_type = "test"};
	WhSubmit submit = {
		.subscription_id = sub, .from = WH_FROM_LOG, .page = 1, .event = wh_event_make(&event)};

	assert_non_null(submit.event);
	assert_true(wh_engine_submit(e, &submit));
	wh_event_release(submit.event);
}

/* One that waits for its body and another subscription's request have all places; no transfer is unused. */
static void
fill_places(void (*submit_one)(int64_t sub, int64_t id))
{
	config.max_in_flight = 2;
	assert_true(wh_engine_configure(e, &config));
	subscribe_transformed(1, at("/status/200"));
	submit_one(1, 1);
	wh_engine_run(e);
	subscribe(2, at("/wait"));
	submit(2, 2, "A");
	run_until(requests_are, 1);
	assert_int_equal(wh_engine_in_flight(e), 2);
}

static void
submit_event(int64_t sub, int64_t id)
{
	submit(sub, id, "A");
}

/* The limit comes down below what is under way: what waits for its body ends as usual. */
static void
test_limit_lowered(void **state)
{
	(void) state;
	fill_places(submit_event);
	handed_out(1);
	config.max_in_flight = 1;
	assert_true(wh_engine_configure(e, &config));
	made("1");
	delivered(1);

	config.max_in_flight = 2;
	assert_true(wh_engine_configure(e, &config));
	submit(1, 3, "A");
	wh_engine_run(e);
	config.max_in_flight = 1;
	assert_true(wh_engine_configure(e, &config));
	subscribe(1, at("/status/200")); /* it needs the host no more */
	assert_null(to_transform());
	delivered(3);
	server_release();
	delivered(2);
}

/* One that needs the host no more finds no memory for its request: it begins once more. */
static void
no_memory_to_leave(void (*submit_one)(int64_t sub, int64_t id))
{
	WhDelivery *d;

	fill_places(submit_one);
	subscribe(1, at("/status/200"));
	fail_malloc_at(1);
	assert_null(to_transform());
	assert_true(malloc_has_failed());
	assert_true(transform_due() == INT64_MAX);
	server_release();
	for (int i = 0; i < 2; i++)
	{
		d = outcome();
		assert_int_equal(d->kind, WH_OUT_DELIVERED);
		assert_int_equal(d->attempts, 1);
		wh_delivery_free(d);
	}
}

static void
test_no_memory_to_leave(void **state)
{
	(void) state;
	no_memory_to_leave(submit_event);
}

/* A test is in no queue. */
static void
test_no_memory_to_test(void **state)
{
	(void) state;
	no_memory_to_leave(submit_test);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_body),
		with_engine(test_skipped),
		with_engine(test_failed),
		with_engine(test_message),
		with_engine(test_batch),
		with_engine(test_batch_for_nobody),
		with_engine(test_batch_failed),
		with_engine(test_batch_refused),
		with_engine(test_no_longer),
		with_engine(test_test),
		with_engine(test_large),
		with_engine(test_no_memory),
		with_engine(test_large_batch),
		with_engine(test_bodies_held),
		with_engine(test_several),
		with_engine(test_ready),
		with_engine(test_most),
		with_engine(test_limit_lowered),
		with_engine(test_no_memory_to_leave),
		with_engine(test_no_memory_to_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
