/*
 * queue_internal.h
 *	  What the parts of the queue share: queue_lanes.c keeps lanes,
 *	  subscriptions and the lists they are in, queue_delayed.c those that may start
 *	  only later; queue.c has the rules of order and turns, queue_batch.c those
 *	  of batches, queue_room.c those of memory, queue_flight.c those of the
 *	  memory of what is under way.
 *
 * For nobody else. The rules, and what the counts mean, are told at the top of
 * queue.c.
 */
#ifndef WEBHOOK_QUEUE_INTERNAL_H
#define WEBHOOK_QUEUE_INTERNAL_H

#include "queue.h"

/* A place in a list, or the list itself: a ring. What is in no list is linked to itself, as an empty list is. */
typedef struct Link
{
	struct Link *prev;
	struct Link *next;
} Link;

/* The thing whose field `field` is this link. */
#define LINKED(type, field, link) ((type *) ((char *) (link) -offsetof(type, field)))

static inline void
link_init(Link *link)
{
	link->prev = link->next = link;
}

static inline bool
is_linked(const Link *link)
{
	return link->next != link;
}

static inline void
link_last(Link *list, Link *link)
{
	link->prev = list->prev;
	link->next = list;
	list->prev->next = link;
	list->prev = link;
}

/* The same as link_last, for a place within a list. */
static inline void
link_before(Link *next, Link *link)
{
	link_last(next, link);
}

static inline void
link_remove(Link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	link_init(link);
}

/* The first of a list, taken out of it; NULL: it is empty. */
static inline Link *
link_take(Link *list)
{
	Link *first = list->next;

	if (first == list)
		return NULL;
	link_remove(first);
	return first;
}

typedef struct Lane
{
	struct Lane *hash_next;
	Link of_sub; /* in sub->lanes */
	Link ready;  /* in sub->ready, if it could start one */
	Link fetch;  /* in sub->fetch, if rows of it must be fetched */
	struct Sub *sub;
	uint64_t key;
	WhList waiting;    /* in memory, to be started in this order */
	WhDelivery *bound; /* in flight, or in a batch that waits: by bound_next, in order */
	WhDelivery *bound_last;
	int n_bound;
	int n_in_flight; /* of those, in flight */
	int stored;
	int held;
} Lane;

/* What is under way is counted by its size: the small do not wait for the large. */
typedef enum Size
{
	WH_SMALL,
	WH_LARGE
} Size;
#define WH_SIZES 2

/* What a subscription that is held lets through. */
typedef enum Admit
{
	ADMIT_NONE,
	ADMIT_NEXT, /* the next event */
	ADMIT_ONE   /* the one delivery that waits */
} Admit;

typedef struct Sub
{
	struct Sub *hash_next;
	Link runnable; /* in the queue's lists of the same names; or, instead of the first, in one of `heavy` */
	Link full;
	Link deferring;
	Link fetching;
	Link lanes; /* all its lanes */
	Link ready; /* those that could start one: a FIFO */
	Link fetch; /* those to be fetched: a FIFO */
	int64_t id;
	void *owner; /* the caller's */
	bool paused;
	bool held; /* its breaker is not closed */
	Admit admit;
	bool gone; /* removed, but something of it is still in flight */
	int max_in_flight;
	int batch_size;
	WhList batches;                /* leads of those that were tried and wait to be tried again */
	int in_flight;                 /* requests */
	int n_in_flight;               /* deliveries in them */
	size_t flight_bytes[WH_SIZES]; /* which they count for */
	int queued;
	int n_ready;  /* of the queued, those in lanes that could start one */
	size_t bytes; /* of the events that are queued */
	int fresh;    /* of the queued and those in flight, the ones without a row in pending */
	int blocked;  /* lanes with stored rows */
	int64_t deferred;
	int64_t full_since_us;
	int64_t not_before_us; /* its rate limit: nothing may be started before */
	int64_t rests_until_us;
	int rests;     /* its place in the queue's heap, from 1; 0: it does not rest */
	int hungry_at; /* it was said to have enough in memory, until it has no more than that; 0: it was not */
	bool has_rows; /* in pending, that the queue knows of */
} Sub;

#define SUB_BUCKETS 4096 /* a power of two */

struct WhQueue
{
	Sub *subs[SUB_BUCKETS];
	int n_subs;
	Lane **lanes;
	size_t n_lane_buckets; /* a power of two */
	size_t n_lanes;
	int total;    /* deliveries waiting */
	size_t bytes; /* of their events; one that several subscriptions want counts for each */
	size_t max_bytes;
	size_t batch_bytes;
	size_t max_flight_bytes; /* of each size */
	size_t flight_bytes[WH_SIZES];
	Link heavy
		[WH_SIZES]; /* subscriptions that could start one if there were bytes for it: a FIFO of each size */
	Link runnable;  /* subscriptions that could start one: the round-robin */
	Link full;      /* those whose queue is full */
	Link deferring; /* those with deferred rows; some that have none any more */
	Link fetching;  /* those with lanes that may be fetched; some that no longer have or may */
	Sub **resting;  /* those that rest: a heap, the first one's time first; room for all subscriptions */
	int n_resting;
	int cap_resting;
	int n_with_rows; /* subscriptions with rows in pending */
	int n_large;     /* those with WH_FETCH_MAX deliveries waiting, or more */
	bool hungry;     /* one that had enough has no longer */
	int64_t total_full_since_us;
};

