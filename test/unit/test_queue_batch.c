/*
 * test_queue_batch.c
 *	  What goes with one request: when a batch is started and with what, how it
 *	  is kept when it has failed, and how it is given back.
 */
#include "queue_unit.h"

#include <string.h>

static void
batches(int64_t id, int batch_size)
{
	assert_true(wh_queue_subscribe(q, id, &owner_a, false, 10, batch_size, &back));
}

/* The next one is a batch of these, in this order, up to a 0. */
static WhDelivery *
next_batch(const int64_t *ids)
{
	WhDelivery *lead = next(ids[0]);
	int n = 0;

	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		assert_int_equal(d->event->id, ids[n++]);
		assert_int_equal(d->batch, ids[0]);
	}
	assert_int_equal(ids[n], 0);
	return lead;
}

#define NEXT_BATCH(...) next_batch((const int64_t[]){__VA_ARGS__, 0})

/* It ends; what became of each is looked at, and forgotten. */
static void
batch_done(WhDelivery *lead, WhDisposal disposal)
{
	WhDelivery *d;

	lead->disposal = disposal;
	wh_queue_done(q, lead, &back);
	while ((d = wh_list_pop(&lead->others)) != NULL)
	{
		assert_int_equal(d->disposal, disposal == WH_DO_RETRY ? WH_DO_BLOCK : disposal);
		wh_delivery_free(d);
	}
	assert_int_equal(lead->disposal, disposal);
	wh_delivery_free(lead);
}

static WhDelivery *
make_batch(int64_t sub, const int64_t *ids, const uint64_t *lanes)
{
	WhDelivery *lead = make(sub, lanes[0], ids[0], WH_FROM_STORED);

	lead->batch = ids[0];
	for (int i = 1; ids[i] != 0; i++)
	{
		WhDelivery *d = make(sub, lanes[i], ids[i], WH_FROM_STORED);

		d->batch = ids[0];
		wh_list_push(&lead->others, d);
	}
	return lead;
}

#define IDS(...)                                                                                             \
	(const int64_t[])                                                                                        \
	{                                                                                                        \
		__VA_ARGS__, 0                                                                                       \
	}
#define LANES(...)                                                                                           \
	(const uint64_t[])                                                                                       \
	{                                                                                                        \
		__VA_ARGS__                                                                                          \
	}

static void
free_batch(WhDelivery *lead)
{
	WhDelivery *d;

	while ((d = wh_list_pop(&lead->others)) != NULL)
		wh_delivery_free(d);
	wh_delivery_free(lead);
}

/* What was given back next is this, and of that batch. */
static void
given_back_of(int64_t batch, int64_t id, WhDisposal disposal, int attempts)
{
	assert_non_null(back.head);
	assert_int_equal(back.head->batch, batch);
	given_back(id, disposal, attempts);
}

static void
test_full_goes_at_once(void **state)
{
	WhDelivery *first;
	WhDelivery *second;

	(void) state;
	batches(A, 3);
	for (int i = 1; i <= 7; i++)
		push(A, (uint64_t) i, i);
	first = NEXT_BATCH(1, 2, 3);
	second = NEXT_BATCH(4, 5, 6);
	next(0);
	assert_int_equal(counts(A).in_flight, 2); /* requests */
	assert_int_equal(counts(A).queued, 1);
	batch_done(second, WH_DO_DONE);
	batch_done(first, WH_DO_DONE);
	next(0);
	assert_int_equal(counts(A).in_flight, 0);
}

static void
test_waits_for_more(void **state)
{
	(void) state;
	batches(A, 3);
	push(A, 1, 1);
	next(0);
	assert_int_equal(wh_queue_deadline(q), now + WH_BATCH_WAIT_US);
	now += WH_BATCH_WAIT_US - 1;
	push(A, 2, 2);
	next(0);
	assert_int_equal(wh_queue_deadline(q), now + 1);
	now++;
	batch_done(NEXT_BATCH(1, 2), WH_DO_DONE);
	push(A, 3, 3); /* waits by itself, even alone */
	next(0);
	assert_int_equal(wh_queue_deadline(q), now + WH_BATCH_WAIT_US);
	now += 10;
	push(A, 4, 4);
	next(0);
	push(A, 5, 5); /* no longer */
	batch_done(NEXT_BATCH(3, 4, 5), WH_DO_DONE);
	push(A, 6, 6);
	next(0);
	batches(A, 1); /* nothing to wait for any more */
	done(next(6), WH_DO_DONE);
	batches(A, 3);
	push(A, 7, 7);
	next(0);
	now -= 3600 * INT64_C(1000000); /* a clock that was set back keeps nobody waiting */
	batch_done(NEXT_BATCH(7), WH_DO_DONE);
}

