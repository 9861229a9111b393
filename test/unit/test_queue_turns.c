/*
 * test_queue_turns.c
 *	  Whose turn it is: rests that a rate limit asks for, shares of the places
 *	  there are, and how much is fetched for whom.
 */
#include "queue_unit.h"

#define SECOND 1000000

/* A subscription that rests does so without losing or taking anybody's turn, and its time is known. */
static void
test_rest(void **state)
{
	(void) state;
	assert_true(wh_queue_deadline(q) == INT64_MAX);
	for (int i = 0; i < 4; i++)
	{
		push(A, (uint64_t) i, 10 + i);
		push(B, (uint64_t) i, 20 + i);
	}
	done(next(10), WH_DO_DONE);
	wh_queue_not_before(q, A, now + 100);
	done(next(20), WH_DO_DONE);
	done(next(21), WH_DO_DONE);
	assert_int_equal(wh_queue_deadline(q), now + 100);
	now += 99;
	done(next(22), WH_DO_DONE);
	push(A, 9, 19); /* does not disturb its rest */
	assert_int_equal(wh_queue_deadline(q), now + 1);
	now++;
	done(next(23), WH_DO_DONE);
	done(next(11), WH_DO_DONE);
	assert_true(wh_queue_deadline(q) == INT64_MAX);
	wh_queue_not_before(q, A, now + 100);
	next(0);
	assert_int_equal(wh_queue_deadline(q), now + 100);
	wh_queue_not_before(q, A, 0); /* the limit is gone */
	done(next(12), WH_DO_DONE);
	wh_queue_not_before(q, 99, 5);
}

/* The time goes by although there is no place: nobody may be woken for it again and again. */
static void
test_no_place(void **state)
{
	(void) state;
	push(A, 1, 1);
	wh_queue_not_before(q, A, now + 100);
	next(0);
	places = 0;
	now += 200;
	wh_queue_wake(q, now);
	assert_true(wh_queue_deadline(q) == INT64_MAX);
	next(0);
	places = 1;
	done(next(1), WH_DO_DONE);
}

static void
test_clock_set_back(void **state)
{
	(void) state;
	now = 3600 * (int64_t) SECOND;
	push(A, 1, 1);
	push(A, 2, 2);
	wh_queue_not_before(q, A, now + 100);
	next(0);
	now = SECOND;
	done(next(1), WH_DO_DONE);
	done(next(2), WH_DO_DONE);
}

/* Many of them rest, in any order: each starts when it is time, the first first. */
static void
test_many_rest(void **state)
{
	enum
	{
		N = 500
	};

	(void) state;
	for (int i = 0; i < N; i++)
	{
		subscribe(100 + i, false, 10);
		push(100 + i, 1, 1000 + i);
		wh_queue_not_before(q, 100 + i, now + 1 + i * 7 % N); /* 7 and N have no common divisor */
	}
	next(0);
	for (int i = 0; i < N; i += 3)
		wh_queue_unsubscribe(q, 100 + i, &back);
	for (int i = 0; i < N; i++)
	{
		int k = i * 143 % N; /* the one whose time is the i-th: 7 * 143 = 1001 = 1 modulo N */

		now++;
		if (k % 3 != 0)
		{
			assert_int_equal(wh_queue_deadline(q), now);
			done(next(1000 + k), WH_DO_DONE);
		}
		next(0);
	}
	assert_true(wh_queue_deadline(q) == INT64_MAX);
}

/* What rests and is full is deferred at once: others need not wait for what cannot be quicker. */
static void
test_full_at_rest(void **state)
{
	(void) state;
	wh_queue_not_before(q, A, now + 100);
	for (int i = 0; i < WH_QUEUE_FULL; i++)
		push(A, (uint64_t) i, i + 1);
	next(0);
	assert_true(wh_queue_has_room(q, now, &back));
	assert_int_equal(back.n, WH_QUEUE_FULL);
	assert_int_equal(counts(A).deferred, WH_QUEUE_FULL);
	assert_int_equal(push_as(A, 1, 9999, WH_FROM_LOG), WH_PUSH_DEFER);
	assert_int_equal(deferred_to_fetch(), A);
	for (int i = 0; i < WH_FETCH_MAX; i++)
		assert_int_equal(push_as(A, (uint64_t) i, i + 1, WH_FROM_DEFERRED), WH_PUSHED);
	/* and what was fetched is not given back again, however long it takes */
	assert_true(wh_queue_has_room(q, now + 3600 * (int64_t) SECOND, &back));
	assert_int_equal(back.n, WH_QUEUE_FULL);
	assert_int_equal(deferred_to_fetch(), 0);
}

