/*
 * test_queue.c
 *	  The rules of the queue, one by one: order within a lane, turns, what is
 *	  given back and how, what is fetched, pausing, removing, stopping. Limits
 *	  are in test_queue_limits.c.
 */
#include "queue_unit.h"

static void
test_lane_is_fifo(void **state)
{
	WhDelivery *first;
	WhDelivery *other;

	(void) state;
	push(A, 7, 1);
	push(A, 7, 2);
	push(A, 8, 3);
	assert_int_equal(wh_queue_total(q), 3);
	first = next(1);
	other = next(3); /* 2 waits for 1, not 3 */
	next(0);
	assert_int_equal(counts(A).in_flight, 2);
	assert_int_equal(counts(A).queued, 1);
	done(first, WH_DO_DONE);
	first = next(2);
	done(other, WH_DO_DONE);
	next(0);
	done(first, WH_DO_DEAD_LETTER);
	next(0);
	assert_int_equal(counts(A).in_flight, 0);
	assert_int_equal(back.n, 0);
	no_lane_to_fetch(); /* none of them has left a row */
}

static void
test_turns(void **state)
{
	(void) state;
	for (int i = 0; i < 3; i++)
		push(A, (uint64_t) i, 10 + i);
	push(B, 0, 20);
	push(B, 1, 21);
	done(next(10), WH_DO_DONE);
	done(next(20), WH_DO_DONE);
	done(next(11), WH_DO_DONE);
	done(next(21), WH_DO_DONE);
	done(next(12), WH_DO_DONE);
	next(0);
}

static void
test_max_in_flight(void **state)
{
	WhDelivery *n_in_flight[3];

	(void) state;
	subscribe(A, false, 2);
	for (int i = 0; i < 4; i++)
		push(A, (uint64_t) i, i + 1);
	n_in_flight[0] = next(1);
	n_in_flight[1] = next(2);
	next(0);
	done(n_in_flight[0], WH_DO_DONE);
	n_in_flight[0] = next(3);
	next(0);
	subscribe(A, false, 3); /* at once */
	n_in_flight[2] = next(4);
	next(0);
	for (int i = 0; i < 3; i++)
		done(n_in_flight[i], WH_DO_DONE);
}

static void
test_retry_blocks(void **state)
{
	WhDelivery *d;

	(void) state;
	push(A, 7, 1);
	push(A, 7, 2);
	push(A, 7, 3);
	push(A, 8, 4);
	done(next(1), WH_DO_RETRY);
	given_back(2, WH_DO_BLOCK, 0);
	given_back(3, WH_DO_BLOCK, 0);
	assert_int_equal(back.n, 0);
	assert_int_equal(counts(A).blocked, 1);
	assert_false(counts(A).catching_up);
	done(next(4), WH_DO_DONE); /* another lane is not blocked */
	assert_int_equal(push_as(A, 7, 5, WH_FROM_LOG), WH_PUSH_BEHIND);
	no_lane_to_fetch(); /* the first is due by itself */

	/* it is due, and fails again, then succeeds: the others may be fetched */
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSH_DUPLICATE);
	d = next(1);
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSH_DUPLICATE);
	done(d, WH_DO_RETRY);
	no_lane_to_fetch();
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	done(next(1), WH_DO_DONE);
	lane_to_fetch(A, 7);
	no_lane_to_fetch();
	wh_queue_lane_fetch_again(q, A, 7);
	wh_queue_lane_fetch_again(q, A, 7);
	wh_queue_lane_fetch_again(q, A, 99);
	wh_queue_lane_fetch_again(q, 99, 7);
	lane_to_fetch(A, 7);
	no_lane_to_fetch();

	/* fetched: two of three; the last of them is buried */
	assert_int_equal(push_as(A, 7, 2, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(A, 7, 3, WH_FROM_STORED), WH_PUSHED);
	done(next(2), WH_DO_DONE);
	no_lane_to_fetch();
	done(next(3), WH_DO_DEAD_LETTER);
	lane_to_fetch(A, 7);
	assert_int_equal(push_as(A, 7, 5, WH_FROM_STORED), WH_PUSHED);
	done(next(5), WH_DO_DONE);
	no_lane_to_fetch();
	assert_int_equal(counts(A).blocked, 0);
	push(A, 7, 6);
	done(next(6), WH_DO_DONE);
}

