/*
 * queue_internal.h
 *	  What the files of the queue share.
 *
 *	queue_lists.c	 lanes, subscriptions, and the lists they are in
 *	queue_delayed.c	 subscriptions that may start only later
 *	queue.c			 the rules of order and of turns
 *	queue_batch.c	 the rules of batches
 *	queue_room.c	 the rules of memory for what waits
 *	queue_flight.c	 the rules of memory for what is in flight
 *
 * Only these files include it. The rules, and what the counts mean, are at the top
 * of queue.c.
 */
#ifndef WEBHOOK_QUEUE_INTERNAL_H
#define WEBHOOK_QUEUE_INTERNAL_H

#include "queue.h"

/*
 * A place in a list, or the list itself. A list is a ring. A place in no list is
 * linked to itself, and so is an empty list.
 */
typedef struct Link
{
	struct Link *prev;
	struct Link *next;
} Link;

/* The struct whose field `field` is this link. */
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

/* Insert before a place in a list. In a ring that is the same as link_last. */
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

/* Take the first out of a list; NULL: the list is empty. */
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
	Link ready;  /* in sub->ready, if a delivery of it could start */
	Link fetch;  /* in sub->fetch, if rows of it must be fetched */
	struct Sub *sub;
	uint64_t key;
	WhList waiting;    /* in memory, to be started in this order */
	WhDelivery *bound; /* in flight, or in a batch that waits; linked by bound_next, in order */
	WhDelivery *bound_last;
	int n_bound;
	int n_in_flight; /* those of the bound that are in flight */
	int stored;
	int held;
} Lane;

/* Requests in flight are counted by size, so that small ones never wait for large ones. */
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
	ADMIT_NEXT, /* the next event read */
	ADMIT_ONE   /* the one delivery that waits */
} Admit;

typedef struct Sub
{
	struct Sub *hash_next;
	/* Its places in the queue's lists. While it waits for bytes, `runnable` is in `heavy`. */
	Link runnable;
	Link full;
	Link deferring;
	Link fetching;
	Link lanes; /* all its lanes */
	Link ready; /* those of which a delivery could start: a FIFO */
	Link fetch; /* those with rows to be fetched: a FIFO */
	int64_t id;
	void *owner; /* the caller's */
	bool paused;
	bool held; /* its breaker is not closed */
	Admit admit;
	bool gone; /* removed, but something of it is still in flight */
	int max_in_flight;
	int batch_size;
	WhList batches;                /* leads of batches that were tried and wait to be tried again */
	int in_flight;                 /* requests */
	int n_in_flight;               /* deliveries in them */
	size_t flight_bytes[WH_SIZES]; /* that these requests are counted as */
	int queued;
	int n_ready;  /* those of the queued that are in a lane of `ready` */
	size_t bytes; /* of the events that are queued */
	int fresh;    /* those of the queued and of those in flight that have no row in pending */
	int blocked;  /* lanes with stored rows */
	int64_t deferred;
	int64_t full_since_us;
	int64_t not_before_us; /* its rate limit: start nothing before this */
	int64_t rests_until_us;
	int rests;     /* its place in the queue's heap, from 1; 0: it does not rest */
	int hungry_at; /* it is saturated until it has only so many in memory; 0: it is not */
	bool has_rows; /* in pending, as far as the queue knows */
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
	size_t bytes; /* of their events; an event counts once for each subscription it waits for */
	size_t max_bytes;
	size_t batch_bytes;
	size_t max_flight_bytes[WH_SIZES];
	size_t flight_bytes[WH_SIZES];
	Link heavy[WH_SIZES]; /* subscriptions that wait for bytes, by size of next request: FIFOs */
	Link runnable;        /* subscriptions that could start a request: the round-robin */
	Link full;            /* those whose queue is full */
	Link deferring;       /* those with deferred rows; some may have none any more */
	Link fetching;        /* those with lanes to be fetched; some may have none, or be held */
	Sub **resting;        /* those that rest: a heap, the earliest first; room for all */
	int n_resting;
	int cap_resting;
	int n_with_rows; /* subscriptions with rows in pending */
	int n_large;     /* those with at least WH_FETCH_MAX deliveries waiting */
	bool hungry;     /* one that was saturated is no longer */
	int64_t total_full_since_us;
};

/* find: NULL: there is none. make: NULL: out of memory. */
extern Sub *wh_sub_find(const WhQueue *q, int64_t id);
extern Sub *wh_sub_make(WhQueue *q, int64_t id);
extern Lane *wh_lane_find(const WhQueue *q, const Sub *sub, uint64_t key);
extern Lane *wh_lane_make(WhQueue *q, Sub *sub, uint64_t key);

