/*
 * sample.c
 *	  A row of a watched table, in the form of an event: what webhook.test shows a
 *	  receiver.
 *
 * The caller reads somebody else's table, and reading it runs code of the table's owner:
 * row security policies, casts, CHECKs of domains, index expressions. So all of that
 * runs as the owner, restricted as in maintenance commands. The owner may see rows that
 * the caller may not. So the caller's right to SELECT is checked first, and if row
 * security applies to the caller, nothing is read. A table that the caller has not named
 * is read only if it belongs to the caller or to one of the caller's roles; that a
 * superuser is a member of every role does not count.
 *
 * The owner's code may take long and may raise errors. It runs in the caller's
 * statement, so a cancel and statement_timeout reach it. When it ends, the user,
 * search_path and all other settings are restored. When an error ends it, the server
 * restores them with the subtransaction.
 *
 * Runs in users' backends, during a statement. Keeps nothing; the transaction keeps the
 * share lock on the table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "capture.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "json_depth.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "result_row.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(webhook_sample_row);

#define ROWS_AT_ONCE 100
#define DEEPEST_KEY 100 /* levels that a key's JSON may be nested */

/* What to look for: the newest row, the row of an entity, or one of a tenant. */
typedef struct Search
{
	Relation relation;
	CaptureSource *source;
	const char *entity_id; /* NULL: any */
	const char *tenant;    /* NULL: any */
	bool compare_id;       /* the query has not all of it: compare the id of each row's event */
	bool compare_tenant;
	StringInfoData where;
	int nvalues;
	Oid types[INDEX_MAX_KEYS + 1];
	Datum values[INDEX_MAX_KEYS + 1];
} Search;

/*
 * What the caller may do
 */

static bool
find_owner(Oid table, Oid *owner, Oid *schema)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));

	if (!HeapTupleIsValid(tuple))
		return false;
	*owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	*schema = ((Form_pg_class) GETSTRUCT(tuple))->relnamespace;
	ReleaseSysCache(tuple);
	return true;
}

/* Raises an error only if the caller has named the table. */
static bool
caller_may_read(Oid table, bool named)
{
	Oid owner;
	Oid schema;
	AclResult result;

	if (!find_owner(table, &owner, &schema) || (!named && !is_member_of_role_nosuper(GetUserId(), owner)))
		return false;
	result = wh_schema_usage(schema);
	if (result != ACLCHECK_OK && named)
		aclcheck_error(result, OBJECT_SCHEMA, get_namespace_name(schema));
	if (result != ACLCHECK_OK)
		return false;
	result = pg_class_aclcheck(table, GetUserId(), ACL_SELECT);
	if (result != ACLCHECK_OK && named)
		aclcheck_error(result, OBJECT_TABLE, get_rel_name(table));
	if (result != ACLCHECK_OK)
		return false;
	if (check_enable_rls(table, InvalidOid, true) != RLS_ENABLED)
		return true;
	if (named)
		ereport(
			ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			errmsg("cannot read a row of table \"%s\" for a test", get_rel_name(table)),
			errdetail("Row security of the table applies to role \"%s\".",
					  GetUserNameFromId(GetUserId(), false)),
			errhint("Call webhook.test() as a role that it does not apply to, or omit entity_type to send a "
					"made-up event."));
	return false;
}

/*
 * Parts of an entity's id
 */

typedef struct IdParts
{
	int depth;
	List *parts; /* of char *; NULL for null, an array or an object */
} IdParts;

static WhJsonResult
open_container(void *state)
{
	IdParts *id = state;

	if (id->depth++ == 1)
		id->parts = lappend(id->parts, NULL);
	return WH_JSON_GO_ON;
}

static WhJsonResult
close_container(void *state)
{
	((IdParts *) state)->depth--;
	return WH_JSON_GO_ON;
}

static WhJsonResult
take_scalar(void *state, char *token, JsonTokenType type)
{
	IdParts *id = state;

	if (id->depth == 1)
		id->parts = lappend(id->parts, type == JSON_TOKEN_NULL ? NULL : token);
	return WH_JSON_GO_ON;
}

/* Split the id of several key columns, a JSON array. NIL: it is no such array. */
static List *
split_id(const char *entity_id)
{
	IdParts id = {0};
	JsonSemAction action_types = {.semstate = &id,
								  .object_start = open_container,
								  .object_end = close_container,
								  .array_start = open_container,
								  .array_end = close_container,
								  .scalar = take_scalar};

	if (entity_id[0] != '[' || wh_json_depth(entity_id) > DEEPEST_KEY ||
		pg_parse_json(wh_make_json_lex(entity_id, strlen(entity_id), GetDatabaseEncoding(), true),
					  &action_types) != JSON_SUCCESS)
		return NIL;
	return id.parts;
}