static void
test_fetched_lane_fails(void **state)
{
	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 7, 3));
	for (int i = 1; i <= 3; i++)
		assert_int_equal(push_as(A, 7, i, WH_FROM_STORED), WH_PUSHED);
	done(next(1), WH_DO_RETRY);
	given_back(2, WH_DO_BLOCK, 2);
	given_back(3, WH_DO_BLOCK, 2);
	assert_int_equal(push_as(A, 7, 4, WH_FROM_LOG), WH_PUSH_BEHIND);
	no_lane_to_fetch();
}

static void
test_restore(void **state)
{
	(void) state;
	wh_queue_restore_deferred(q, A, 2);
	wh_queue_restore_deferred(q, A, 1);
	wh_queue_restore_deferred(q, 99, 1);
	assert_true(wh_queue_restore_lane(q, B, 7, 2));
	assert_true(wh_queue_restore_lane(q, 99, 7, 2));
	assert_int_equal(counts(A).deferred, 3);
	assert_true(counts(A).catching_up);
	assert_int_equal(counts(B).blocked, 1);
	assert_false(counts(B).catching_up);
	no_lane_to_fetch();

	assert_int_equal(push_as(B, 7, 10, WH_FROM_LOG), WH_PUSH_BEHIND);
	push(B, 8, 11);
	assert_int_equal(push_as(A, 7, 12, WH_FROM_LOG), WH_PUSH_DEFER);
	assert_int_equal(counts(A).deferred, 4);
	assert_int_equal(deferred_to_fetch(), A);
	done(next(11), WH_DO_DONE);
}

static void
test_lost_is_deferred(void **state)
{
	(void) state;
	assert_int_equal(push_as(A, 7, 1, WH_FROM_INTERRUPTED), WH_PUSH_DEFER);
	assert_int_equal(push_as(A, 8, 2, WH_FROM_LOG), WH_PUSH_DEFER);
	assert_int_equal(deferred_to_fetch(), A);
	assert_int_equal(push_as(A, 7, 1, WH_FROM_DEFERRED), WH_PUSHED);
	assert_int_equal(push_as(A, 8, 3, WH_FROM_LOG), WH_PUSH_DEFER);
	assert_int_equal(push_as(A, 8, 2, WH_FROM_DEFERRED), WH_PUSHED);
	assert_int_equal(push_as(A, 8, 3, WH_FROM_DEFERRED), WH_PUSHED);
	assert_false(counts(A).catching_up);
	assert_int_equal(deferred_to_fetch(), 0);
	/* caught up; but 8 has rows that must be done with first */
	assert_int_equal(push_as(A, 8, 4, WH_FROM_LOG), WH_PUSH_BEHIND);
	push(A, 9, 5);
	done(next(1), WH_DO_DONE);
	done(next(2), WH_DO_DONE);
	done(next(5), WH_DO_DONE);
	done(next(3), WH_DO_DONE);
	next(0);
	lane_to_fetch(A, 8);
	assert_int_equal(push_as(A, 8, 4, WH_FROM_STORED), WH_PUSHED);
	done(next(4), WH_DO_DONE);
	no_lane_to_fetch();
}

/* Deferred rows are younger than the stored rows of their lane. */
static void
test_deferred_goes_behind(void **state)
{
	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 7, 1)); /* 1, due later */
	wh_queue_restore_deferred(q, A, 2);
	assert_int_equal(push_as(A, 7, 2, WH_FROM_DEFERRED), WH_PUSH_BEHIND);
	assert_int_equal(counts(A).deferred, 1);
	assert_int_equal(push_as(A, 8, 3, WH_FROM_DEFERRED), WH_PUSHED);
	done(next(3), WH_DO_DONE);
	next(0);
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	done(next(1), WH_DO_DONE);
	lane_to_fetch(A, 7);
	assert_int_equal(push_as(A, 7, 2, WH_FROM_STORED), WH_PUSHED);
	done(next(2), WH_DO_DONE);
}

/*
 * What is in flight straight from the log is lost in a crash, and deferred then:
 * no row of its lane may become a stored one before it has ended.
 */
