/*
 * queue.c
 *	  Which delivery goes next: order within a lane, limits of a subscription,
 *	  fairness between subscriptions.
 *
 * A lane holds what must go one after the other: the deliveries of one entity
 * for one subscription (or, by the subscription's ordering, a single delivery
 * or all of them). At most one of a lane is in flight. A subscription keeps
 * its lanes that could start one in a FIFO, and the queue keeps the
 * subscriptions that could start one in a round-robin; so a step costs the
 * same whatever waits.
 *
 * What cannot stay in memory is given back to be kept in webhook.pending:
 *
 *	 retry	 it failed; its lane is blocked until it is delivered or dead
 *	 behind	 its lane is blocked by an earlier one
 *	 parked	 its subscription is catching up: paused, full and too slow, or
 *			 with parked deliveries that must go first
 *
 * Two counts per lane and one per subscription keep order across that
 * border: `stored`, the lane's rows in pending that are not 'parked'; `held`,
 * those of them that are in memory now; `parked`, the subscription's parked
 * rows. The rules that follow from them:
 *
 *	 - what may have been lost with a worker is parked, so that all after it
 *	   queues up behind it;
 *	 - an event just read is parked while its subscription is catching up,
 *	   else goes behind while its lane has stored rows, else waits here;
 *	 - so parked rows are always younger than the stored rows of their lane,
 *	   and may enter memory only when all of those are in memory too;
 *	 - a lane with stored rows but none in memory either has a row that is due
 *	   by itself, or is asked for by wh_queue_lane_to_fetch.
 *
 * Called by deliver.c only. Owns the deliveries it holds; nothing in here
 * blocks, does I/O or looks at a clock. The invariants are in lane_sane().
 */
#include "queue.h"

#include <assert.h>
#include <stdlib.h>

typedef struct Sub Sub;

typedef struct Lane
{
	struct Lane *hash_next;
	struct Lane *ready_next;
	struct Lane *fetch_next;
	Sub *sub;
	uint64_t key;
	WhList waiting;     /* in memory, to be started in this order */
	WhDelivery *flying; /* the one in flight */
	int stored;
	int held;
	bool ready; /* in its subscription's FIFO */
	bool fetch; /* in the queue's list of lanes to fetch */
} Lane;

struct Sub
{
	Sub *hash_next;
	Sub *runnable_next;
	Sub *full_next;
	Sub *parked_next;
	int64_t id;
	void *owner; /* the caller's */
	bool paused;
	bool gone; /* removed, but something of it is still in flight */
	int max_in_flight;
	int in_flight;
	int queued;
	int blocked; /* lanes with stored rows */
	int64_t parked;
	Lane *ready_head;
	Lane *ready_tail;
	bool runnable; /* in the queue's round-robin */
	bool full;     /* in the queue's list of full ones */
	int64_t full_since_us;
	bool in_parked; /* in the queue's list of those with parked rows */
};

/* A chained hash table whose entries carry their own link. */
typedef struct Table
{
	void **buckets;
	size_t n_buckets; /* a power of two */
	size_t n;
} Table;

struct WhQueue
{
	Table subs;
	Table lanes;
	int total; /* deliveries waiting */
	Sub *runnable_head;
	Sub *runnable_tail;
	Sub *full;
	Sub *parked_head;
	Sub *parked_tail;
	Lane *fetch;
	int64_t total_full_since_us;
};

static uint64_t
mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ (x >> 33);
}

static size_t
sub_bucket(const Table *t, int64_t id)
{
	return mix((uint64_t) id) & (t->n_buckets - 1);
}

static size_t
lane_bucket(const Table *t, int64_t id, uint64_t key)
{
	return mix(mix((uint64_t) id) ^ key) & (t->n_buckets - 1);
}

static Sub *
find_sub(const WhQueue *q, int64_t id)
{
	Sub *sub = q->subs.buckets[sub_bucket(&q->subs, id)];

	while (sub && sub->id != id)
		sub = sub->hash_next;
	return sub;
}

static Lane *
find_lane(const WhQueue *q, const Sub *sub, uint64_t key)
{
	Lane *lane = q->lanes.buckets[lane_bucket(&q->lanes, sub->id, key)];

	while (lane && (lane->sub != sub || lane->key != key))
		lane = lane->hash_next;
	return lane;
}

