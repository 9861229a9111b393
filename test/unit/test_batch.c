/*
 * test_batch.c
 *	  Batches through the whole engine: what is sent, under which id, how its
 *	  end is shared, and that it is sent again as it was.
 */
#include "engine_unit.h"

#include "sign.h"

#define ELEMENT(id, entity)                                                                                  \
	"{\"event_id\":\"evt_" INSTANCE "_" id "\",\"entity_id\":\"" entity "\",\"entity_type\":\"order\","      \
	"\"action_type\":\"new\",\"result\":{\"n\": 1}}"

static void
subscribe_batches(int64_t id, const char *to, int batch_size)
{
	WhSubscription sub = subscription(id, to);

	sub.batch_size = batch_size;
	assert_true(wh_engine_subscribe(e, &sub));
}

/* An id as seen by the receiver of the i-th request; kept, since the next look overwrites it. */
static const char *
id_of(int i, char out[64])
{
	ServerRequest r = server_request(i);
	const char *id = request_header(&r, "webhook-id");

	assert_non_null(id);
	snprintf(out, 64, "%s", id);
	return out;
}

/* A batch of rows: ids from..to, lanes by their number. */
static bool
submit_batch(int64_t from, int64_t to, int64_t first_us)
{
	for (int64_t id = from; id <= to; id++)
	{
		WhSubmit one = {.subscription_id = 1,
						.from = WH_FROM_STORED,
						.lane = (uint64_t) id % 7,
						.attempts = 4,
						.first_us = first_us,
						.batch = from,
						.more = id < to};

		if (!submit_as(&one, id, "a"))
			return false;
	}
	return true;
}

static void
test_body(void **state)
{
	static const char body[] = "[" ELEMENT("7", "a") "," ELEMENT("8", "b") "," ELEMENT("9", "a") "]";
	ServerRequest r;
	char id[64];
	const char *signature;
	int64_t timestamp;
	const char *why;
	WhKey key;

	(void) state;
	subscribe_batches(1, at("/status/200"), 3);
	submit(1, 7, "a");
	submit(1, 8, "b");
	submit(1, 9, "a");
	for (int64_t i = 7; i <= 9; i++)
		delivered(i);
	assert_int_equal(server_requests(), 1);
	r = server_request(0);
	assert_string_equal(r.body, body);
	assert_string_equal(request_header(&r, "Content-Type"), "application/json");
	id_of(0, id);
	assert_memory_equal(id, "bat_" INSTANCE "_7_", 15);
	assert_int_equal(strlen(id), 15 + 16);
	assert_int_equal(strspn(id + 15, "0123456789abcdef"), 16);
	timestamp = atoll(request_header(&r, "webhook-timestamp"));
	signature = request_header(&r, "webhook-signature");
	assert_true(wh_secret_decode(&wh_signing_standard, SECRET, &key, &why));
	assert_true(wh_verify(&wh_signing_standard, &key, &(WhMessage){id, timestamp, r.body, r.body_len, NULL},
						  signature));
	wh_key_wipe(&key);
}

/* The id is that of the set: another set with the same lead has another one. */
static void
test_ids(void **state)
{
	char ids[5][64];

	(void) state;
	subscribe_batches(1, at("/status/200"), 100);
	for (int i = 0; i < 5; i++)
	{
		static const int sizes[] = {1, 2, 3, 2, 1};

		assert_true(submit_batch(7, 6 + sizes[i], START));
		for (int k = 0; k < sizes[i]; k++)
			delivered(7 + k);
		id_of(i, ids[i]);
	}
	assert_string_equal(ids[0], ids[4]);
	assert_string_equal(ids[1], ids[3]);
	assert_string_not_equal(ids[0], ids[1]);
	assert_string_not_equal(ids[1], ids[2]);
	assert_string_not_equal(ids[0], ids[2]);
}

