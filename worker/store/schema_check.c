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
 * gets there, so the code that writes into a log locks it first (store_attempts.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "parser/parse_coerce.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "grow.h"
#include "schema_check.h"
#include "sql_version.h"
#include "store_rights.h"

/*
 * Of tables that are read: the columns that are. Of tables that are only written: enough
 * to recognise them. What came later is looked for only where the extension is at that
 * version, or a newer one.
 */
static const struct
{
	const char *table;
	const char *column;
	Oid type;
	WhSqlVersion since;
} needed[] = {
	{"identity", "instance", TEXTOID, WH_SQL_1_0},
	{"identity", "system_identifier", INT8OID, WH_SQL_1_0},
	{"identity", "database_oid", OIDOID, WH_SQL_1_0},
	{"identity", "timeline", INT4OID, WH_SQL_1_0},
	{"identity", "enabled_at", TIMESTAMPTZOID, WH_SQL_1_0},
	{"subscription", "id", INT8OID, WH_SQL_1_0},
	{"subscription", "name", TEXTOID, WH_SQL_1_0},
	{"subscription", "url", TEXTOID, WH_SQL_1_0},
	{"subscription", "events", TEXTARRAYOID, WH_SQL_1_0},
	{"subscription", "tenant", TEXTOID, WH_SQL_1_0},
	{"subscription", "filter", JSONPATHOID, WH_SQL_1_0},
	{"subscription", "headers", JSONBOID, WH_SQL_1_0},
	{"subscription", "retry_schedule", INTERVALARRAYOID, WH_SQL_1_0},
	{"subscription", "give_up_after", INTERVALOID, WH_SQL_1_0},
	{"subscription", "timeout", INTERVALOID, WH_SQL_1_0},
	{"subscription", "ordering", TEXTOID, WH_SQL_1_0},
	{"subscription", "changed_columns", TEXTARRAYOID, WH_SQL_1_0},
	{"subscription", "exclude_origins", TEXTARRAYOID, WH_SQL_1_0},
	{"subscription", "state", TEXTOID, WH_SQL_1_0},
	{"profile", "name", TEXTOID, WH_SQL_1_0},
	{"profile", "envelope", JSONOID, WH_SQL_1_0},
	{"secret", "subscription_id", INT8OID, WH_SQL_1_0},
	{"secret", "secret", TEXTOID, WH_SQL_1_0},
	{"secret", "expires_at", TIMESTAMPTZOID, WH_SQL_1_0},
	{"credential", "subscription_id", INT8OID, WH_SQL_1_0},
	{"credential", "kind", TEXTOID, WH_SQL_1_0},
	{"credential", "value", TEXTOID, WH_SQL_1_0},
	{"outbox", "event_number", INT8OID, WH_SQL_1_0},
	{"outbox", "xid", XID8OID, WH_SQL_1_0},
	{"outbox", "entity_id", TEXTOID, WH_SQL_1_0},
	{"outbox", "entity_type", TEXTOID, WH_SQL_1_0},
	{"outbox", "action_type", TEXTOID, WH_SQL_1_0},
	{"outbox", "result", JSONOID, WH_SQL_1_0},
	{"outbox", "previous", JSONOID, WH_SQL_1_0},
	{"outbox", "tenant", TEXTOID, WH_SQL_1_0},
	{"outbox", "context", JSONOID, WH_SQL_1_0},
	{"outbox", "subscription_id", INT8OID, WH_SQL_1_0},
	{"outbox", "created_at", TIMESTAMPTZOID, WH_SQL_1_0},
	{"outbox", "segment", INT2OID, WH_SQL_1_0},
	{"attempt", "outcome", TEXTOID, WH_SQL_1_0},
	{"attempt", "started_at", TIMESTAMPTZOID, WH_SQL_1_0},
	{"attempt", "response_headers", TEXTOID, WH_SQL_1_1},
	{"pending", "subscription_id", INT8OID, WH_SQL_1_0},
	{"pending", "event_number", INT8OID, WH_SQL_1_0},
	{"pending", "lane", INT8OID, WH_SQL_1_0},
	{"pending", "state", TEXTOID, WH_SQL_1_0},
	{"pending", "attempts", INT4OID, WH_SQL_1_0},
	{"pending", "next_attempt_at", TIMESTAMPTZOID, WH_SQL_1_0},
	{"pending", "first_attempt_at", TIMESTAMPTZOID, WH_SQL_1_0},
	{"pending", "segment", INT2OID, WH_SQL_1_0},
	{"pending", "size", INT4OID, WH_SQL_1_0},
	{"pending", "batch", INT8OID, WH_SQL_1_0},
	{"pending", "judged", BOOLOID, WH_SQL_1_0},
	{"dead_letter", "reason", TEXTOID, WH_SQL_1_0},
	{"checkpoint", "id", INT8OID, WH_SQL_1_0},
	{"checkpoint", "kind", TEXTOID, WH_SQL_1_0},
	{"checkpoint", "snapshot", PG_SNAPSHOTOID, WH_SQL_1_0},
	{"checkpoint", "next_xid", XID8OID, WH_SQL_1_0},
	{"checkpoint", "hi", INT8OID, WH_SQL_1_0},
	{"checkpoint", "within", JSONBOID, WH_SQL_1_0},
	{"webhook_internal.breaker_notice", "subscription_id", INT8OID, WH_SQL_1_0},
	{"webhook_internal.operator_isolation", "isolated_since", TIMESTAMPTZOID, WH_SQL_1_0},
	{"webhook_internal.stat_subscription", "subscription_id", INT8OID, WH_SQL_1_0},
	{"webhook_internal.stat_worker", "starts", INT8OID, WH_SQL_1_0},
};

#define INTERNAL "webhook_internal."

static Oid *ours = NULL; /* the tables and their segments */
static int n_ours = 0;
static int cap_ours = 0;
static WhRightsSeen functions; /* functions that may run in statements on them */
static Oid owner_known = InvalidOid;
static Oid schema_known = InvalidOid;
static WhSqlVersion version_known = WH_SQL_1_0;
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
		if (needed[i].since > version_known)
			continue;
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
	version_known = wh_sql_version(wh_rights_version());
	problem = column_problem(schema, internal);
	if (problem && version_known == WH_SQL_NEWER)
		problem = psprintf("%s; %s", problem, wh_sql_version_problem(wh_rights_version()));
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

	if (!OidIsValid(schema_known) ||
		!(stale || wh_rights_owner() != owner_known || wh_sql_version(wh_rights_version()) != version_known))
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
