/*
 * segment.c
 *	  The tables of webhook.outbox: finding and describing them.
 *
 * A backend looks the segments and the sequence up by name once. It caches the shape of
 * each segment: where our columns are, and which indexes there are. People may add
 * columns, indexes and constraints, so nothing is taken for granted.
 *
 * Invalidation callbacks only mark a shape stale. No relation is kept open from one
 * event to the next. A name's OID is trusted only if no message of other backends
 * arrived while waiting for the lock; otherwise the name is looked up again, as
 * RangeVarGetRelidExtended() does. The lock, RowExclusiveLock, is kept to the end of the
 * transaction, and nobody can take away or change a column meanwhile. So a shape that is
 * built under it is good for its caller, whatever arrives while it is built; it is only
 * built again the next time. Under debug_discard_caches something arrives with every
 * look-up. A shape that is replaced is freed with the transaction: it may still be in
 * use, because an expression in the table may have led here.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "segment.h"
#include "settings.h"
#include "sql_version.h"
#include "storage/sinval.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define SCHEMA "webhook"

#define INCOMPLETE_HINT                                                                                      \
	"Drop the table's trigger to continue without webhooks, or recreate the extension with DROP EXTENSION "  \
	"webhook CASCADE and CREATE EXTENSION webhook, which removes all subscriptions."

/*
 * In the order of OutboxColumn. A column that came after 1.0 may be missing, until the
 * extension is updated: then it is not filled. It must not be NOT NULL without a
 * default, because an older library does not fill it either.
 */
static const struct
{
	const char *name;
	Oid type;
	bool never_null;
	WhSqlVersion since;
} outbox_columns[] = {
	[COLUMN_ID] = {"event_number", INT8OID, true, WH_SQL_1_0},
	[COLUMN_XID] = {"xid", XID8OID, true, WH_SQL_1_0},
	[COLUMN_ENTITY_ID] = {"entity_id", TEXTOID, false, WH_SQL_1_0},
	[COLUMN_ENTITY_TYPE] = {"entity_type", TEXTOID, true, WH_SQL_1_0},
	[COLUMN_ACTION_TYPE] = {"action_type", TEXTOID, true, WH_SQL_1_0},
	[COLUMN_RESULT] = {"result", JSONOID, false, WH_SQL_1_0},
	[COLUMN_PREVIOUS] = {"previous", JSONOID, false, WH_SQL_1_0},
	[COLUMN_TENANT] = {"tenant", TEXTOID, false, WH_SQL_1_0},
	[COLUMN_CONTEXT] = {"context", JSONOID, false, WH_SQL_1_0},
	[COLUMN_SUBSCRIPTION_ID] = {"subscription_id", INT8OID, false, WH_SQL_1_0},
	[COLUMN_CREATED_AT] = {"created_at", TIMESTAMPTZOID, true, WH_SQL_1_0},
	[COLUMN_SEGMENT] = {"segment", INT2OID, true, WH_SQL_1_0},
};
StaticAssertDecl(lengthof(outbox_columns) == OUTBOX_COLUMNS, "every column of the outbox has a name");

static SegmentShape *shapes[WH_SEGMENTS];
static Oid sequence = InvalidOid;
static bool callbacks_registered = false;

/* Counts invalidations, so that a build notices one that arrives meanwhile. */
static uint64 invalidations = 0;

/*
 * Invalidation
 */

static void
relation_changed(Datum arg, Oid relid)
{
	invalidations++;
	for (int i = 0; i < WH_SEGMENTS; i++)
	{
		if (shapes[i] != NULL && (!OidIsValid(relid) || shapes[i]->relation == relid))
			shapes[i]->stale = true;
	}
	if (!OidIsValid(relid) || sequence == relid)
		sequence = InvalidOid;
}

/* A schema was renamed, dropped or created: the names may now mean other tables. */
static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

static void
register_callbacks(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
	callbacks_registered = true;
}

/*
 * Finding the tables
 */

static void
report_missing(const char *what, const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("%s " SCHEMA ".%s does not exist", what, name),
					errdetail("The changed table is watched, but the extension is incomplete."),
					errhint(INCOMPLETE_HINT)));
}

static Oid
find_relation(const char *what, const char *name)
{
	Oid schema = get_namespace_oid(SCHEMA, true);
	Oid relation = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(relation))
		report_missing(what, name);
	return relation;
}

Relation
wh_open_outbox_sequence(void)
{
	static const char *const name = "event_number_seq";

	if (!callbacks_registered)
		register_callbacks();
	for (;;)
	{
		uint64 messages_before = SharedInvalidMessageCounter;
		Oid oid = sequence;
		Relation relation;

		if (!OidIsValid(oid))
			sequence = oid = find_relation("sequence", name);
		relation = try_relation_open(oid, RowExclusiveLock);
		if (relation != NULL && (sequence == oid || SharedInvalidMessageCounter == messages_before))
			return relation;
		if (relation != NULL)
			relation_close(relation, RowExclusiveLock);
		sequence = InvalidOid;
	}
}

/*
 * The shape of a segment
 */

