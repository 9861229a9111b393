/*
 * store_read.c
 *	  Reading the outbox by position, and the checkpoints.
 *
 * The position (S, N, hi) means: every event visible in the snapshot S with a
 * number up to hi has been read, and none above hi. A transaction takes numbers
 * when it already has its xid. So an event that can still appear below hi was
 * written by a transaction that was running when S was taken: one in S's list, or
 * one between S's xmax and N, the next xid read just after S. A page is those
 * stragglers first, then events above hi, all ordered by number.
 * docs/internals/reading.md says why nothing is lost.
 *
 * If there are more stragglers than fit a page, S and hi stay, and the stragglers
 * are read to their end under the visibility of the snapshot of the first cut
 * (`within`). What commits meanwhile is a straggler of that snapshot.
 *
 * As a rule a page is read by the indexes themselves (store_scan.c). The statements
 * here are for what is left: many stragglers, and tables that people have changed.
 * They fetch through a cursor. Rows are read as they lie in the table (store_event.c),
 * so a page of large rows costs no more than one of small rows until somebody wants
 * the events.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "store.h"
#include "store_event.h"
#include "store_read.h"
#include "store_scan.h"

#define FETCH_AT_ONCE                                                                                        \
	64 /* rows per fetch of a cursor: with the largest rows, the memory that a page may take */

static int64 last_checkpoint_id = 0;
static int checkpoints_since_trim = 0;

#define TRIM_AFTER 10000 /* checkpoints */

/*
 * Positions
 */

WhPosition *
wh_position_copy(const WhPosition *p)
{
	WhPosition *copy = palloc(sizeof(WhPosition));

	*copy = *p;
	copy->snapshot = pstrdup(p->snapshot);
	copy->within_snapshot = p->within_snapshot ? pstrdup(p->within_snapshot) : NULL;
	return copy;
}

void
wh_position_free(WhPosition *p)
{
	if (p == NULL)
		return;
	if (p->within_snapshot)
		pfree(p->within_snapshot);
	pfree(p->snapshot);
	pfree(p);
}

static Datum
parse_snapshot(const char *text)
{
	return DirectFunctionCall1(pg_snapshot_in, CStringGetDatum(text));
}

static bool
has_ended(uint64 xid, Datum snapshot)
{
	return DatumGetBool(DirectFunctionCall2(
		pg_visible_in_snapshot, FullTransactionIdGetDatum(FullTransactionIdFromU64(xid)), snapshot));
}

static bool
visible_in(uint64 xid, const char *snapshot)
{
	return has_ended(xid, parse_snapshot(snapshot));
}

bool
wh_position_covers(const WhPosition *p, const WhEvent *event)
{
	if (event->id > p->hi)
		return false;
	if (visible_in(event->xid, p->snapshot))
		return true;
	return p->within_snapshot && event->id <= p->within_last && visible_in(event->xid, p->within_snapshot);
}

/* The snapshot this transaction reads under, as text. */
static char *
current_snapshot(void)
{
	return OidOutputFunctionCall(F_PG_SNAPSHOT_OUT, OidFunctionCall0(F_PG_CURRENT_SNAPSHOT));
}

/*
 * Checkpoints
 */

WhPosition *
wh_store_origin(void)
{
	MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
	WhPosition *p = palloc0(sizeof(WhPosition));

	/* nothing has been read: nothing is below hi = 0, whatever the snapshot */
	p->snapshot = pstrdup("1:1:");
	p->next_xid = FullTransactionIdFromU64(1);
	MemoryContextSwitchTo(old);
	return p;
}

static FullTransactionId
xid_column(HeapTuple row, TupleDesc desc, int column)
{
	bool isnull;

	return DatumGetFullTransactionId(SPI_getbinval(row, desc, column, &isnull));
}

/*
 * A position that no worker can have written, because it lies in the future or is
 * incomplete, would lose events, or make us look for more transactions than
 * there are. Better to stop and say so.
 */
