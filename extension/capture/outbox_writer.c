/*
 * outbox_writer.c
 *	  Rows that wait and are written into a segment together.
 *
 * A writer belongs to whoever made it. It keeps the segment and the sequence open in its
 * resource owner, which releases them if an error ends the statement. Everything else is
 * memory, and is freed in the same way.
 *
 * If nobody has added anything to the segment, the insert functions of the table and of
 * btree are called directly. Otherwise, and with webhook.debug_plain_insert, the
 * executor's functions insert each row, and expressions run as the table's owner,
 * restricted as in maintenance commands.
 *
 * Locks: RowExclusiveLock on the segment, its indexes and the sequence, kept to the end
 * of the transaction, as an INSERT does.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heaptoast.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "compat.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "outbox_writer.h"
#include "rewrite/rewriteHandler.h"
#include "settings.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* After so many rows, a btree that has forgotten its last leaf is told it again. */
#define ROWS_PER_LEAF_SEARCH 16

/*
 * Inserting
 */

static bool
is_last_leaf(Relation index, BlockNumber block)
{
	Buffer buffer = ReadBuffer(index, block);
	Page page;
	bool is_last = false;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	/* a new page: somebody extends the index right now, or crashed while doing so */
	if (!PageIsNew(page))
	{
		BTPageOpaque opaque = BTPageGetOpaque(page);

		is_last = P_ISLEAF(opaque) && P_RIGHTMOST(opaque) && !P_ISROOT(opaque) && !P_IGNORE(opaque);
	}
	UnlockReleaseBuffer(buffer);
	return is_last;
}

/*
 * Each backend's btree remembers the last leaf that it inserted into. While that is the
 * last leaf, has room, and the key belongs there, btree does not descend from the root.
 * By itself it remembers only in indexes of three levels or more. Ids and xids ascend,
 * so here it pays in smaller indexes too, and btree is told the leaf. That is the file's
 * last page; or the one before it, if a root was made after it. btree does not rely on
 * what it is told: it checks the page like one that it remembered itself.
 */
static void
tell_last_leaf(Relation index)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index);

	for (BlockNumber block = blocks; block > BTREE_METAPAGE + 1 && block + 2 > blocks; block--)
	{
		if (is_last_leaf(index, block - 1))
		{
			RelationSetTargetBlock(index, block - 1);
			return;
		}
	}
}

static void
insert_into_index(const PlainIndex *plain, OutboxWriter *writer)
{
	Relation index = index_open(plain->oid, RowExclusiveLock);
	Datum values[INDEX_MAX_KEYS];
	bool isnull[INDEX_MAX_KEYS];

	for (int row = 0; row < writer->nrows; row++)
	{
		TupleTableSlot *slot = writer->slots[row];

		if (writer->nrows > 1 && row % ROWS_PER_LEAF_SEARCH == 0 &&
			RelationGetTargetBlock(index) == InvalidBlockNumber)
			tell_last_leaf(index);
		for (int column = 0; column < plain->ncolumns; column++)
			values[column] = slot_getattr(slot, plain->columns[column], &isnull[column]);
		/* btree needs no IndexInfo */
		index_insert(index, values, isnull, &slot->tts_tid, writer->relation,
					 plain->unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, NULL);
	}
	index_close(index, NoLock);
}

/*
 * A segment is appended to and emptied as a whole. Its holes are not filled: most are the
 * ends of pages into which no further row went. A small row would go into such an old
 * page, and after a checkpoint that page goes into the WAL as a whole. But pages that
 * VACUUM has emptied, because a transaction was rolled back, are used again, those of the
 * TOAST table as well. So is the free space map where many sessions extend the segment at
 * once: with its help they extend it by many pages.
 *
 * A statement of many rows looks for both itself. Those of one row look once for each page
 * that the backend fills: often enough to use what there is, and seldom enough to cost
 * nothing.
 */

