/*
 * store_restore.h
 *	  webhook.pending when a worker starts, and when the system clock was set.
 */
#ifndef WEBHOOK_STORE_RESTORE_H
#define WEBHOOK_STORE_RESTORE_H

#include "postgres.h"

/* The system clock was set by so many microseconds: move the times in the table by as much. */
extern void wh_store_move_waits(int64 jump);

/* At start: put the table in order after a crash, then report what it holds. */
extern void wh_store_restore(void (*deferred)(void *arg, int64 subscription_id, int64 rows),
							 void (*lane)(void *arg, int64 subscription_id, uint64 lane, int rows),
							 void *arg);

#endif /* WEBHOOK_STORE_RESTORE_H */