/* Double the buckets when entries outnumber them; where memory fails, chains just grow longer. */
static void
grow_lanes(Table *t)
{
	Table larger = {.n_buckets = t->n_buckets * 2, .n = t->n};

	if (t->n < t->n_buckets || (larger.buckets = calloc(larger.n_buckets, sizeof(void *))) == NULL)
		return;
	for (size_t i = 0; i < t->n_buckets; i++)
	{
		Lane *next;

		for (Lane *lane = t->buckets[i]; lane; lane = next)
		{
			size_t b = lane_bucket(&larger, lane->sub->id, lane->key);

			next = lane->hash_next;
			lane->hash_next = larger.buckets[b];
			larger.buckets[b] = lane;
		}
	}
	free(t->buckets);
	*t = larger;
}

static Lane *
make_lane(WhQueue *q, Sub *sub, uint64_t key)
{
	Lane *lane = calloc(1, sizeof(Lane));
	size_t b;

	if (lane == NULL)
		return NULL;
	grow_lanes(&q->lanes);
	b = lane_bucket(&q->lanes, sub->id, key);
	lane->sub = sub;
	lane->key = key;
	lane->hash_next = q->lanes.buckets[b];
	q->lanes.buckets[b] = lane;
	q->lanes.n++;
	return lane;
}

static void
lane_sane(const Lane *lane)
{
	assert(lane->stored >= 0 && lane->held >= 0 && lane->held <= lane->stored);
	assert(lane->held <= lane->waiting.n + (lane->flying != NULL));
	assert(!lane->ready || (lane->waiting.n > 0 && lane->flying == NULL));
	(void) lane;
}

static bool
catching_up(const Sub *sub)
{
	return sub->paused || sub->parked > 0 || sub->blocked >= WH_BLOCKED_LANES_MAX;
}

static void
set_stored(Lane *lane, int stored)
{
	lane->sub->blocked += (stored > 0) - (lane->stored > 0);
	lane->stored = stored;
}

/* Put a subscription into the round-robin if it could start something. */
static void
note_runnable(WhQueue *q, Sub *sub)
{
	if (sub->runnable || sub->paused || sub->ready_head == NULL || sub->in_flight >= sub->max_in_flight)
		return;
	sub->runnable = true;
	sub->runnable_next = NULL;
	if (q->runnable_tail)
		q->runnable_tail->runnable_next = sub;
	else
		q->runnable_head = sub;
	q->runnable_tail = sub;
}

static void
note_parked(WhQueue *q, Sub *sub)
{
	if (sub->in_parked || sub->parked <= 0)
		return;
	sub->in_parked = true;
	sub->parked_next = NULL;
	if (q->parked_tail)
		q->parked_tail->parked_next = sub;
	else
		q->parked_head = sub;
	q->parked_tail = sub;
}

static void
note_ready(WhQueue *q, Lane *lane)
{
	Sub *sub = lane->sub;

	if (lane->ready || lane->flying || lane->waiting.n == 0)
		return;
	lane->ready = true;
	lane->ready_next = NULL;
	if (sub->ready_tail)
		sub->ready_tail->ready_next = lane;
	else
		sub->ready_head = lane;
	sub->ready_tail = lane;
	note_runnable(q, sub);
}

static void
unlink_ready(Lane *lane)
{
	Sub *sub = lane->sub;
	Lane *before = NULL;

	if (!lane->ready)
		return;
	for (Lane *l = sub->ready_head; l != lane; l = l->ready_next)
		before = l;
	if (before)
		before->ready_next = lane->ready_next;
	else
		sub->ready_head = lane->ready_next;
	if (sub->ready_tail == lane)
		sub->ready_tail = before;
	lane->ready = false;
}

static void
free_lane_if_idle(WhQueue *q, Lane *lane)
{
	Lane **link;

	if (lane->waiting.n > 0 || lane->flying || lane->stored > 0 || lane->fetch)
		return;
	assert(!lane->ready);
	link = (Lane **) &q->lanes.buckets[lane_bucket(&q->lanes, lane->sub->id, lane->key)];
	while (*link != lane)
		link = &(*link)->hash_next;
	*link = lane->hash_next;
	q->lanes.n--;
	free(lane);
}

