/*
 * capture.c
 *	  The triggers: a row change, or a TRUNCATE, becomes an event.
 *
 * PostgreSQL calls webhook_capture() after each changed row of a source, and
 * webhook_capture_truncate() after a TRUNCATE, in the application's backend and
 * transaction. The source's description (capture_source.c) decides what an event holds.
 * This file classifies the change, writes its JSON, and passes the event to outbox.c.
 *
 * An error here would fail the application's statement, so this file raises none. The
 * one exception is a trigger that is not AFTER ... FOR EACH ROW: it cannot go on as if
 * it had not fired (an INSTEAD OF trigger that does nothing says that it did
 * something). Everything is allocated in the context of the trigger's call, which is
 * reset after each row. No lock is taken: the statement holds the table's.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "capture.h"
#include "capture_origin.h"
#include "capture_source.h"
#include "commands/trigger.h"
#include "compat.h"
#include "outbox.h"
#include "row_json.h"
#include "utils/datum.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(webhook_capture);
PG_FUNCTION_INFO_V1(webhook_capture_truncate);

/* A result gets as much room as the one before it took, up to this. */
#define MAX_SIZE_HINT (64 * 1024)

/*
 * Comparing
 */

/*
 * Is the whole row stored as before? This recognizes most updates that change nothing,
 * without deforming the rows. Rows that differ may still have the same watched columns.
 */
static bool
is_same_tuple(const HeapTupleData *before, const HeapTupleData *after)
{
	const HeapTupleHeaderData *a = before->t_data;
	const HeapTupleHeaderData *b = after->t_data;

	return before->t_len == after->t_len && a->t_hoff == b->t_hoff &&
		   HeapTupleHeaderGetNatts(a) == HeapTupleHeaderGetNatts(b) &&
		   (a->t_infomask & HEAP_HASNULL) == (b->t_infomask & HEAP_HASNULL) &&
		   memcmp(a->t_bits, b->t_bits, before->t_len - SizeofHeapTupleHeader) == 0;
}

/*
 * Are two values, neither of them null, stored the same? An UPDATE keeps the TOAST
 * pointer of a value that it does not change. So stored bytes are compared first, before
 * anything is fetched.
 */
static bool
same_image(Datum a, Datum b, const WatchedColumn *column)
{
	if (!column->byval && column->len == -1)
	{
		const struct varlena *va = (const struct varlena *) DatumGetPointer(a);
		const struct varlena *vb = (const struct varlena *) DatumGetPointer(b);

		if (VARSIZE_ANY(va) == VARSIZE_ANY(vb) && memcmp(va, vb, VARSIZE_ANY(va)) == 0)
			return true;
	}
	return datum_image_eq(a, b, column->byval, column->len);
}

static bool
is_changed(TupleTableSlot *before, TupleTableSlot *after, const WatchedColumn *column)
{
	int i = column->attnum - 1;

	if (before->tts_isnull[i] || after->tts_isnull[i])
		return before->tts_isnull[i] != after->tts_isnull[i];
	return !same_image(before->tts_values[i], after->tts_values[i], column);
}

static bool
is_any_changed(TupleTableSlot *before, TupleTableSlot *after, const CaptureSource *source)
{
	for (int i = 0; i < source->nwatched; i++)
	{
		if (is_changed(before, after, &source->watched[i]))
			return true;
	}
	return false;
}

/*
 * The parts of an event
 */

/* JSON is written after room for the header of a text, so that it need not be copied into one. */
static void
begin_text(StringInfo buffer, int size)
{
	buffer->data = palloc(size);
	buffer->maxlen = size;
	resetStringInfo(buffer);
	buffer->len = VARHDRSZ;
}

static text *
end_text(StringInfo buffer)
{
	SET_VARSIZE(buffer->data, buffer->len);
	return (text *) buffer->data;
}

/* The key as text; several columns as a JSON array; NULL: there is none. */
static char *
entity_id(CaptureSource *source, TupleTableSlot *row)
{
	StringInfoData id;

	if (source->nkeys == 0)
		return NULL;
	if (source->nkeys == 1)
		return wh_key_text(&source->keys[0], row);
	initStringInfo(&id);
	for (int i = 0; i < source->nkeys; i++)
	{
		appendStringInfoChar(&id, i == 0 ? '[' : ',');
		wh_key_append(&id, &source->keys[i], row);
	}
	appendStringInfoChar(&id, ']');
	return id.data;
}

/* All captured columns. */
static text *
row_text(CaptureSource *source, TupleTableSlot *row)
{
	StringInfoData json;

	begin_text(&json, source->size_hint);
	wh_json_append_row(&json, source->columns, source->ncolumns, row);
	source->size_hint = Min(json.len + 64, MAX_SIZE_HINT);
	return end_text(&json);
}

/* The old values of the captured columns that changed. */
static text *
changed_text(CaptureSource *source, TupleTableSlot *before, TupleTableSlot *after)
{
	StringInfoData json;
	int start;

	begin_text(&json, source->size_hint);
	start = wh_json_open(&json);
	for (int i = 0; i < source->ncolumns; i++)
	{
		if (is_changed(before, after, &source->captured_images[i]))
			wh_json_append_member(&json, &source->columns[i], before);
	}
	wh_json_close(&json, start);
	return end_text(&json);
}

/* Fill in what all events of a row have. */
static void
begin_event(OutboxEvent *event, CaptureSource *source, TupleTableSlot *row, const char *action_type)
{
	memset(event, 0, sizeof(*event));
	event->action_type = action_type;
	event->entity_type = source->entity_type;
	event->entity_id = entity_id(source, row);
	if (source->tenant != NULL)
		event->tenant = wh_key_text(source->tenant, row);
}

