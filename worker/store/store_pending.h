/*
 * store_pending.h
 *	  Deliveries in webhook.pending: fetched to be sent again, and put in order at start.
 */
#ifndef WEBHOOK_STORE_PENDING_H
#define WEBHOOK_STORE_PENDING_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "types.h"

/* A delivery taken from pending, its attempt counted. */
typedef struct WhFetched
{
	WhEvent *event; /* a reference that is the caller's; NULL: its event is gone */
	int64 event_number;
	int64 subscription_id;
	uint64 lane;
	int attempts;
	TimestampTz first_attempt_at; /* 0: never */
	int64 batch;                  /* the event id of the batch's lead; 0: by itself */
	bool unjudged;                /* whether the event is for it has not been looked at */
	const char *why;              /* NULL; else why that cannot be told */
} WhFetched;

/*
 * Take what is due, at most `max`, but of those subscriptions that are held;
 * or the further rows of a lane; or deferred rows of a subscription; or its
 * oldest row, whatever that waits for (`deferred`: until it has caught up). A
 * batch is taken whole, whatever `max` says, and is together in the list, in
 * order, its lead first.
 */
extern List *wh_store_fetch_due(int max, const int64 *excluded, int n_excluded);
extern List *wh_store_fetch_lane(int64 subscription_id, uint64 lane, int max);
extern List *wh_store_fetch_deferred(int64 subscription_id, int max);
extern List *wh_store_fetch_probe(int64 subscription_id, bool *deferred);
/* When the step that took has ended: the events of its list are the caller's; or it failed, and they are let go. */
extern void wh_store_fetch_done(void);
extern void wh_store_fetch_failed(void);

/*
 * Where the deferred rows of a subscription begin, so that those taken before are
 * not passed again: it has been taken up to this event, for good; one is deferred
 * here; or nobody knows.
 */
extern void wh_store_deferred_fetched(int64 subscription_id, int64 event_number);
extern void wh_store_deferred_at(int64 subscription_id, int64 event_number);
extern void wh_store_deferred_anywhere(void);

/* A subscription's endpoint is well again: what is to be tried again is due at once. */
extern void wh_store_make_due(int64 subscription_id);

/*
 * The wall clock was set by so many microseconds: what waits in tables is moved
 * by as much. And at start: what waits longer than a schedule can have made it wait, because the
 * clock was set meanwhile, does so no more.
 */
extern void wh_store_move_waits(int64 jump);
extern void wh_store_shorten_waits(void);

/* The event behind a row of pending is gone, or is not for the subscription: so is the delivery. */
extern void wh_store_forget_pending(int64 subscription_id, int64 event_number);
/* A row that was taken has been judged; or it could not be now, and is as it was. */
extern void wh_store_pending_judged(int64 subscription_id, int64 event_number);
extern void wh_store_defer_again(int64 subscription_id, int64 event_number);

/* When the next delivery is due to be tried again, but of those subscriptions; DT_NOEND: none. */
extern TimestampTz wh_store_next_due(const int64 *excluded, int n_excluded);

/* At start: bring pending in order after a crash, then report what is there. */
extern void wh_store_restore(void (*deferred)(void *arg, int64 subscription_id, int64 rows),
							 void (*lane)(void *arg, int64 subscription_id, uint64 lane, int rows),
							 void *arg);

#endif /* WEBHOOK_STORE_PENDING_H */
