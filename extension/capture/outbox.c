/*
 * outbox.c
 *	  Append an event to the current segment of webhook.outbox.
 *
 * Runs in the application's backend, once per event. The row goes directly into the
 * segment's table and indexes (outbox_writer.c). SPI would cost more than all the rest.
 * It would also bring in the caller's privileges, row security and search_path, and an
 * event must not depend on any of these.
 *
 * The events of a statement are written together. Its AFTER triggers run in
 * ExecutorFinish. Meanwhile a writer keeps the segment open, and rows wait in it. They
 * are written when there are enough of them; and when a statement ends, also one inside
 * a trigger, so that whatever runs next sees them. An event takes its id when it
 * happens, not when its row is written.
 *
 * If the subtransaction that made a row is rolled back, the row must go too. So an event
 * waits only if it happens in the subtransaction of the statement itself, and is written
 * in it. All others are written at once, and so are those of COPY and of deferred
 * triggers. If the statement fails, its subtransaction is rolled back, and rows that
 * wait are forgotten.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "segment.h"
#include "executor/execdesc.h"
#include "executor/executor.h"
#include "outbox.h"
#include "outbox_id.h"
#include "outbox_writer.h"
#include "settings.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"
#include "wake.h"

/* The writer of the statement whose AFTER triggers run; NULL: none run. */
static OutboxWriter *statement = NULL;

/* The subtransaction of that statement, and the statement's memory. */
static SubTransactionId statement_subid;
static MemoryContext statement_context;

static ExecutorFinish_hook_type previous_finish = NULL;

/*
 * Events
 */

static void
set_value(OutboxWriter *writer, OutboxColumn column, Datum value)
{
	int i = writer->shape->attnums[column] - 1;

	if (i < 0)
		return;
	writer->values[i] = value;
	writer->isnull[i] = false;
}

static void
set_text(OutboxWriter *writer, OutboxColumn column, text *value)
{
	if (value != NULL)
		set_value(writer, column, PointerGetDatum(value));
}

static void
set_string(OutboxWriter *writer, OutboxColumn column, const char *string)
{
	if (string != NULL)
		set_value(writer, column, CStringGetTextDatum(string));
}

static void
set_event(OutboxWriter *writer, const OutboxEvent *event)
{
	memset(writer->isnull, true, sizeof(bool) * RelationGetNumberOfAttributes(writer->relation));
	set_string(writer, COLUMN_ENTITY_ID, event->entity_id);
	set_string(writer, COLUMN_ENTITY_TYPE, event->entity_type);
	set_string(writer, COLUMN_ACTION_TYPE, event->action_type);
	set_text(writer, COLUMN_RESULT, event->result);
	set_text(writer, COLUMN_PREVIOUS, event->previous);
	set_string(writer, COLUMN_TENANT, event->tenant);
	if (event->subscription_id != 0)
		set_value(writer, COLUMN_SUBSCRIPTION_ID, Int64GetDatum(event->subscription_id));
	if (wh_context != NULL && wh_context[0] != '\0')
		set_string(writer, COLUMN_CONTEXT, wh_context);
}

static int64
epoch_seconds(TimestampTz at)
{
	return at / USECS_PER_SEC + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

static int64
append(OutboxWriter *writer, const OutboxEvent *event, FullTransactionId xid, TimestampTz now)
{
	int64 id;

	set_event(writer, event);
	set_value(writer, COLUMN_XID, FullTransactionIdGetDatum(xid));
	set_value(writer, COLUMN_CREATED_AT, TimestampTzGetDatum(now));
	set_value(writer, COLUMN_SEGMENT, Int16GetDatum(writer->segment));
	id = wh_next_outbox_id(writer->sequence);
	set_value(writer, COLUMN_ID, Int64GetDatum(id));
	wh_writer_add(writer);
	return id;
}

/*
 * May an event wait now? Not if something must be evaluated when it is written: that
 * may be code which leads back here.
 */
static bool
may_wait(int segment)
{
	if (statement == NULL || statement_subid != GetCurrentSubTransactionId())
		return false;
	if (statement->context == NULL)
	{
		statement->context = AllocSetContextCreate(statement_context, "webhook events", ALLOCSET_SMALL_SIZES);
		statement->rows =
			AllocSetContextCreate(statement->context, "webhook events' rows", ALLOCSET_DEFAULT_SIZES);
	}
	wh_writer_open(statement, segment);
	return statement->direct;
}

/*
 * The transaction gets its xid before the event gets its id. Readers of the outbox rely
 * on this: an id that was taken belongs to a transaction that is among the running ones
 * until it ends. And whoever changes a row holds its row lock until commit. So the next
 * writer of the row takes an id after that commit: per entity, the order of ids is the
 * order of commits.
 */
int64
wh_outbox_append(const OutboxEvent *event)
{
	FullTransactionId xid = GetTopFullTransactionId();
	TimestampTz now = GetCurrentTimestamp();
	int segment = wh_segment_at(epoch_seconds(now));
	int64 id;

	if (may_wait(segment))
		id = append(statement, event, xid, now);
	else
	{
		OutboxWriter writer = {
			.context = CurrentMemoryContext, .rows = CurrentMemoryContext, .owner = CurrentResourceOwner};

		wh_writer_open(&writer, segment);
		id = append(&writer, event, xid, now);
		wh_writer_close(&writer);
	}
	wh_wake_at_commit();
	return id;
}

/*
 * Statements
 */

static void
run_finish(QueryDesc *query)
{
	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
}

/* Finish the outermost statement whose AFTER triggers may capture. */
static void
finish_with_writer(QueryDesc *query)
{
	OutboxWriter writer = {.owner = CurrentResourceOwner};

	statement_subid = GetCurrentSubTransactionId();
	statement_context = query->estate->es_query_cxt;
	statement = &writer;
	PG_TRY();
	{
		run_finish(query);
		wh_writer_close(&writer);
	}
	PG_FINALLY();
	{
		statement = NULL;
	}
	PG_END_TRY();
}

static void
finish_statement(QueryDesc *query)
{
	if (query->operation == CMD_SELECT && !query->plannedstmt->hasModifyingCTE)
		run_finish(query);
	else if (statement == NULL)
		finish_with_writer(query);
	else
	{
		run_finish(query);
		if (statement_subid == GetCurrentSubTransactionId())
			wh_writer_flush(statement);
	}
}

void
wh_outbox_install(void)
{
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish_statement;
}
