/*
 * queue_lists.c
 *	  The queue's memory: lanes, subscriptions, and the lists they are in.
 *
 * Hash tables find lanes and subscriptions. All lists are rings of links inside
 * their members, so entering and leaving a list costs the same at any place.
 * Nothing here decides anything; the rules are in queue.c.
 */
#include "queue_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "hash.h"

#define LANE_BUCKETS 4096 /* at first; a power of two */

static size_t
sub_bucket(int64_t id)
{
	return wh_hash_mix((uint64_t) id) & (SUB_BUCKETS - 1);
}

static size_t
lane_bucket(size_t n_buckets, int64_t id, uint64_t key)
{
	return wh_hash_mix(wh_hash_mix((uint64_t) id) ^ key) & (n_buckets - 1);
}

WhQueue *
wh_queue_create(void)
{
	WhQueue *q = calloc(1, sizeof(WhQueue));

	if (q == NULL)
		return NULL;
	q->n_lane_buckets = LANE_BUCKETS;
	q->lanes = calloc(q->n_lane_buckets, sizeof(Lane *));
	if (q->lanes == NULL)
	{
		free(q);
		return NULL;
	}
	wh_queue_limits(q, WH_QUEUE_BYTES, WH_FLIGHT_BYTES, WH_FLIGHT_BYTES, WH_BATCH_BYTES);
	link_init(&q->heavy[WH_SMALL]);
	link_init(&q->heavy[WH_LARGE]);
	link_init(&q->runnable);
	link_init(&q->full);
	link_init(&q->deferring);
	link_init(&q->fetching);
	return q;
}

void
wh_queue_free(WhQueue *q)
{
	if (q == NULL)
		return;
	for (size_t i = 0; i < SUB_BUCKETS; i++)
	{
		Sub *next_sub;

		for (Sub *sub = q->subs[i]; sub; sub = next_sub)
		{
			Link *link;

			next_sub = sub->hash_next;
			while ((link = link_take(&sub->lanes)) != NULL)
			{
				Lane *lane = LINKED(Lane, of_sub, link);

				assert(lane->waiting.n == 0 && lane->n_bound == 0);
				free(lane);
			}
			free(sub);
		}
	}
	free(q->resting);
	free(q->lanes);
	free(q);
}

/*
 * Subscriptions
 */

Sub *
wh_sub_find(const WhQueue *q, int64_t id)
{
	Sub *sub = q->subs[sub_bucket(id)];

	while (sub && sub->id != id)
		sub = sub->hash_next;
	return sub;
}

Sub *
wh_sub_make(WhQueue *q, int64_t id)
{
	Sub *sub = wh_rest_reserve(q) ? calloc(1, sizeof(Sub)) : NULL;
	size_t b = sub_bucket(id);

	if (sub == NULL)
		return NULL;
	link_init(&sub->runnable);
	link_init(&sub->full);
	link_init(&sub->deferring);
	link_init(&sub->fetching);
	link_init(&sub->lanes);
	link_init(&sub->ready);
	link_init(&sub->fetch);
	sub->id = id;
	sub->hash_next = q->subs[b];
	q->subs[b] = sub;
	q->n_subs++;
	return sub;
}

void
wh_sub_free_if_idle(WhQueue *q, Sub *sub)
{
	Sub **link = &q->subs[sub_bucket(sub->id)];

	if (!sub->gone || sub->in_flight > 0)
		return;
	assert(!is_linked(&sub->lanes) && sub->queued == 0);
	wh_sub_wake(q, sub);
	wh_sub_set_deferred(q, sub, 0);
	link_remove(&sub->runnable);
	link_remove(&sub->full);
	link_remove(&sub->deferring);
	link_remove(&sub->fetching);
	while (*link != sub)
		link = &(*link)->hash_next;
	*link = sub->hash_next;
	q->n_subs--;
	free(sub);
}

