/*
 * store_stat.h
 *	  The cumulative counters: webhook_internal.stat_subscription and stat_worker.
 */
#ifndef WEBHOOK_STORE_STAT_H
#define WEBHOOK_STORE_STAT_H

#include "postgres.h"

#include "datatype/timestamp.h"

#define WH_STAT_BUCKETS 12 /* of a histogram; the last one has no upper bound */

/* A histogram, and the sum of what it has counted, in seconds. */
typedef struct WhHistogram
{
	double seconds;
	int64 buckets[WH_STAT_BUCKETS];
} WhHistogram;

typedef enum WhEnd
{
	WH_END_DELIVERED,
	WH_END_SKIPPED,
	WH_END_FAILED,
	WH_END_GIVEN_UP,
	WH_ENDS
} WhEnd;

/* What is to be added to a subscription's row. */
typedef struct WhStat
{
	int64 subscription_id;
	int64 ends[WH_ENDS];
	int64 breaker_opened;
	WhHistogram duration; /* of requests */
	WhHistogram delay;    /* from the change to the receiver's answer */
} WhStat;

/* What is to be added to the worker's row; the last is its new value. */
typedef struct WhWorkerStat
{
	int64 ends[WH_ENDS]; /* of all subscriptions, removed ones too */
	int64 starts;
	int64 reads; /* pages */
	int64 events_read;
	int64 segments_emptied;
	TimestampTz rotation_delayed_since; /* 0: it is not delayed */
} WhWorkerStat;

/* In a transaction. */
extern void wh_store_stat_add(const WhStat *stat);
extern void wh_store_stat_worker_add(const WhWorkerStat *stat);

#endif /* WEBHOOK_STORE_STAT_H */
