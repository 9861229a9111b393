/*
 * queue.h
 *	  Which delivery goes next: order within a lane, limits of a subscription,
 *	  fairness between subscriptions.
 *
 * The rules are told at the top of queue.c.
 */
#ifndef WEBHOOK_QUEUE_H
#define WEBHOOK_QUEUE_H

#include "types.h"

/* How much may wait in memory. A test of the rules makes these smaller. */
#ifndef WH_QUEUE_FULL
#define WH_QUEUE_FULL 1500           /* deliveries of one subscription: full */
#define WH_QUEUE_TOTAL 20000         /* those of all subscriptions together */
#define WH_FETCH_MAX 500             /* deferred rows fetched at once, if there is room for so many */
#define WH_FETCH_MIN 32              /* if there is not */
#define WH_BLOCKED_LANES_MAX 10000   /* lanes of one subscription remembered as blocked */
#define WH_BATCH_WAIT_US (50 * 1000) /* how long a batch waits for more */
#endif

/* How many bytes there may be, unless wh_queue_limits says otherwise. */
#define WH_QUEUE_BYTES (128 * 1024 * 1024) /* of the events of all that wait */
#define WH_FLIGHT_BYTES (64 * 1024 * 1024) /* of what is under way: of the small, and of the large */

/* How long a subscription may stay full, which keeps all others waiting, before its queue is handed back. */
#define WH_QUEUE_PATIENCE_US (250 * 1000)       /* where it makes no headway */
#define WH_QUEUE_PATIENCE_SLOW_US (1000 * 1000) /* where it does, but slowly */

#define WH_BATCH_BYTES (8 * 1024 * 1024) /* events of one batch, but that one event always fits */

/* What a request takes beside its events and its body, which is as large as they are: see queue_flight.c. */
#define WH_FLIGHT_EACH (64 * 1024)
/* More than this part of the bytes that may be under way, and it is a large one. */
#define WH_FLIGHT_LARGE 32

/* A rest that is longer than any rate asks for is one of a clock that was set back since. */
#define WH_QUEUE_REST_MAX_US (2 * 1000000)

typedef struct WhQueue WhQueue;

/* What became of a push. In all cases but PUSHED the caller still owns the delivery. */
typedef enum WhPushed
{
	WH_PUSHED,         /* it waits in memory, or will be handed back later */
	WH_PUSH_BEHIND,    /* keep it behind an earlier one of its lane */
	WH_PUSH_DEFER,     /* keep it until the subscription has caught up */
	WH_PUSH_DUPLICATE, /* it is in memory already */
	WH_PUSH_UNKNOWN,   /* no such subscription */
	WH_PUSH_NO_MEMORY  /* nothing has changed */
} WhPushed;

extern WhQueue *wh_queue_create(void);
extern void wh_queue_free(WhQueue *q); /* must be empty of deliveries */

/* Bytes that may wait, that may be under way, that make a batch. What there is beyond a lower limit ends as it ends. */
extern void wh_queue_limits(WhQueue *q, size_t waiting, size_t flight, size_t batch);

/*
 * Add a subscription or change its limits. `owner` is the caller's, for
 * wh_queue_owner. `given_back`: what it no longer may keep in memory. False
 * without memory: nothing has changed.
 */
extern bool wh_queue_subscribe(WhQueue *q, int64_t id, void *owner, bool paused, int max_in_flight,
							   int batch_size, WhList *given_back);

/* The owner of a subscription that is not removed; NULL: there is none. */
extern void *wh_queue_owner(const WhQueue *q, int64_t id);

/*
 * Its endpoint is in trouble: give back all that waits, and let nothing in
 * until it is released, as while it is paused; but one delivery at a time that
 * is admitted.
 */
extern void wh_queue_hold(WhQueue *q, int64_t id, WhList *given_back);
extern void wh_queue_release(WhQueue *q, int64_t id);

/* Give back what waits of one that is held or paused: something that was in flight has been aborted. */
extern void wh_queue_give_back(WhQueue *q, int64_t id, WhList *given_back);