/* Not full: it waits 50 ms, by the engine's clock, and is an array even alone. */
static void
test_wait(void **state)
{
	int64_t since;
	ServerRequest r;

	(void) state;
	subscribe_batches(1, at("/status/200"), 2);
	since = now_us();
	submit(1, 1, "a");
	wh_engine_run(e);
	assert_int_in_range(wh_engine_deadline(e), since + 50000, clock_last + 50000);
	if (clock_last < since + 50000)
		assert_int_equal(wh_engine_in_flight(e), 0);
	skew += 50000;
	wh_engine_run(e);
	assert_int_equal(wh_engine_in_flight(e) + wh_engine_outcomes(e), 1);
	delivered(1);
	r = server_request(0);
	assert_string_equal(r.body, "[" ELEMENT("1", "a") "]");
}

/* One that failed comes back as a whole; it counts as one failure, and is sent again as it was. */
static void
test_retry(void **state)
{
	enum
	{
		N = 20
	};
	char first[64];
	char second[64];
	ServerRequest before;
	ServerRequest after;
	int64_t id;
	WhCounts c;

	(void) state;
	subscribe_batches(1, at("/recover"), N);
	for (int i = 1; i <= N; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i % 3);
		submit(1, i, entity);
	}
	for (int i = 1; i <= N; i++)
	{
		WhDelivery *d = outcome();

		assert_int_equal(d->event->id, i);
		assert_int_equal(d->disposal, i == 1 ? WH_DO_RETRY : WH_DO_BLOCK);
		assert_int_equal(d->batch, 1);
		assert_int_equal(d->attempts, 1);
		assert_true(d->attempted && d->first_us >= START && d->started_us >= START);
		assert_int_equal(d->http_status, 500);
		assert_int_equal(d->class, WH_CLASS_ENDPOINT);
		assert_string_equal(d->response, "ill_"); /* in the log of each */
		if (i == 1)
			assert_true(d->due_us > clock_last);
		wh_delivery_free(d);
	}
	assert_int_equal(server_requests(), 1);
	assert_true(wh_engine_counts(e, 0, &id, &c));
	assert_int_equal(c.failed, N); /* deliveries */
	assert_int_equal(c.breaker, WH_BREAKER_CLOSED);
	before = server_request(0);
	id_of(0, first);

	server_release();
	subscribe_batches(1, at("/recover"), 1); /* it stays as it is */
	for (int i = 1; i <= N; i++)
	{
		char entity[16];
		WhSubmit one = {.subscription_id = 1,
						.from = WH_FROM_STORED,
						.lane = (uint64_t) i % 3,
						.attempts = 2,
						.first_us = START,
						.batch = 1,
						.more = i < N};

		snprintf(entity, sizeof(entity), "%d", i % 3);
		assert_true(submit_as(&one, i, entity));
	}
	for (int i = 1; i <= N; i++)
	{
		WhDelivery *d = outcome();

		assert_int_equal(d->event->id, i);
		assert_int_equal(d->disposal, WH_DO_DONE);
		assert_int_equal(d->attempts, 2);
		assert_true((d->response != NULL) == (i == 1)); /* once is enough where all is well */
		wh_delivery_free(d);
	}
	assert_int_equal(server_requests(), 2);
	after = server_request(1);
	assert_string_equal(id_of(1, second), first);
	assert_int_equal(after.body_len, before.body_len);
	assert_string_equal(after.body, before.body);
	assert_true(wh_engine_counts(e, 0, &id, &c));
	assert_int_equal(c.delivered, N);
}