/* The entry, or NULL; the new entry, or NULL without memory. */
extern Sub *wh_sub_find(const WhQueue *q, int64_t id);
extern Sub *wh_sub_make(WhQueue *q, int64_t id);
extern Lane *wh_lane_find(const WhQueue *q, const Sub *sub, uint64_t key);
extern Lane *wh_lane_make(WhQueue *q, Sub *sub, uint64_t key);

/* Free it if nothing is left to be remembered of it. */
extern void wh_sub_free_if_idle(WhQueue *q, Sub *sub);
extern void wh_lane_free_if_idle(WhQueue *q, Lane *lane);

/* May it start something, as far as people and its breaker say? */
static inline bool
may_start(const Sub *sub)
{
	return !sub->paused && (!sub->held || sub->admit == ADMIT_ONE);
}

/* May rows of it be fetched from pending? */
static inline bool
may_fetch(const Sub *sub)
{
	return !sub->paused && !sub->held;
}

/* Could it start something, if it was its turn and there was a place? */
static inline bool
could_start(const Sub *sub)
{
	return may_start(sub) && (is_linked(&sub->ready) || sub->batches.n > 0) &&
		   sub->in_flight < sub->max_in_flight;
}

/* Is it worth waiting a moment for a batch to become larger? What is held gets no more. */
static inline bool
waits_for_more(const Sub *sub)
{
	return sub->n_ready < sub->batch_size && sub->batches.n == 0 && !sub->held;
}

/* Is it catching up? New events are deferred behind what is deferred already. */
static inline bool
catching_up(const Sub *sub)
{
	return sub->paused || (sub->held && sub->admit != ADMIT_NEXT) || sub->deferred > 0 ||
		   sub->blocked >= WH_BLOCKED_LANES_MAX;
}

/* Is there room in memory for more? */
static inline bool
has_room_for_more(const WhQueue *q)
{
	return q->total < WH_QUEUE_TOTAL && q->bytes < q->max_bytes;
}

/* Put it into the lists it belongs in, if it does and is not there. */
extern void wh_sub_note(WhQueue *q, Sub *sub);
extern void wh_lane_note_ready(WhQueue *q, Lane *lane);
extern void wh_lane_leave_ready(Lane *lane);
extern void wh_lane_note_fetch(WhQueue *q, Lane *lane);

/* One of it goes into a batch or into flight, and comes out again. */
extern void wh_lane_bind(Lane *lane, WhDelivery *d);
extern void wh_lane_unbind(Lane *lane, WhDelivery *d);
extern bool wh_lane_has(const Lane *lane, int64_t event_number);

/* Deliveries enter a lane at its end, or come back to its front. */
extern void wh_lane_append(WhQueue *q, Lane *lane, WhDelivery *d);
extern void wh_lane_put_back(WhQueue *q, Lane *lane, WhDelivery *d);
/* The same for those of a batch that waits, which are in no lane's list. */
extern void wh_sub_count_in(WhQueue *q, Sub *sub, const WhDelivery *d);
extern void wh_sub_count_out(WhQueue *q, Sub *sub, const WhDelivery *d);
/* The first that waits, NULL if none does. The caller says what becomes of it. */
extern WhDelivery *wh_lane_pop(WhQueue *q, Lane *lane);

extern void wh_lane_set_stored(WhQueue *q, Lane *lane, int stored);
extern void wh_sub_set_deferred(WhQueue *q, Sub *sub, int64_t deferred);
extern void wh_lane_sane(const Lane *lane); /* asserts the invariants */

/* queue_delayed.c: out of the round-robin until a time; back before it; back whose time has come. */
extern bool wh_rest_reserve(WhQueue *q); /* room for one subscription more; false without memory */
extern void wh_sub_rest(WhQueue *q, Sub *sub, int64_t until_us);
extern void wh_sub_wake(WhQueue *q, Sub *sub);

/* queue_batch.c: what goes with one request; a batch that waits */
extern WhDelivery *wh_batch_gather(WhQueue *q, Sub *sub);
extern WhDelivery *wh_batch_take(WhQueue *q, Sub *sub);
extern WhPushed wh_batch_push(WhQueue *q, Sub *sub, WhDelivery *lead, int64_t now_us);
/* It was in flight, and waits again: as it is if it was kept, else in its lanes. */
extern void wh_batch_put_back(WhQueue *q, Sub *sub, WhDelivery *lead);
extern void wh_batch_give_back(WhQueue *q, Sub *sub, WhDelivery *lead, WhList *out);

/* What the next request of a subscription would be: the bytes of its events, 0: there is none. */
extern size_t wh_batch_bytes(const WhQueue *q, const Sub *sub);

/* queue_flight.c: are there bytes for the next request of a subscription? */
typedef enum Flight
{
	FLIGHT_MAY,
	FLIGHT_HAS_ITS_SHARE, /* it has as much under way as is left to all others */
	FLIGHT_NO_ROOM        /* wait until something has ended */
} Flight;
extern Size wh_flight_size(const WhQueue *q, size_t bytes);
extern Flight wh_flight_may(const WhQueue *q, const Sub *sub, size_t bytes);
extern void wh_flight_begin(WhQueue *q, Sub *sub, WhDelivery *lead);
extern void wh_flight_end(WhQueue *q, Sub *sub, WhDelivery *lead);

/* queue.c: give back all that waits of a subscription */
extern void wh_sub_give_back(WhQueue *q, Sub *sub, WhList *out);

#endif /* WEBHOOK_QUEUE_INTERNAL_H */
