/*
 * counters.h
 *	  What a worker has counted per subscription, readable by other processes.
 *
 * The worker owns a dynamic shared memory segment with one WhCounter per subscription.
 * When subscriptions are added, it replaces the segment by a larger one. The segment
 * ends with the worker. Readers copy the rows. Locking: the segment's own lock, held
 * while whole rows are copied.
 */
#ifndef WEBHOOK_COUNTERS_H
#define WEBHOOK_COUNTERS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/dsm.h"

/* How far something long has come. */
typedef struct WhProgress
{
	char command[12]; /* as webhook.progress has it; "": nothing is under way */
	TimestampTz started_at;
	int64 done;
	int64 total;
} WhProgress;

/* The row of subscription 0 is the worker's own: it has a progress, and nothing else. */
typedef struct WhCounter
{
	int64 subscription_id;
	int32 queued;
	int32 in_flight;
	bool catching_up;
	char breaker[12];          /* closed, open, half-open */
	TimestampTz next_probe_at; /* while open; else 0 */
	int64 delivered;
	int64 failed;
	TimestampTz last_success_at; /* 0: never */
	TimestampTz last_failure_at; /* 0: never */
	char last_error[64];
	WhProgress progress;
} WhCounter;

/* The worker's side: publish these rows, and return the segment's handle for the slot. */
extern dsm_handle wh_counters_publish(const WhCounter *rows, int n);

/* A reader's side: a palloc'd copy of the rows; returns 0 if the segment is gone. */
extern int wh_counters_copy(dsm_handle handle, WhCounter **rows);

#endif /* WEBHOOK_COUNTERS_H */