/*
 * The query
 */

/* An alias that is no column's name, so that it means the whole row. */
static const char *
row_alias(Relation relation)
{
	TupleDesc desc = RelationGetDescr(relation);
	StringInfoData alias;
	bool taken = true;

	initStringInfo(&alias);
	while (taken)
	{
		appendStringInfoString(&alias, "row_");
		taken = false;
		for (int i = 0; i < desc->natts; i++)
			taken |= strcmp(NameStr(TupleDescAttr(desc, i)->attname), alias.data) == 0;
	}
	return alias.data;
}

static const char *
column_name(const Search *search, const KeyColumn *key)
{
	return quote_identifier(
		NameStr(TupleDescAttr(RelationGetDescr(search->relation), key->column.attnum - 1)->attname));
}

static Oid
operator_namespace(Oid operator)
{
	HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Oid schema;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	schema = ((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace;
	ReleaseSysCache(tuple);
	return schema;
}

/*
 * Add "column = value", with the type's own equality, whatever search_path is. Returns
 * false if the type has none. An error of the type's input function means that no row
 * has this key.
 */
static bool
add_condition(Search *search, const char *alias, KeyColumn *key, char *text)
{
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(search->relation), key->column.attnum - 1);
	TypeCacheEntry *type = lookup_type_cache(attribute->atttypid, TYPECACHE_EQ_OPR);
	if (!OidIsValid(type->eq_opr) || search->nvalues == lengthof(search->values))
		return false;
	search->types[search->nvalues] = attribute->atttypid;
	search->values[search->nvalues++] = wh_key_value(key, attribute->atttypid, attribute->atttypmod, text);
	appendStringInfo(&search->where, "%s %s.%s OPERATOR(%s.%s) $%d", search->nvalues == 1 ? " WHERE" : " AND",
					 alias, column_name(search, key),
					 quote_identifier(get_namespace_name(operator_namespace(type->eq_opr))),
					 get_opname(type->eq_opr), search->nvalues);
	return true;
}

/* Returns false if no row can have this id. */
static bool
add_id(Search *search, const char *alias)
{
	CaptureSource *source = search->source;
	List *parts;

	if (search->entity_id == NULL)
		return true;
	if (source->nkeys == 1)
	{
		search->compare_id = !add_condition(search, alias, &source->keys[0], pstrdup(search->entity_id));
		return true;
	}
	parts = split_id(search->entity_id);
	if (parts == NIL || list_length(parts) != source->nkeys)
		return false;
	for (int i = 0; i < source->nkeys; i++)
	{
		KeyColumn *key = &source->keys[i];
		char *part = list_nth(parts, i);
		/* the array holds these as JSON, not as their type's text */
		const bool is_json = key->column.base_type == JSONOID || key->column.base_type == JSONBOID ||
							 OidIsValid(key->column.cast);

		if (part == NULL || is_json || !add_condition(search, alias, key, part))
			search->compare_id = true;
	}
	return true;
}

/* The row with the highest key counts as the newest: the key's index finds it. */
static void
append_order(StringInfo sql, const Search *search, const char *alias)
{
	const char *separator = " ORDER BY ";

	for (int i = 0; i < search->source->nkeys; i++)
	{
		const KeyColumn *key = &search->source->keys[i];

		if (!OidIsValid(lookup_type_cache(key->column.base_type, TYPECACHE_LT_OPR)->lt_opr))
			continue;
		appendStringInfo(sql, "%s%s.%s DESC", separator, alias, column_name(search, key));
		separator = ", ";
	}
}

/* NULL: there is no such row. */
static const char *
make_query(Search *search)
{
	const char *alias = row_alias(search->relation);
	StringInfoData sql;

	initStringInfo(&search->where);
	if (!add_id(search, alias))
		return NULL;
	if (search->tenant != NULL && search->source->tenant != NULL)
		search->compare_tenant =
			!add_condition(search, alias, search->source->tenant, pstrdup(search->tenant));
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s %s AS %s%s", alias,
					 search->relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(search->relation)),
												RelationGetRelationName(search->relation)),
					 alias, search->where.data);
	append_order(&sql, search, alias);
	return sql.data;
}

/*
 * Rows
 */

