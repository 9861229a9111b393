/*
 * worker_prepared.c
 *	  Looks for prepared transactions that are committed without waking the worker.
 *
 * COMMIT PREPARED wakes the worker where this library is loaded (commit_prepared.c). But
 * any session of the database may run it, and so may a process that replicates. So a
 * PREPARE TRANSACTION of events tells the worker (wake.c). From then on, until the
 * database has no prepared transaction any more, the worker reads again whenever it finds
 * that a transaction has ended in the cluster, every LOOK_EVERY_MS. A worker that starts
 * does the same: it was not there to be told.
 *
 * Whether there are any is asked in each reading transaction meanwhile, before it takes its
 * snapshot. A transaction that is no longer there then is visible in that snapshot, so its
 * events are read. One that is prepared later tells the worker again.
 *
 * Owns whether there may be any.
 */
#include "postgres.h"

#include "access/twophase.h"

#include "store_prepared.h"
#include "worker_slots.h"
#include "worker.h"

#define LOOK_EVERY_MS 200

static bool watching = true; /* there may be prepared transactions that nobody wakes us for */
static bool found = true;    /* the transaction that reads has found some */
static TimestampTz next_look = 0;

void
wh_prepared_check(void)
{
	/* told before we look, so that one that is prepared after it tells us again */
	if (wh_worker_prepared())
		watching = true;
	found = watching && max_prepared_xacts > 0 && wh_store_any_prepared();
}

void
wh_prepared_after_read(TimestampTz now)
{
	watching = found;
	next_look = TimestampTzPlusMilliseconds(now, LOOK_EVERY_MS);
}

bool
wh_prepared_look(TimestampTz now)
{
	if (!watching || now < next_look)
		return false;
	next_look = TimestampTzPlusMilliseconds(now, LOOK_EVERY_MS);
	return true;
}

TimestampTz
wh_prepared_due(void)
{
	return watching ? next_look : DT_NOEND;
}
