/*
 * worker_restore.c
 *	  What webhook.pending holds when a worker starts, for its engine; and which
 *	  breakers were announced as open.
 *
 * The step reads it in a transaction. When that has committed, the engine gets it,
 * once. Owns nothing: the list is the caller's.
 */
#include "postgres.h"

#include "nodes/pg_list.h"

#include "engine.h"
#include "store.h"
#include "store_pending.h"
#include "store_restore.h"
#include "worker.h"

/* The deferred rows of a subscription, or the rows of a lane. */
typedef struct Restored
{
	int64 subscription_id;
	bool deferred;
	uint64 lane;
	int64 rows;
} Restored;

static void
restored(List **list, Restored row)
{
	MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
	Restored *copy = palloc(sizeof(Restored));

	*copy = row;
	*list = lappend(*list, copy);
	MemoryContextSwitchTo(old);
}

static void
restored_deferred(void *arg, int64 subscription_id, int64 rows)
{
	restored(arg, (Restored){.subscription_id = subscription_id, .deferred = true, .rows = rows});
}

static void
restored_lane(void *arg, int64 subscription_id, uint64 lane, int rows)
{
	restored(arg, (Restored){.subscription_id = subscription_id, .lane = lane, .rows = rows});
}

void
wh_restore_step(void *arg)
{
	List **list = arg;

	*list = NIL;
	wh_tx_begin("webhook: restoring pending deliveries");
	wh_store_restore(restored_deferred, restored_lane, list);
	wh_fetch_look_at(wh_store_next_due(NULL, 0));
	wh_notices_inherit();
	wh_tx_commit(false);
}

void
wh_restore(List *list)
{
	ListCell *lc;

	foreach (lc, list)
	{
		const Restored *row = lfirst(lc);

		if (row->deferred)
			wh_engine_restore_deferred(wh_engine, row->subscription_id, row->rows);
		else if (!wh_engine_restore_lane(wh_engine, row->subscription_id, row->lane, (int) row->rows))
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
	}
}