void
wh_sub_note(WhQueue *q, Sub *sub)
{
	/* it rests only to get a larger batch, and now has one */
	if (sub->rests > 0 && sub->rests_until_us > sub->not_before_us && !waits_for_more(sub))
		wh_sub_wake(q, sub);
	if (!is_linked(&sub->runnable) && sub->rests == 0 && could_start(sub))
		link_last(&q->runnable, &sub->runnable);
	if (!is_linked(&sub->deferring) && sub->deferred > 0)
		link_last(&q->deferring, &sub->deferring);
	if (!is_linked(&sub->fetching) && may_fetch(sub) && is_linked(&sub->fetch))
		link_last(&q->fetching, &sub->fetching);
}

/*
 * Lanes
 */

Lane *
wh_lane_find(const WhQueue *q, const Sub *sub, uint64_t key)
{
	Lane *lane = q->lanes[lane_bucket(q->n_lane_buckets, sub->id, key)];

	while (lane && (lane->sub != sub || lane->key != key))
		lane = lane->hash_next;
	return lane;
}

/* Double the buckets when there are as many lanes. Without memory, chains just become longer. */
static void
grow(WhQueue *q)
{
	size_t larger_n = q->n_lane_buckets * 2;
	Lane **larger;

	if (q->n_lanes < q->n_lane_buckets || (larger = calloc(larger_n, sizeof(Lane *))) == NULL)
		return;
	for (size_t i = 0; i < q->n_lane_buckets; i++)
	{
		Lane *next;

		for (Lane *lane = q->lanes[i]; lane; lane = next)
		{
			size_t b = lane_bucket(larger_n, lane->sub->id, lane->key);

			next = lane->hash_next;
			lane->hash_next = larger[b];
			larger[b] = lane;
		}
	}
	free(q->lanes);
	q->lanes = larger;
	q->n_lane_buckets = larger_n;
}

Lane *
wh_lane_make(WhQueue *q, Sub *sub, uint64_t key)
{
	Lane *lane = calloc(1, sizeof(Lane));
	size_t b;

	if (lane == NULL)
		return NULL;
	grow(q);
	link_init(&lane->ready);
	link_init(&lane->fetch);
	link_last(&sub->lanes, &lane->of_sub);
	lane->sub = sub;
	lane->key = key;
	b = lane_bucket(q->n_lane_buckets, sub->id, key);
	lane->hash_next = q->lanes[b];
	q->lanes[b] = lane;
	q->n_lanes++;
	return lane;
}

void
wh_lane_free_if_idle(WhQueue *q, Lane *lane)
{
	Lane **link = &q->lanes[lane_bucket(q->n_lane_buckets, lane->sub->id, lane->key)];

	if (lane->waiting.n > 0 || lane->n_bound > 0 || lane->stored > 0)
		return;
	assert(!is_linked(&lane->ready));
	link_remove(&lane->of_sub);
	link_remove(&lane->fetch);
	while (*link != lane)
		link = &(*link)->hash_next;
	*link = lane->hash_next;
	q->n_lanes--;
	free(lane);
}

void
wh_lane_sane(const Lane *lane)
{
	assert(lane->stored >= 0 && lane->held >= 0 && lane->held <= lane->stored);
	assert(lane->held <= lane->waiting.n + lane->n_bound);
	assert(lane->n_in_flight >= 0 && lane->n_in_flight <= lane->n_bound);
	assert((lane->n_bound > 0) == (lane->bound != NULL));
	assert(is_linked(&lane->ready) == (lane->waiting.n > 0 && lane->n_bound == 0));
	assert(lane->sub->n_ready >= 0 && lane->sub->n_ready <= lane->sub->queued);
	assert(lane->sub->fresh >= 0 && lane->sub->fresh <= lane->sub->queued + lane->sub->n_in_flight);
	(void) lane;
}

static void
note_rows(WhQueue *q, Sub *sub)
{
	bool has_rows = sub->deferred > 0 || sub->blocked > 0;

	q->n_with_rows += has_rows - sub->has_rows;
	sub->has_rows = has_rows;
}

void
wh_lane_set_stored(WhQueue *q, Lane *lane, int stored)
{
	lane->sub->blocked += (stored > 0) - (lane->stored > 0);
	lane->stored = stored;
	note_rows(q, lane->sub);
}

