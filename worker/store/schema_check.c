/*
 * schema_check.c
 *	  Are our tables as the extension made them?
 *
 * This tells a foreign or half-made schema of the same name from ours before
 * anything fails on it. It is checked before every statement, including those of
 * functions, at the price of a flag unless an invalidation has come. Rows are
 * read by position and type, so a column that was given another type would be
 * misread, which can crash the worker and with it the server. Added columns, and
 * whatever else people do to a table, do not matter here: a statement that fails
 * because of them just fails.
 *
 * Do our tables belong to the extension's owner alone? What somebody else has put
 * on them would run with the owner's rights (store_rights.c), so that is checked
 * together with the columns.
 *
 * By then the statement holds its locks, and what was altered while it waited for
 * them is known. The executor locks the segment that a row goes into only when it
 * gets there, so the code that writes into a log locks it first.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "parser/parse_coerce.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "grow.h"
#include "schema_check.h"
#include "store_rights.h"

/* Of tables that are read: the columns that are. Of tables that are only written: enough to recognise them. */
static const struct
{
	const char *table;
	const char *column;
	Oid type;
} needed[] = {
	{"identity", "instance", TEXTOID},
	{"identity", "system_identifier", INT8OID},
	{"identity", "database_oid", OIDOID},
	{"identity", "timeline", INT4OID},
	{"identity", "enabled_at", TIMESTAMPTZOID},
	{"subscription", "id", INT8OID},
	{"subscription", "name", TEXTOID},
	{"subscription", "url", TEXTOID},
	{"subscription", "events", TEXTARRAYOID},
	{"subscription", "tenant", TEXTOID},
	{"subscription", "filter", JSONPATHOID},
	{"subscription", "headers", JSONBOID},
	{"subscription", "retry_schedule", INTERVALARRAYOID},
	{"subscription", "give_up_after", INTERVALOID},
	{"subscription", "timeout", INTERVALOID},
	{"subscription", "ordering", TEXTOID},
	{"subscription", "changed_columns", TEXTARRAYOID},
	{"subscription", "exclude_origins", TEXTARRAYOID},
	{"subscription", "state", TEXTOID},
	{"profile", "name", TEXTOID},
	{"profile", "envelope", JSONOID},
	{"secret", "subscription_id", INT8OID},
	{"secret", "secret", TEXTOID},
	{"secret", "expires_at", TIMESTAMPTZOID},
	{"credential", "subscription_id", INT8OID},
	{"credential", "kind", TEXTOID},
	{"credential", "value", TEXTOID},
	{"outbox", "event_number", INT8OID},
	{"outbox", "xid", XID8OID},
	{"outbox", "entity_id", TEXTOID},
	{"outbox", "entity_type", TEXTOID},
	{"outbox", "action_type", TEXTOID},
	{"outbox", "result", JSONOID},
	{"outbox", "previous", JSONOID},
	{"outbox", "tenant", TEXTOID},
	{"outbox", "context", JSONOID},
	{"outbox", "subscription_id", INT8OID},
	{"outbox", "created_at", TIMESTAMPTZOID},
	{"outbox", "segment", INT2OID},
	{"attempt", "outcome", TEXTOID},
	{"attempt", "started_at", TIMESTAMPTZOID},
	{"pending", "subscription_id", INT8OID},
	{"pending", "event_number", INT8OID},
	{"pending", "lane", INT8OID},
	{"pending", "state", TEXTOID},
	{"pending", "attempts", INT4OID},
	{"pending", "next_attempt_at", TIMESTAMPTZOID},
	{"pending", "first_attempt_at", TIMESTAMPTZOID},
	{"pending", "segment", INT2OID},
	{"pending", "size", INT4OID},
	{"pending", "batch", INT8OID},
	{"pending", "judged", BOOLOID},
	{"dead_letter", "reason", TEXTOID},
	{"checkpoint", "id", INT8OID},
	{"checkpoint", "kind", TEXTOID},
	{"checkpoint", "snapshot", PG_SNAPSHOTOID},
	{"checkpoint", "next_xid", XID8OID},
	{"checkpoint", "hi", INT8OID},
	{"checkpoint", "within", JSONBOID},
	{"webhook_internal.breaker_notice", "subscription_id", INT8OID},
	{"webhook_internal.operator_isolation", "isolated_since", TIMESTAMPTZOID},
};

