/*
 * store_shape.c
 *	  Are our tables as the extension made them?
 *
 * Rows are taken apart by position and type, so a column that was given
 * another type would be read as what it is not, and take the worker down with
 * it, and the server with the worker. Columns that people add, and whatever
 * else they do to a table, make no difference here: a statement that fails is
 * a statement that fails.
 *
 * Called by store.c when it looks for the extension, so that a foreign or
 * half-made schema of the same name is told apart from ours before anything
 * fails on it; and after every statement, at the price of a flag unless an
 * invalidation has come. By then the statement holds its locks, and what was
 * altered while it waited for them has arrived.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "parser/parse_coerce.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "store.h"

/* Of the tables that are read: what is. Of those that are only written: something by which they are known. */
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
	{"subscription", "entity_types", TEXTARRAYOID},
	{"subscription", "actions", TEXTARRAYOID},
	{"subscription", "tenant", TEXTOID},
	{"subscription", "filter", JSONPATHOID},
	{"subscription", "headers", JSONBOID},
	{"subscription", "active", BOOLOID},
	{"subscription", "retry_schedule", INTERVALARRAYOID},
	{"subscription", "give_up_after", INTERVALOID},
	{"subscription", "timeout", INTERVALOID},
	{"subscription", "ordering", TEXTOID},
	{"subscription", "changed", TEXTARRAYOID},
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
	{"outbox", "id", INT8OID},
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
	{"outbox", "drawer", INT2OID},
	{"attempt", "outcome", TEXTOID},
	{"attempt", "at", TIMESTAMPTZOID},
	{"pending", "subscription_id", INT8OID},
	{"pending", "event_id", INT8OID},
	{"pending", "lane", INT8OID},
	{"pending", "state", TEXTOID},
	{"pending", "attempts", INT4OID},
	{"pending", "due_at", TIMESTAMPTZOID},
	{"pending", "first_at", TIMESTAMPTZOID},
	{"pending", "drawer", INT2OID},
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
};

static Oid ours[lengthof(needed)]; /* the table of each; InvalidOid: not known */
static Oid schema_known = InvalidOid;
static bool stale = false;

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

const char *
wh_shape_problem(Oid schema)
{
	stale = false; /* what comes from now on is news */
	schema_known = schema;
	for (int i = 0; i < (int) lengthof(needed); i++)
	{
		bool same = i > 0 && strcmp(needed[i].table, needed[i - 1].table) == 0;
		Oid type;

		ours[i] = same ? ours[i - 1] : get_relname_relid(needed[i].table, schema);
		type = OidIsValid(ours[i]) ? column_type(ours[i], needed[i].column) : InvalidOid;
		/* text may have become varchar */
		if (OidIsValid(type) && (type == needed[i].type || IsBinaryCoercible(type, needed[i].type)))
			continue;
		stale = true;
		return MemoryContextStrdup(
			wh_tx_results,
			psprintf("the table webhook.%s is missing or not as the extension made it%s%s", needed[i].table,
					 OidIsValid(ours[i]) ? ": column " : "", OidIsValid(ours[i]) ? needed[i].column : ""));
	}
	return NULL;
}

void
wh_shape_changed(Oid relid)
{
	for (int i = 0; i < (int) lengthof(needed) && !stale; i++)
		stale = !OidIsValid(relid) || ours[i] == relid;
}

void
wh_shape_check(void)
{
	const char *problem;

	if (!stale || !OidIsValid(schema_known))
		return;
	problem = wh_shape_problem(schema_known);
	if (problem)
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("%s", problem));
}