static void
test_fresh_before_deferred(void **state)
{
	WhDelivery *d;

	(void) state;
	push(A, 7, 1);
	push(A, 7, 2);
	d = next(1);
	subscribe(A, true, 10);
	given_back(2, WH_DO_DEFER, 0);
	assert_int_equal(deferred_to_fetch(), 0); /* paused */
	subscribe(A, false, 10);
	assert_int_equal(deferred_to_fetch(), 0); /* 1 has no row yet */
	done(d, WH_DO_RETRY);
	assert_int_equal(deferred_to_fetch(), A);
	assert_int_equal(push_as(A, 7, 2, WH_FROM_DEFERRED), WH_PUSH_BEHIND);
	assert_int_equal(deferred_to_fetch(), 0);
}

static void
test_pause(void **state)
{
	WhDelivery *d;

	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 7, 2));
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(A, 7, 2, WH_FROM_STORED), WH_PUSHED);
	push(A, 8, 3);
	push(A, 8, 4);
	push(B, 8, 5);
	subscribe(A, true, 10);
	given_back(1, WH_DO_RETRY, 2); /* the first of a lane with rows stays due */
	given_back(2, WH_DO_BLOCK, 2);
	given_back(3, WH_DO_DEFER, 0);
	given_back(4, WH_DO_DEFER, 0);
	assert_int_equal(back.n, 0);
	assert_int_equal(push_as(A, 9, 6, WH_FROM_LOG), WH_PUSH_DEFER);
	done(next(5), WH_DO_DONE);
	next(0);
	assert_int_equal(deferred_to_fetch(), 0);

	subscribe(A, false, 10);
	assert_int_equal(counts(A).deferred, 3);
	assert_int_equal(deferred_to_fetch(), A);
	for (int i = 0; i < 3; i++)
		assert_int_equal(push_as(A, i < 2 ? 8 : 9, i < 2 ? 3 + i : 6, WH_FROM_DEFERRED), WH_PUSHED);
	d = next(3);
	done(next(6), WH_DO_DONE);
	done(d, WH_DO_DONE);
	done(next(4), WH_DO_DONE);
}

/* A paused subscription's lanes are not fetched, and not forgotten. */
static void
test_pause_keeps_lanes(void **state)
{
	WhDelivery *d;

	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 7, 2));
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	d = next(1);
	subscribe(A, true, 10);
	assert_int_equal(back.n, 0);
	done(d, WH_DO_DONE);
	no_lane_to_fetch();
	no_lane_to_fetch();
	subscribe(A, false, 10);
	lane_to_fetch(A, 7);
	no_lane_to_fetch();
}

static void
test_in_flight_while_given_back(void **state)
{
	WhDelivery *d;

	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 7, 2));
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(A, 7, 2, WH_FROM_STORED), WH_PUSHED);
	d = next(1);
	subscribe(A, true, 10);
	given_back(2, WH_DO_BLOCK, 2); /* 1 will say how to go on */
	subscribe(A, false, 10);
	done(d, WH_DO_DONE);
	lane_to_fetch(A, 7);
}

static void
test_unsubscribe(void **state)
{
	WhDelivery *fresh;
	WhDelivery *stored;
	WhDelivery *buried;

	(void) state;
	assert_ptr_equal(wh_queue_owner(q, A), &owner_a);
	assert_null(wh_queue_owner(q, 99));
	push(A, 7, 1);
	push(A, 7, 2);
	push(A, 9, 5);
	assert_true(wh_queue_restore_lane(q, A, 8, 3));
	assert_int_equal(push_as(A, 8, 3, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(A, 8, 4, WH_FROM_STORED), WH_PUSHED);
	fresh = next(1);
	buried = next(5);
	stored = next(3);
	wh_queue_unsubscribe(q, A, &back);
	given_back(2, WH_DO_DROP, 0);
	given_back(4, WH_DO_DROP, 2);
	assert_null(wh_queue_owner(q, A));
	assert_int_equal(push_as(A, 7, 6, WH_FROM_LOG), WH_PUSH_UNKNOWN);
	wh_queue_unsubscribe(q, A, &back);
	assert_int_equal(counts(A).in_flight, 3);

	fresh->disposal = WH_DO_RETRY;
	wh_queue_done(q, fresh, &back);
	assert_int_equal(fresh->disposal, WH_DO_DROP);
	wh_delivery_free(fresh);
	buried->disposal = WH_DO_DEAD_LETTER;
	wh_queue_done(q, buried, &back);
	assert_int_equal(buried->disposal, WH_DO_DROP);
	wh_delivery_free(buried);
	stored->disposal = WH_DO_DONE; /* it was delivered, and is logged */
	wh_queue_done(q, stored, &back);
	assert_int_equal(stored->disposal, WH_DO_DONE);
	wh_delivery_free(stored);
	assert_false(wh_queue_counts(q, A, &(WhCounts){0}));
	assert_int_equal(back.n, 0);
	no_lane_to_fetch();
	assert_int_equal(push_as(A, 7, 6, WH_FROM_LOG), WH_PUSH_UNKNOWN);
	wh_queue_unsubscribe(q, 99, &back);
}

/* All the lists it may be in. */
static void
test_unsubscribe_from_lists(void **state)
{
	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 7, 2));
	assert_int_equal(push_as(A, 7, 1, WH_FROM_STORED), WH_PUSHED);
	done(next(1), WH_DO_DONE); /* to be fetched */
	for (int i = 0; i < WH_QUEUE_FULL; i++)
		push(A, 100 + (uint64_t) i, 100 + i); /* full, runnable */
	wh_queue_restore_deferred(q, A, 5);
	wh_queue_unsubscribe(q, A, &back);
	assert_int_equal(back.n, WH_QUEUE_FULL);
	no_lane_to_fetch();
	next(0);
	assert_int_equal(deferred_to_fetch(), 0);
	assert_true(wh_queue_has_room(q, now, &back));
	assert_false(wh_queue_counts(q, A, &(WhCounts){0}));
}