/* It is given up when its youngest member is, and all with it; the breaker opens by requests. */
static void
test_give_up_and_breaker(void **state)
{
	int64_t id;
	WhCounts c;

	(void) state;
	subscribe_batches(1, at("/status/500"), 3);
	skew += 7200 * SECOND; /* all that was first tried at START is over its time */
	assert_true(submit_batch(1, 3, START));
	for (int i = 1; i <= 3; i++)
	{
		WhDelivery *d = outcome();

		assert_int_equal(d->disposal, WH_DO_DEAD_LETTER);
		wh_delivery_free(d);
	}
	/* one of them has time left */
	for (int i = 0; i < 3; i++)
	{
		WhSubmit one = {.subscription_id = 1,
						.from = WH_FROM_STORED,
						.lane = (uint64_t) i,
						.attempts = i == 1 ? 2 : 5,
						.first_us = i == 1 ? now_us() : START,
						.batch = 10,
						.more = i < 2};

		assert_true(submit_as(&one, 10 + i, "a"));
	}
	for (int i = 0; i < 3; i++)
	{
		WhDelivery *d = outcome();

		assert_int_equal(d->disposal, i == 0 ? WH_DO_RETRY : WH_DO_BLOCK);
		wh_delivery_free(d);
	}
	for (int n = 3; n <= 10; n++) /* with the two before, ten in a row */
	{
		assert_true(wh_engine_counts(e, 0, &id, &c));
		assert_int_equal(c.breaker, WH_BREAKER_CLOSED);
		assert_true(submit_batch(100 * n, 100 * n + 2, now_us()));
		for (int i = 0; i < 3; i++)
			wh_delivery_free(outcome());
	}
	assert_true(wh_engine_counts(e, 0, &id, &c));
	assert_int_equal(c.breaker, WH_BREAKER_OPEN);
}

/* What is broken off comes back as it came: rows as the batch they were, others singly. */
static void
test_stop(void **state)
{
	(void) state;
	subscribe_batches(1, at("/hang"), 2);
	submit(1, 1, "a");
	submit(1, 2, "a");
	assert_true(wh_engine_restore_lane(e, 1, 10 % 7, 1));
	assert_true(submit_batch(10, 11, START));
	run_until(requests_are, 2);
	wh_engine_stop(e);
	assert_int_equal(wh_engine_outcomes(e), 4);
	for (int i = 0; i < 4; i++)
	{
		WhDelivery *d = wh_engine_take(e);
		int64_t id = d->event->id;

		assert_false(d->attempted);
		assert_int_equal(d->attempts, id < 10 ? 0 : 3);
		assert_int_equal(d->batch, id < 10 ? 0 : 10);
		assert_int_equal(d->disposal, id < 10 ? WH_DO_DEFER : id == 10 ? WH_DO_RETRY : WH_DO_BLOCK);
		wh_delivery_free(d);
	}
}

/* A batch that does not come whole is not taken over, nor is half of it kept. */
static void
test_half_a_batch(void **state)
{
	WhSubmit lead = {
		.subscription_id = 1, .from = WH_FROM_STORED, .lane = 1, .attempts = 2, .batch = 5, .more = true};
	WhSubmit other = {.subscription_id = 1, .from = WH_FROM_STORED, .lane = 2, .attempts = 2, .batch = 5};

	(void) state;
	subscribe_batches(1, at("/status/200"), 2);
	assert_false(submit_as(&other, 6, "b"));
	assert_true(submit_as(&lead, 5, "a"));
	other.batch = 4;
	assert_false(submit_as(&other, 6, "b"));
	other.batch = 5;
	assert_false(submit_as(&other, 6, "b"));
	assert_int_equal(wh_engine_queued(e), 0);
	assert_true(submit_as(&lead, 5, "a"));
	wh_engine_unsubscribe(e, 1);
	assert_false(submit_as(&other, 6, "b"));
	subscribe_batches(1, at("/status/200"), 2);
	assert_true(submit_as(&lead, 5, "a")); /* freed with the engine */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_body),
		with_engine(test_ids),
		with_engine(test_wait),
		with_engine(test_retry),
		with_engine(test_give_up_and_breaker),
		with_engine(test_stop),
		with_engine(test_half_a_batch),
	};

	return cmocka_run_group_tests_name("deliver_batch", tests, NULL, NULL);
}
