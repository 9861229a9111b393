/*
 * transform_call.c
 *	  One call of a transform, in the process of its owner.
 *
 *	  rights	session_user and current_user are the owner, and is_superuser is the
 *				owner's. The process has connected as the bootstrap superuser,
 *				because most owners may not log in. A call cannot get back to
 *				it: in a security-restricted operation everything that would set
 *				the role or the session's user is refused, also in functions
 *				with SET clauses and in SECURITY DEFINER functions of others
 *	  writing	the transaction is read-only and never committed: what can be
 *				written even so (large objects, NOTIFY) goes with it, and so does
 *				every setting. Advisory locks of the session are released,
 *				prepared statements are dropped
 *	  time		the call is cancelled, and again each time that it catches that
 *				(time_limit.c)
 *	  memory	allocations fail at the process's limit, which is an error of the
 *				call; the limit is lifted for handling it
 *	  errors	are answers
 *
 * The function is looked up by name without checking privileges on its schema: it
 * is the owner's own. It must belong to the role that owned it when it was set as
 * the transform, which is the role that this process has become.
 *
 * Owns the identity of the process, and its limit.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/prepare.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "clock.h"
#include "compat.h"
#include "memory_limit.h"
#include "store.h"
#include "time_limit.h"
#include "transform_process.h"

#define MESSAGE_MAX 1000 /* bytes of an error: more than the log has */

static Oid owner = InvalidOid; /* the role that this process has become */
static size_t memory;          /* its limit */

static void
limit_memory(void)
{
	if (!wh_memory_limit_set(memory))
		ereport(FATAL, errmsg("could not limit the memory of a transform's process: %m"));
}

/* What others see of this process, and who may cancel it, depends on its role. */
static void
show_owner(void)
{
	volatile PgBackendStatus *entry = MyBEEntry;

	MyProc->roleId = owner;
	if (entry == NULL)
		return;
	PGSTAT_BEGIN_WRITE_ACTIVITY(entry);
	entry->st_userid = owner;
	PGSTAT_END_WRITE_ACTIVITY(entry);
}

void
wh_transform_become(const char *name)
{
	bool superuser = false;

	memory = wh_memory_used() + WH_TRANSFORM_MEMORY;
	limit_memory();
	StartTransactionCommand();
	owner = get_role_oid(name, true);
	if (OidIsValid(owner))
		superuser = superuser_arg(owner);
	CommitTransactionCommand();
	if (!OidIsValid(owner))
		return;
	/* outside of a transaction: so no rollback undoes it */
	SetSessionAuthorization(owner, superuser);
	show_owner();
}

/* One call, and its result. */
typedef struct Call
{
	const WhRequest *request;
	char *const *texts;
	MemoryContext context; /* of the result */
	WhAnswer *answer;
	char *text;
} Call;

/* The text is in the call's memory and UTF-8. */
static void
set_text(Call *call, WhOutcomeKind outcome, char *text)
{
	call->text = text;
	*call->answer = (WhAnswer){.kind = WH_ANSWER_OUTCOME, .outcome = outcome, .len = strlen(text)};
}

static HeapTuple
look_up(const char *qualified, Oid argument)
{
	List *names = textToQualifiedNameList(cstring_to_text(qualified));
	char *schema;
	char *name;
	Oid namespace;

	DeconstructQualifiedName(names, &schema, &name);
	namespace = schema ? get_namespace_oid(schema, true) : InvalidOid;
	if (!OidIsValid(namespace) || !OidIsValid(argument))
		return NULL;
	return SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(&argument, 1)), ObjectIdGetDatum(namespace));
}

/* Its oid. InvalidOid: it belongs to a role of the right name that is not the one this process has become. */
static Oid
find_function(const Call *call, Oid outbox_type)
{
	const char *function = call->texts[WH_REQUEST_FUNCTION];
	HeapTuple row = look_up(function, outbox_type);
	Form_pg_proc form;
	const char *owned_by;
	Oid oid;

	if (!HeapTupleIsValid(row))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("function %s(webhook.outbox) does not exist", function));
	form = (Form_pg_proc) GETSTRUCT(row);
	if (form->prorettype != JSONOID || form->proretset || form->prokind != PROKIND_FUNCTION)
		ereport(ERROR, errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("%s(webhook.outbox) is not a function that returns json", function));
	owned_by = GetUserNameFromId(form->proowner, true);
	/* else a subscription could run with the rights of whoever creates a function of that name later */
	if (owned_by == NULL || strcmp(owned_by, call->texts[WH_REQUEST_OWNER]) != 0)
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("function %s(webhook.outbox) has another owner than when it was set as the transform",
					   function));
	oid = form->proowner == owner ? form->oid : InvalidOid;
	ReleaseSysCache(row);
	return oid;
}

