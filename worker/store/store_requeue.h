/*
 * store_requeue.h
 *	  Rows of webhook.pending that people have asked for.
 */
#ifndef WEBHOOK_STORE_REQUEUE_H
#define WEBHOOK_STORE_REQUEUE_H

#include "postgres.h"

#include "types.h"

/* A row of pending that webhook.redeliver() or webhook.replay() made. */
typedef struct WhRequested
{
	int64 event_number;
	uint64 lane;   /* the caller's to fill in */
	int16 segment; /* where the event is, whatever the row says */
	WhEvent
		*event; /* as much of it as decides on the lane; a reference that is the caller's; NULL: it is gone */
} WhRequested;

/* The oldest of a subscription after an event, at most `max`; and defer them, each in its lane. Return how many. */
extern int wh_store_requested(int64 subscription_id, int64 after, WhRequested *rows, int max);
extern int64 wh_store_defer_requested(int64 subscription_id, const WhRequested *rows, int n);

#endif /* WEBHOOK_STORE_REQUEUE_H */
