/*
 * store_rotate.c
 *	  The ring of drawers: emptying the one whose turn is next.
 *
 * A drawer is truncated only if its newest row is older than the retention,
 * everything in it has been read and settled, nothing in it is pending, and
 * nobody at all holds a lock on it: the worker never waits for one and never makes
 * anybody wait. Events of it that somebody still waits for are carried over
 * into the current drawer before (store_carry.c), a portion at a time, while
 * nothing is locked. These rules look at what a drawer holds, never at its number,
 * so a changed retention only shifts which drawer is current. Called by worker.c.
 *
 * Rows of the future (the clock has been set back) are as old as the newest
 * row written after them, which the next turn of their drawer brings.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "settings.h"
#include "store.h"

/* One value of a query over one drawer; the query is made from a pattern with %d for the drawer. */
static Datum
drawer_value(const char *pattern, int drawer, bool *isnull)
{
	char *sql = psprintf(pattern, drawer);

	if (SPI_execute(sql, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	wh_shape_check();
	if (SPI_processed == 0)
	{
		*isnull = true;
		return (Datum) 0;
	}
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, isnull);
}

static void
run(const char *pattern, int drawer, int expected)
{
	char *sql = psprintf(pattern, drawer);

	if (SPI_execute(sql, false, 0) != expected)
		elog(ERROR, "could not run \"%s\"", sql);
}

static bool
older_than_retention(Datum at)
{
	return DatumGetTimestampTz(at) + (int64) wh_retention * USECS_PER_SEC < wh_age_clock();
}

/* Lock a drawer if that can be had at once. */
static bool
lock_drawer(const char *log, int drawer)
{
	Oid relid = get_relname_relid(psprintf("%s_%d", log, drawer), get_namespace_oid("webhook", false));

	if (!OidIsValid(relid) || !ConditionalLockRelationOid(relid, AccessExclusiveLock))
		return false;
	wh_shape_check(); /* a TRUNCATE has triggers too */
	return true;
}

/* Begin with a log's next drawer. */
static int
begin_drawer(const char *log, WhRotation *r)
{
	int drawer = (wh_drawer_at(timestamptz_to_time_t(GetCurrentTimestamp())) + 1 + r->further) % WH_DRAWERS;

	r->done = r->more = false;
	snprintf(r->doing, sizeof(r->doing), "empty webhook.%s_%d", log, drawer);
	return drawer;
}

void
wh_store_rotate_attempt(WhRotation *r)
{
	int drawer = begin_drawer("attempt", r);
	bool isnull;
	Datum newest;

	newest = drawer_value("SELECT at FROM webhook.attempt_%d WHERE at <= clock_timestamp()"
						  " ORDER BY at DESC LIMIT 1",
						  drawer, &isnull);
	r->done = isnull || !older_than_retention(newest);
	if (r->done || !lock_drawer("attempt", drawer))
		return;
	run("TRUNCATE webhook.attempt_%d", drawer, SPI_OK_UTILITY);
	r->done = true;
}

/*
 * All rows of a drawer are settled if none is above the settled position and
 * none was written by a transaction that could have been running then. One that
 * is yet to come belongs to another cluster, from which the row was brought here.
 */
static bool
all_settled(int drawer, const WhPosition *settled)
{
	const char *unsettled =
		"SELECT 1 FROM webhook.outbox_%%d WHERE xid >= pg_snapshot_xmin(%s) AND xid < '" UINT64_FORMAT
		"' LIMIT 1";
	bool isnull;
	Datum id;

	/* in the midst of stragglers, what counts as settled is more than a position can say: wait */
	if (settled == NULL || settled->within_snapshot)
		return false;
	id = drawer_value("SELECT id FROM webhook.outbox_%d WHERE id IS NOT NULL ORDER BY id DESC LIMIT 1",
					  drawer, &isnull);
	if (!isnull && DatumGetInt64(id) > settled->hi)
		return false;
	(void) drawer_value(psprintf(unsettled, quote_literal_cstr(settled->snapshot),
								 U64FromFullTransactionId(ReadNextFullTransactionId())),
						drawer, &isnull);
	return isnull;
}

void
wh_store_rotate_outbox(WhRotation *r, const WhPosition *settled)
{
	int drawer = begin_drawer("outbox", r);
	bool isnull;
	Datum newest;

	/* ids are taken with the clock's time, so the highest id has the latest time */
	newest =
		drawer_value("SELECT created_at FROM webhook.outbox_%d WHERE id IS NOT NULL ORDER BY id DESC LIMIT 1",
					 drawer, &isnull);
	r->done = isnull || !older_than_retention(newest);
	if (r->done || (!r->unsettled && !all_settled(drawer, settled)))
		return;
	if (r->carry.from != drawer)
		wh_carry_begin(&r->carry, drawer);
	if (!r->carry.ended)
	{
		wh_store_carry(&r->carry);
		r->more = true;
		return;
	}
	/* once more from the beginning, where something has come meanwhile */
	(void) drawer_value("SELECT 1 FROM webhook.pending WHERE drawer = %d LIMIT 1", drawer, &isnull);
	if (!isnull)
		r->carry.from = -1;
	if (!isnull || !lock_drawer("outbox", drawer))
		return;
	if (r->unsettled)
		r->bytes = DatumGetInt64(
			drawer_value("SELECT pg_catalog.pg_total_relation_size('webhook.outbox_%d')", drawer, &isnull));

	/*
	 * With the lock, nobody is in the midst of writing here: all rows are
	 * committed or dead. Nor is anybody in the midst of asking for one of them
	 * again, which begins with a look at the outbox; who has is waited for.
	 */
	if (!r->unsettled && !all_settled(drawer, settled))
		return;
	(void) drawer_value("SELECT 1 FROM webhook.pending WHERE state = 'asked' AND drawer = %d LIMIT 1", drawer,
						&isnull);
	if (!isnull)
		return;
	run("TRUNCATE webhook.outbox_%d", drawer, SPI_OK_UTILITY);
	r->done = true;
}
