/*
 * store_pending.h
 *	  Deliveries in webhook.pending: fetched to be sent again, put back, deleted.
 */
#ifndef WEBHOOK_STORE_PENDING_H
#define WEBHOOK_STORE_PENDING_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "types.h"

/* clang-format off */
/* How long until the next attempt, after so many. No schedule can say more than ten years, nor does this. */
#define WH_RETRY_STEP(attempts) \
	"least(coalesce((SELECT s.retry_schedule[" \
	"                       least(greatest(" attempts ", 1), cardinality(s.retry_schedule))]" \
	"                  FROM webhook.subscription s" \
	"                 WHERE s.id = p.subscription_id), interval '1 minute'), interval '10 years')"
/* clang-format on */

/* A delivery fetched from pending, its attempt counted. */
typedef struct WhFetched
{
	WhEvent *event; /* a reference of the caller's; NULL: the event is gone */
	int64 event_number;
	int64 subscription_id;
	uint64 lane;
	int attempts;
	TimestampTz first_attempt_at; /* 0: never */
	int64 batch;                  /* the event number of the batch's lead; 0: no batch */
	bool unjudged;                /* it is not known yet whether the event is for the subscription */
	const char *why;              /* NULL; else why that cannot be determined */
} WhFetched;

/*
 * Fetch at most `max` due rows, except of the excluded subscriptions; or the further
 * rows of a lane; or deferred rows of a subscription; or its oldest row, whatever
 * that waits for (`deferred`: whether it was a deferred one). A batch is fetched
 * whole, whatever `max` says, and stands together in the list, its lead first.
 */
extern List *wh_store_fetch_due(int max, const int64 *excluded, int n_excluded);
extern List *wh_store_fetch_lane(int64 subscription_id, uint64 lane, int max);
extern List *wh_store_fetch_deferred(int64 subscription_id, int max);
extern List *wh_store_fetch_probe(int64 subscription_id, bool *deferred);
/* When the fetching step has ended: it succeeded, and the list's events are the caller's; or it failed, and they are released. */
extern void wh_store_fetch_done(void);
extern void wh_store_fetch_failed(void);

/*
 * Where the deferred rows of a subscription begin, so that those fetched before are
 * not passed again: all up to this event are fetched and committed; a row is
 * deferred here; or it is unknown for all subscriptions.
 */
extern void wh_store_deferred_fetched(int64 subscription_id, int64 event_number);
extern void wh_store_deferred_at(int64 subscription_id, int64 event_number);
extern void wh_store_deferred_anywhere(void);

/* A subscription's endpoint has recovered: its retries are due at once. */
extern void wh_store_make_due(int64 subscription_id);

/* Delete a row: its event is gone, or is not for the subscription. */
extern void wh_store_forget_pending(int64 subscription_id, int64 event_number);
/* Delete the rows of those of these subscriptions that are gone. */
extern void wh_store_forget_subscriptions(const int64 *ids, int n);
/* A fetched row has been judged; or it could not be now, and is put back. */
extern void wh_store_pending_judged(int64 subscription_id, int64 event_number);
extern void wh_store_defer_again(int64 subscription_id, int64 event_number);

/* When the next retry is due, except of the excluded subscriptions; DT_NOEND: none. */
extern TimestampTz wh_store_next_due(const int64 *excluded, int n_excluded);

#endif /* WEBHOOK_STORE_PENDING_H */
