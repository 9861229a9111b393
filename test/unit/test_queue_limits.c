/*
 * test_queue_limits.c
 *	  The limits of the queue, as large as they really are, rows changed by
 *	  hand, and each allocation failing.
 */
#include "queue_unit.h"

static void
test_full(void **state)
{
	int64_t since;

	(void) state;
	for (int i = 0; i < WH_QUEUE_FULL - 1; i++)
		push(A, (uint64_t) i, i + 1);
	assert_true(wh_queue_has_room(q, now, &back));
	push(A, 5000, 5000);
	since = now;
	assert_false(wh_queue_has_room(q, now, &back));
	now = since + WH_QUEUE_PATIENCE_US;
	assert_false(wh_queue_has_room(q, now, &back));
	assert_int_equal(back.n, 0);
	now++;
	assert_true(wh_queue_has_room(q, now, &back));
	assert_int_equal(back.n, WH_QUEUE_FULL);
	given_back(1, WH_DO_DEFER, 0);
	assert_true(counts(A).catching_up);
	assert_int_equal(counts(A).deferred, WH_QUEUE_FULL);
	assert_int_equal(wh_queue_total(q), 0);
	push(B, 0, 1); /* nobody else has felt it */
	assert_int_equal(push_as(A, 0, 9000, WH_FROM_LOG), WH_PUSH_DEFER);
	done(next(1), WH_DO_DONE);
}

static void
test_full_and_quick(void **state)
{
	(void) state;
	for (int i = 0; i < WH_QUEUE_FULL; i++)
		push(A, (uint64_t) i, i + 1);
	for (int i = 0; i < WH_FETCH_MAX; i++)
	{
		assert_false(wh_queue_has_room(q, now, &back));
		done(next(i + 1), WH_DO_DONE);
	}
	assert_true(wh_queue_has_room(q, now + WH_QUEUE_PATIENCE_US + 1, &back));
	assert_int_equal(back.n, 0);
}

/* One that makes headway has longer, but not for ever. */
static void
test_full_and_slow(void **state)
{
	(void) state;
	for (int i = 0; i < WH_QUEUE_FULL; i++)
		push(A, (uint64_t) i, i + 1);
	done(next(1), WH_DO_DONE);
	assert_false(wh_queue_has_room(q, now + WH_QUEUE_PATIENCE_US + 1, &back));
	assert_false(wh_queue_has_room(q, now + WH_QUEUE_PATIENCE_SLOW_US, &back));
	assert_int_equal(back.n, 0);
	assert_true(wh_queue_has_room(q, now + WH_QUEUE_PATIENCE_SLOW_US + 1, &back));
	assert_int_equal(back.n, WH_QUEUE_FULL - 1);
}

/* Many subscriptions, none of them full. */
static void
test_total(void **state)
{
	int each = 1000;
	int n = WH_QUEUE_TOTAL / each;

	(void) state;
	for (int s = 0; s < n; s++)
	{
		subscribe(A + s, false, 10);
		for (int i = 0; i < each - (s == 0); i++)
			push(A + s, (uint64_t) i, i + 1);
	}
	assert_true(wh_queue_has_room(q, now, &back));
	push(B, 5000, 5000);
	assert_false(wh_queue_has_room(q, now, &back));
	assert_false(wh_queue_has_room(q, now + WH_QUEUE_PATIENCE_US, &back));
	assert_int_equal(back.n, 0);
	assert_int_equal(deferred_to_fetch(), 0);
	assert_true(wh_queue_has_room(q, now + WH_QUEUE_PATIENCE_US + 1, &back));
	/* all but the first have their share */
	assert_int_equal(wh_queue_total(q), each - 1);
	assert_int_equal(back.n, WH_QUEUE_TOTAL - (each - 1));
}

static void
test_blocked_lanes(void **state)
{
	(void) state;
	for (int i = 0; i < WH_BLOCKED_LANES_MAX; i++)
	{
		push(A, (uint64_t) i, i + 1);
		done(next(i + 1), WH_DO_RETRY);
	}
	assert_true(counts(A).catching_up);
	assert_int_equal(push_as(A, 99999, 99999, WH_FROM_LOG), WH_PUSH_DEFER);
	assert_int_equal(deferred_to_fetch(), 0);
	assert_int_equal(push_as(A, 0, 1, WH_FROM_STORED), WH_PUSHED);
	done(next(1), WH_DO_DONE);
	assert_int_equal(deferred_to_fetch(), A);
	assert_int_equal(push_as(A, 99999, 99999, WH_FROM_DEFERRED), WH_PUSHED);
	done(next(99999), WH_DO_DONE);
	assert_false(counts(A).catching_up);
}