void
wh_lane_note_ready(WhQueue *q, Lane *lane)
{
	if (is_linked(&lane->ready) || lane->n_bound > 0 || lane->waiting.n == 0)
		return;
	link_last(&lane->sub->ready, &lane->ready);
	lane->sub->n_ready += lane->waiting.n;
	wh_sub_note(q, lane->sub);
}

void
wh_lane_leave_ready(Lane *lane)
{
	if (!is_linked(&lane->ready))
		return;
	link_remove(&lane->ready);
	lane->sub->n_ready -= lane->waiting.n;
}

void
wh_lane_bind(Lane *lane, WhDelivery *d)
{
	d->bound_next = NULL;
	if (lane->bound)
		lane->bound_last->bound_next = d;
	else
		lane->bound = d;
	lane->bound_last = d;
	lane->n_bound++;
}

/* Deliveries mostly leave in the order in which they came, so the loop ends soon. */
void
wh_lane_unbind(Lane *lane, WhDelivery *d)
{
	WhDelivery **at = &lane->bound;
	WhDelivery *before = NULL;

	for (; *at != d; at = &before->bound_next)
		before = *at;
	*at = d->bound_next;
	if (lane->bound_last == d)
		lane->bound_last = before;
	lane->n_bound--;
}

bool
wh_lane_has(const Lane *lane, int64_t event_number)
{
	for (const WhDelivery *d = lane->bound; d; d = d->bound_next)
		if (d->event->id == event_number)
			return true;
	for (const WhDelivery *d = lane->waiting.head; d; d = d->next)
		if (d->event->id == event_number)
			return true;
	return false;
}

void
wh_lane_note_fetch(WhQueue *q, Lane *lane)
{
	if (is_linked(&lane->fetch) || lane->stored == 0)
		return;
	link_last(&lane->sub->fetch, &lane->fetch);
	wh_sub_note(q, lane->sub);
}

void
wh_sub_set_deferred(WhQueue *q, Sub *sub, int64_t deferred)
{
	sub->deferred = deferred;
	note_rows(q, sub);
}

void
wh_sub_count_in(WhQueue *q, Sub *sub, const WhDelivery *d)
{
	q->n_large += ++sub->queued == WH_FETCH_MAX;
	sub->bytes += d->event->size;
	q->total++;
	q->bytes += d->event->size;
}

void
wh_sub_count_out(WhQueue *q, Sub *sub, const WhDelivery *d)
{
	q->n_large -= sub->queued-- == WH_FETCH_MAX;
	if (sub->hungry_at > 0 && sub->queued <= sub->hungry_at)
	{
		sub->hungry_at = 0;
		q->hungry = true;
	}
	sub->bytes -= d->event->size;
	q->total--;
	q->bytes -= d->event->size;
}

/* One more delivery waits in a lane. */
static void
note_one_more(WhQueue *q, Lane *lane, const WhDelivery *d)
{
	wh_sub_count_in(q, lane->sub, d);
	if (is_linked(&lane->ready))
	{
		lane->sub->n_ready++;
		wh_sub_note(q, lane->sub); /* a batch may be full now */
	}
	else
		wh_lane_note_ready(q, lane);
	wh_lane_sane(lane);
}

void
wh_lane_append(WhQueue *q, Lane *lane, WhDelivery *d)
{
	wh_list_push(&lane->waiting, d);
	note_one_more(q, lane, d);
}

void
wh_lane_put_back(WhQueue *q, Lane *lane, WhDelivery *d)
{
	d->next = lane->waiting.head;
	lane->waiting.head = d;
	if (lane->waiting.tail == NULL)
		lane->waiting.tail = d;
	lane->waiting.n++;
	note_one_more(q, lane, d);
}

WhDelivery *
wh_lane_pop(WhQueue *q, Lane *lane)
{
	WhDelivery *d = wh_list_pop(&lane->waiting);

	if (d == NULL)
		return NULL;
	wh_sub_count_out(q, lane->sub, d);
	if (is_linked(&lane->ready))
		lane->sub->n_ready--;
	if (lane->waiting.n == 0)
		link_remove(&lane->ready);
	return d;
}
