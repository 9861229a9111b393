/*
 * queue.h
 *	  Which delivery goes next: order within a lane, limits of a subscription,
 *	  fairness between subscriptions.
 *
 * The rules are at the top of queue.c.
 */
#ifndef WEBHOOK_QUEUE_H
#define WEBHOOK_QUEUE_H

#include "types.h"

/* How much may wait in memory. A test of the rules makes these smaller. */
#ifndef WH_QUEUE_FULL
#define WH_QUEUE_FULL 1500           /* deliveries of one subscription: full */
#define WH_QUEUE_TOTAL 20000         /* those of all subscriptions together */
#define WH_FETCH_MAX 500             /* deferred rows fetched at once, if there is room */
#define WH_FETCH_MIN 32              /* if there is not */
#define WH_BLOCKED_LANES_MAX 10000   /* lanes of one subscription remembered as blocked */
#define WH_BATCH_WAIT_US (50 * 1000) /* how long a batch waits for more */
#endif

/* Limits in bytes, unless wh_queue_limits sets others. */
#define WH_QUEUE_BYTES (128 * 1024 * 1024) /* events of all waiting deliveries */
#define WH_FLIGHT_BYTES (64 * 1024 * 1024) /* small requests in flight; as much for the large */

/*
 * How long a subscription may stay full before its queue is given back. While it
 * is full, all others wait.
 */
#define WH_QUEUE_PATIENCE_US (250 * 1000)       /* if it makes no progress */
#define WH_QUEUE_PATIENCE_SLOW_US (1000 * 1000) /* if it does, but slowly */

#define WH_BATCH_BYTES (8 * 1024 * 1024) /* events of one batch; a single event always fits */

/* A request is large if it takes more than this fraction (1/32) of the limit of large ones. */
#define WH_FLIGHT_LARGE 32

/* No rate limit needs a longer rest. If one is longer, the clock was set back. */
#define WH_QUEUE_REST_MAX_US (2 * 1000000)

typedef struct WhQueue WhQueue;

/* The result of a push. Unless it is WH_PUSHED, the caller still owns the delivery. */
typedef enum WhPushed
{
	WH_PUSHED,         /* it waits in memory; it may be given back later */
	WH_PUSH_BEHIND,    /* store it, behind an earlier one of its lane */
	WH_PUSH_DEFER,     /* store it until the subscription has caught up */
	WH_PUSH_DUPLICATE, /* it is in memory already */
	WH_PUSH_UNKNOWN,   /* no such subscription */
	WH_PUSH_NO_MEMORY  /* nothing has changed */
} WhPushed;

extern WhQueue *wh_queue_create(void);
extern void wh_queue_free(WhQueue *q); /* must hold no deliveries */

/*
 * The most bytes that may wait, that may be in flight (of small requests, and of large
 * ones), and of a batch. A limit may be lowered at any time; what is over it then ends as
 * usual.
 */
extern void wh_queue_limits(WhQueue *q, size_t waiting, size_t small, size_t large, size_t batch);

/*
 * Add a subscription or change its limits. `owner` is the caller's: wh_queue_owner
 * returns it. `given_back`: what may no longer stay in memory. False: out of
 * memory, and nothing has changed.
 */
extern bool wh_queue_subscribe(WhQueue *q, int64_t id, void *owner, bool paused, int max_in_flight,
							   int batch_size, WhList *given_back);

/* The owner of a subscription that is not removed; NULL: there is none. */
extern void *wh_queue_owner(const WhQueue *q, int64_t id);

/*
 * Hold a subscription whose endpoint is in trouble. All that waits is given back,
 * and nothing is let in until it is released, as while it is paused. The exception
 * is one delivery at a time: see wh_queue_admit.
 */
extern void wh_queue_hold(WhQueue *q, int64_t id, WhList *given_back);
extern void wh_queue_release(WhQueue *q, int64_t id);

/*
 * Give back what waits of a subscription that is held or paused, after something of
 * it that was in flight was aborted.
 */
extern void wh_queue_give_back(WhQueue *q, int64_t id, WhList *given_back);

typedef enum WhAdmit
{
	WH_ADMIT_ROW,    /* take its oldest row of pending; once pushed, it may start */
	WH_ADMIT_EVENT,  /* it has no row: the next event read may start */
	WH_ADMIT_NOT_YET /* something of it is in memory or in flight and must end first */
} WhAdmit;