static void
note_full(WhQueue *q, Sub *sub, int64_t now_us)
{
	if (sub->full || sub->queued < WH_QUEUE_FULL)
		return;
	sub->full = true;
	sub->full_since_us = now_us;
	sub->full_next = q->full;
	q->full = sub;
}

static void
append(WhQueue *q, Lane *lane, WhDelivery *d, int64_t now_us)
{
	d->queued_us = now_us;
	wh_list_push(&lane->waiting, d);
	lane->sub->queued++;
	q->total++;
	note_ready(q, lane);
	note_full(q, lane->sub, now_us);
	lane_sane(lane);
}

WhQueue *
wh_queue_create(void)
{
	WhQueue *q = calloc(1, sizeof(WhQueue));

	if (q == NULL)
		return NULL;
	q->subs.n_buckets = 4096;
	q->lanes.n_buckets = 4096;
	q->subs.buckets = calloc(q->subs.n_buckets, sizeof(void *));
	q->lanes.buckets = calloc(q->lanes.n_buckets, sizeof(void *));
	if (q->subs.buckets == NULL || q->lanes.buckets == NULL)
	{
		free(q->subs.buckets);
		free(q->lanes.buckets);
		free(q);
		return NULL;
	}
	return q;
}

void
wh_queue_free(WhQueue *q)
{
	if (q == NULL)
		return;
	for (size_t i = 0; i < q->lanes.n_buckets; i++)
	{
		Lane *next;

		for (Lane *lane = q->lanes.buckets[i]; lane; lane = next)
		{
			assert(lane->waiting.n == 0 && lane->flying == NULL);
			next = lane->hash_next;
			free(lane);
		}
	}
	for (size_t i = 0; i < q->subs.n_buckets; i++)
	{
		Sub *next;

		for (Sub *sub = q->subs.buckets[i]; sub; sub = next)
		{
			next = sub->hash_next;
			free(sub);
		}
	}
	free(q->lanes.buckets);
	free(q->subs.buckets);
	free(q);
}

/*
 * Give back what waits in a lane, as pending must keep it. Where the lane has
 * stored rows, its first delivery stays due (unless one is in flight, which
 * will say how to go on) and the others stay behind it; else all is parked.
 */
static void
give_back_lane(WhQueue *q, Lane *lane, WhList *out)
{
	Sub *sub = lane->sub;
	bool stored = lane->stored > 0;
	bool first = lane->flying == NULL;
	WhDelivery *d;

	unlink_ready(lane);
	while ((d = wh_list_pop(&lane->waiting)) != NULL)
	{
		sub->queued--;
		q->total--;
		d->attempts--; /* it was counted when it was put here, and has not been made */
		d->attempted = false;
		if (sub->gone)
		{
			d->disposal = WH_DO_DROP;
			if (d->stored)
				lane->held--;
		}
		else if (stored)
		{
			d->disposal = first ? WH_DO_RETRY : WH_DO_BEHIND;
			d->due_us = 0;
			if (d->stored)
				lane->held--;
			else
				set_stored(lane, lane->stored + 1);
			first = false;
		}
		else
		{
			d->disposal = WH_DO_PARK;
			sub->parked++;
		}
		wh_list_push(out, d);
	}
	note_parked(q, sub);
	lane_sane(lane);
}

static void
give_back_sub(WhQueue *q, Sub *sub, WhList *out)
{
	for (size_t i = 0; i < q->lanes.n_buckets && sub->queued > 0; i++)
	{
		Lane *next;

		for (Lane *lane = q->lanes.buckets[i]; lane; lane = next)
		{
			next = lane->hash_next;
			if (lane->sub == sub && lane->waiting.n > 0)
			{
				give_back_lane(q, lane, out);
				free_lane_if_idle(q, lane);
			}
		}
	}
}

bool
wh_queue_subscribe(WhQueue *q, int64_t id, void *owner, bool paused, int max_in_flight, WhList *given_back)
{
	Sub *sub = find_sub(q, id);

	if (sub == NULL)
	{
		size_t b = sub_bucket(&q->subs, id);

		if ((sub = calloc(1, sizeof(Sub))) == NULL)
			return false;
		sub->id = id;
		sub->hash_next = q->subs.buckets[b];
		q->subs.buckets[b] = sub;
		q->subs.n++;
	}
	sub->gone = false;
	sub->owner = owner;
	sub->max_in_flight = max_in_flight;
	sub->paused = paused;
	if (paused)
		give_back_sub(q, sub, given_back);
	else
		note_runnable(q, sub);
	return true;
}

