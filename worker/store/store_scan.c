/*
 * store_scan.c
 *	  Reads the segments of the outbox by their indexes, without a statement.
 *
 * A stream of small commits is read every few milliseconds, and nearly all that a
 * read costs is to begin: a statement over eight partitions plans nothing but opens
 * a plan node, a slot and expressions for each. Here each segment's index is asked
 * directly, as the server asks those of its catalogs. All segments are looked at,
 * always: a transaction that was open for long may have written into any.
 *
 * Which tables and indexes these are is found once, and again when an invalidation
 * comes. People may add columns and indexes, and may drop ours. If a segment has not
 * our columns in our order, or no plain index of numbers and of xids, the caller uses
 * statements, for all segments (store_read.c). So it does where a statement would not
 * just read: row security is forced, SELECT was revoked, or an index was rebuilt or given
 * up since it was described.
 *
 * Owns that description.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#include "schema_check.h"
#include "store.h"
#include "store_event.h"
#include "store_scan.h"

#define XIDS_MAX 100 /* more transactions than this are looked for by one statement */

/* The columns of WH_EVENT_COLUMNS, in its order. */
static const char *const columns[] = {
	"event_number", "xid",    "entity_id", "entity_type",     "action_type", "result",
	"previous",     "tenant", "context",   "subscription_id", "created_at",  "segment"};
#define NUMBER 1 /* attribute numbers */
#define XID 2

typedef struct Segment
{
	Oid table;
	Oid by_number;
	Oid by_xid;
	TupleDesc desc; /* a copy, which no invalidation takes away from a row that was read */
} Segment;

static Oid outbox = InvalidOid; /* InvalidOid: nothing is described yet */
static Segment *segments = NULL;
static int n_segments = 0;
static bool plain = false;  /* all of them are as expected */
static bool known = false;  /* no invalidation has come since they were described */
static bool direct = false; /* and this transaction may read them so */
static MemoryContext context = NULL;

/*
 * Which tables and indexes
 */

static void
on_relcache_invalidation(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(outbox) || relid == outbox)
		known = false;
	for (int i = 0; i < n_segments && known; i++)
		known = relid != segments[i].table && relid != segments[i].by_number && relid != segments[i].by_xid;
}

static bool
has_our_columns(Oid table)
{
	for (int i = 0; i < (int) lengthof(columns); i++)
		if (get_attnum(table, columns[i]) != i + 1)
			return false;
	return get_atttype(table, NUMBER) == INT8OID && get_atttype(table, XID) == XID8OID;
}

/* Are all rows of its table in it that any snapshot of ours may show? */
static bool
is_usable(Relation index)
{
	Form_pg_index form = index->rd_index;

	return form->indisvalid && form->indisready && form->indislive && !form->indcheckxmin;
}

/* Does this index find the rows of its table by this column, compared by this function, in ascending order? */
static bool
is_index_of(Relation index, AttrNumber column, Oid type, RegProcedure greater)
{
	Form_pg_index form = index->rd_index;
	Oid operator;

	if (index->rd_rel->relam != BTREE_AM_OID || form->indkey.values[0] != column)
		return false;
	if (!is_usable(index) || !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) ||
		index->rd_indoption[0] != 0)
		return false;
	operator= get_opfamily_member(index->rd_opfamily[0], type, type, BTGreaterStrategyNumber);
	return OidIsValid(operator) && get_opcode(operator) == greater;
}

static bool
describe_segment(Segment *segment)
{
	Relation rel = table_open(segment->table, NoLock);
	List *indexes;
	ListCell *lc;

	if (rel->rd_rel->relkind == RELKIND_RELATION && has_our_columns(segment->table))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		segment->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
		MemoryContextSwitchTo(old);
		indexes = RelationGetIndexList(rel);
		foreach (lc, indexes)
		{
			Relation index = index_open(lfirst_oid(lc), AccessShareLock);

			if (is_index_of(index, NUMBER, INT8OID, F_INT8GT))
				segment->by_number = RelationGetRelid(index);
			if (is_index_of(index, XID, XID8OID, F_XID8GT))
				segment->by_xid = RelationGetRelid(index);
			index_close(index, NoLock);
		}
		list_free(indexes);
	}
	table_close(rel, NoLock);
	return OidIsValid(segment->by_number) && OidIsValid(segment->by_xid);
}

