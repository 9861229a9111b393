/*
 * unread.c
 *	  How many committed events wait to be read, and since when.
 *
 * Runs in users' backends, for anyone who may see the status. It reveals only numbers,
 * so no privilege on the tables is needed. Its cost is limited whatever the outbox holds:
 * from the newest checkpoint on, it scans the index on event_number of each segment,
 * 10,000 rows in total. It scans the indexes itself, without a statement. So there is no
 * bad plan, it waits for no lock, and it keeps none: a transaction left open after a look
 * at the status must not keep a segment from being emptied. Keeps nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "settings.h"
#include "unread.h"

#define CHECKPOINTS_MAX 1000 /* only so many of the newest are looked at */

/* A table, and an index that returns its rows in the order of a bigint column. */
typedef struct Ordered
{
	Relation table;
	Relation index;
	AttrNumber key;
} Ordered;

/* Open without waiting; NULL: it is gone or locked. Close it with its lock. */
static Relation
open_at_once(Oid relid)
{
	Relation relation;

	if (!OidIsValid(relid) || !ConditionalLockRelationOid(relid, AccessShareLock))
		return NULL;
	relation = try_relation_open(relid, NoLock);
	if (relation == NULL)
		UnlockRelationOid(relid, AccessShareLock);
	return relation;
}

/* A column's number; 0: no column has this name and type, because owners can alter tables. */
static AttrNumber
column(Relation table, const char *name, Oid type)
{
	AttrNumber n = get_attnum(RelationGetRelid(table), name);

	return n > 0 && TupleDescAttr(RelationGetDescr(table), n - 1)->atttypid == type ? n : 0;
}

static bool
ascends_by(Relation index, AttrNumber key)
{
	return index->rd_rel->relkind == RELKIND_INDEX && index->rd_rel->relam == BTREE_AM_OID &&
		   index->rd_index->indisvalid && index->rd_index->indkey.values[0] == key &&
		   index->rd_opfamily[0] == INTEGER_BTREE_FAM_OID && (index->rd_indoption[0] & INDOPTION_DESC) == 0 &&
		   heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

static Relation
find_index(Relation table, AttrNumber key)
{
	ListCell *lc;

	foreach (lc, RelationGetIndexList(table))
	{
		Relation index = open_at_once(lfirst_oid(lc));

		if (index && ascends_by(index, key))
			return index;
		if (index)
			relation_close(index, AccessShareLock);
	}
	return NULL;
}

static void
ordered_close(Ordered *o)
{
	if (o->index)
		relation_close(o->index, AccessShareLock);
	if (o->table)
		relation_close(o->table, AccessShareLock);
}

static bool
ordered_open(Ordered *o, Oid schema, const char *table, const char *key)
{
	*o = (Ordered){.table = open_at_once(get_relname_relid(table, schema))};
	if (o->table && o->table->rd_rel->relkind == RELKIND_RELATION)
		o->key = column(o->table, key, INT8OID);
	if (o->key > 0)
		o->index = find_index(o->table, o->key);
	if (o->index == NULL)
		ordered_close(o);
	return o->index != NULL;
}

/* Raise `hi` to the newest checkpoints of both kinds. */
static bool
newest_checkpoints(Oid schema, int64 *hi)
{
	Ordered o;
	SysScanDesc scan;
	HeapTuple row;
	AttrNumber kind;
	AttrNumber to;
	bool seen[2] = {false, false};

	if (!ordered_open(&o, schema, "checkpoint", "id"))
		return false;
	kind = column(o.table, "kind", TEXTOID);
	to = column(o.table, "hi", INT8OID);
	if (kind == 0 || to == 0)
	{
		ordered_close(&o);
		return false;
	}
	scan = systable_beginscan_ordered(o.table, o.index, GetActiveSnapshot(), 0, NULL);
	for (int n = 0; n < CHECKPOINTS_MAX && !(seen[0] && seen[1]) &&
					(row = systable_getnext_ordered(scan, BackwardScanDirection)) != NULL;
		 n++)
	{
		bool isnull[2];
		Datum word = heap_getattr(row, kind, RelationGetDescr(o.table), &isnull[0]);
		Datum value = heap_getattr(row, to, RelationGetDescr(o.table), &isnull[1]);
		const char *name = isnull[0] ? "" : TextDatumGetCString(word);
		int which = strcmp(name, "read") == 0 ? 0 : strcmp(name, "settled") == 0 ? 1 : -1;

		if (which < 0 || seen[which] || isnull[1])
			continue;
		seen[which] = true;
		*hi = Max(*hi, DatumGetInt64(value));
	}
	systable_endscan_ordered(scan);
	ordered_close(&o);
	return true;
}

/* Count a segment's events with numbers above `hi`; the first is always looked at. */
static bool
count_segment(Oid schema, int segment, int64 hi, WhUnread *out)
{
	char name[NAMEDATALEN];
	Ordered o;
	SysScanDesc scan;
	ScanKeyData above;
	HeapTuple row;
	AttrNumber created_at;

	snprintf(name, sizeof(name), "outbox_%d", segment);
	if (!ordered_open(&o, schema, name, "event_number"))
		return false;
	created_at = column(o.table, "created_at", TIMESTAMPTZOID);
	if (created_at == 0)
	{
		ordered_close(&o);
		return false;
	}
	ScanKeyInit(&above, o.key, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(hi));
	scan = systable_beginscan_ordered(o.table, o.index, GetActiveSnapshot(), 1, &above);
	while ((row = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		bool isnull;
		Datum value = heap_getattr(row, created_at, RelationGetDescr(o.table), &isnull);

		if (!isnull)
			out->oldest = Min(out->oldest, DatumGetTimestampTz(value));
		if (out->events >= WH_UNREAD_MAX)
			break;
		out->events++;
	}
	systable_endscan_ordered(scan);
	ordered_close(&o);
	return true;
}

bool
wh_unread(int64 read_to, WhUnread *out)
{
	Oid schema = get_namespace_oid("webhook", true);
	int64 hi = read_to;

	*out = (WhUnread){.oldest = PG_INT64_MAX};
	if (!OidIsValid(schema) || !newest_checkpoints(schema, &hi))
		return false;
	for (int segment = 0; segment < WH_SEGMENTS; segment++)
		if (!count_segment(schema, segment, hi, out))
			return false;
	return true;
}