/* Subscriptions take turns in having their lanes and their deferred rows fetched. */
static void
test_fetch_turns(void **state)
{
	(void) state;
	for (int64_t s = A; s <= B; s++)
		for (uint64_t lane = 1; lane <= 2; lane++)
		{
			assert_true(wh_queue_restore_lane(q, s, lane, 2));
			assert_int_equal(push_as(s, lane, 10 * s + (int64_t) lane, WH_FROM_STORED), WH_PUSHED);
		}
	done(next(11), WH_DO_DONE);
	done(next(21), WH_DO_DONE);
	done(next(12), WH_DO_DONE);
	done(next(22), WH_DO_DONE);
	lane_to_fetch(A, 1);
	lane_to_fetch(B, 1);
	lane_to_fetch(A, 2);
	wh_queue_lane_is_empty(q, B, 2); /* fetched by chance, and found empty */
	no_lane_to_fetch();

	wh_queue_restore_deferred(q, A, 5);
	wh_queue_restore_deferred(q, B, 5);
	assert_int_equal(deferred_to_fetch(), A);
	assert_int_equal(deferred_to_fetch(), B);
	assert_int_equal(deferred_to_fetch(), A);
	for (int i = 0; i <= WH_FETCH_MAX / 2; i++)
		assert_int_equal(push_as(B, 50 + (uint64_t) i, 50 + i, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(deferred_to_fetch(), A); /* B has enough to do */
	assert_int_equal(deferred_to_fetch(), A);
}

/* Rows that somebody has deleted, or put there, by hand. */
static void
test_rows_by_hand(void **state)
{
	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 7, 3));
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	done(next(1), WH_DO_DONE);
	lane_to_fetch(A, 7);
	wh_queue_lane_is_empty(q, A, 7);
	wh_queue_lane_is_empty(q, A, 7);
	wh_queue_lane_is_empty(q, 99, 7);
	push(A, 7, 4);
	done(next(4), WH_DO_DONE);

	wh_queue_restore_deferred(q, A, 3);
	assert_int_equal(deferred_to_fetch(), A);
	wh_queue_deferred_is_empty(q, A);
	wh_queue_deferred_is_empty(q, 99);
	assert_int_equal(deferred_to_fetch(), 0);
	push(A, 7, 5);
	done(next(5), WH_DO_DONE);

	assert_int_equal(push_as(A, 9, 6, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(counts(A).blocked, 1);
	done(next(6), WH_DO_DONE);
	assert_int_equal(counts(A).blocked, 0);
	no_lane_to_fetch();
}

static void
test_many_lanes(void **state)
{
	(void) state;
	for (int i = 0; i < 3 * 4096; i++)
	{
		subscribe(A, false, 100000);
		push(A, (uint64_t) i, i + 1);
	}
	for (int i = 0; i < 3 * 4096; i++)
	{
		WhDelivery *d = next(i + 1);

		assert_int_equal(d->lane, i);
		done(d, WH_DO_DONE);
	}
	for (int64_t s = 10; s < 10 + 3 * 4096; s++)
		subscribe(s, false, 1);
	for (int64_t s = 10; s < 10 + 3 * 4096; s++)
		wh_queue_unsubscribe(q, s, &back);
}

static void
test_no_memory(void **state)
{
	WhDelivery *d = make(A, 7, 1, WH_FROM_LOG);
	WhDelivery *deferred = make(A, 7, 2, WH_FROM_DEFERRED);

	(void) state;
	for (long n = 1; n <= 2; n++)
	{
		WhQueue *none;

		fail_malloc_at(n);
		none = wh_queue_create();
		assert_true(malloc_has_failed());
		assert_null(none);
	}
	wh_queue_free(NULL);

	fail_malloc_at(1);
	assert_false(wh_queue_subscribe(q, C, NULL, false, 1, 1, &back));
	assert_true(malloc_has_failed());
	assert_false(wh_queue_counts(q, C, &(WhCounts){0}));
	assert_int_equal(wh_queue_push(q, d, WH_FROM_LOG, now), WH_PUSHED);
	done(next(1), WH_DO_DONE);

	d = make(A, 7, 1, WH_FROM_LOG);
	fail_malloc_at(1);
	assert_int_equal(wh_queue_push(q, d, WH_FROM_LOG, now), WH_PUSH_NO_MEMORY);
	assert_true(malloc_has_failed());
	assert_int_equal(wh_queue_total(q), 0);
	wh_queue_restore_deferred(q, A, 1);
	fail_malloc_at(1);
	assert_int_equal(wh_queue_push(q, deferred, WH_FROM_DEFERRED, now), WH_PUSH_NO_MEMORY);
	assert_true(malloc_has_failed());
	assert_int_equal(counts(A).deferred, 1);
	assert_int_equal(counts(A).blocked, 0);
	fail_malloc_at(1);
	assert_false(wh_queue_restore_lane(q, A, 7, 1));
	assert_true(malloc_has_failed());
	assert_int_equal(wh_queue_push(q, deferred, WH_FROM_DEFERRED, now), WH_PUSHED);
	done(next(2), WH_DO_DONE);
	assert_int_equal(wh_queue_push(q, d, WH_FROM_LOG, now), WH_PUSHED);

	/* a table that cannot grow works on with longer chains */
	for (int i = 0; i < 5000; i++)
	{
		WhDelivery *one = make(A, 100 + (uint64_t) i, 100 + i, WH_FROM_LOG);

		fail_malloc_at(2);
		assert_int_equal(wh_queue_push(q, one, WH_FROM_LOG, now), WH_PUSHED);
		malloc_has_failed();
	}
	done(next(1), WH_DO_DONE);
	for (int i = 0; i < 5000; i++)
		done(next(100 + i), WH_DO_DONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		in_queue(test_full),         in_queue(test_full_and_quick), in_queue(test_full_and_slow),
		in_queue(test_total),        in_queue(test_blocked_lanes),  in_queue(test_fetch_turns),
		in_queue(test_rows_by_hand), in_queue(test_many_lanes),     in_queue(test_no_memory),
	};

	return cmocka_run_group_tests_name("queue_limits", tests, NULL, NULL);
}
