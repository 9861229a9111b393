/*
 * test_queue_flight.c
 *	  The bytes of what is under way: bounded, the small apart from the large,
 *	  one always may go, nobody is overtaken, and who hangs leaves some to others.
 */
#include "queue_unit.h"

#define MB ((size_t) 1024 * 1024)

/* One whose event is said to be so large. */
static void
push_large(int64_t sub, int64_t id, size_t bytes)
{
	WhDelivery *d = make(sub, (uint64_t) id, id, WH_FROM_LOG);

	d->event->size = bytes;
	assert_int_equal(wh_queue_push(q, d, WH_FROM_LOG, now), WH_PUSHED);
}

static WhDelivery *
any(void)
{
	return wh_queue_next(q, now, places);
}

/* With 64 MB for each size and 2 MB large, 10 MB count as 20 and a little. */
static void
test_bounded(void **state)
{
	WhDelivery *under_way[8];
	int n = 0;

	(void) state;
	for (int i = 0; i < 8; i++)
	{
		subscribe(100 + i, false, 10);
		push_large(100 + i, i + 1, 10 * MB);
	}
	while ((under_way[n] = any()) != NULL)
		n++;
	assert_int_equal(n, 3); /* and not four, which would be 80 MB */
	for (int i = 0; i < 3; i++)
		assert_int_equal(under_way[i]->event->id, i + 1);
	for (int ended = 0; ended < 8; ended++)
	{
		done(under_way[ended], WH_DO_DONE);
		if (n < 8)
		{
			under_way[n] = next(n + 1);
			n++;
		}
		next(0);
	}
}

static void
test_one_may_always_go(void **state)
{
	WhDelivery *d;

	(void) state;
	push_large(A, 1, 500 * MB);
	push_large(B, 2, 500 * MB);
	d = next(1);
	next(0);
	done(d, WH_DO_DONE);
	d = next(2);
	wh_queue_abort(q, d); /* what is taken back counts no longer */
	d = next(2);
	done(d, WH_DO_DONE);
}

/* Large ones that hang keep no small one, and no number of small ones a large one, from its turn. */
static void
test_small_beside_large(void **state)
{
	WhDelivery *large;
	WhDelivery *small;

	(void) state;
	subscribe(C, false, 10);
	push_large(A, 1, 100 * MB);
	push_large(B, 2, 100 * MB);
	large = next(1);
	for (int i = 0; i < 100; i++)
	{
		push(C, (uint64_t) i, 10 + i);
		small = next(10 + i);
		done(small, WH_DO_DONE);
	}
	push(C, 7, 200);
	small = next(200);
	done(large, WH_DO_DONE);
	large = next(2); /* while a small one is under way */
	done(small, WH_DO_DONE);
	done(large, WH_DO_DONE);
}

/* One that needs all of it comes to its turn although there would be room for others again and again. */
static void
test_nobody_is_overtaken(void **state)
{
	WhDelivery *first;
	WhDelivery *second;

	(void) state;
	subscribe(C, false, 10);
	push_large(A, 1, 10 * MB);
	push_large(A, 2, 10 * MB);
	first = next(1);
	push_large(B, 3, 60 * MB);
	second = next(2);
	next(0);
	push_large(C, 4, 5 * MB); /* it would fit */
	next(0);
	done(first, WH_DO_DONE);
	next(0);
	push(B, 50, 50); /* what is small goes on, though not of B, whose turn it is with the large one */
	push(C, 51, 51);
	next(0);
	done(second, WH_DO_DONE);
	first = next(3);
	done(first, WH_DO_DONE);
	first = next(4);
	second = next(50);
	done(first, WH_DO_DONE);
	done(second, WH_DO_DONE);
	done(next(51), WH_DO_DONE);
}

/* As with places: one that hangs has half, two leave a third. */
static void
test_who_hangs_leaves_some(void **state)
{
	WhDelivery *hang[10];
	int n = 0;

	(void) state;
	subscribe(C, false, 10);
	for (int i = 0; i < 20; i++)
		push_large(A, 100 + i, 2 * MB);
	while ((hang[n] = any()) != NULL)
		n++;
	assert_int_equal(n, 8); /* of 4 MB and a little each: until it has as much as is free */
	for (int i = 0; i < 20; i++)
	{
		push_large(C, 200 + i, 2 * MB);
		done(next(200 + i), WH_DO_DONE);
	}
	while (n > 0)
		done(hang[--n], WH_DO_DONE);
}