/* Lock them, and find out what they are. */
static void
describe(Oid parent)
{
	List *all;
	ListCell *lc;

	if (context == NULL)
	{
		context = AllocSetContextCreate(TopMemoryContext, "webhook segments", ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(on_relcache_invalidation, (Datum) 0);
	}
	n_segments = 0;
	plain = false;
	MemoryContextReset(context);
	outbox = InvalidOid; /* until this has succeeded */
	known = true;        /* an invalidation from now on counts */
	all = find_all_inheritors(parent, AccessShareLock, NULL);
	segments = MemoryContextAllocZero(context, list_length(all) * sizeof(Segment));
	foreach (lc, all)
		if (lfirst_oid(lc) != parent)
			segments[n_segments++].table = lfirst_oid(lc);
	plain = n_segments > 0;
	for (int i = 0; i < n_segments; i++)
		plain = describe_segment(&segments[i]) && plain;
	list_free(all);
	outbox = parent;
}

/* Would a statement read the rows, and all of them, and by indexes? */
static bool
may_read(Oid parent)
{
	return pg_class_aclcheck(parent, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		   check_enable_rls(parent, InvalidOid, true) != RLS_ENABLED && !IgnoreSystemIndexes;
}

void
wh_scan_lock(void)
{
	Oid parent = get_relname_relid("outbox", get_namespace_oid("webhook", false));
	uint64 messages_before;

	LockRelationOid(parent, AccessShareLock);
	do
	{
		messages_before = SharedInvalidMessageCounter;
		if (!known || parent != outbox)
			describe(parent);
		else
			for (int i = 0; i < n_segments; i++)
				LockRelationOid(segments[i].table, AccessShareLock);
		/* under debug_discard_caches invalidations come by themselves, without a message */
	} while (!known && SharedInvalidMessageCounter != messages_before);
	wh_schema_check();
	direct = plain && may_read(parent);
}

/*
 * A scan of one segment
 */

typedef struct SegmentScan
{
	const Segment *segment;
	Relation table;
	Relation index;
	SysScanDesc scan;
	HeapTuple tuple; /* the current one; NULL: none is left */
	int64 number;    /* of that */
} SegmentScan;

static void
next(SegmentScan *s)
{
	bool isnull;

	CHECK_FOR_INTERRUPTS();
	s->tuple = systable_getnext_ordered(s->scan, ForwardScanDirection);
	if (s->tuple)
	{
		Datum number = heap_getattr(s->tuple, NUMBER, s->segment->desc, &isnull);

		/* it may be null if somebody has dropped a NOT NULL */
		s->number = isnull ? PG_INT64_MAX : DatumGetInt64(number);
	}
}

static void
begin(SegmentScan *s, ScanKey key)
{
	s->scan = systable_beginscan_ordered(s->table, s->index, GetActiveSnapshot(), 1, key);
	next(s);
}

static void
close_segment(SegmentScan *s)
{
	index_close(s->index, NoLock);
	table_close(s->table, NoLock);
}

/*
 * False: there is nothing to scan. Either it is empty: what the snapshot shows was in the
 * file before it was taken, and nobody can truncate a segment that is locked. Or its index
 * is not usable: REINDEX, for which we have waited here, may have rebuilt it for later
 * snapshots only.
 */
static bool
open_segment(SegmentScan *s, const Segment *segment, Oid index, bool *usable)
{
	*s = (SegmentScan){.segment = segment, .table = table_open(segment->table, NoLock)};
	if (RelationGetNumberOfBlocks(s->table) == 0)
	{
		table_close(s->table, NoLock);
		return false;
	}
	s->index = index_open(index, AccessShareLock);
	*usable = is_usable(s->index);
	if (!*usable)
		close_segment(s);
	return *usable;
}

static bool
is_full(const WhPage *page, size_t bytes)
{
	return page->n >= page->max || bytes >= WH_PAGE_BYTES;
}

static void
take(WhPage *page, size_t *bytes, const SegmentScan *s)
{
	WhRow *row = &page->rows[page->n++];

	wh_store_row(heap_copytuple(s->tuple), s->segment->desc, 1, row);
	*bytes += row->bytes;
}

/*
 * Stragglers
 */

static int
compare_numbers(const void *a, const void *b)
{
	const WhRow *p = a;
	const WhRow *q = b;

	return p->head.id < q->head.id ? -1 : p->head.id > q->head.id;
}

bool
wh_scan_transactions(WhPage *page, size_t *bytes, const uint64 *xids, int n, int64 hi)
{
	bool ok = direct && n <= XIDS_MAX;
	SegmentScan s;

	Assert(page->n == 0);
	for (int i = 0; i < n_segments && ok; i++)
	{
		if (!open_segment(&s, &segments[i], segments[i].by_xid, &ok))
			continue;
		for (int j = 0; j < n && ok; j++)
		{
			ScanKeyData key;

			ScanKeyInit(&key, XID, BTEqualStrategyNumber, F_XID8EQ,
						FullTransactionIdGetDatum(FullTransactionIdFromU64(xids[j])));
			for (begin(&s, &key); s.tuple && ok; next(&s))
			{
				if (s.number > hi)
					continue;
				ok = !is_full(page, *bytes);
				if (ok)
					take(page, bytes, &s);
			}
			systable_endscan_ordered(s.scan);
		}
		close_segment(&s);
	}
	if (!ok)
	{
		page->n = 0;
		*bytes = 0;
	}
	qsort(page->rows, page->n, sizeof(WhRow), compare_numbers);
	return ok;
}

/*
 * Above
 */

/* The scan with the lowest number; NULL: none has any left. */
static SegmentScan *
lowest(SegmentScan *scans, int n)
{
	SegmentScan *least = NULL;

	for (int i = 0; i < n; i++)
		if (scans[i].tuple && (least == NULL || scans[i].number < least->number))
			least = &scans[i];
	return least;
}

bool
wh_scan_above(WhPage *page, size_t *bytes, int64 hi, bool *all)
{
	SegmentScan *scans;
	SegmentScan *s = NULL;
	ScanKeyData key;
	bool usable = true;
	int n = 0;

	if (!direct)
		return false;
	scans = palloc(n_segments * sizeof(SegmentScan));
	ScanKeyInit(&key, NUMBER, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(hi));
	for (int i = 0; i < n_segments && usable; i++)
		if (open_segment(&scans[n], &segments[i], segments[i].by_number, &usable))
			begin(&scans[n++], &key);
	while (usable && (s = lowest(scans, n)) != NULL && !is_full(page, *bytes))
	{
		take(page, bytes, s);
		next(s);
	}
	*all = usable && s == NULL;
	for (int i = 0; i < n; i++)
	{
		systable_endscan_ordered(scans[i].scan);
		close_segment(&scans[i]);
	}
	return usable;
}
