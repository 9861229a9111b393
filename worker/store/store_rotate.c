/*
 * store_rotate.c
 *	  The ring of segments: emptying the one whose turn is next.
 *
 * A segment is truncated only if its newest row is older than the retention,
 * everything in it has been read and settled, nothing in it is pending, and nobody
 * holds a lock on it: the worker never waits for such a lock and never makes
 * anybody wait. Events with pending deliveries are first carried over into the
 * current segment (store_carry.c), a portion at a time, while nothing is locked.
 * These rules look at what a segment holds, never at its number, so a changed
 * retention only shifts which segment is current.
 *
 * Rows of the future (the system clock was set back) count as old as the newest
 * row written after them, which the next turn of their segment brings.
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
#include "schema_check.h"
#include "store.h"
#include "store_carry.h"
#include "store_read.h"
#include "store_rotate.h"

/* One value of a query over one segment; the query is made from a pattern with %d for the segment. */
static Datum
segment_value(const char *pattern, int segment, bool *isnull)
{
	char *sql = psprintf(pattern, segment);

	if (SPI_execute(sql, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	wh_schema_check();
	if (SPI_processed == 0)
	{
		*isnull = true;
		return (Datum) 0;
	}
	return wh_result(0, 1, isnull);
}

static void
run(const char *pattern, int segment, int expected)
{
	char *sql = psprintf(pattern, segment);

	if (SPI_execute(sql, false, 0) != expected)
		elog(ERROR, "could not run \"%s\"", sql);
}

static bool
older_than_retention(Datum at)
{
	return DatumGetTimestampTz(at) + (int64) wh_retention * USECS_PER_SEC < wh_age_clock();
}

/* Lock a segment, without waiting. */
static bool
lock_segment(const char *log, int segment)
{
	Oid relid = get_relname_relid(psprintf("%s_%d", log, segment), get_namespace_oid("webhook", false));

	if (!OidIsValid(relid) || !ConditionalLockRelationOid(relid, AccessExclusiveLock))
		return false;
	wh_schema_check(); /* TRUNCATE has triggers too */
	return true;
}

/* Begin with a log's next segment. It is done already where it has no newest row, or that is not old. */
static int
begin_segment(const char *log, const char *newest, WhRotation *r)
{
	int current = wh_segment_at(timestamptz_to_time_t(GetCurrentTimestamp()));
	int segment = (current + 1 + r->further) % WH_SEGMENTS;
	bool isnull;
	Datum at;

	r->done = r->emptied = r->more = false;
	snprintf(r->doing, sizeof(r->doing), "empty webhook.%s_%d", log, segment);
	at = segment_value(newest, segment, &isnull);
	r->done = isnull || !older_than_retention(at);
	return segment;
}

void
wh_store_rotate_attempt(WhRotation *r)
{
	/* clang-format off */
	static const char newest[] =
		"SELECT started_at FROM webhook.attempt_%d"
		" WHERE started_at <= clock_timestamp()"
		" ORDER BY started_at DESC"
		" LIMIT 1";
	/* clang-format on */
	int segment = begin_segment("attempt", newest, r);

	if (r->done || !lock_segment("attempt", segment))
		return;
	run("TRUNCATE webhook.attempt_%d", segment, SPI_OK_UTILITY);
	r->done = r->emptied = true;
}

/*
 * All rows of a segment are settled if none is above the settled position, and none
 * was written by a transaction that could have been running then. A transaction in
 * the future belongs to another cluster, from which the row was brought here.
 */
static bool
all_settled(int segment, const WhPosition *settled)
{
	/* clang-format off */
	static const char highest[] =
		"SELECT event_number FROM webhook.outbox_%d"
		" WHERE event_number IS NOT NULL"
		" ORDER BY event_number DESC"
		" LIMIT 1";
	static const char unsettled[] =
		"SELECT 1 FROM webhook.outbox_%%d"
		" WHERE xid >= pg_snapshot_xmin(%s) AND xid < '" UINT64_FORMAT "'"
		" LIMIT 1";
	/* clang-format on */
	bool isnull;
	Datum id;

	/* between two pages of stragglers a position cannot say what is settled: wait */
	if (settled == NULL || settled->within_snapshot)
		return false;
	id = segment_value(highest, segment, &isnull);
	if (!isnull && DatumGetInt64(id) > settled->hi)
		return false;
	(void) segment_value(psprintf(unsettled, quote_literal_cstr(settled->snapshot),
								  U64FromFullTransactionId(ReadNextFullTransactionId())),
						 segment, &isnull);
	return isnull;
}

void
wh_store_rotate_outbox(WhRotation *r, const WhPosition *settled)
{
	/* ids are assigned in the order of the clock, so the highest id has the latest time */
	/* clang-format off */
	static const char newest[] =
		"SELECT created_at FROM webhook.outbox_%d"
		" WHERE event_number IS NOT NULL"
		" ORDER BY event_number DESC"
		" LIMIT 1";
	/* clang-format on */
	int segment = begin_segment("outbox", newest, r);
	bool isnull;

	if (r->done || (!r->unsettled && !all_settled(segment, settled)))
		return;
	if (r->carry.from != segment)
		wh_carry_begin(&r->carry, segment);
	if (!r->carry.ended)
	{
		wh_store_carry(&r->carry);
		r->more = true;
		return;
	}
	/* start again if rows have come meanwhile */
	(void) segment_value("SELECT 1 FROM webhook.pending WHERE segment = %d LIMIT 1", segment, &isnull);
	if (!isnull)
		r->carry.from = -1;
	if (!isnull || !lock_segment("outbox", segment))
		return;
	if (r->unsettled)
		r->bytes = DatumGetInt64(
			segment_value("SELECT pg_catalog.pg_total_relation_size('webhook.outbox_%d')", segment, &isnull));

	/*
	 * With the lock, nobody is writing here: all rows are committed or dead. Nor is
	 * anybody redelivering one of them, which begins with reading the outbox; those
	 * who have requested one are waited for.
	 */
	if (!r->unsettled && !all_settled(segment, settled))
		return;
	(void) segment_value("SELECT 1 FROM webhook.pending WHERE state = 'requested' AND segment = %d LIMIT 1",
						 segment, &isnull);
	if (!isnull)
		return;
	run("TRUNCATE webhook.outbox_%d", segment, SPI_OK_UTILITY);
	r->done = r->emptied = true;
}