/* Whoever starts one more has no more under way than places are left for others. */
static void
test_share(void **state)
{
	WhDelivery *n_in_flight[200];
	int n = 0;

	(void) state;
	places = 200;
	for (int64_t s = A; s <= A + 3; s++)
	{
		subscribe(s, false, 200);
		for (int i = 0; i < 200; i++)
			push(s, (uint64_t) i, 1000 * s + i);
	}
	/* one alone: half of all */
	for (int64_t s = B; s <= A + 3; s++)
		wh_queue_not_before(q, s, now + 1);
	for (; (n_in_flight[n] = wh_queue_next(q, now, places - n)) != NULL; n++)
		assert_int_equal(n_in_flight[n]->subscription_id, A);
	assert_int_equal(n, 100);
	/* three more, of which none gives back anything: each has its turn, and places are left */
	now++;
	for (; (n_in_flight[n] = wh_queue_next(q, now, places - n)) != NULL; n++)
		;
	for (int64_t s = B; s <= A + 3; s++)
		assert_int_equal(counts(s).in_flight, 25);
	assert_int_equal(n, 175);
	/* somebody who is well finds a place at any time */
	subscribe(9, false, 200);
	for (int i = 0; i < 300; i++)
	{
		WhDelivery *d;

		push(9, (uint64_t) i, i + 1);
		d = wh_queue_next(q, now, places - n);
		assert_non_null(d);
		assert_int_equal(d->subscription_id, 9);
		done(d, WH_DO_DONE);
	}
	/* the one that has more than its share starts nothing until that has shrunk */
	for (int i = 0; i < 62; i++)
		done(n_in_flight[i], WH_DO_DONE);
	n -= 62; /* A has 38, and 87 places are free */
	assert_int_equal(counts(A).in_flight, 38);
	for (int i = 0; i < 4; i++)
	{
		n_in_flight[i] = wh_queue_next(q, now, places - n);
		assert_non_null(n_in_flight[i]);
		n++;
	}
	for (int i = 0; i < 4; i++)
		done(n_in_flight[i], WH_DO_DONE);
	for (int i = 62; i < 175; i++)
		done(n_in_flight[i], WH_DO_DONE);
}

/* The last place is for somebody who has nothing under way, whose turn comes as before. */
static void
test_last_place(void **state)
{
	WhDelivery *a;
	WhDelivery *b;
	WhDelivery *c;

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		push(A, (uint64_t) i, 10 + i);
		push(B, (uint64_t) i, 20 + i);
	}
	a = next(10);
	places = 1;
	b = next(20); /* passes by A, */
	next(0);
	done(b, WH_DO_DONE);
	places = 2;
	b = next(11); /* which is the first again when it may */
	c = next(21);
	done(a, WH_DO_DONE);
	done(b, WH_DO_DONE);
	done(c, WH_DO_DONE);
}

/* Deferred rows of many subscriptions are fetched in portions that together leave room for others. */
static void
test_portions(void **state)
{
	enum
	{
		N = 100
	};
	int room;

	(void) state;
	for (int s = 0; s < N; s++)
	{
		subscribe(100 + s, false, 10);
		wh_queue_restore_deferred(q, 100 + s, 1000);
	}
	for (int s = 0; s < N; s++)
	{
		assert_int_equal(wh_queue_deferred_to_fetch(q, &room), 100 + s);
		assert_int_equal(room, WH_QUEUE_TOTAL / 2 / N);
		for (int i = 0; i < room; i++)
			assert_int_equal(push_as(100 + s, (uint64_t) i, i + 1, WH_FROM_DEFERRED), WH_PUSHED);
	}
	assert_int_equal(wh_queue_deferred_to_fetch(q, &room), 0);
	assert_true(wh_queue_has_room(q, now, &back));
	for (int s = 1; s < N; s++)
		wh_queue_unsubscribe(q, 100 + s, &back);
	for (int i = 0; i < 51; i++)
		done(next(i + 1), WH_DO_DONE);
	assert_int_equal(wh_queue_deferred_to_fetch(q, &room), 100);
	assert_int_equal(room, WH_FETCH_MAX); /* it is the only one left */
}

/* Who has enough to do is not to be given what is due; it says when it wants more, once. */
static void
test_sated(void **state)
{
	(void) state;
	for (int i = 0; i < WH_FETCH_MAX - 1; i++)
		push(A, (uint64_t) i, i + 1);
	assert_false(wh_queue_any_saturated(q));
	assert_false(wh_queue_saturated(q, A));
	push(A, 9999, 9999);
	assert_true(wh_queue_any_saturated(q));
	assert_true(wh_queue_saturated(q, A));
	assert_false(wh_queue_saturated(q, B));
	for (int i = 0; i < WH_FETCH_MAX / 2 - 1; i++)
		done(next(i + 1), WH_DO_DONE);
	assert_true(wh_queue_saturated(q, A));
	assert_false(wh_queue_wants_more(q));
	done(next(WH_FETCH_MAX / 2), WH_DO_DONE);
	assert_false(wh_queue_saturated(q, A));
	assert_true(wh_queue_wants_more(q));
	assert_false(wh_queue_wants_more(q));
	/* where many have rows, each has enough earlier */
	for (int s = 0; s < 99; s++)
	{
		subscribe(100 + s, false, 10);
		assert_true(wh_queue_restore_lane(q, 100 + s, 1, 5));
	}
	wh_queue_restore_deferred(q, A, 1);
	assert_true(wh_queue_saturated(q, A));
	for (int i = 0; i < WH_QUEUE_TOTAL / 2 / 100; i++)
	{
		assert_false(wh_queue_saturated(q, B));
		assert_int_equal(push_as(B, (uint64_t) i, i + 1, WH_FROM_LOG), WH_PUSHED);
	}
	assert_true(wh_queue_saturated(q, B));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		in_queue(test_rest),       in_queue(test_no_place),     in_queue(test_clock_set_back),
		in_queue(test_many_rest),  in_queue(test_full_at_rest), in_queue(test_share),
		in_queue(test_last_place), in_queue(test_portions),     in_queue(test_sated),
	};

	return cmocka_run_group_tests_name("queue_turns", tests, NULL, NULL);
}
