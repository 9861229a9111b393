/*
 * store_rotate.c
 *	  The ring of drawers: emptying the one whose turn is next.
 *
 * A drawer is truncated only if its newest row is older than the retention,
 * everything in it has been read and settled, and nobody at all holds a lock
 * on it: the worker never waits for one and never makes anybody wait. What is
 * still pending from it goes to webhook.dead_letter with its event first.
 * These rules look at what a drawer holds, never at its number, so a changed
 * retention only shifts which drawer is current. Called by worker.c.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

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
	return DatumGetTimestampTz(at) + (int64) wh_retention * USECS_PER_SEC < GetCurrentTimestamp();
}

/* Lock a drawer if that can be had at once. */
static bool
lock_drawer(const char *log, int drawer)
{
	Oid relid = get_relname_relid(psprintf("%s_%d", log, drawer), get_namespace_oid("webhook", false));

	return OidIsValid(relid) && ConditionalLockRelationOid(relid, AccessExclusiveLock);
}

/* Begin with a log's next drawer. */
static int
begin_drawer(const char *log, WhRotation *r)
{
	int drawer = (wh_drawer_at(timestamptz_to_time_t(GetCurrentTimestamp())) + 1 + r->further) % WH_DRAWERS;

	r->done = false;
	snprintf(r->doing, sizeof(r->doing), "empty webhook.%s_%d", log, drawer);
	return drawer;
}

void
wh_store_rotate_attempt(WhRotation *r)
{
	int drawer = begin_drawer("attempt", r);
	bool isnull;
	Datum newest;

	newest = drawer_value("SELECT at FROM webhook.attempt_%d ORDER BY at DESC LIMIT 1", drawer, &isnull);
	r->done = isnull || !older_than_retention(newest);
	if (r->done || !lock_drawer("attempt", drawer))
		return;
	run("TRUNCATE webhook.attempt_%d", drawer, SPI_OK_UTILITY);
	r->done = true;
}

void
wh_store_rotate_outbox(WhRotation *r, const WhPosition *settled)
{
	int drawer = begin_drawer("outbox", r);
	bool isnull;
	Datum value;

	/* ids are taken with the clock's time, so the highest id has the latest time */
	value =
		drawer_value("SELECT created_at FROM webhook.outbox_%d ORDER BY id DESC LIMIT 1", drawer, &isnull);
	r->done = isnull || !older_than_retention(value);
	/* in the midst of stragglers, what counts as settled is more than a position can say: wait */
	if (r->done || (!r->unsettled && (settled == NULL || settled->within_snapshot)) ||
		!lock_drawer("outbox", drawer))
		return;
	if (r->unsettled)
		r->bytes = DatumGetInt64(
			drawer_value("SELECT pg_catalog.pg_total_relation_size('webhook.outbox_%d')", drawer, &isnull));

	/*
	 * With the lock, nobody is in the midst of writing here: all rows are
	 * committed or dead. All of them are settled if none is above the settled
	 * position and none was written by a transaction that could have been
	 * running then.
	 */
	value = drawer_value("SELECT id FROM webhook.outbox_%d ORDER BY id DESC LIMIT 1", drawer, &isnull);
	if (!r->unsettled && !isnull && DatumGetInt64(value) > settled->hi)
		return;
	if (!r->unsettled)
	{
		value = drawer_value(
			psprintf("SELECT 1 FROM webhook.outbox_%%d WHERE xid >= pg_snapshot_xmin(%s) LIMIT 1",
					 quote_literal_cstr(settled->snapshot)),
			drawer, &isnull);
		if (!isnull)
			return;
	}

	run("INSERT INTO webhook.dead_letter (subscription_id, event_id, subscription, reason, attempts, "
		"first_at, xid, entity_id,"
		" entity_type, action_type, result, previous, tenant, context, created_at)"
		" SELECT p.subscription_id, o.id, s.name, coalesce('older than webhook.retention; ' || p.last_error,"
		" 'older than webhook.retention'), p.attempts, p.first_at, o.xid, o.entity_id, o.entity_type,"
		" o.action_type, o.result, o.previous, o.tenant, o.context, o.created_at"
		" FROM webhook.pending p"
		" CROSS JOIN LATERAL (SELECT * FROM webhook.outbox b WHERE b.id = p.event_id AND b.drawer = p.drawer "
		"OFFSET 0) o"
		" CROSS JOIN LATERAL (SELECT b.name FROM webhook.subscription b WHERE b.id = p.subscription_id "
		"OFFSET 0) s"
		" WHERE p.drawer = %d ON CONFLICT DO NOTHING",
		drawer, SPI_OK_INSERT);
	run("DELETE FROM webhook.pending WHERE drawer = %d", drawer, SPI_OK_DELETE);
	r->dead += SPI_processed;
	run("TRUNCATE webhook.outbox_%d", drawer, SPI_OK_UTILITY);
	r->done = true;
}