/* What may a subscription that is held let in now? */
extern WhAdmit wh_queue_admit(WhQueue *q, int64_t id);

/* It has no row in pending, whatever the queue counts: somebody has deleted its rows by hand. */
extern void wh_queue_nothing_stored(WhQueue *q, int64_t id);

/* Remove one. All that waits is given back as WH_DO_DROP; what is in flight ends as usual. */
extern void wh_queue_unsubscribe(WhQueue *q, int64_t id, WhList *given_back);

/*
 * At start: what pending holds of this subscription, so that order survives a
 * restart. Calls for deferred rows add up. False: out of memory.
 */
extern void wh_queue_restore_deferred(WhQueue *q, int64_t id, int64_t deferred);
extern bool wh_queue_restore_lane(WhQueue *q, int64_t id, uint64_t lane, int rows);

/* A batch, each of whose deliveries has a row in pending, is pushed whole, by its lead. */
extern WhPushed wh_queue_push(WhQueue *q, WhDelivery *d, WhPushFrom from, int64_t now_us);

/* Its rate limit: start nothing more of it before then. */
extern void wh_queue_not_before(WhQueue *q, int64_t id, int64_t at_us);

/*
 * The next delivery that may start, now in flight. The rest of its batch (see
 * types.h) are its others. NULL: none may start. `free`: how many requests there is
 * a place for, this one included.
 */
extern WhDelivery *wh_queue_next(WhQueue *q, int64_t now_us, int free);

/*
 * Requests in flight beyond what their subscriptions may have: of those that were removed
 * or paused, or whose limit was lowered.
 */
extern int wh_queue_beyond(const WhQueue *q);

/*
 * When the first subscription that rests may start again (INT64_MAX: none rests);
 * and end the rests whose time has come.
 */
extern int64_t wh_queue_deadline(const WhQueue *q);
extern void wh_queue_wake(WhQueue *q, int64_t now_us);

/*
 * The delivery in flight has ended with d->disposal, and its others with it. DONE
 * and DEAD_LETTER free their lanes. RETRY blocks the lanes: the others become
 * BLOCK, and what waits behind them is given back.
 */
extern void wh_queue_done(WhQueue *q, WhDelivery *d, WhList *given_back);

/*
 * May the log be read on? Gives back the queue of a subscription that is full and
 * makes no progress.
 */
extern bool wh_queue_has_room(WhQueue *q, int64_t now_us, WhList *given_back);

/* Give back all that waits in memory, as it must be stored. What is in flight stays. */
extern void wh_queue_give_back_all(WhQueue *q, WhList *given_back);

/*
 * One delivery in flight was aborted: it waits again, with its others. Call this
 * before wh_queue_give_back_all.
 */
extern void wh_queue_abort(WhQueue *q, WhDelivery *d);

/*
 * A lane whose next rows must be fetched from pending, in order of their ids; and a
 * subscription whose deferred rows must be (0: none; `room`: how many at most).
 */
extern bool wh_queue_lane_to_fetch(WhQueue *q, int64_t *subscription_id, uint64_t *lane);
extern int64_t wh_queue_deferred_to_fetch(WhQueue *q, int *room);

/*
 * A subscription is saturated if it has so much in memory that rows of it which are
 * due must stay in pending for now. wants_more: has one that was found saturated
 * made room since the last call?
 */
extern bool wh_queue_any_saturated(const WhQueue *q); /* false: none of them is */
extern bool wh_queue_saturated(WhQueue *q, int64_t id);
extern bool wh_queue_wants_more(WhQueue *q);

/* The fetch was not possible now: ask for it again later. */
extern void wh_queue_lane_fetch_again(WhQueue *q, int64_t subscription_id, uint64_t lane);

/* The fetch found no row, although the queue counts some: somebody has deleted them by hand. */
extern void wh_queue_lane_is_empty(WhQueue *q, int64_t subscription_id, uint64_t lane);
extern void wh_queue_deferred_is_empty(WhQueue *q, int64_t subscription_id);

/* Fills in what the queue knows: queued to catching_up. */
extern bool wh_queue_counts(const WhQueue *q, int64_t id, WhCounts *out);
extern int wh_queue_total(const WhQueue *q); /* deliveries waiting in memory */

#endif /* WEBHOOK_QUEUE_H */