void *
wh_queue_owner(const WhQueue *q, int64_t id)
{
	Sub *sub = find_sub(q, id);

	return sub && !sub->gone ? sub->owner : NULL;
}

/* Take a subscription out of a list that is linked by one of its fields. */
#define UNLINK_SUB(head, tail, field, sub)                 \
	do                                                     \
	{                                                      \
		Sub *before_ = NULL;                               \
		for (Sub *s_ = (head); s_ != (sub); s_ = s_->field) \
			before_ = s_;                                  \
		if (before_)                                       \
			before_->field = (sub)->field;                 \
		else                                               \
			(head) = (sub)->field;                         \
		if ((tail) == (sub))                               \
			(tail) = before_;                              \
	} while (0)

static void
free_sub_if_idle(WhQueue *q, Sub *sub)
{
	Sub **link;
	Sub *no_tail = NULL;

	if (!sub->gone || sub->in_flight > 0)
		return;
	if (sub->runnable)
		UNLINK_SUB(q->runnable_head, q->runnable_tail, runnable_next, sub);
	if (sub->in_parked)
		UNLINK_SUB(q->parked_head, q->parked_tail, parked_next, sub);
	if (sub->full)
		UNLINK_SUB(q->full, no_tail, full_next, sub);
	link = (Sub **) &q->subs.buckets[sub_bucket(&q->subs, sub->id)];
	while (*link != sub)
		link = &(*link)->hash_next;
	*link = sub->hash_next;
	q->subs.n--;
	free(sub);
}

static void
unlink_fetch(WhQueue *q, Lane *lane)
{
	Lane **link = &q->fetch;

	if (!lane->fetch)
		return;
	while (*link != lane)
		link = &(*link)->fetch_next;
	*link = lane->fetch_next;
	lane->fetch = false;
}

void
wh_queue_unsubscribe(WhQueue *q, int64_t id, WhList *given_back)
{
	Sub *sub = find_sub(q, id);

	if (sub == NULL)
		return;
	sub->gone = true;
	give_back_sub(q, sub, given_back);
	for (size_t i = 0; i < q->lanes.n_buckets; i++)
	{
		Lane *next;

		for (Lane *lane = q->lanes.buckets[i]; lane; lane = next)
		{
			next = lane->hash_next;
			if (lane->sub != sub)
				continue;
			unlink_fetch(q, lane);
			lane->held = 0;
			set_stored(lane, 0);
			free_lane_if_idle(q, lane);
		}
	}
	sub->parked = 0;
	free_sub_if_idle(q, sub);
}

void
wh_queue_restore_parked(WhQueue *q, int64_t id, int64_t parked)
{
	Sub *sub = find_sub(q, id);

	if (sub == NULL)
		return;
	sub->parked += parked;
	note_parked(q, sub);
}

bool
wh_queue_restore_lane(WhQueue *q, int64_t id, uint64_t key, int rows)
{
	Sub *sub = find_sub(q, id);
	Lane *lane;

	if (sub == NULL)
		return true;
	lane = find_lane(q, sub, key);
	if (lane == NULL && (lane = make_lane(q, sub, key)) == NULL)
		return false;
	set_stored(lane, rows);
	return true;
}

static bool
lane_has(const Lane *lane, int64_t event_id)
{
	if (lane->flying && lane->flying->event->id == event_id)
		return true;
	for (const WhDelivery *d = lane->waiting.head; d; d = d->next)
		if (d->event->id == event_id)
			return true;
	return false;
}