/* What is in the line and may not start any more, whatever the reason, is in nobody's way. */
static void
test_leaving_the_line(void **state)
{
	WhDelivery *first;
	WhDelivery *d;

	(void) state;
	subscribe(C, false, 10);
	push_large(A, 1, 30 * MB);
	first = next(1);
	push_large(B, 2, 20 * MB);
	push_large(C, 3, 1 * MB);
	next(0);
	subscribe(B, true, 10);
	given_back(2, WH_DO_DEFER, 0);
	push_large(C, 4, 1 * MB + 1);
	d = next(3);
	done(d, WH_DO_DONE);
	done(next(4), WH_DO_DONE);
	subscribe(B, false, 10);
	wh_queue_deferred_is_empty(q, B);
	push_large(B, 5, 20 * MB);
	next(0);
	wh_queue_unsubscribe(q, B, &back);
	given_back(5, WH_DO_DROP, 0);
	push_large(C, 6, 1 * MB);
	done(next(6), WH_DO_DONE);
	done(first, WH_DO_DONE);
}

static void
test_batches_count_whole(void **state)
{
	WhDelivery *first;

	(void) state;
	assert_true(wh_queue_subscribe(q, A, &owner_a, false, 10, 10, &back));
	assert_true(wh_queue_subscribe(q, B, &owner_a, false, 10, 10, &back));
	wh_queue_limits(q, WH_QUEUE_BYTES, 20 * MB, 20 * MB, 8 * MB);
	for (int i = 0; i < 10; i++)
	{
		push_large(A, 1 + i, MB / 2);
		push_large(B, 101 + i, MB / 2);
	}
	first = next(1);
	assert_int_equal(first->others.n, 9);
	next(0); /* ten and ten MB, and a little */
	first->disposal = WH_DO_DONE;
	wh_queue_done(q, first, &back);
	for (WhDelivery *d; (d = wh_list_pop(&first->others)) != NULL;)
		wh_delivery_free(d);
	wh_delivery_free(first);
	/* a lower limit of what makes a batch holds at once */
	wh_queue_limits(q, WH_QUEUE_BYTES, 20 * MB, 20 * MB, 2 * MB);
	first = next(101);
	assert_int_equal(first->others.n, 3);
	wh_queue_abort(q, first);
}

/* Limits that change while something is under way: it ends as it ends, and nothing is counted twice or never. */
static void
test_limits_change(void **state)
{
	WhDelivery *first;
	WhDelivery *second;

	(void) state;
	push_large(A, 1, 1 * MB / 2); /* small */
	first = next(1);
	wh_queue_limits(q, 8 * MB, 8 * MB, 8 * MB, 8 * MB);
	push_large(B, 2, 1 * MB / 2); /* now large */
	second = next(2);
	done(first, WH_DO_DONE);
	done(second, WH_DO_DONE);
	push_large(B, 3, 9 * MB);
	assert_false(wh_queue_has_room(q, now, &back));
	wh_queue_limits(q, 20 * MB, 8 * MB, 8 * MB, 8 * MB);
	assert_true(wh_queue_has_room(q, now, &back));
	done(next(3), WH_DO_DONE);
}

/* What is under way of those that were paused, removed or limited counts until it ends. */
static void
test_beyond(void **state)
{
	WhDelivery *under_way[9];

	(void) state;
	subscribe(C, false, 10);
	for (int i = 0; i < 9; i++)
		push(A + i % 3, (uint64_t) i, i + 1);
	for (int i = 0; i < 9; i++)
		under_way[i] = next(i + 1);
	assert_int_equal(wh_queue_beyond(q), 0);
	subscribe(A, true, 10);
	assert_int_equal(wh_queue_beyond(q), 3);
	wh_queue_unsubscribe(q, B, &back);
	assert_int_equal(wh_queue_beyond(q), 6);
	subscribe(C, false, 1);
	assert_int_equal(wh_queue_beyond(q), 8);
	subscribe(A, false, 10);
	assert_int_equal(wh_queue_beyond(q), 5);
	for (int i = 0; i < 9; i++)
		done(under_way[i], WH_DO_DONE);
	assert_int_equal(wh_queue_beyond(q), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		in_queue(test_bounded),
		in_queue(test_one_may_always_go),
		in_queue(test_small_beside_large),
		in_queue(test_nobody_is_overtaken),
		in_queue(test_who_hangs_leaves_some),
		in_queue(test_leaving_the_line),
		in_queue(test_batches_count_whole),
		in_queue(test_limits_change),
		in_queue(test_beyond),
	};

	return cmocka_run_group_tests_name("queue_flight", tests, NULL, NULL);
}