/* Free it if nothing about it must be remembered. */
extern void wh_sub_free_if_idle(WhQueue *q, Sub *sub);
extern void wh_lane_free_if_idle(WhQueue *q, Lane *lane);

/* May it start something: not paused, and not held, unless one delivery is admitted? */
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

/* Could it start something, if it were its turn and there were a place? */
static inline bool
could_start(const Sub *sub)
{
	return may_start(sub) && (is_linked(&sub->ready) || sub->batches.n > 0) &&
		   sub->in_flight < sub->max_in_flight;
}

/*
 * Is it worth waiting a moment for a larger batch? A subscription that is held gets
 * no further deliveries.
 */
static inline bool
waits_for_more(const Sub *sub)
{
	return sub->n_ready < sub->batch_size && sub->batches.n == 0 && !sub->held;
}

/* Is it catching up? If so, new events are deferred, behind those that already are. */
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

/* Put it into each list where it belongs and is not yet; leave_ready takes it out. */
extern void wh_sub_note(WhQueue *q, Sub *sub);
extern void wh_lane_note_ready(WhQueue *q, Lane *lane);
extern void wh_lane_leave_ready(Lane *lane);
extern void wh_lane_note_fetch(WhQueue *q, Lane *lane);

/* A delivery of the lane is now in flight or in a batch that waits; or no longer. */
extern void wh_lane_bind(Lane *lane, WhDelivery *d);
extern void wh_lane_unbind(Lane *lane, WhDelivery *d);
extern bool wh_lane_has(const Lane *lane, int64_t event_number);

/* Deliveries enter a lane at its end; put_back puts one at its front. */
extern void wh_lane_append(WhQueue *q, Lane *lane, WhDelivery *d);
extern void wh_lane_put_back(WhQueue *q, Lane *lane, WhDelivery *d);
/* The counts alone, for the deliveries of a batch that waits: they are in no lane's list. */
extern void wh_sub_count_in(WhQueue *q, Sub *sub, const WhDelivery *d);
extern void wh_sub_count_out(WhQueue *q, Sub *sub, const WhDelivery *d);
/* Take the first that waits; NULL: none does. The caller decides what happens to it. */
extern WhDelivery *wh_lane_pop(WhQueue *q, Lane *lane);

extern void wh_lane_set_stored(WhQueue *q, Lane *lane, int stored);
extern void wh_sub_set_deferred(WhQueue *q, Sub *sub, int64_t deferred);
extern void wh_lane_sane(const Lane *lane); /* asserts the invariants */

/* queue_delayed.c: take a subscription out of the round-robin until a time; put it back early. */
extern bool wh_rest_reserve(WhQueue *q); /* room for one more subscription; false: out of memory */
extern void wh_sub_rest(WhQueue *q, Sub *sub, int64_t until_us);
extern void wh_sub_wake(WhQueue *q, Sub *sub);

/* queue_batch.c: make a batch of ready lanes; take one that waits; push one taken from pending */
extern WhDelivery *wh_batch_gather(WhQueue *q, Sub *sub);
extern WhDelivery *wh_batch_take(WhQueue *q, Sub *sub);
extern WhPushed wh_batch_push(WhQueue *q, Sub *sub, WhDelivery *lead, int64_t now_us);
/* It was in flight and waits again: as the same batch if it was kept, else singly in its lanes. */
extern void wh_batch_put_back(WhQueue *q, Sub *sub, WhDelivery *lead);
extern void wh_batch_give_back(WhQueue *q, Sub *sub, WhDelivery *lead, WhList *out);

/* The bytes of the events of a subscription's next request; 0: there is none. */
extern size_t wh_batch_bytes(const WhQueue *q, const Sub *sub);

/* queue_flight.c: are there bytes for a subscription's next request? */
typedef enum Flight
{
	FLIGHT_MAY,
	FLIGHT_HAS_ITS_SHARE, /* it has as many bytes in flight as are left free, or more */
	FLIGHT_NO_ROOM        /* wait until something has ended */
} Flight;
extern Size wh_flight_size(const WhQueue *q, size_t bytes);
extern Flight wh_flight_may(const WhQueue *q, const Sub *sub, size_t bytes);
extern void wh_flight_begin(WhQueue *q, Sub *sub, WhDelivery *lead);
extern void wh_flight_end(WhQueue *q, Sub *sub, WhDelivery *lead);

/* queue.c: give back all that waits of a subscription */
extern void wh_sub_give_back(WhQueue *q, Sub *sub, WhList *out);

#endif /* WEBHOOK_QUEUE_INTERNAL_H */