static void
refuse_nonsense(HeapTuple row, TupleDesc desc)
{
	bool isnull[3];
	bool unknown;
	bool ahead;

	for (int i = 0; i < 3; i++)
		(void) SPI_getbinval(row, desc, i + 2, &isnull[i]);
	unknown = isnull[0] || isnull[1] || isnull[2];
	ahead = !unknown && (U64FromFullTransactionId(xid_column(row, desc, 3)) >
							 U64FromFullTransactionId(ReadNextFullTransactionId()) ||
						 DatumGetBool(SPI_getbinval(row, desc, 10, &isnull[0])));
	if (unknown || ahead)
		ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED), errmsg("webhook.checkpoint has an invalid row"),
				errdetail(unknown ? "It has no position." : "Its position is ahead of this cluster."),
				errhint("Delete that row. The worker then uses the newest one of its kind before it."));
}

WhPosition *
wh_store_checkpoint(const char *kind)
{
	/* the last column: is hi in the future? Not if such events exist: then the sequence was set back */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT c.id, c.snapshot, c.next_xid, c.hi,"
		"       (c.within ->> 'snapshot')::pg_snapshot,"
		"       (c.within ->> 'next_xid')::xid8,"
		"       (c.within ->> 'last')::bigint,"
		"       (SELECT max(d.id) FROM webhook.checkpoint d),"
		"       (SELECT max(d.id) - min(d.id) FROM webhook.checkpoint d),"
		"       c.hi > (SELECT q.last_value FROM webhook.event_number_seq q)"
		"       AND NOT EXISTS (SELECT FROM webhook.outbox o WHERE o.event_number >= c.hi)"
		"       AND NOT EXISTS (SELECT FROM webhook.attempt a WHERE a.event_number >= c.hi)"
		"       AND NOT EXISTS (SELECT FROM webhook.checkpoint d WHERE d.id <> c.id AND d.hi >= c.hi)"
		"  FROM webhook.checkpoint c"
		" WHERE c.kind = $1"
		" ORDER BY c.id DESC"
		" LIMIT 1",
		1,
		{TEXTOID}};
	/* clang-format on */
	Datum value = CStringGetTextDatum(kind);
	MemoryContext old;
	WhPosition *p;
	HeapTuple row;
	TupleDesc desc;
	bool isnull;

	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	if (SPI_processed == 0)
		return NULL;
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	refuse_nonsense(row, desc);
	old = MemoryContextSwitchTo(wh_tx_results);
	p = palloc0(sizeof(WhPosition));
	p->snapshot = pstrdup(SPI_getvalue(row, desc, 2));
	p->next_xid = xid_column(row, desc, 3);
	p->hi = DatumGetInt64(SPI_getbinval(row, desc, 4, &isnull));
	if (SPI_getvalue(row, desc, 5))
	{
		p->within_snapshot = pstrdup(SPI_getvalue(row, desc, 5));
		p->within_next_xid = xid_column(row, desc, 6);
		p->within_last = DatumGetInt64(SPI_getbinval(row, desc, 7, &isnull));
	}
	MemoryContextSwitchTo(old);
	last_checkpoint_id = Max(last_checkpoint_id, DatumGetInt64(SPI_getbinval(row, desc, 8, &isnull)));
	checkpoints_since_trim = (int) Min(INT_MAX / 2, DatumGetInt64(SPI_getbinval(row, desc, 9, &isnull)));
	return p;
}

int64
wh_store_checkpoint_id(void)
{
	checkpoints_since_trim++;
	return ++last_checkpoint_id;
}

void
wh_store_write_checkpoint(const char *kind, const WhPosition *p)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi, within)"
		" VALUES ($1, $2, $3::pg_snapshot, $4, $5,"
		"         CASE WHEN $6 IS NOT NULL"
		"              THEN jsonb_build_object('snapshot', $6, 'next_xid', $7::text, 'last', $8) END)",
		8,
		{INT8OID, TEXTOID, TEXTOID, XID8OID, INT8OID, TEXTOID, XID8OID, INT8OID}};
	/* clang-format on */
	Datum values[8];
	char nulls[9] = "        ";

	values[0] = Int64GetDatum(wh_store_checkpoint_id());
	values[1] = CStringGetTextDatum(kind);
	values[2] = CStringGetTextDatum(p->snapshot);
	values[3] = FullTransactionIdGetDatum(p->next_xid);
	values[4] = Int64GetDatum(p->hi);
	values[5] = values[6] = values[7] = (Datum) 0;
	if (p->within_snapshot)
	{
		values[5] = CStringGetTextDatum(p->within_snapshot);
		values[6] = FullTransactionIdGetDatum(p->within_next_xid);
		values[7] = Int64GetDatum(p->within_last);
	}
	else
		nulls[5] = nulls[6] = nulls[7] = 'n';
	wh_plan_run(&plan, values, nulls, SPI_OK_INSERT);
}