#define INTERNAL "webhook_internal."

static Oid *ours = NULL; /* the tables and their segments */
static int n_ours = 0;
static int cap_ours = 0;
static WhRightsSeen functions; /* functions that may run in statements on them */
static Oid owner_known = InvalidOid;
static Oid schema_known = InvalidOid;
static bool stale = false;
static ExecutorStart_hook_type previous_start = NULL;

/* The type of a column; InvalidOid: there is none of that name. */
static Oid
column_type(Oid relid, const char *name)
{
	HeapTuple tuple = SearchSysCacheAttName(relid, name);
	Oid type = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		type = ((Form_pg_attribute) GETSTRUCT(tuple))->atttypid;
		ReleaseSysCache(tuple);
	}
	return type;
}

/* A table and its segments. When those change, the table is invalidated as well. */
static void
remember(Oid relid)
{
	List *all = find_all_inheritors(relid, NoLock, NULL);
	ListCell *lc;

	foreach (lc, all)
	{
		if (n_ours == cap_ours)
			ours = wh_grow(TopMemoryContext, ours, &cap_ours, 64, sizeof(*ours));
		ours[n_ours++] = lfirst_oid(lc);
	}
	list_free(all);
}

static const char *
column_problem(Oid schema, Oid internal)
{
	Oid table = InvalidOid;

	n_ours = 0;
	for (int i = 0; i < (int) lengthof(needed); i++)
	{
		bool same = i > 0 && strcmp(needed[i].table, needed[i - 1].table) == 0;
		Oid type;

		if (!same)
			table = strncmp(needed[i].table, INTERNAL, strlen(INTERNAL)) == 0
						? get_relname_relid(needed[i].table + strlen(INTERNAL), internal)
						: get_relname_relid(needed[i].table, schema);
		if (!same && OidIsValid(table))
			remember(table);
		type = OidIsValid(table) ? column_type(table, needed[i].column) : InvalidOid;
		/* text may have become varchar */
		if (OidIsValid(type) && (type == needed[i].type || IsBinaryCoercible(type, needed[i].type)))
			continue;
		return psprintf("the table %s%s is missing or not as the extension made it%s%s",
						strchr(needed[i].table, '.') ? "" : "webhook.", needed[i].table,
						OidIsValid(table) ? ": column " : "", OidIsValid(table) ? needed[i].column : "");
	}
	return NULL;
}

const char *
wh_schema_problem(Oid schema)
{
	Oid internal = get_namespace_oid("webhook_internal", true);
	const char *problem;

	stale = false; /* an invalidation from now on counts */
	schema_known = schema;
	owner_known = wh_rights_owner();
	problem = column_problem(schema, internal);
	if (problem == NULL)
		problem = wh_rights_problem(schema, internal, ours, n_ours, &functions);
	stale = problem != NULL;
	return problem;
}

void
wh_schema_changed(Oid relid)
{
	stale = stale || !OidIsValid(relid);
	for (int i = 0; i < n_ours && !stale; i++)
		stale = ours[i] == relid;
}

static void
on_function_change(Datum arg, int cacheid, uint32 hash)
{
	stale = stale || hash == 0 || functions.too_many;
	for (int i = 0; i < functions.n && !stale; i++)
		stale = functions.hashes[i] == hash;
}

void
wh_schema_check(void)
{
	const char *problem;

	if (!OidIsValid(schema_known) || !(stale || wh_rights_owner() != owner_known))
		return;
	problem = wh_schema_problem(schema_known);
	if (problem)
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("%s", problem));
}

/* The statement has its locks and has run nothing yet. */
static void
start_checked(QueryDesc *query, int eflags)
{
	wh_schema_check();
	if (previous_start)
		previous_start(query, eflags);
	else
		standard_ExecutorStart(query, eflags);
}

void
wh_schema_guard(void)
{
	CacheRegisterSyscacheCallback(PROCOID, on_function_change, (Datum) 0);
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = start_checked;
}

void
wh_schema_hold_segment(const char *log, int segment)
{
	const char *const names[] = {
		log, psprintf("%s_%d", log, segment)}; /* in the order in which everybody locks them */

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		Oid relid = get_relname_relid(names[i], schema_known);

		if (OidIsValid(relid))
			LockRelationOid(relid, RowExclusiveLock);
	}
}
