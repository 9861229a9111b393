/*
 * queue_room.c
 *	  How much of a subscription may wait in memory: when its queue is given
 *	  back, and what is fetched from pending when there is room again.
 *
 * A subscription that is full keeps all others waiting, because reading the log
 * stops. It gets a moment to make room; then its queue is given back. One that is
 * full and rests because its rate limit is used up gets no moment: it will not
 * become faster.
 *
 * What is in pending comes back in portions. They are so small that those of all
 * subscriptions together leave half of the memory to others: nothing is fetched
 * only to be given back. This holds for deferred rows, and for rows that are due: a
 * subscription that has a portion in memory is saturated, and wh_queue_wants_more
 * tells when it no longer is.
 *
 * The rules of order are at the top of queue.c.
 */
#include "queue_internal.h"

/*
 * Give subscriptions that are full a moment, then give their queues back. False: one
 * is still too full.
 */
static bool
look_at_full(WhQueue *q, int64_t now_us, WhList *given_back)
{
	bool room = true;
	Link *next;

	for (Link *link = q->full.next; link != &q->full; link = next)
	{
		Sub *sub = LINKED(Sub, full, link);
		int64_t patience = sub->rests > 0                 ? -1
						   : sub->queued >= WH_QUEUE_FULL ? WH_QUEUE_PATIENCE_US
														  : WH_QUEUE_PATIENCE_SLOW_US;

		next = link->next;
		if (sub->queued > WH_QUEUE_FULL - WH_FETCH_MAX && now_us - sub->full_since_us > patience)
			wh_sub_give_back(q, sub, given_back);
		if (sub->queued > WH_QUEUE_FULL - WH_FETCH_MAX)
			room = false;
		else
			link_remove(&sub->full);
	}
	return room;
}

/*
 * All together have too many deliveries or bytes, although none is full: the same,
 * for those that have at least their share.
 */
static void
look_at_total(WhQueue *q, int64_t now_us, WhList *given_back)
{
	int share = WH_QUEUE_TOTAL / (q->n_subs > 0 ? q->n_subs : 1);
	size_t share_of_bytes = q->max_bytes / (size_t) (q->n_subs > 0 ? q->n_subs : 1);

	if (has_room_for_more(q))
	{
		q->total_full_since_us = 0;
		return;
	}
	if (q->total_full_since_us == 0)
		q->total_full_since_us = now_us;
	if (now_us - q->total_full_since_us <= WH_QUEUE_PATIENCE_US)
		return;
	for (size_t i = 0; i < SUB_BUCKETS; i++)
		for (Sub *sub = q->subs[i]; sub; sub = sub->hash_next)
			if (sub->queued >= share || sub->bytes >= share_of_bytes)
				wh_sub_give_back(q, sub, given_back);
	q->total_full_since_us = 0;
}

bool
wh_queue_has_room(WhQueue *q, int64_t now_us, WhList *given_back)
{
	bool room = look_at_full(q, now_us, given_back);

	look_at_total(q, now_us, given_back);
	return room && has_room_for_more(q);
}

bool
wh_queue_lane_to_fetch(WhQueue *q, int64_t *subscription_id, uint64_t *key)
{
	Link *link;

	while ((link = link_take(&q->fetching)) != NULL)
	{
		Sub *sub = LINKED(Sub, fetching, link);
		Lane *lane;

		if (!may_fetch(sub) || !is_linked(&sub->fetch))
			continue;
		lane = LINKED(Lane, fetch, link_take(&sub->fetch));
		wh_sub_note(q, sub);
		if (lane->stored == lane->held) /* all its rows are in memory already, through a probe */
			continue;
		*subscription_id = sub->id;
		*key = lane->key;
		return true;
	}
	return false;
}

void
wh_queue_lane_fetch_again(WhQueue *q, int64_t subscription_id, uint64_t key)
{
	Sub *sub = wh_sub_find(q, subscription_id);
	Lane *lane = sub ? wh_lane_find(q, sub, key) : NULL;

	if (lane)
		wh_lane_note_fetch(q, lane);
}

/* How many rows of one subscription to have in memory. Those of all leave half of it free. */
static int
portion(const WhQueue *q)
{
	int share = WH_QUEUE_TOTAL / 2 / (q->n_with_rows > 0 ? q->n_with_rows : 1);

	if (share > WH_FETCH_MAX)
		return WH_FETCH_MAX;
	return share < WH_FETCH_MIN ? WH_FETCH_MIN : share;
}

int64_t
wh_queue_deferred_to_fetch(WhQueue *q, int *room)
{
	/* at most once round the list */
	for (Link *last = q->deferring.prev, *link = NULL; link != last;)
	{
		Sub *sub;

		if ((link = link_take(&q->deferring)) == NULL)
			break;
		sub = LINKED(Sub, deferring, link);
		wh_sub_note(q, sub);
		if (sub->deferred > 0 && may_fetch(sub) && sub->fresh == 0 && sub->queued <= portion(q) / 2 &&
			sub->blocked < WH_BLOCKED_LANES_MAX && has_room_for_more(q) && q->bytes <= q->max_bytes / 2)
		{
			*room = portion(q);
			return sub->id;
		}
	}
	return 0;
}

bool
wh_queue_any_saturated(const WhQueue *q)
{
	return q->n_large > 0 || q->total > WH_QUEUE_TOTAL / 4;
}

bool
wh_queue_saturated(WhQueue *q, int64_t id)
{
	Sub *sub = wh_sub_find(q, id);

	if (sub->queued >= portion(q))
		sub->hungry_at = portion(q) / 2;
	return sub->hungry_at > 0;
}

bool
wh_queue_wants_more(WhQueue *q)
{
	bool hungry = q->hungry;

	q->hungry = false;
	return hungry;
}

void
wh_queue_lane_is_empty(WhQueue *q, int64_t subscription_id, uint64_t key)
{
	Sub *sub = wh_sub_find(q, subscription_id);
	Lane *lane = sub ? wh_lane_find(q, sub, key) : NULL;

	if (lane == NULL)
		return;
	wh_lane_set_stored(q, lane, lane->held);
	wh_lane_free_if_idle(q, lane);
}

void
wh_queue_deferred_is_empty(WhQueue *q, int64_t subscription_id)
{
	Sub *sub = wh_sub_find(q, subscription_id);

	if (sub)
		wh_sub_set_deferred(q, sub, 0);
}

bool
wh_queue_counts(const WhQueue *q, int64_t id, WhCounts *out)
{
	const Sub *sub = wh_sub_find(q, id);

	if (sub == NULL)
		return false;
	out->queued = sub->queued;
	out->in_flight = sub->in_flight;
	out->deferred = sub->deferred;
	out->blocked = sub->blocked;
	out->catching_up = catching_up(sub);
	return true;
}

int
wh_queue_total(const WhQueue *q)
{
	return q->total;
}