/* Fill in the event, in the current memory context; false: it is not the row looked for. */
static bool
is_found(Search *search, HeapTuple row, TupleDesc desc, OutboxEvent *event)
{
	bool isnull;
	HeapTupleHeader header = DatumGetHeapTupleHeader(SPI_getbinval(row, desc, 1, &isnull));
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(search->relation), &TTSOpsHeapTuple);

	ItemPointerSetInvalid(&tuple.t_self);
	ExecStoreHeapTuple(&tuple, slot, false);
	wh_capture_row(search->source, slot, event);
	ExecDropSingleTupleTableSlot(slot);
	if (search->compare_id && (event->entity_id == NULL || strcmp(event->entity_id, search->entity_id) != 0))
		return false;
	return !search->compare_tenant || (event->tenant != NULL && strcmp(event->tenant, search->tenant) == 0);
}

/* Find the first row that is looked for; the event's parts are in the given context. */
static bool
find_row(Search *search, const char *sql, MemoryContext context, OutboxEvent *event)
{
	const long at_once = search->compare_id || search->compare_tenant ? ROWS_AT_ONCE : 1;
	MemoryContext rows = AllocSetContextCreate(context, "webhook sample rows", ALLOCSET_DEFAULT_SIZES);
	Portal portal =
		SPI_cursor_open_with_args(NULL, sql, search->nvalues, search->types, search->values, NULL, true, 0);
	bool found = false;

	do
	{
		SPI_cursor_fetch(portal, true, at_once);
		for (uint64 i = 0; i < SPI_processed && !found; i++)
		{
			MemoryContext spi;

			MemoryContextReset(rows);
			spi = MemoryContextSwitchTo(rows);
			found = is_found(search, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, event);
			MemoryContextSwitchTo(spi);
		}
		SPI_freetuptable(SPI_tuptable);
	} while (SPI_processed > 0 && !found);
	SPI_cursor_close(portal);
	return found;
}

/* As the table's owner. */
static bool
read_as_owner(Search *search, OutboxEvent *event)
{
	MemoryContext context = CurrentMemoryContext;
	Oid caller;
	int security;
	int level;
	const char *sql;
	bool found;

	GetUserIdAndSecContext(&caller, &security);
	SetUserIdAndSecContext(search->relation->rd_rel->relowner, security | SECURITY_RESTRICTED_OPERATION);
	level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("row_security", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	SPI_connect();
	sql = make_query(search);
	found = sql != NULL && find_row(search, sql, context, event);
	SPI_finish();
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(caller, security);
	return found;
}

/*
 * The function
 */

static const Trigger *
find_trigger(Relation relation, const char *name)
{
	/* a copy, as the executor makes one: any catalogue look-up may rebuild the relcache */
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);
	Oid schema = get_namespace_oid("webhook", false);

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (strcmp(trigger->tgname, name) == 0 && get_func_namespace(trigger->tgfoid) == schema)
			return trigger;
	}
	ereport(ERROR, errcode(ERRCODE_UNDEFINED_OBJECT),
			errmsg("\"%s\" is not watched", RelationGetRelationName(relation)),
			errdetail("It has no trigger \"%s\" of this extension.", name),
			errhint("SELECT * FROM webhook.source shows the watched tables."));
}

static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * source, trigger, entity_id, tenant, named -> entity_id, result, tenant. Nulls: there is
 * no such row, or none that the caller may read.
 */
Datum
webhook_sample_row(PG_FUNCTION_ARGS)
{
	Search search = {.entity_id = text_arg(fcinfo, 2), .tenant = text_arg(fcinfo, 3)};
	OutboxEvent event = {0};
	TupleDesc desc;
	Datum values[3] = {0};
	bool nulls[lengthof(values)] = {true, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(desc);
	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && !PG_ARGISNULL(4) &&
		caller_may_read(PG_GETARG_OID(0), PG_GETARG_BOOL(4)))
		search.relation = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (search.relation != NULL)
	{
		search.source =
			wh_capture_source(search.relation, find_trigger(search.relation, NameStr(*PG_GETARG_NAME(1))));
		if (!search.source->unusable && read_as_owner(&search, &event))
		{
			nulls[0] = event.entity_id == NULL;
			nulls[1] = event.result == NULL;
			nulls[2] = event.tenant == NULL;
			values[0] = nulls[0] ? (Datum) 0 : CStringGetTextDatum(event.entity_id);
			values[1] = nulls[1] ? (Datum) 0 : PointerGetDatum(event.result);
			values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(event.tenant);
		}
		relation_close(search.relation, NoLock);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(wh_result_row(desc, values, nulls, lengthof(values))));
}
