/*
 * queue_unit.h
 *	  What the tests of the queue's rules share: a queue with two subscriptions,
 *	  what it gave back, and short words for pushing, starting and ending.
 */
#ifndef QUEUE_UNIT_H
#define QUEUE_UNIT_H

#include "unit.h"

#include <stdlib.h>

#include "queue.h"

#define A 1 /* subscriptions */
#define B 2
#define C 3

static WhQueue *q;
static WhList back; /* what was given back */
static int64_t now;
static int places; /* free for requests */
static int owner_a;

static inline WhDelivery *
make(int64_t sub, uint64_t lane, int64_t id, WhPushFrom from)
{
	WhEvent from_event = {.id = id};
	WhDelivery *d = calloc(1, sizeof(WhDelivery));

	d->event = wh_event_make(&from_event);
	d->subscription_id = sub;
	d->lane = lane;
	d->stored = from == WH_FROM_STORED || from == WH_FROM_DEFERRED;
	d->attempts = d->stored ? 3 : 1;
	return d;
}

/* Push a delivery, which is freed unless it was taken. */
static inline WhPushed
push_as(int64_t sub, uint64_t lane, int64_t id, WhPushFrom from)
{
	WhDelivery *d = make(sub, lane, id, from);
	WhPushed pushed = wh_queue_push(q, d, from, now);

	if (pushed != WH_PUSHED)
		wh_delivery_free(d);
	return pushed;
}

static inline void
push(int64_t sub, uint64_t lane, int64_t id)
{
	assert_int_equal(push_as(sub, lane, id, WH_FROM_LOG), WH_PUSHED);
}

/* The next one is this; NULL is returned for 0, meaning that none may start. */
static inline WhDelivery *
next(int64_t id)
{
	WhDelivery *d = wh_queue_next(q, now, places);

	if (id == 0)
		assert_null(d);
	else
	{
		assert_non_null(d);
		assert_int_equal(d->event->id, id);
	}
	return d;
}

static inline void
done(WhDelivery *d, WhDisposal disposal)
{
	d->disposal = disposal;
	wh_queue_done(q, d, &back);
	wh_delivery_free(d);
}

/* The next that was given back is this, in this way, with so many attempts made. */
static inline void
given_back(int64_t id, WhDisposal disposal, int attempts)
{
	WhDelivery *d = wh_list_pop(&back);

	assert_non_null(d);
	assert_int_equal(d->event->id, id);
	assert_int_equal(d->disposal, disposal);
	assert_int_equal(d->attempts, attempts);
	assert_false(d->attempted);
	wh_delivery_free(d);
}

static inline void
subscribe(int64_t id, bool paused, int max_in_flight)
{
	assert_true(wh_queue_subscribe(q, id, &owner_a, paused, max_in_flight, 1, &back));
}

static inline WhCounts
counts(int64_t id)
{
	WhCounts c = {0};

	assert_true(wh_queue_counts(q, id, &c));
	return c;
}

static inline void
no_lane_to_fetch(void)
{
	int64_t sub;
	uint64_t lane;

	assert_false(wh_queue_lane_to_fetch(q, &sub, &lane));
}

static inline void
lane_to_fetch(int64_t right_sub, uint64_t right_lane)
{
	int64_t sub = 0;
	uint64_t lane = 0;

	assert_true(wh_queue_lane_to_fetch(q, &sub, &lane));
	assert_int_equal(sub, right_sub);
	assert_int_equal(lane, right_lane);
}

static inline int64_t
deferred_to_fetch(void)
{
	int room = 0;
	int64_t id = wh_queue_deferred_to_fetch(q, &room);

	if (id != 0)
		assert_int_equal(room, WH_FETCH_MAX);
	return id;
}

static inline int
set_up(void **state)
{
	(void) state;
	now = 1000;
	places = 1000000;
	q = wh_queue_create();
	assert_non_null(q);
	subscribe(A, false, 10);
	subscribe(B, false, 10);
	return 0;
}

/* Whatever waits is given back and freed; nothing may be in flight. */
static inline int
tear_down(void **state)
{
	WhDelivery *d;

	(void) state;
	wh_queue_give_back_all(q, &back);
	while ((d = wh_list_pop(&back)) != NULL)
		wh_delivery_free(d);
	assert_int_equal(wh_queue_total(q), 0);
	wh_queue_free(q);
	return 0;
}

#define in_queue(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif /* QUEUE_UNIT_H */