WhPushed
wh_queue_push(WhQueue *q, WhDelivery *d, WhPushFrom from, int64_t now_us)
{
	Sub *sub = find_sub(q, d->subscription_id);
	Lane *lane;

	if (sub == NULL || sub->gone)
		return WH_PUSH_UNKNOWN;
	lane = find_lane(q, sub, d->lane);

	if (from == WH_FROM_LOST || (from == WH_FROM_LOG && catching_up(sub)))
	{
		sub->parked++;
		note_parked(q, sub);
		return WH_PUSH_PARK;
	}
	if (lane && ((from == WH_FROM_LOG && lane->stored > 0) || (from == WH_FROM_PARKED && lane->stored > lane->held)))
	{
		set_stored(lane, lane->stored + 1);
		if (from == WH_FROM_PARKED)
			sub->parked--;
		return WH_PUSH_BEHIND;
	}
	if (lane && from == WH_FROM_STORED && lane_has(lane, d->event->id))
		return WH_PUSH_DUPLICATE;
	if (lane == NULL && (lane = make_lane(q, sub, d->lane)) == NULL)
		return WH_PUSH_NO_MEMORY;

	if (from == WH_FROM_PARKED)
	{
		sub->parked--;
		set_stored(lane, lane->stored + 1);
	}
	if (from != WH_FROM_LOG)
	{
		lane->held++;
		if (lane->stored < lane->held) /* a row nobody told us of at start */
			set_stored(lane, lane->held);
	}
	append(q, lane, d, now_us);
	return WH_PUSHED;
}

WhDelivery *
wh_queue_next(WhQueue *q)
{
	Sub *sub;
	Lane *lane;
	WhDelivery *d;

	/* a subscription may have lost what made it runnable since it was put here */
	for (;;)
	{
		sub = q->runnable_head;
		if (sub == NULL)
			return NULL;
		q->runnable_head = sub->runnable_next;
		if (q->runnable_head == NULL)
			q->runnable_tail = NULL;
		sub->runnable = false;
		if (!sub->paused && sub->ready_head && sub->in_flight < sub->max_in_flight)
			break;
	}
	lane = sub->ready_head;
	sub->ready_head = lane->ready_next;
	if (sub->ready_head == NULL)
		sub->ready_tail = NULL;
	lane->ready = false;

	d = wh_list_pop(&lane->waiting);
	lane->flying = d;
	sub->queued--;
	q->total--;
	sub->in_flight++;
	note_runnable(q, sub);
	lane_sane(lane);
	return d;
}

/* A lane whose turn it is, with nothing of it in memory: its rows must be fetched. */
static void
note_fetch(WhQueue *q, Lane *lane)
{
	if (lane->stored == 0 || lane->fetch)
		return;
	lane->fetch = true;
	lane->fetch_next = q->fetch;
	q->fetch = lane;
}

/* Take the delivery out of flight; returns its lane. */
static Lane *
land(WhQueue *q, WhDelivery *d)
{
	Sub *sub = find_sub(q, d->subscription_id);
	Lane *lane = find_lane(q, sub, d->lane);

	assert(lane->flying == d);
	lane->flying = NULL;
	sub->in_flight--;
	return lane;
}

void
wh_queue_done(WhQueue *q, WhDelivery *d, WhList *given_back)
{
	Lane *lane = land(q, d);
	Sub *sub = lane->sub;

	if (sub->gone)
	{
		if (d->disposal != WH_DO_FORGET)
			d->disposal = WH_DO_DROP;
		free_lane_if_idle(q, lane);
		free_sub_if_idle(q, sub);
		return;
	}
	if (d->disposal == WH_DO_RETRY)
	{
		if (d->stored)
			lane->held--;
		else
			set_stored(lane, lane->stored + 1);
		lane->flying = d; /* so that all others stay behind it */
		give_back_lane(q, lane, given_back);
		lane->flying = NULL;
	}
	else
	{
		if (d->stored)
		{
			lane->held--;
			set_stored(lane, lane->stored - 1);
		}
		if (lane->waiting.n > 0)
			note_ready(q, lane);
		else
			note_fetch(q, lane);
	}
	lane_sane(lane);
	free_lane_if_idle(q, lane);
	note_runnable(q, sub);
}

void
wh_queue_abort(WhQueue *q, WhDelivery *d)
{
	Lane *lane = land(q, d);

	/* back to the front of its lane */
	d->next = lane->waiting.head;
	lane->waiting.head = d;
	if (lane->waiting.tail == NULL)
		lane->waiting.tail = d;
	lane->waiting.n++;
	lane->sub->queued++;
	q->total++;
	note_ready(q, lane);
}