typedef enum WhAdmit
{
	WH_ADMIT_ROW,    /* take its oldest row of pending; when pushed, it may start */
	WH_ADMIT_EVENT,  /* it has none: the next event read may start */
	WH_ADMIT_NOT_YET /* something of it is in memory or in flight, which must end first */
} WhAdmit;

/* Of a subscription that is held: what may be let in now? */
extern WhAdmit wh_queue_admit(WhQueue *q, int64_t id);

/* There is no row of it in pending, whatever the queue counts: somebody has deleted them by hand. */
extern void wh_queue_nothing_stored(WhQueue *q, int64_t id);

/* Remove one: all that waits is given back as WH_DO_DROP; what is in flight ends as it ends. */
extern void wh_queue_unsubscribe(WhQueue *q, int64_t id, WhList *given_back);

/* At start: what pending holds of this subscription, so that order survives a restart. Deferred rows add up. */
extern void wh_queue_restore_deferred(WhQueue *q, int64_t id, int64_t deferred);
extern bool wh_queue_restore_lane(WhQueue *q, int64_t id, uint64_t lane, int rows);

/* A batch, which has a row each in pending, is pushed by its lead, or not at all. */
extern WhPushed wh_queue_push(WhQueue *q, WhDelivery *d, WhPushFrom from, int64_t now_us);

/* Its rate limit: nothing more of it may be started before then. */
extern void wh_queue_not_before(WhQueue *q, int64_t id, int64_t at_us);

/*
 * The next delivery that may be started, now in flight, with those of the same
 * batch (see types.h) as its others; NULL: none may. `free`:
 * for how many requests there is a place, this one included.
 */
extern WhDelivery *wh_queue_next(WhQueue *q, int64_t now_us, int free);

/* When something that rests may be started, INT64_MAX: nothing rests; and the time has come. */
extern int64_t wh_queue_deadline(const WhQueue *q);
extern void wh_queue_wake(WhQueue *q, int64_t now_us);

/*
 * The delivery in flight has ended with d->disposal, and its others with it:
 * FORGET or BURY free their lanes, RETRY blocks them (the others are then
 * BEHIND) and what waits behind is given back.
 */
extern void wh_queue_done(WhQueue *q, WhDelivery *d, WhList *given_back);

/* May the log be read on? Hands back the queue of a subscription that is full and makes no headway. */
extern bool wh_queue_has_room(WhQueue *q, int64_t now_us, WhList *given_back);

/* Give everything back that waits in memory, as it must be kept; in flight deliveries stay. */
extern void wh_queue_give_back_all(WhQueue *q, WhList *given_back);

/* The same for one delivery that was in flight and is taken back: call before wh_queue_give_back_all. */
extern void wh_queue_abort(WhQueue *q, WhDelivery *d);

/*
 * A lane whose further rows are to be fetched from pending (in id order), and a
 * subscription whose deferred rows are (0: none; `room`: how many at most).
 */
extern bool wh_queue_lane_to_fetch(WhQueue *q, int64_t *subscription_id, uint64_t *lane);
extern int64_t wh_queue_deferred_to_fetch(WhQueue *q, int *room);

/*
 * Has it so much in memory that no more of its rows are to be taken when they
 * are due? And (once): has one of which that was said no longer?
 */
extern bool wh_queue_any_saturated(const WhQueue *q); /* false: none of them */
extern bool wh_queue_saturated(WhQueue *q, int64_t id);
extern bool wh_queue_wants_more(WhQueue *q);

/* The fetch could not be made now: ask for it again later. */
extern void wh_queue_lane_fetch_again(WhQueue *q, int64_t subscription_id, uint64_t lane);

/* The fetch found no row although the queue counts some: somebody has deleted them by hand. */
extern void wh_queue_lane_is_empty(WhQueue *q, int64_t subscription_id, uint64_t lane);
extern void wh_queue_deferred_is_empty(WhQueue *q, int64_t subscription_id);

/* Fills in what the queue knows: queued to catching_up. */
extern bool wh_queue_counts(const WhQueue *q, int64_t id, WhCounts *out);
extern int wh_queue_total(const WhQueue *q); /* deliveries waiting in memory */

#endif /* WEBHOOK_QUEUE_H */