void
wh_store_trim_checkpoints(void)
{
	WhPosition *read;
	WhPosition *settled;
	Oid relid;

	if (checkpoints_since_trim < TRIM_AFTER)
		return;
	/* never wait: neither for somebody who looks at the table now, nor somebody for us */
	relid = get_relname_relid("checkpoint", get_namespace_oid("webhook", false));
	if (!ConditionalLockRelationOid(relid, AccessExclusiveLock))
	{
		checkpoints_since_trim = TRIM_AFTER / 2;
		return;
	}
	read = wh_store_checkpoint("read");
	settled = wh_store_checkpoint("settled");
	if (SPI_execute("TRUNCATE webhook.checkpoint", false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not truncate webhook.checkpoint");
	if (settled)
		wh_store_write_checkpoint("settled", settled);
	if (read)
		wh_store_write_checkpoint("read", read);
	wh_position_free(read);
	wh_position_free(settled);
	checkpoints_since_trim = 0;
}

/*
 * Fetch rows of a statement into the page. True: the statement has no more. False:
 * the page is full.
 */
static bool
fetch_into(WhPage *page, size_t *bytes, WhPlan *plan, Datum *values)
{
	Portal portal = wh_plan_open(plan, values); /* under the one snapshot whose position we record */
	bool exhausted = false;

	while (!exhausted && page->n < page->max && *bytes < WH_PAGE_BYTES)
	{
		int want = Min(FETCH_AT_ONCE, page->max - page->n);

		SPI_cursor_fetch(portal, true, want);
		exhausted = SPI_processed < (uint64) want;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			WhRow *row = &page->rows[page->n++];

			wh_store_row(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, row);
			*bytes += row->bytes;
		}
		/* the rows stay until the transaction ends: events are made from them on demand */
	}
	SPI_cursor_close(portal);
	return exhausted;
}

/*
 * The xids whose events may have appeared below hi: those that S lists as running, and
 * those from its xmax to N, if they have ended by the snapshot that is read under. So a
 * transaction that stays open costs nothing.
 */
static uint64 *
straggler_xids(const WhPosition *from, const char *snapshot, int *n)
{
	const char *at = from->snapshot;
	Datum now = parse_snapshot(snapshot);
	uint64 next = U64FromFullTransactionId(from->next_xid);
	uint64 xmax;
	uint64 *xids;
	int cap;

	/* "xmin:xmax:xip,xip,..." */
	at = strchr(at, ':') + 1;
	xmax = strtoull(at, NULL, 10);
	at = strchr(at, ':') + 1;
	cap = 1 + (next > xmax ? (int) (next - xmax) : 0);
	for (const char *c = at; *c; c++)
		cap += *c == ',';
	xids = palloc(sizeof(uint64) * (cap + 1));
	*n = 0;
	while (*at)
	{
		char *end;

		xids[*n] = strtoull(at, &end, 10);
		*n += has_ended(xids[*n], now);
		at = *end == ',' ? end + 1 : end;
	}
	for (uint64 xid = xmax; xid < next; xid++)
	{
		xids[*n] = xid;
		*n += has_ended(xid, now);
	}
	return xids;
}

static Datum
xid_array(const uint64 *xids, int n)
{
	Datum *elements = palloc(Max(1, n) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = FullTransactionIdGetDatum(FullTransactionIdFromU64(xids[i]));
	return PointerGetDatum(construct_array(elements, n, XID8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * The snapshot must be younger than the locks. An ALTER TABLE that rewrites the
 * outbox makes all rows as new as itself. A snapshot taken before its commit,
 * while we wait for its lock, would show none of them, and stragglers would count
 * as read.
 */
void
wh_store_begin_reading(void)
{
	wh_scan_lock();
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
wh_store_read(const WhPosition *from, WhPage *page)
{
	/* the limits are literals so that the planner knows them; they equal WH_PAGE_EVENTS */
	/* event_number + 0: so that the planner can use no other index than that of xid */
	/* clang-format off */
	static WhPlan stragglers = {
		.sql =
		"SELECT " WH_EVENT_COLUMNS
		"  FROM webhook.outbox o"
		" WHERE o.xid = ANY ($1)"
		"   AND o.event_number + 0 <= $2"
		" ORDER BY o.event_number + 0"
		" LIMIT 500",
		2,
		{XID8ARRAYOID, INT8OID}};
	/* further pages of a cut go on by number and pass each row once, instead of collecting all that is left */
	static WhPlan further = {
		.sql =
		"SELECT " WH_EVENT_COLUMNS
		"  FROM webhook.outbox o"
		" WHERE o.event_number > $3 AND o.event_number <= $2"
		"   AND o.xid = ANY ($1)"
		" ORDER BY o.event_number"
		" LIMIT 500",
		3,
		{XID8ARRAYOID, INT8OID, INT8OID}};
	static WhPlan above = {
		.sql =
		"SELECT " WH_EVENT_COLUMNS
		"  FROM webhook.outbox o"
		" WHERE o.event_number > $1"
		" ORDER BY o.event_number"
		" LIMIT 500",
		1,
		{INT8OID}};
	/* clang-format on */
	size_t bytes = 0;
	bool within = from->within_snapshot != NULL;
	uint64 *xids;
	int n_xids;

	StaticAssertStmt(WH_PAGE_EVENTS == 500, "the statement's literal limit differs");
	Assert(page->max > 0 && page->max <= WH_PAGE_EVENTS);
	page->n = 0;
	page->snapshot = current_snapshot();
	page->next_xid = ReadNextFullTransactionId(); /* after the snapshot, never before */
	page->all_stragglers = true;
	page->all_above = false;
	xids = straggler_xids(from, within ? from->within_snapshot : page->snapshot, &n_xids);
	if (n_xids > 0 && (within || !wh_scan_transactions(page, &bytes, xids, n_xids, from->hi)))
	{
		Datum values[3] = {xid_array(xids, n_xids), Int64GetDatum(from->hi),
						   Int64GetDatum(from->within_last)};

		page->all_stragglers = fetch_into(page, &bytes, within ? &further : &stragglers, values);
	}
	page->n_stragglers = page->n;
	if (page->all_stragglers && !within && page->n < page->max && bytes < WH_PAGE_BYTES)
	{
		Datum value = Int64GetDatum(from->hi);

		if (!wh_scan_above(page, &bytes, from->hi, &page->all_above))
			page->all_above = fetch_into(page, &bytes, &above, &value);
	}
}

/*
 * A reader that uses only the first rows of a page has read as if the page had
 * ended there: within the stragglers, at their end, or above hi. One that uses none
 * stays where it was.
 */
WhPosition *
wh_store_position(const WhPosition *from, WhPage *page, int n)
{
	MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
	WhPosition *p = palloc0(sizeof(WhPosition));
	bool within = from->within_snapshot != NULL;

	Assert(n <= page->n);
	p->hi = from->hi;
	page->more = true;
	if (n == 0 && page->n > 0)
		p = wh_position_copy(from);
	else if (n < page->n_stragglers || !page->all_stragglers)
	{
		/* cut: the old position stays, with how far its stragglers have been read */
		p->snapshot = pstrdup(from->snapshot);
		p->next_xid = from->next_xid;
		p->within_snapshot = pstrdup(within ? from->within_snapshot : page->snapshot);
		p->within_next_xid = within ? from->within_next_xid : page->next_xid;
		p->within_last = n > 0 ? page->rows[n - 1].head.id : from->within_last;
	}
	else if (within)
	{
		/* all stragglers of the cut are read: the position becomes that of the cut's snapshot */
		p->snapshot = pstrdup(from->within_snapshot);
		p->next_xid = from->within_next_xid;
	}
	else
	{
		p->snapshot = pstrdup(page->snapshot);
		p->next_xid = page->next_xid;
		if (n > page->n_stragglers)
			p->hi = page->rows[n - 1].head.id;
		page->more = n < page->n || !page->all_above;
	}
	MemoryContextSwitchTo(old);
	return p;
}

/*
 * The newest asynchronous commit of the events' transactions up to which WAL may not
 * have been flushed. The server itself uses this to decide whether it may record
 * that a transaction has committed. A transaction older than what pg_xact keeps
 * ended long ago; one in the future belongs to another cluster, from which this
 * event was brought here.
 */
XLogRecPtr
wh_store_commits(const WhPage *page, int n)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());
	XLogRecPtr newest = InvalidXLogRecPtr;
	uint64 last = 0;
	uint64 oldest;

	LWLockAcquire(XactTruncationLock, LW_SHARED);
	oldest = next - (uint32) ((uint32) next - wh_transam_variables->oldestClogXid);
	for (int i = 0; i < n; i++)
	{
		uint64 xid = page->rows[i].head.xid;

		if (xid != last && xid >= oldest && xid < next)
			newest = Max(newest, TransactionIdGetCommitLSN((TransactionId) xid));
		last = xid;
	}
	LWLockRelease(XactTruncationLock);
	return newest;
}

int
wh_pair_compare(const void *a, const void *b)
{
	const WhPair *p = a;
	const WhPair *q = b;

	if (p->event_number != q->event_number)
		return p->event_number < q->event_number ? -1 : 1;
	if (p->subscription_id != q->subscription_id)
		return p->subscription_id < q->subscription_id ? -1 : 1;
	return 0;
}

WhPair *
wh_result_pairs(int *n)
{
	WhPair *pairs;

	*n = (int) SPI_processed;
	pairs = MemoryContextAllocHuge(wh_tx_results, Max(1, *n) * sizeof(WhPair));
	for (int i = 0; i < *n; i++)
		pairs[i] = (WhPair){.event_number = wh_result_int8((uint64) i, 1),
							.subscription_id = wh_result_int8((uint64) i, 2)};
	return pairs;
}

WhPair *
wh_store_dealt_with(const WhPair *pairs, int n_pairs, int *n)
{
	/* the log has an index on the event alone, the others on the pair: each is searched by what it has */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT a.event_number, a.subscription_id"
		"  FROM webhook.attempt a"
		" WHERE a.event_number = ANY ($3)"
		" UNION ALL "
		"SELECT p.event_number, p.subscription_id"
		"  FROM unnest($1, $2) k(event_number, subscription_id)"
		" CROSS JOIN LATERAL (SELECT * FROM webhook.pending b"
		"                      WHERE b.subscription_id = k.subscription_id"
		"                        AND b.event_number = k.event_number OFFSET 0) p"
		" UNION ALL "
		"SELECT d.event_number, d.subscription_id"
		"  FROM unnest($1, $2) k(event_number, subscription_id)"
		" CROSS JOIN LATERAL (SELECT * FROM webhook.dead_letter b"
		"                      WHERE b.subscription_id = k.subscription_id"
		"                        AND b.event_number = k.event_number OFFSET 0) d",
		3,
		{INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID}};
	/* clang-format on */
	int64 *columns[3];
	Datum values[3];
	int n_events = 0;
	WhPair *dealt;

	for (int i = 0; i < 3; i++)
		columns[i] = palloc(Max(1, n_pairs) * sizeof(int64));
	for (int i = 0; i < n_pairs; i++)
	{
		columns[0][i] = pairs[i].event_number;
		columns[1][i] = pairs[i].subscription_id;
		/* pairs of one event stand together */
		if (i == 0 || pairs[i].event_number != pairs[i - 1].event_number)
			columns[2][n_events++] = pairs[i].event_number;
	}
	for (int i = 0; i < 3; i++)
		values[i] = wh_int8_array(columns[i], i == 2 ? n_events : n_pairs);
	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	dealt = wh_result_pairs(n);
	qsort(dealt, *n, sizeof(WhPair), wh_pair_compare);
	return dealt;
}
