/*
 * outbox.c
 *	  Append an event to the current drawer of webhook.outbox.
 *
 * Called by capture.c in the application's backend, once per event, and by tools.c. The row is
 * put into the drawer's table and indexes directly: SPI would cost more than
 * all the rest, and would bring in the caller's privileges, row security and
 * search_path, of which an event must not depend on any. Where an expression
 * somebody added to the table has to be evaluated (an index, a default, a
 * check), it runs as the table's owner, restricted as in maintenance commands.
 *
 * Locks: RowExclusiveLock on the drawer, its indexes and the sequence, kept to
 * the end of the transaction as an INSERT would. Nothing is kept in memory
 * from one event to the next; drawer.c caches what is known of the tables.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "compat.h"
#include "drawer.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "outbox.h"
#include "outbox_id.h"
#include "rewrite/rewriteHandler.h"
#include "settings.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
#include "wake.h"

static void
set_value(TupleTableSlot *slot, const DrawerShape *shape, OutboxColumn column, Datum value)
{
	slot->tts_values[shape->attnums[column] - 1] = value;
	slot->tts_isnull[shape->attnums[column] - 1] = false;
}

static void
set_text(TupleTableSlot *slot, const DrawerShape *shape, OutboxColumn column, const char *text, int len)
{
	if (text != NULL)
		set_value(slot, shape, column, PointerGetDatum(cstring_to_text_with_len(text, len)));
}

static void
set_string(TupleTableSlot *slot, const DrawerShape *shape, OutboxColumn column, const char *text)
{
	if (text != NULL)
		set_text(slot, shape, column, text, strlen(text));
}

static void
fill_slot(TupleTableSlot *slot, const DrawerShape *shape, const OutboxEvent *event)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	set_string(slot, shape, COLUMN_ENTITY_ID, event->entity_id);
	set_string(slot, shape, COLUMN_ENTITY_TYPE, event->entity_type);
	set_string(slot, shape, COLUMN_ACTION_TYPE, event->action);
	set_text(slot, shape, COLUMN_RESULT, event->result, event->result_len);
	set_text(slot, shape, COLUMN_PREVIOUS, event->previous, event->previous_len);
	set_string(slot, shape, COLUMN_TENANT, event->tenant);
	if (event->subscription_id != 0)
		set_value(slot, shape, COLUMN_SUBSCRIPTION_ID, Int64GetDatum(event->subscription_id));
	if (wh_context != NULL && wh_context[0] != '\0')
		set_string(slot, shape, COLUMN_CONTEXT, wh_context);
}

static void
insert_plain(Relation relation, const DrawerShape *shape, TupleTableSlot *slot)
{
	ExecStoreVirtualTuple(slot);
	table_tuple_insert(relation, slot, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < shape->nindexes; i++)
	{
		const PlainIndex *plain = &shape->indexes[i];
		Relation index = index_open(plain->oid, RowExclusiveLock);
		Datum values[INDEX_MAX_KEYS];
		bool isnull[INDEX_MAX_KEYS];

		for (int column = 0; column < plain->ncolumns; column++)
		{
			values[column] = slot->tts_values[plain->columns[column] - 1];
			isnull[column] = slot->tts_isnull[plain->columns[column] - 1];
		}
		/* btree has no use for an IndexInfo */
		index_insert(index, values, isnull, &slot->tts_tid, relation,
					 plain->unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, NULL);
		index_close(index, NoLock);
	}
}

/* Columns that somebody added get their default. */
static void
fill_defaults(Relation relation, const DrawerShape *shape, TupleTableSlot *slot, EState *estate)
{
	TupleDesc tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		Expr *expression;

		if (wh_drawer_column(shape, attribute->attnum) < OUTBOX_COLUMNS || attribute->attisdropped ||
			attribute->attgenerated != '\0' || !attribute->atthasdef)
			continue;
		expression = (Expr *) build_column_default(relation, i + 1);
		if (expression != NULL)
			slot->tts_values[i] = ExecEvalExpr(ExecPrepareExpr(expression, estate),
											   GetPerTupleExprContext(estate), &slot->tts_isnull[i]);
	}
}

/* The executor's way, for a drawer to which something was added that must be evaluated. */
static void
insert_evaluating(Relation relation, const DrawerShape *shape, TupleTableSlot *slot)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleConstr *constraints = RelationGetDescr(relation)->constr;
	int guc_level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	InitResultRelInfo(result, relation, 0, NULL, 0);
	ExecOpenIndices(result, false);
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
}

/* The user is changed for code that may have been added to the table; what we do asks for no grant. */
static void
insert_as_owner(Relation relation, const DrawerShape *shape, TupleTableSlot *slot)
{
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(relation->rd_rel->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	if (shape->plain)
		insert_plain(relation, shape, slot);
	else
		insert_evaluating(relation, shape, slot);
	SetUserIdAndSecContext(user, security);
}

static int64
epoch_seconds(TimestampTz at)
{
	return at / USECS_PER_SEC + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/*
 * The transaction gets its xid before the event gets its id. The readers of
 * the outbox rely on it: an id that was taken belongs to a transaction that is
 * to be found among the running ones until it ends. And since whoever changes
 * a row holds its row lock until commit, one writer's id is taken after the
 * other's commit: per entity, id order is commit order.
 */
int64
wh_outbox_append(const OutboxEvent *event)
{
	FullTransactionId xid = GetTopFullTransactionId();
	TimestampTz now = GetCurrentTimestamp();
	int drawer = wh_drawer_at(epoch_seconds(now));
	DrawerShape *shape;
	Relation relation;
	Relation ids;
	TupleTableSlot *slot;
	int64 id;

	relation = wh_open_drawer(drawer, &shape);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsVirtual);
	fill_slot(slot, shape, event);
	set_value(slot, shape, COLUMN_XID, FullTransactionIdGetDatum(xid));
	set_value(slot, shape, COLUMN_CREATED_AT, TimestampTzGetDatum(now));
	set_value(slot, shape, COLUMN_DRAWER, Int16GetDatum(drawer));
	ids = wh_open_outbox_sequence();
	id = wh_next_outbox_id(ids);
	set_value(slot, shape, COLUMN_ID, Int64GetDatum(id));
	relation_close(ids, NoLock);

	insert_as_owner(relation, shape, slot);

	ExecDropSingleTupleTableSlot(slot);
	table_close(relation, NoLock);
	wh_wake_at_commit();
	return id;
}