/* Removed and made again with the same number while one of it is in flight. */
static void
test_subscribe_again(void **state)
{
	WhDelivery *d;

	(void) state;
	assert_true(wh_queue_restore_lane(q, A, 8, 2));
	assert_int_equal(push_as(A, 8, 3, WH_FROM_STORED), WH_PUSHED);
	d = next(3);
	wh_queue_unsubscribe(q, A, &back);
	subscribe(A, false, 10);
	push(A, 8, 4);
	next(0);
	assert_false(d->stored); /* its row has gone with the old one */
	done(d, WH_DO_RETRY);
	given_back(4, WH_DO_BLOCK, 0);
	assert_int_equal(counts(A).blocked, 1);
}

static void
test_stop(void **state)
{
	WhDelivery *fresh;
	WhDelivery *stored;
	WhDelivery *gone;

	(void) state;
	subscribe(C, false, 10);
	push(A, 7, 1);
	push(A, 7, 2);
	assert_true(wh_queue_restore_lane(q, B, 8, 3));
	assert_int_equal(push_as(B, 8, 3, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(B, 8, 4, WH_FROM_STORED), WH_PUSHED);
	assert_int_equal(push_as(C, 9, 6, WH_FROM_STORED), WH_PUSHED);
	fresh = next(1);
	stored = next(3);
	gone = next(6);
	wh_queue_unsubscribe(q, C, &back);
	wh_queue_abort(q, stored);
	wh_queue_abort(q, gone);
	wh_queue_abort(q, fresh);
	assert_int_equal(wh_queue_total(q), 5);
	wh_queue_give_back_all(q, &back);
	assert_int_equal(back.n, 5);
	for (int i = 0; i < 3; i++)
	{
		/* in which order of subscriptions is nobody's business */
		switch (back.head->subscription_id)
		{
			case A:
				given_back(1, WH_DO_DEFER, 0);
				given_back(2, WH_DO_DEFER, 0);
				break;
			case B:
				given_back(3, WH_DO_RETRY, 2);
				given_back(4, WH_DO_BLOCK, 2);
				break;
			default:
				given_back(6, WH_DO_DROP, 2);
		}
	}
	assert_int_equal(counts(A).in_flight, 0);
	next(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		in_queue(test_lane_is_fifo),          in_queue(test_turns),
		in_queue(test_max_in_flight),         in_queue(test_retry_blocks),
		in_queue(test_fetched_lane_fails),    in_queue(test_restore),
		in_queue(test_lost_is_deferred),      in_queue(test_deferred_goes_behind),
		in_queue(test_fresh_before_deferred), in_queue(test_pause),
		in_queue(test_pause_keeps_lanes),     in_queue(test_in_flight_while_given_back),
		in_queue(test_unsubscribe),           in_queue(test_unsubscribe_from_lists),
		in_queue(test_subscribe_again),       in_queue(test_stop),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