static void
locate_columns(SegmentShape *shape, Relation relation)
{
	TupleDesc tupdesc = RelationGetDescr(relation);

	for (int column = 0; column < OUTBOX_COLUMNS; column++)
	{
		AttrNumber attnum = get_attnum(RelationGetRelid(relation), outbox_columns[column].name);
		bool found =
			attnum > 0 && TupleDescAttr(tupdesc, attnum - 1)->atttypid == outbox_columns[column].type;

		if (!found && outbox_columns[column].since == WH_SQL_1_0)
			ereport(
				ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table " SCHEMA ".%s has no column \"%s\" of type %s",
						RelationGetRelationName(relation), outbox_columns[column].name,
						format_type_be(outbox_columns[column].type)),
				 errdetail("The changed table is watched, but the outbox was altered."),
				 errhint(
					 "Columns may be added to webhook.outbox, but its own columns must not be changed.")));
		shape->attnums[column] = found ? attnum : InvalidAttrNumber;
	}
}

int
wh_segment_column(const SegmentShape *shape, AttrNumber attnum)
{
	int column = 0;

	while (column < OUTBOX_COLUMNS && shape->attnums[column] != attnum)
		column++;
	return column;
}

/*
 * Can a row be stored without looking at constraints and defaults? The NOT NULLs of our
 * own columns always hold.
 */
static bool
has_plain_columns(const SegmentShape *shape, Relation relation)
{
	TupleDesc tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		int column = wh_segment_column(shape, attribute->attnum);

		if (attribute->attisdropped)
			continue;
		if (column == OUTBOX_COLUMNS && (attribute->atthasdef || attribute->attnotnull))
			return false;
		if (column < OUTBOX_COLUMNS && attribute->attnotnull && !outbox_columns[column].never_null)
			return false;
	}
	return tupdesc->constr == NULL || tupdesc->constr->num_check == 0;
}

/* Fill in a plain index; false: it is not plain. */
static bool
describe_index(PlainIndex *plain, Relation index)
{
	HeapTuple tuple = index->rd_indextuple;
	oidvector *opclasses;
	bool isnull;

	if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indisready ||
		!index->rd_index->indimmediate || index->rd_index->indisexclusion ||
		!heap_attisnull(tuple, Anum_pg_index_indexprs, NULL) ||
		!heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
		return false;
	opclasses =
		(oidvector *) DatumGetPointer(SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indclass, &isnull));
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		if (opclasses->values[i] >= FirstNormalObjectId)
			return false;
	}
	plain->oid = RelationGetRelid(index);
	plain->unique = index->rd_index->indisunique;
	plain->ncolumns = index->rd_index->indnatts;
	for (int i = 0; i < plain->ncolumns; i++)
		plain->columns[i] = index->rd_index->indkey.values[i];
	return true;
}

/* Returns false if any of the indexes is not plain. */
static bool
describe_indexes(SegmentShape *shape, Relation relation)
{
	List *oids = RelationGetIndexList(relation);
	bool plain = true;
	ListCell *cell;

	shape->indexes = MemoryContextAllocZero(shape->context, sizeof(PlainIndex) * Max(list_length(oids), 1));
	foreach (cell, oids)
	{
		Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);

		plain = plain && describe_index(&shape->indexes[shape->nindexes++], index);
		index_close(index, NoLock);
	}
	list_free(oids);
	return plain;
}

/* The caller has the relation locked. The shape is stale from the start if an invalidation arrives meanwhile. */
static SegmentShape *
build_shape(Relation relation)
{
	uint64 invalidations_before = invalidations;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "webhook segment", ALLOCSET_SMALL_SIZES);
	SegmentShape *shape = MemoryContextAllocZero(context, sizeof(SegmentShape));
	bool plain_indexes;

	if (relation->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"" SCHEMA ".%s\" is not a table", RelationGetRelationName(relation)),
						errdetail("The changed table is watched, but the outbox was replaced."),
						errhint(INCOMPLETE_HINT)));
	shape->context = context;
	shape->relation = RelationGetRelid(relation);
	shape->looked_at = InvalidBlockNumber;
	locate_columns(shape, relation);
	plain_indexes = describe_indexes(shape, relation);
	shape->plain = plain_indexes && has_plain_columns(shape, relation);
	shape->stale = invalidations != invalidations_before;
	return shape;
}

static void
replace_shape(int segment, SegmentShape *shape)
{
	if (shapes[segment] != NULL)
		MemoryContextSetParent(shapes[segment]->context, TopTransactionContext);
	shapes[segment] = shape;
	MemoryContextSetParent(shape->context, CacheMemoryContext);
}

Relation
wh_open_segment(int segment, SegmentShape **shape)
{
	if (!callbacks_registered)
		register_callbacks();
	for (;;)
	{
		uint64 messages_before;
		char name[NAMEDATALEN];
		Relation relation;
		SegmentShape *cached = shapes[segment];

		if (cached != NULL && !cached->stale)
		{
			relation = try_table_open(cached->relation, RowExclusiveLock);
			if (relation != NULL && !cached->stale)
			{
				*shape = cached;
				return relation;
			}
			if (relation != NULL)
				table_close(relation, RowExclusiveLock);
		}
		snprintf(name, sizeof(name), "outbox_%d", segment);
		messages_before = SharedInvalidMessageCounter;
		relation = try_table_open(find_relation("table", name), RowExclusiveLock);
		if (relation == NULL)
			continue;
		if (SharedInvalidMessageCounter != messages_before)
		{
			table_close(relation, RowExclusiveLock);
			continue;
		}
		*shape = build_shape(relation);
		replace_shape(segment, *shape);
		return relation;
	}
}
