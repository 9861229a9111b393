/*
 * worker_transform.c
 *	  Calling the functions that subscriptions name as their transform.
 *
 * Called by the loop in worker.c, never while it is in a transaction or libcurl
 * is at work. The engine hands out a delivery, the function is called in a short
 * transaction of its own, and the engine is told what came of it. Whatever the
 * function does, that is an outcome of this delivery and of no other:
 *
 *	  rights	it runs as its owner, in a security-restricted operation
 *	  writing	the transaction is read-only
 *	  time		it is cancelled after WH_TRANSFORM_MS; and where it took long, the
 *				worker does other things for as long before the next one
 *	  errors	roll back the transaction, and are told to the engine
 *	  settings	those that the worker's own statements need are not in force, and
 *				what it sets does not outlive it; nor do advisory locks
 *
 * A function cannot evade its cancelling by catching it, because it is told again
 * with every error (in PL/pgSQL that ends it; in a language that never looks for
 * interrupts nothing does). Should one go on for as long again, the worker ends:
 * the launcher starts another, which counts an attempt for what was under way.
 *
 * Owns the time before which no function is called, and the timeout.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "store.h"
#include "worker.h"

#define WH_TRANSFORM_MS 500 /* documented in docs/PROFILES.md */
#define AGAIN_MS 100        /* it is told again that often that its time is over */
#define TOLD_MAX 5          /* then the process ends */
#define BUDGET_US 20000     /* of one turn of the loop */

static TimestampTz rest_until = 0;
static TimeoutId timeout;
static volatile sig_atomic_t told = 0; /* how often this call was told that its time is over */

/* What PostgreSQL calls in the signal handler. */
static void
time_is_over(void)
{
	told++;
	InterruptPending = true;
	if (told > TOLD_MAX)
		ProcDiePending = true;
	else
		QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Called for every error in it: whoever catches the one that we raised is told again. */
static void
tell_again(void *arg)
{
	if (told > 0)
		InterruptPending = QueryCancelPending = true;
}

void
wh_transform_set_up(void)
{
	timeout = RegisterTimeout(USER_TIMEOUT, time_is_over);
}

static void
start_clock(void)
{
	told = 0;
	enable_timeout_every(timeout, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), WH_TRANSFORM_MS),
						 AGAIN_MS);
}

static void
stop_clock(void)
{
	disable_timeout(timeout, false);
	if (told > 0)
		QueryCancelPending = false; /* it may have returned in that very moment */
}

/* One call, and what came of it. */
typedef struct Call
{
	const WhDelivery *delivery;
	const WhRoute *route;
	MemoryContext context; /* of what came of it */
	WhOutcomeKind kind;
	char *text; /* a body or a message, in UTF-8 */
} Call;

/* Its oid; `owner`: whose rights it has. */
static Oid
find_function(const WhRoute *route, Oid outbox_type, Oid *owner)
{
	List *names = textToQualifiedNameList(cstring_to_text(route->transform));
	Oid oid = LookupFuncName(names, 1, &outbox_type, true);
	HeapTuple row = OidIsValid(oid) ? SearchSysCache1(PROCOID, ObjectIdGetDatum(oid)) : NULL;
	Form_pg_proc form;
	const char *owned_by;

	if (!HeapTupleIsValid(row))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("function %s(webhook.outbox) does not exist", route->transform));
	form = (Form_pg_proc) GETSTRUCT(row);
	if (form->prorettype != JSONOID || form->proretset || form->prokind != PROKIND_FUNCTION)
		ereport(ERROR, errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("%s(webhook.outbox) is not a function that returns json", route->transform));
	*owner = form->proowner;
	owned_by = GetUserNameFromId(*owner, true);
	ReleaseSysCache(row);
	/* or a subscription could come to run with the rights of whoever makes a function of that name later */
	if (owned_by == NULL || route->transform_owner == NULL || strcmp(owned_by, route->transform_owner) != 0)
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("function %s(webhook.outbox) has another owner than when it was set as the transform",
					   route->transform));
	return oid;
}

static char *
to_server(const char *utf8)
{
	return utf8 ? pg_any_to_server(utf8, strlen(utf8), PG_UTF8) : NULL;
}

/* The event as a row of webhook.outbox, however its columns are arranged; those that we do not know are null. */
static Datum
event_row(const WhEvent *event, Oid outbox_type)
{
	TupleDesc desc = lookup_rowtype_tupdesc_copy(outbox_type, -1);
	const struct
	{
		const char *name;
		char *value;
	} columns[] = {
		{"id", psprintf(INT64_FORMAT, event->id)},
		{"xid", psprintf(UINT64_FORMAT, event->xid)},
		{"entity_id", to_server(event->entity_id)},
		{"entity_type", to_server(event->entity_type)},
		{"action_type", to_server(event->action)},
		{"result", to_server(event->result)},
		{"previous", to_server(event->previous)},
		{"tenant", to_server(event->tenant)},
		{"context", to_server(event->context)},
		{"subscription_id", event->subscription_id ? psprintf(INT64_FORMAT, event->subscription_id) : NULL},
		{"created_at", pstrdup(timestamptz_to_str(wh_timestamp_of(event->created_us)))},
		{"drawer", psprintf("%d", event->drawer)},
	};
	char **values = palloc0(desc->natts * sizeof(char *));

	for (int i = 0; i < desc->natts; i++)
		for (int k = 0; k < (int) lengthof(columns); k++)
			if (!TupleDescAttr(desc, i)->attisdropped &&
				strcmp(NameStr(TupleDescAttr(desc, i)->attname), columns[k].name) == 0)
				values[i] = columns[k].value;
	return HeapTupleGetDatum(BuildTupleFromCStrings(TupleDescGetAttInMetadata(desc), values));
}