/* Are there pages that VACUUM has emptied? If the backend has no page to fill, it gets one. */
static bool
find_emptied(OutboxWriter *writer)
{
	Relation relation = writer->relation;
	BlockNumber emptied = GetPageWithFreeSpace(relation, BLCKSZ / 2);
	Relation toast;

	if (emptied != InvalidBlockNumber)
	{
		if (RelationGetTargetBlock(relation) == InvalidBlockNumber)
			RelationSetTargetBlock(relation, emptied);
		return true;
	}
	if (!writer->wide || !OidIsValid(relation->rd_rel->reltoastrelid))
		return false;
	toast = table_open(relation->rd_rel->reltoastrelid, RowExclusiveLock);
	emptied = GetPageWithFreeSpace(toast, BLCKSZ / 2);
	table_close(toast, NoLock);
	return emptied != InvalidBlockNumber;
}

static int
insert_options(OutboxWriter *writer)
{
	Relation relation = writer->relation;
	SegmentShape *shape = writer->shape;
	BlockNumber block = RelationGetTargetBlock(relation);

	if (writer->nrows > 1 || block == InvalidBlockNumber || block != shape->looked_at ||
		(writer->wide && !shape->looked_at_toast))
	{
		if (!writer->none_emptied || (writer->wide && !shape->looked_at_toast))
			writer->none_emptied = !find_emptied(writer);
		shape->use_map = !writer->none_emptied || RelationExtensionLockWaiterCount(relation) > 0;
		shape->looked_at = block;
		shape->looked_at_toast = writer->wide;
	}
	return shape->use_map ? 0 : TABLE_INSERT_SKIP_FSM;
}

/* Insert the rows that wait, many in one WAL record. */
static void
insert_plain(OutboxWriter *writer)
{
	CommandId command = GetCurrentCommandId(true);
	int options = insert_options(writer);

	if (writer->nrows == 1)
		table_tuple_insert(writer->relation, writer->slots[0], command, options, NULL);
	else
		table_multi_insert(writer->relation, writer->slots, writer->nrows, command, options, NULL);
	for (int i = 0; i < writer->shape->nindexes; i++)
		insert_into_index(&writer->shape->indexes[i], writer);
}

/* Columns that somebody added get their defaults. */
static void
fill_defaults(Relation relation, const SegmentShape *shape, TupleTableSlot *slot, EState *estate)
{
	TupleDesc tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		Expr *expression;

		if (wh_segment_column(shape, attribute->attnum) < OUTBOX_COLUMNS || attribute->attisdropped ||
			attribute->attgenerated != '\0' || !attribute->atthasdef)
			continue;
		expression = (Expr *) build_column_default(relation, i + 1);
		if (expression != NULL)
			slot->tts_values[i] = ExecEvalExpr(ExecPrepareExpr(expression, estate),
											   GetPerTupleExprContext(estate), &slot->tts_isnull[i]);
	}
}