/* Of the lanes that are ready, each with what it has, first things first. */
static void
test_lanes(void **state)
{
	WhDelivery *first;

	(void) state;
	batches(A, 4);
	push(A, 7, 1);
	push(A, 8, 2);
	push(A, 7, 3);
	push(A, 8, 4);
	push(A, 7, 5);
	first = NEXT_BATCH(1, 2, 3, 5);
	push(A, 7, 6);
	push(A, 9, 7);
	now += WH_BATCH_WAIT_US;
	batch_done(NEXT_BATCH(7), WH_DO_DONE); /* what is in lanes that are busy waits */
	next(0);
	batch_done(first, WH_DO_DONE);
	batch_done(NEXT_BATCH(4, 6), WH_DO_DONE);
	/* one lane, as many as fit, and the rest when those are there */
	for (int i = 10; i < 16; i++)
		push(A, 7, i);
	first = NEXT_BATCH(10, 11, 12, 13);
	now += WH_BATCH_WAIT_US;
	next(0);
	batch_done(first, WH_DO_DEAD_LETTER);
	batch_done(NEXT_BATCH(14, 15), WH_DO_DONE);
}

/* A batch that failed stays together; its lanes wait for it, and others pass. */
static void
test_retry(void **state)
{
	WhDelivery *lead;

	(void) state;
	batches(A, 4);
	push(A, 7, 1);
	push(A, 8, 2);
	push(A, 7, 3);
	push(A, 9, 4);
	lead = NEXT_BATCH(1, 2, 3, 4);
	push(A, 7, 5);
	batch_done(lead, WH_DO_RETRY);
	given_back_of(0, 5, WH_DO_BLOCK, 0);
	assert_int_equal(counts(A).blocked, 3);
	assert_int_equal(push_as(A, 9, 6, WH_FROM_LOG), WH_PUSH_BEHIND);
	push(A, 10, 7);
	now += WH_BATCH_WAIT_US;
	batch_done(NEXT_BATCH(7), WH_DO_DONE);
	no_lane_to_fetch();

	/* it comes again, whole, at once, and whatever the batch size is now */
	batches(A, 1);
	lead = make_batch(A, IDS(1, 2, 3, 4), LANES(7, 8, 7, 9));
	assert_int_equal(wh_queue_push(q, lead, WH_FROM_STORED, now), WH_PUSHED);
	assert_int_equal(counts(A).queued, 4);
	assert_int_equal(push_as(A, 7, 3, WH_FROM_STORED), WH_PUSH_DUPLICATE);
	lead = NEXT_BATCH(1, 2, 3, 4);
	assert_true(lead->kept);
	assert_int_equal(counts(A).queued, 0);
	batch_done(lead, WH_DO_RETRY);
	assert_int_equal(counts(A).blocked, 3);
	assert_int_equal(back.n, 0);

	lead = make_batch(A, IDS(1, 2, 3, 4), LANES(7, 8, 7, 9));
	assert_int_equal(wh_queue_push(q, lead, WH_FROM_STORED, now), WH_PUSHED);
	batch_done(NEXT_BATCH(1, 2, 3, 4), WH_DO_DONE);
	lane_to_fetch(A, 7);
	lane_to_fetch(A, 9);
	no_lane_to_fetch();
	assert_int_equal(counts(A).blocked, 2);
	assert_int_equal(push_as(A, 7, 5, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(A, 9, 6, WH_FROM_STORED), WH_PUSHED);
	done(next(5), WH_DO_DONE);
	done(next(6), WH_DO_DONE);
	assert_int_equal(counts(A).blocked, 0);
}

/* A row that somebody has put before it by hand is in flight: it waits for that, and others pass. */
static void
test_lane_in_flight(void **state)
{
	WhDelivery *d;

	(void) state;
	batches(A, 2);
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	now += WH_BATCH_WAIT_US;
	d = NEXT_BATCH(1);
	assert_int_equal(wh_queue_push(q, make_batch(A, IDS(2, 3), LANES(8, 7)), WH_FROM_STORED, now), WH_PUSHED);
	next(0);
	push(A, 9, 4);
	batch_done(NEXT_BATCH(4), WH_DO_DONE);
	next(0);
	batch_done(d, WH_DO_DONE);
	batch_done(NEXT_BATCH(2, 3), WH_DO_DONE);
}

/* Twice the same: refused as it came, and nothing is bound. */
static void
test_duplicate(void **state)
{
	WhDelivery *lead = make_batch(A, IDS(1, 2, 3), LANES(7, 8, 9));

	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 8, 2));
	assert_int_equal(push_as(A, 8, 2, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(wh_queue_push(q, lead, WH_FROM_STORED, now), WH_PUSH_DUPLICATE);
	free_batch(lead);
	assert_int_equal(counts(A).blocked, 1);
	done(next(2), WH_DO_DONE);
	push(A, 7, 4);
	done(next(4), WH_DO_DONE);
	lead = make_batch(99, IDS(1, 2), LANES(7, 8));
	assert_int_equal(wh_queue_push(q, lead, WH_FROM_STORED, now), WH_PUSH_UNKNOWN);
	free_batch(lead);
}

static void
test_no_memory(void **state)
{
	(void) state;
	for (long n = 1; n <= 3; n++)
	{
		WhDelivery *lead = make_batch(A, IDS(1, 2, 3), LANES(7, 8, 9));

		fail_malloc_at(n);
		assert_int_equal(wh_queue_push(q, lead, WH_FROM_STORED, now), WH_PUSH_NO_MEMORY);
		assert_true(malloc_has_failed());
		assert_int_equal(wh_queue_total(q), 0);
		assert_int_equal(counts(A).blocked, 0);
		free_batch(lead);
	}
}

/* What has not been tried is no batch yet; what has is kept as it is. */
static void
test_give_back(void **state)
{
	WhDelivery *lead;

	(void) state;
	batches(A, 3);
	assert_true(wh_queue_restore_lane(q, A, 7, 2));
	assert_true(wh_queue_restore_lane(q, A, 8, 2));
	lead = make_batch(A, IDS(1, 2, 3), LANES(7, 8, 7));
	assert_int_equal(wh_queue_push(q, lead, WH_FROM_STORED, now), WH_PUSHED);
	assert_int_equal(push_as(A, 8, 4, WH_FROM_STORED), WH_PUSHED);
	push(A, 9, 5);
	assert_true(wh_queue_subscribe(q, A, &owner_a, true, 10, 3, &back));
	given_back_of(0, 4, WH_DO_BLOCK, 2);
	given_back_of(0, 5, WH_DO_DEFER, 0);
	given_back_of(1, 1, WH_DO_RETRY, 2);
	given_back_of(1, 2, WH_DO_BLOCK, 2);
	given_back_of(1, 3, WH_DO_BLOCK, 2);
	assert_int_equal(back.n, 0);
	assert_int_equal(counts(A).blocked, 2);
	batches(A, 3);
	no_lane_to_fetch(); /* the batch is due by itself */
}

static void
test_abort(void **state)
{
	WhDelivery *lead;
	WhDelivery *kept;

	(void) state;
	batches(A, 4);
	push(A, 7, 1);
	push(A, 8, 2);
	push(A, 7, 3);
	push(A, 8, 4);
	lead = NEXT_BATCH(1, 2, 3, 4);
	push(A, 7, 5);
	assert_true(wh_queue_restore_lane(q, A, 9, 2));
	kept = make_batch(A, IDS(10, 11), LANES(9, 9));
	assert_int_equal(wh_queue_push(q, kept, WH_FROM_STORED, now), WH_PUSHED);
	kept = NEXT_BATCH(10, 11);
	wh_queue_abort(q, lead);
	wh_queue_abort(q, kept);
	assert_int_equal(counts(A).in_flight, 0);
	assert_int_equal(counts(A).queued, 7);
	wh_queue_give_back_all(q, &back);
	given_back_of(0, 1, WH_DO_DEFER, 0);
	given_back_of(0, 3, WH_DO_DEFER, 0);
	given_back_of(0, 5, WH_DO_DEFER, 0);
	given_back_of(0, 2, WH_DO_DEFER, 0);
	given_back_of(0, 4, WH_DO_DEFER, 0);
	given_back_of(10, 10, WH_DO_RETRY, 2);
	given_back_of(10, 11, WH_DO_BLOCK, 2);
	assert_int_equal(back.n, 0);
}

static void
test_unsubscribe(void **state)
{
	WhDelivery *lead;
	WhDelivery *d;

	(void) state;
	batches(A, 2);
	push(A, 1, 1);
	push(A, 2, 2);
	lead = NEXT_BATCH(1, 2);
	d = make_batch(A, IDS(3, 4), LANES(3, 4));
	assert_int_equal(wh_queue_push(q, d, WH_FROM_STORED, now), WH_PUSHED);
	d = NEXT_BATCH(3, 4);
	assert_int_equal(wh_queue_push(q, make_batch(A, IDS(5, 6), LANES(5, 6)), WH_FROM_STORED, now), WH_PUSHED);
	wh_queue_unsubscribe(q, A, &back);
	given_back(5, WH_DO_DROP, 2);
	given_back(6, WH_DO_DROP, 2);
	assert_int_equal(back.n, 0);
	batch_done(lead, WH_DO_DONE);
	d->disposal = WH_DO_RETRY;
	wh_queue_done(q, d, &back);
	assert_int_equal(d->disposal, WH_DO_DROP);
	assert_int_equal(d->others.head->disposal, WH_DO_DROP);
	free_batch(d);
}

/* While its breaker is open one request at a time, a batch or not, and it waits for nothing. */
static void
test_probe(void **state)
{
	WhDelivery *lead;

	(void) state;
	batches(A, 3);
	assert_true(wh_queue_restore_lane(q, A, 7, 3));
	wh_queue_hold(q, A, &back);
	assert_int_equal(wh_queue_admit(q, A), WH_ADMIT_ROW);
	lead = make_batch(A, IDS(1, 2, 3), LANES(7, 7, 7));
	assert_int_equal(wh_queue_push(q, lead, WH_FROM_STORED, now), WH_PUSHED);
	assert_int_equal(wh_queue_admit(q, A), WH_ADMIT_NOT_YET);
	lead = NEXT_BATCH(1, 2, 3);
	assert_int_equal(wh_queue_admit(q, A), WH_ADMIT_NOT_YET);
	batch_done(lead, WH_DO_DONE);
	assert_int_equal(counts(A).blocked, 0);
	assert_int_equal(wh_queue_admit(q, A), WH_ADMIT_EVENT);
	push(A, 8, 4);
	batch_done(NEXT_BATCH(4), WH_DO_DONE);
}

static void
push_large(int64_t id, size_t size)
{
	WhDelivery *d;
	char *text = malloc(size + 1);
	WhEvent from = {.id = id, .result = text, .result_len = size};

	memset(text, 'x', size);
	text[size] = '\0';
	d = make(A, (uint64_t) id, id, WH_FROM_LOG);
	wh_event_release(d->event);
	d->event = wh_event_make(&from);
	free(text);
	assert_int_equal(wh_queue_push(q, d, WH_FROM_LOG, now), WH_PUSHED);
}

static void
test_bytes(void **state)
{
	size_t mb = 1024 * 1024;

	(void) state;
	batches(A, 10);
	push_large(1, 3 * mb);
	push_large(2, 3 * mb);
	push_large(3, 3 * mb);
	push_large(4, 9 * mb);
	push(A, 5, 5);
	now += WH_BATCH_WAIT_US;
	batch_done(NEXT_BATCH(1, 2), WH_DO_DONE);
	batch_done(NEXT_BATCH(3), WH_DO_DONE);
	batch_done(NEXT_BATCH(4), WH_DO_DONE); /* one always fits */
	batch_done(NEXT_BATCH(5), WH_DO_DONE);
}

/* A rate limit counts requests. */
static void
test_rate(void **state)
{
	(void) state;
	batches(A, 2);
	for (int i = 1; i <= 5; i++)
		push(A, (uint64_t) i, i);
	batch_done(NEXT_BATCH(1, 2), WH_DO_DONE);
	wh_queue_not_before(q, A, now + 10);
	next(0);
	assert_int_equal(wh_queue_deadline(q), now + 10);
	push(A, 6, 6);
	next(0);
	assert_int_equal(wh_queue_deadline(q), now + 10);
	now += 10;
	batch_done(NEXT_BATCH(3, 4), WH_DO_DONE);
	batch_done(NEXT_BATCH(5, 6), WH_DO_DONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		in_queue(test_full_goes_at_once),
		in_queue(test_waits_for_more),
		in_queue(test_lanes),
		in_queue(test_retry),
		in_queue(test_lane_in_flight),
		in_queue(test_duplicate),
		in_queue(test_no_memory),
		in_queue(test_give_back),
		in_queue(test_abort),
		in_queue(test_unsubscribe),
		in_queue(test_probe),
		in_queue(test_bytes),
		in_queue(test_rate),
	};

	return cmocka_run_group_tests_name("queue_batch", tests, NULL, NULL);
}
