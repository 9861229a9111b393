/*
 * event_functions.c
 *	  What SQL cannot do by itself, for the SQL functions that make and find events
 *	  (test, redeliver, replay, operational events) and for watch.
 *
 * Runs in users' backends. The SQL functions that call it check what people have given.
 * Keeps nothing between calls. webhook_append_event() also runs in the worker, through
 * the triggers that make operational events.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "outbox.h"
#include "parser/parse_func.h"
#include "settings.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(webhook_append_event);
PG_FUNCTION_INFO_V1(webhook_calling_role);
PG_FUNCTION_INFO_V1(webhook_current_segment);
PG_FUNCTION_INFO_V1(webhook_event_now);
PG_FUNCTION_INFO_V1(webhook_lock_revival);
PG_FUNCTION_INFO_V1(webhook_is_current_xid);
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
						 .action_type = text_arg(fcinfo, 2),
						 .result = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3),
						 .tenant = text_arg(fcinfo, 4)};

	if (event.entity_type == NULL || event.action_type == NULL)
		ereport(ERROR, errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				errmsg("entity_type and action_type must not be null"), errdetail("One of them is null."),
				errhint("Pass both."));
	if (!PG_ARGISNULL(5))
		event.subscription_id = PG_GETARG_INT64(5);
	PG_RETURN_INT64(wh_outbox_append(&event));
}

Datum
webhook_calling_role(PG_FUNCTION_ARGS)
{
	if (InSecurityRestrictedOperation())
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(GetOuterUserId(), false))));
}

Datum
webhook_current_segment(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT16((int16) wh_segment_at(timestamptz_to_time_t(GetCurrentTimestamp())));
}

/*
 * event id -> the event, if it is committed by now. A transaction at REPEATABLE READ or
 * SERIALIZABLE has an old snapshot, and would not see what others have put into the
 * outbox since. The function called is read-only, so it uses the active snapshot.
 */
Datum
webhook_event_now(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(look, 1);
	FmgrInfo function;
	Oid type = INT8OID;
	Datum event;

	fmgr_info(LookupFuncName(list_make2(makeString("webhook_internal"), makeString("event_in_outbox")), 1,
							 &type, false),
			  &function);
	InitFunctionCallInfoData(*look, &function, 1, InvalidOid, NULL, NULL);
	look->args[0].value = PG_GETARG_DATUM(0);
	look->args[0].isnull = false;
	PushActiveSnapshot(GetLatestSnapshot());
	event = FunctionCallInvoke(look);
	PopActiveSnapshot();
	if (look->isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(event);
}

/*
 * Take a lock that nobody else uses: of the class of relations, but not a relation's
 * own lock. It ends with the transaction.
 */
Datum
webhook_lock_revival(PG_FUNCTION_ARGS)
{
	Oid outbox = get_relname_relid("outbox", get_namespace_oid("webhook", false));

	LockDatabaseObject(RelationRelationId, outbox, 0, ExclusiveLock);
	PG_RETURN_VOID();
}

Datum
webhook_is_current_xid(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(TransactionIdIsCurrentTransactionId(PG_GETARG_TRANSACTIONID(0)));
}

/*
 * The calling procedure is about to COMMIT. A clear error now is better than the
 * server's error later, halfway through.
 */
Datum
webhook_require_own_transaction(PG_FUNCTION_ARGS)
{
	bool atomic = true;

	if (fcinfo->context && IsA(fcinfo->context, CallContext))
		atomic = ((CallContext *) fcinfo->context)->atomic;
	if (atomic)
		ereport(ERROR, errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				errmsg("webhook.test() cannot run inside a transaction block"),
				errdetail("It commits an event and waits for the answer; nothing is sent before COMMIT."),
				errhint("CALL it outside of transaction blocks and functions."));
	PG_RETURN_VOID();
}

/*
 * Lock a table as CREATE TRIGGER does, for roles that may create a trigger on it: nobody
 * else may keep others from writing.
 */
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
