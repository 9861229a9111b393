/*
 * store_requeue.h
 *	  Rows of webhook.pending that redeliver and replay have requested.
 */
#ifndef WEBHOOK_STORE_REQUEUE_H
#define WEBHOOK_STORE_REQUEUE_H

#include "postgres.h"

#include "types.h"

/* A row of pending that webhook.redeliver() or webhook.replay() made. */
typedef struct WhRequested
{
	int64 event_number;
	uint64 lane;    /* the caller's to fill in */
	int16 segment;  /* where the event is now, whatever the row says */
	WhEvent *event; /* with what decides its lane; a reference of the caller's; NULL: it is gone */
} WhRequested;

/* The oldest of a subscription after an event, at most `max`; and defer them, each in its lane. Both return a count. */
extern int wh_store_requested(int64 subscription_id, int64 after, WhRequested *rows, int max);
extern int64 wh_store_defer_requested(int64 subscription_id, const WhRequested *rows, int n);

#endif /* WEBHOOK_STORE_REQUEUE_H */