/* The event as a row of webhook.outbox, whatever the order of its columns; unknown ones are null. */
static Datum
event_row(const WhRequest *r, char *const *texts, Oid outbox_type)
{
	TupleDesc desc = lookup_rowtype_tupdesc_copy(outbox_type, -1);
	const struct
	{
		const char *name;
		char *value;
	} columns[] = {
		{"event_number", psprintf(INT64_FORMAT, r->id)},
		{"xid", psprintf(UINT64_FORMAT, r->xid)},
		{"entity_id", wh_from_utf8(texts[WH_REQUEST_ENTITY_ID])},
		{"entity_type", wh_from_utf8(texts[WH_REQUEST_ENTITY_TYPE])},
		{"action_type", wh_from_utf8(texts[WH_REQUEST_ACTION])},
		{"result", wh_from_utf8(texts[WH_REQUEST_RESULT])},
		{"previous", wh_from_utf8(texts[WH_REQUEST_PREVIOUS])},
		{"tenant", wh_from_utf8(texts[WH_REQUEST_TENANT])},
		{"context", wh_from_utf8(texts[WH_REQUEST_CONTEXT])},
		{"subscription_id", r->subscription_id ? psprintf(INT64_FORMAT, r->subscription_id) : NULL},
		{"created_at", pstrdup(timestamptz_to_str(wh_timestamp_of(r->created_us)))},
		{"segment", psprintf("%d", r->segment)},
	};
	char **values = palloc0(desc->natts * sizeof(char *));

	for (int i = 0; i < desc->natts; i++)
		for (int k = 0; k < (int) lengthof(columns); k++)
			if (!TupleDescAttr(desc, i)->attisdropped &&
				strcmp(NameStr(TupleDescAttr(desc, i)->attname), columns[k].name) == 0)
				values[i] = columns[k].value;
	return HeapTupleGetDatum(BuildTupleFromCStrings(TupleDescGetAttInMetadata(desc), values));
}

/* Keep the result beyond the transaction. */
static void
keep_result(Call *call, Datum result)
{
	MemoryContext old = MemoryContextSwitchTo(call->context);

	set_text(call, WH_OUT_DELIVERED, wh_to_utf8(TextDatumGetCString(result)));
	if (call->answer->len > WH_TRANSFORM_MAX)
	{
		pfree(call->text);
		set_text(call, WH_OUT_BODY_TOO_LARGE,
				 psprintf("the transform made more than %d bytes", WH_TRANSFORM_MAX));
	}
	MemoryContextSwitchTo(old);
}

static void
call_step(Call *call)
{
	Oid outbox_type;
	Oid function;
	FmgrInfo flinfo;
	LOCAL_FCINFO(fcinfo, 1);
	Datum result;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactReadOnly = true;
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, psprintf("webhook: %s", call->texts[WH_REQUEST_FUNCTION]));
	outbox_type = get_rel_type_id(get_relname_relid("outbox", get_namespace_oid("webhook", false)));
	function = find_function(call, outbox_type);
	if (!OidIsValid(function))
	{
		call->answer->kind = WH_ANSWER_STALE;
		return;
	}
	SetSessionAuthorization(owner, superuser_arg(owner)); /* may have changed */
	SetUserIdAndSecContext(owner, SECURITY_RESTRICTED_OPERATION);
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);

	fcinfo->args[0] = (NullableDatum){.value = event_row(call->request, call->texts, outbox_type)};
	wh_time_limit_begin(call->request->ms);
	result = FunctionCallInvoke(fcinfo);
	if (fcinfo->isnull)
		call->answer->outcome = WH_OUT_SKIPPED;
	else
		keep_result(call, result);
}

/* Keep the error; returns its SQLSTATE. */
static int
keep_error(Call *call)
{
	ErrorData *error;
	char *text;
	int code;

	MemoryContextSwitchTo(call->context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	code = error->sqlerrcode;
	StartTransactionCommand(); /* to look up a conversion */
	MemoryContextSwitchTo(call->context);
	text = psprintf("%s%s%s", error->message, error->detail ? ": " : "", error->detail ? error->detail : "");
	text[pg_mbcliplen(text, (int) strlen(text), MESSAGE_MAX)] = '\0';
	set_text(call, WH_OUT_TRANSFORM, wh_to_utf8(text));
	return code;
}

void
wh_transform_call(const WhRequest *request, char *const *texts, WhAnswer *answer, char **text)
{
	Call call = {.request = request, .texts = texts, .context = CurrentMemoryContext, .answer = answer};
	volatile bool exceeded = false;
	volatile bool failed = false;
	volatile bool out_of_memory = false;

	*answer = (WhAnswer){.kind = WH_ANSWER_OUTCOME};
	PG_TRY();
	{
		call_step(&call);
		exceeded = wh_time_limit_end();
	}
	PG_CATCH();
	{
		exceeded = wh_time_limit_end();
		failed = true;
		(void) wh_memory_limit_set(0);
		out_of_memory = keep_error(&call) == ERRCODE_OUT_OF_MEMORY;
	}
	PG_END_TRY();
	AbortCurrentTransaction();
	LockReleaseSession(USER_LOCKMETHOD);
	DropAllPreparedStatements();
	pgstat_report_stat(false);
	if (failed)
		limit_memory();
	MemoryContextSwitchTo(call.context);
	if (exceeded)
		set_text(&call, WH_OUT_TRANSFORM_TIMEOUT,
				 psprintf("the transform did not return within %d ms", request->ms));
	answer->worn_out = out_of_memory; /* little memory may be left in the process */
	*text = call.text;
}