void
wh_queue_give_back_all(WhQueue *q, WhList *given_back)
{
	for (size_t i = 0; i < q->subs.n_buckets; i++)
	{
		Sub *next;

		for (Sub *sub = q->subs.buckets[i]; sub; sub = next)
		{
			next = sub->hash_next;
			give_back_sub(q, sub, given_back);
			free_sub_if_idle(q, sub);
		}
	}
}

bool
wh_queue_has_room(WhQueue *q, int64_t now_us, WhList *given_back)
{
	Sub **link = &q->full;
	bool room = true;

	/* subscriptions that are full: wait a little, then give their queue back */
	while (*link)
	{
		Sub *sub = *link;

		if (sub->queued >= WH_QUEUE_FULL && now_us - sub->full_since_us > WH_QUEUE_PATIENCE_US)
			give_back_sub(q, sub, given_back);
		if (sub->queued >= WH_QUEUE_FULL - WH_FETCH_MAX)
		{
			room = false;
			link = &sub->full_next;
		}
		else
		{
			sub->full = false;
			*link = sub->full_next;
		}
	}

	/* all together are too many although none is full: the same, for those above their share */
	if (q->total < WH_QUEUE_TOTAL)
		q->total_full_since_us = 0;
	else if (q->total_full_since_us == 0)
		q->total_full_since_us = now_us;
	else if (now_us - q->total_full_since_us > WH_QUEUE_PATIENCE_US)
	{
		int share = WH_QUEUE_TOTAL / (int) (q->subs.n ? q->subs.n : 1);

		for (size_t i = 0; i < q->subs.n_buckets; i++)
			for (Sub *sub = q->subs.buckets[i]; sub; sub = sub->hash_next)
				if (sub->queued > share)
					give_back_sub(q, sub, given_back);
		q->total_full_since_us = 0;
	}
	return room && q->total < WH_QUEUE_TOTAL;
}

bool
wh_queue_lane_to_fetch(WhQueue *q, int64_t *subscription_id, uint64_t *key)
{
	Lane *lane = q->fetch;

	if (lane == NULL)
		return false;
	q->fetch = lane->fetch_next;
	lane->fetch = false;
	*subscription_id = lane->sub->id;
	*key = lane->key;
	return true;
}

void
wh_queue_lane_fetch_again(WhQueue *q, int64_t subscription_id, uint64_t key)
{
	Sub *sub = find_sub(q, subscription_id);
	Lane *lane = sub ? find_lane(q, sub, key) : NULL;

	if (lane)
		note_fetch(q, lane);
}

int64_t
wh_queue_parked_to_fetch(WhQueue *q, int *room)
{
	int64_t found = 0;

	/* once round the list at most */
	for (Sub *last = q->parked_tail; q->parked_head && found == 0;)
	{
		Sub *sub = q->parked_head;

		q->parked_head = sub->parked_next;
		if (q->parked_head == NULL)
			q->parked_tail = NULL;
		sub->in_parked = false;
		note_parked(q, sub);

		if (sub->parked > 0 && !sub->paused && sub->queued <= WH_FETCH_MAX / 2
			&& sub->blocked < WH_BLOCKED_LANES_MAX && q->total < WH_QUEUE_TOTAL)
		{
			*room = WH_FETCH_MAX;
			found = sub->id;
		}
		if (sub == last)
			break;
	}
	return found;
}

void
wh_queue_lane_is_empty(WhQueue *q, int64_t subscription_id, uint64_t key)
{
	Sub *sub = find_sub(q, subscription_id);
	Lane *lane = sub ? find_lane(q, sub, key) : NULL;

	if (lane == NULL)
		return;
	set_stored(lane, lane->held);
	free_lane_if_idle(q, lane);
}

void
wh_queue_parked_is_empty(WhQueue *q, int64_t subscription_id)
{
	Sub *sub = find_sub(q, subscription_id);

	if (sub)
		sub->parked = 0;
}

bool
wh_queue_counts(const WhQueue *q, int64_t id, WhCounts *out)
{
	const Sub *sub = find_sub(q, id);

	if (sub == NULL)
		return false;
	out->queued = sub->queued;
	out->in_flight = sub->in_flight;
	out->parked = sub->parked;
	out->blocked = sub->blocked;
	out->catching_up = catching_up(sub);
	return true;
}

int
wh_queue_total(const WhQueue *q)
{
	return q->total;
}