/*
 * As any session would have them; what the worker sets for its own statements
 * would make others slow, or is not theirs. The search path is that of whatever
 * PostgreSQL itself runs on others' behalf.
 */
static int
enter_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"row_security", "on"},
		{"plan_cache_mode", "auto"},
		{"enable_seqscan", "on"},
		{"enable_sort", "on"},
		{"enable_bitmapscan", "on"},
		{"enable_hashjoin", "on"},
		{"enable_mergejoin", "on"},
	};
	int level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	return level;
}

static void
call_step(void *arg)
{
	Call *call = arg;
	Oid outbox_type;
	Oid function;
	Oid owner;
	Oid user;
	int security;
	int level;
	FmgrInfo flinfo;
	LOCAL_FCINFO(fcinfo, 1);
	ErrorContextCallback on_error = {.previous = error_context_stack, .callback = tell_again};
	Datum result;

	wh_tx_begin("webhook: transforming");
	XactReadOnly = true;
	outbox_type = get_rel_type_id(get_relname_relid("outbox", get_namespace_oid("webhook", false)));
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(GetSessionUserId(),
						   security); /* its schema need not be open to the extension's owner */
	function = find_function(call->route, outbox_type, &owner);
	SetUserIdAndSecContext(user, security);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum){.value = event_row(call->delivery->event, outbox_type)};

	SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	level = enter_settings();
	error_context_stack = &on_error;
	start_clock();
	result = FunctionCallInvoke(fcinfo);
	stop_clock();
	error_context_stack = on_error.previous;
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, security);

	call->kind = fcinfo->isnull ? WH_OUT_SKIPPED : WH_OUT_DELIVERED;
	if (!fcinfo->isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(call->context);

		call->text = wh_to_utf8(TextDatumGetCString(result));
		MemoryContextSwitchTo(old);
	}
	wh_tx_commit(false);
}

/* Call it; whatever goes wrong is what came of it. */
static void
call_guarded(Call *call)
{
	PG_TRY();
	{
		call_step(call);
	}
	PG_CATCH();
	{
		ErrorData *error;

		stop_clock();
		MemoryContextSwitchTo(call->context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		pgstat_report_activity(STATE_IDLE, NULL);
		MemoryContextSwitchTo(call->context);
		call->kind = WH_OUT_TRANSFORM;
		call->text = wh_to_utf8(psprintf("%s%s%s", error->message, error->detail ? ": " : "",
										 error->detail ? error->detail : ""));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(call->context);
	if (told > 0)
	{
		call->kind = WH_OUT_TRANSFORM_TIMEOUT;
		call->text = psprintf("the transform did not return within %d ms", WH_TRANSFORM_MS);
	}
	LockReleaseSession(USER_LOCKMETHOD);
}

static void
transform(const WhDelivery *delivery)
{
	MemoryContext old = CurrentMemoryContext;
	Call call = {.delivery = delivery,
				 .route = wh_route_find(wh_config_routing(), delivery->subscription_id)};

	call.context = AllocSetContextCreate(old, "webhook transform", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(call.context);
	call_guarded(&call);
	wh_deliver_transformed(wh_engine, call.kind, call.text, call.text ? strlen(call.text) : 0);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(call.context);
}

bool
wh_transform_run(void)
{
	TimestampTz began = GetCurrentTimestamp();
	TimestampTz now = began;
	const WhDelivery *delivery;

	if (began < rest_until && rest_until - began <= TOLD_MAX * AGAIN_MS * 1000 + WH_TRANSFORM_MS * 1000)
		return false;
	while (now - began < BUDGET_US && (delivery = wh_deliver_to_transform(wh_engine)) != NULL)
	{
		transform(delivery);
		now = GetCurrentTimestamp();
	}
	/* one alone took longer than all may: half of the time is everybody else's */
	rest_until = now - began > 2 * BUDGET_US ? now + (now - began) : 0;
	if (now > began)
		SetLatch(MyLatch); /* a function that waited for something may have swallowed it */
	return now > began;
}

TimestampTz
wh_transform_due(void)
{
	int64 due_us = wh_deliver_transform_due(wh_engine);

	return due_us == INT64_MAX ? DT_NOEND : Max(rest_until, wh_timestamp_of(due_us));
}