void
wh_capture_row(CaptureSource *source, TupleTableSlot *row, OutboxEvent *event)
{
	slot_getsomeattrs(row, source->last_attribute);
	begin_event(event, source, row, NULL);
	event->result = row_text(source, row);
}

/*
 * The kinds of events
 */

static void
capture_new(CaptureSource *source, TupleTableSlot *row)
{
	OutboxEvent event;

	begin_event(&event, source, row, "new");
	event.result = row_text(source, row);
	wh_outbox_append(&event);
}

static void
capture_delete(CaptureSource *source, TupleTableSlot *row)
{
	OutboxEvent event;

	begin_event(&event, source, row, "delete");
	if (source->previous)
		event.previous = row_text(source, row);
	wh_outbox_append(&event);
}

static void
capture_update(CaptureSource *source, TupleTableSlot *before, TupleTableSlot *after)
{
	OutboxEvent event;

	begin_event(&event, source, after, "update");
	event.result = row_text(source, after);
	if (source->previous)
		event.previous = changed_text(source, before, after);
	wh_outbox_append(&event);
}

/*
 * Has the update made it another entity? The text decides: the same key may be stored
 * differently.
 */
static bool
is_entity_changed(CaptureSource *source, TupleTableSlot *before, TupleTableSlot *after)
{
	char *old_id;
	char *new_id;

	if (source->nkeys == 0)
		return false;
	old_id = entity_id(source, before);
	new_id = entity_id(source, after);
	if (old_id == NULL || new_id == NULL)
		return old_id != new_id;
	return strcmp(old_id, new_id) != 0;
}

/*
 * Which events a source makes of a change. An update that gives the row another key is
 * the end of one entity and the start of another, for anyone who keeps a copy.
 */
static int
actions_told(CaptureSource *source, const TriggerData *trigger)
{
	int actions = CAPTURE_UPDATE;

	if (source->unusable)
		return 0;
	slot_getsomeattrs(trigger->tg_trigslot, source->last_attribute);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		actions = CAPTURE_NEW;
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		actions = CAPTURE_DELETE;
	else
	{
		slot_getsomeattrs(trigger->tg_newslot, source->last_attribute);
		if (!is_any_changed(trigger->tg_trigslot, trigger->tg_newslot, source))
			return 0;
		if (is_entity_changed(source, trigger->tg_trigslot, trigger->tg_newslot))
			actions = CAPTURE_DELETE | CAPTURE_NEW;
	}
	return actions & source->action_types;
}

/*
 * Which of these events the triggers of tables above this partition leave to it. If one
 * of them makes an event, none; except if the row got another key, and that trigger
 * watches only the delete or only the new.
 */
static int
actions_left(CaptureSource *source, const TriggerData *trigger, int actions)
{
	for (int i = 0; i < source->nsuperiors && actions != 0; i++)
	{
		const CaptureSuperior *superior = &source->superiors[i];
		int told = 0;

		if (wh_plain_trigger_fires(superior->type, superior->enabled, trigger->tg_event))
			told = actions_told(superior->source, trigger);
		if (told & CAPTURE_UPDATE)
			actions = 0;
		else if (told != 0)
			actions &= (CAPTURE_DELETE | CAPTURE_NEW) & ~told;
	}
	return actions;
}

static void
capture_row(CaptureSource *source, const TriggerData *trigger)
{
	const bool is_update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	int actions;

	if (is_update && is_same_tuple(trigger->tg_trigtuple, trigger->tg_newtuple))
		return;
	actions = actions_left(source, trigger, actions_told(source, trigger));
	if (actions & CAPTURE_DELETE)
		capture_delete(source, trigger->tg_trigslot);
	if (actions & CAPTURE_NEW)
		capture_new(source, is_update ? trigger->tg_newslot : trigger->tg_trigslot);
	if (actions & CAPTURE_UPDATE)
		capture_update(source, trigger->tg_trigslot, trigger->tg_newslot);
}

/*
 * The trigger functions
 */

static void
capture_error_context(void *arg)
{
	errcontext("capture of a change of table \"%s\" for webhooks", RelationGetRelationName((Relation) arg));
}

static void
reject_call(const char *function, const char *how)
{
	ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
					errmsg("function webhook.%s() was not called by the right trigger", function),
					errdetail("It must be executed by a trigger %s.", how),
					errhint("Create the trigger with webhook.watch().")));
}

Datum
webhook_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	ErrorContextCallback callback;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		reject_call("capture", "AFTER INSERT, UPDATE or DELETE, FOR EACH ROW");

	callback.callback = capture_error_context;
	callback.arg = trigger->tg_relation;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	capture_row(wh_capture_source(trigger->tg_relation, trigger->tg_trigger), trigger);
	error_context_stack = callback.previous;
	PG_RETURN_POINTER(NULL);
}

Datum
webhook_capture_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	OutboxEvent event = {.action_type = "truncate"};
	CaptureSource *source;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) || !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		reject_call("capture_truncate", "AFTER TRUNCATE, FOR EACH STATEMENT");

	source = wh_capture_source(trigger->tg_relation, trigger->tg_trigger);
	if (source->unusable)
		PG_RETURN_POINTER(NULL);
	event.entity_type = source->entity_type;
	wh_outbox_append(&event);
	PG_RETURN_POINTER(NULL);
}
