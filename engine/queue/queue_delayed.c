/*
 * queue_delayed.c
 *	  Subscriptions that may start something, but only later.
 *
 * They are out of the round-robin, in a heap ordered by time. One that comes back
 * goes to the end of the round-robin. So those that rest cost nothing while others
 * start, however many rest. queue.c decides which of them rest.
 */
#include "queue_internal.h"

#include <stdlib.h>

bool
wh_rest_reserve(WhQueue *q)
{
	int cap = q->cap_resting ? q->cap_resting * 2 : 64;
	Sub **larger;

	if (q->n_subs < q->cap_resting)
		return true;
	if ((larger = realloc(q->resting, (size_t) cap * sizeof(Sub *))) == NULL)
		return false;
	q->resting = larger;
	q->cap_resting = cap;
	return true;
}

static void
put(WhQueue *q, Sub *sub, int place)
{
	q->resting[place - 1] = sub;
	sub->rests = place;
}

/* Put it where it belongs in the heap, starting from this place: up first, then down. */
static void
sift(WhQueue *q, Sub *sub, int place)
{
	for (; place > 1 && q->resting[place / 2 - 1]->rests_until_us > sub->rests_until_us; place /= 2)
		put(q, q->resting[place / 2 - 1], place);
	for (int below = 2 * place; below <= q->n_resting; place = below, below = 2 * place)
	{
		if (below < q->n_resting && q->resting[below]->rests_until_us < q->resting[below - 1]->rests_until_us)
			below++;
		if (q->resting[below - 1]->rests_until_us >= sub->rests_until_us)
			break;
		put(q, q->resting[below - 1], place);
	}
	put(q, sub, place);
}

void
wh_sub_rest(WhQueue *q, Sub *sub, int64_t until_us)
{
	link_remove(&sub->runnable);
	sub->rests_until_us = until_us;
	sift(q, sub, ++q->n_resting);
}

void
wh_sub_wake(WhQueue *q, Sub *sub)
{
	int place = sub->rests;
	Sub *last;

	if (place == 0)
		return;
	sub->rests = 0;
	last = q->resting[--q->n_resting];
	if (last != sub)
		sift(q, last, place);
	wh_sub_note(q, sub);
}

int64_t
wh_queue_deadline(const WhQueue *q)
{
	return q->n_resting > 0 ? q->resting[0]->rests_until_us : INT64_MAX;
}

void
wh_queue_wake(WhQueue *q, int64_t now_us)
{
	while (q->n_resting > 0 && (q->resting[0]->rests_until_us <= now_us ||
								q->resting[0]->rests_until_us > now_us + WH_QUEUE_REST_MAX_US))
		wh_sub_wake(q, q->resting[0]);
}
