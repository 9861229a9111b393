/*
 * tools.c
 *	  The C beneath people's tools (test, redeliver, replay) and operational
 *	  events: what SQL cannot do by itself.
 *
 * Run in users' backends, called by the functions of the install script, which
 * check what people have given; nothing in here is granted to anybody. Keeps
 * nothing between calls. webhook_append_event() also runs in the worker, by
 * the triggers that make operational events.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "capture.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/parsenodes.h"
#include "miscadmin.h"
#include "outbox.h"
#include "settings.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(webhook_append_event);
PG_FUNCTION_INFO_V1(webhook_captured);
PG_FUNCTION_INFO_V1(webhook_current_drawer);
PG_FUNCTION_INFO_V1(webhook_is_own);
PG_FUNCTION_INFO_V1(webhook_lock_source);
PG_FUNCTION_INFO_V1(webhook_next_xid);
PG_FUNCTION_INFO_V1(webhook_require_own_transaction);

static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* entity_type, entity_id, action_type, result, tenant, subscription_id -> the event's number */
Datum
webhook_append_event(PG_FUNCTION_ARGS)
{
	OutboxEvent event = {.entity_type = text_arg(fcinfo, 0),
						 .entity_id = text_arg(fcinfo, 1),
						 .action = text_arg(fcinfo, 2),
						 .result = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3),
						 .tenant = text_arg(fcinfo, 4)};

	if (event.entity_type == NULL || event.action == NULL)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("an event needs an entity type and an action"), errdetail("One of them is null."),
				errhint("Give both."));
	if (!PG_ARGISNULL(5))
		event.subscription_id = PG_GETARG_INT64(5);
	PG_RETURN_INT64(wh_outbox_append(&event));
}

static const Trigger *
find_trigger(Relation relation, const char *name)
{
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
		if (strcmp(triggers->triggers[i].tgname, name) == 0)
			return &triggers->triggers[i];
	ereport(ERROR, errcode(ERRCODE_UNDEFINED_OBJECT),
			errmsg("\"%s\" is not watched", RelationGetRelationName(relation)),
			errdetail("It has no trigger \"%s\".", name),
			errhint("SELECT * FROM webhook.source shows the watched tables."));
}

/*
 * source, trigger, row -> entity_id, result, tenant: what capture would tell
 * of the row. Capture itself does it, so nothing that a source leaves out is
 * ever told here.
 */
Datum
webhook_captured(PG_FUNCTION_ARGS)
{
	Relation relation = relation_open(PG_GETARG_OID(0), AccessShareLock);
	const Trigger *trigger = find_trigger(relation, NameStr(*PG_GETARG_NAME(1)));
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(2);
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	OutboxEvent event;
	TupleTableSlot *slot;
	TupleDesc desc;
	Datum values[3];
	bool nulls[3];

	if (HeapTupleHeaderGetTypeId(header) != relation->rd_rel->reltype)
		ereport(ERROR, errcode(ERRCODE_DATATYPE_MISMATCH),
				errmsg("the row is not one of \"%s\"", RelationGetRelationName(relation)),
				errdetail("It is of another type than the table's rows."),
				errhint("Give the table's row as a whole."));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	ItemPointerSetInvalid(&tuple.t_self);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(&tuple, slot, false);
	wh_capture_row(wh_capture_source(relation, trigger), slot, &event);

	nulls[0] = event.entity_id == NULL;
	nulls[1] = event.result == NULL;
	nulls[2] = event.tenant == NULL;
	values[0] = nulls[0] ? (Datum) 0 : CStringGetTextDatum(event.entity_id);
	values[1] = nulls[1] ? (Datum) 0 : PointerGetDatum(event.result);
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(event.tenant);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(relation, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
webhook_current_drawer(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT16((int16) wh_drawer_at(timestamptz_to_time_t(GetCurrentTimestamp())));
}

Datum
webhook_is_own(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(TransactionIdIsCurrentTransactionId(PG_GETARG_TRANSACTIONID(0)));
}

/* A procedure: what calls it is about to COMMIT. Better a clear error first than the server's in the midst of it. */
Datum
webhook_require_own_transaction(PG_FUNCTION_ARGS)
{
	bool atomic = true;

	if (fcinfo->context && IsA(fcinfo->context, CallContext))
		atomic = ((CallContext *) fcinfo->context)->atomic;
	if (atomic)
		ereport(ERROR, errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				errmsg("webhook.test cannot run inside a transaction block"),
				errdetail("It commits an event and waits for the answer: nothing is sent before COMMIT."),
				errhint("CALL it by itself, outside of BEGIN and of functions."));
	PG_RETURN_VOID();
}

/* For whoever may make a trigger on it, and just as that would: nobody else may keep others from writing. */
Datum
webhook_lock_source(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	AclResult allowed = pg_class_aclcheck(relid, GetUserId(), ACL_TRIGGER);

	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
	LockRelationOid(relid, ShareRowExclusiveLock);
	PG_RETURN_VOID();
}

Datum
webhook_next_xid(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(FullTransactionIdGetDatum(ReadNextFullTransactionId()));
}