/* Insert with the executor, because something was added to the segment that must be evaluated. */
static void
insert_evaluating(OutboxWriter *writer)
{
	Relation relation = writer->relation;
	const SegmentShape *shape = writer->shape;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
	EState *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleConstr *constraints = RelationGetDescr(relation)->constr;
	int guc_level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	InitResultRelInfo(result, relation, 0, NULL, 0);
	ExecOpenIndices(result, false);
	memcpy(slot->tts_values, writer->values, sizeof(Datum) * slot->tts_tupleDescriptor->natts);
	memcpy(slot->tts_isnull, writer->isnull, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	fill_defaults(relation, shape, slot, estate);
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(relation);
	if (constraints != NULL && constraints->has_generated_stored)
		ExecComputeStoredGenerated(result, estate, slot, CMD_INSERT);
	if (constraints != NULL)
		ExecConstraints(result, slot, estate);
	table_tuple_insert(relation, slot, GetCurrentCommandId(true), 0, NULL);
	list_free(wh_insert_index_tuples(result, slot, estate));
	ExecCloseIndices(result);
	AtEOXact_GUC(false, guc_level);
	FreeExecutorState(estate);
	ExecDropSingleTupleTableSlot(slot);
}

/*
 * Insert as the table's owner, because of code that may have been added to the table.
 * Our own inserts need no privilege.
 */
static void
insert_as_owner(OutboxWriter *writer)
{
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(writer->relation->rd_rel->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	if (writer->direct)
		insert_plain(writer);
	else
		insert_evaluating(writer);
	SetUserIdAndSecContext(user, security);
}

/*
 * Rows that wait
 */

static void
make_slot(OutboxWriter *writer)
{
	MemoryContext caller = MemoryContextSwitchTo(writer->context);
	ResourceOwner owner = CurrentResourceOwner;

	CurrentResourceOwner = writer->owner;
	writer->slots[writer->nslots++] =
		MakeSingleTupleTableSlot(RelationGetDescr(writer->relation), &TTSOpsHeapTuple);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(caller);
}

void
wh_writer_add(OutboxWriter *writer)
{
	MemoryContext caller;
	HeapTuple row;

	if (!writer->direct)
	{
		insert_as_owner(writer);
		return;
	}
	if (writer->nrows == writer->nslots)
		make_slot(writer);
	caller = MemoryContextSwitchTo(writer->rows);
	row = heap_form_tuple(RelationGetDescr(writer->relation), writer->values, writer->isnull);
	MemoryContextSwitchTo(caller);
	/* the slot owns it: otherwise inserting would copy it */
	ExecStoreHeapTuple(row, writer->slots[writer->nrows++], true);
	writer->bytes += row->t_len;
	writer->wide = writer->wide || row->t_len > TOAST_TUPLE_THRESHOLD;
	if (writer->nrows == WH_WAITING_ROWS || writer->bytes >= WH_WAITING_BYTES)
		wh_writer_flush(writer);
}

void
wh_writer_flush(OutboxWriter *writer)
{
	MemoryContext caller;

	if (writer->nrows == 0)
		return;
	caller = MemoryContextSwitchTo(writer->rows);
	insert_as_owner(writer);
	for (int i = 0; i < writer->nrows; i++)
		ExecClearTuple(writer->slots[i]);
	MemoryContextSwitchTo(caller);
	writer->nrows = 0;
	writer->bytes = 0;
	writer->wide = false;
	if (writer->rows != writer->context)
		MemoryContextReset(writer->rows);
}

/*
 * The segment
 */

void
wh_writer_open(OutboxWriter *writer, int segment)
{
	ResourceOwner owner = CurrentResourceOwner;
	int natts;

	if (writer->relation != NULL && writer->segment == segment)
		return;
	wh_writer_close(writer);
	CurrentResourceOwner = writer->owner;
	writer->relation = wh_open_segment(segment, &writer->shape);
	writer->sequence = wh_open_outbox_sequence();
	CurrentResourceOwner = owner;
	writer->segment = segment;
	writer->direct = writer->shape->plain && !wh_debug_plain_insert;
	writer->none_emptied = false;
	natts = RelationGetNumberOfAttributes(writer->relation);
	writer->values = MemoryContextAlloc(writer->context, sizeof(Datum) * natts);
	writer->isnull = MemoryContextAlloc(writer->context, sizeof(bool) * natts);
}

void
wh_writer_close(OutboxWriter *writer)
{
	ResourceOwner owner = CurrentResourceOwner;

	if (writer->relation == NULL)
		return;
	wh_writer_flush(writer);
	CurrentResourceOwner = writer->owner;
	while (writer->nslots > 0)
		ExecDropSingleTupleTableSlot(writer->slots[--writer->nslots]);
	relation_close(writer->sequence, NoLock);
	table_close(writer->relation, NoLock);
	CurrentResourceOwner = owner;
	writer->relation = NULL;
}
