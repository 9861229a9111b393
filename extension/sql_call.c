/*
 * sql_call.c
 *	  Calling the extension's SQL functions from C, and what its triggers share.
 *
 * Functions are called through fmgr: without a statement, so that nothing can log their
 * arguments. They are looked up by name in the schema webhook_internal. Privileges are
 * not checked, as for a trigger. Keeps nothing.
 */
#include "sql_call.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

Oid
wh_internal_function(const char *name, int n_args, const Oid *types)
{
	Oid schema = get_namespace_oid("webhook_internal", true);
	oidvector *vector = buildoidvector(types, n_args);
	Oid oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
							  PointerGetDatum(vector), ObjectIdGetDatum(schema));

	if (!OidIsValid(oid))
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("function webhook_internal.%s does not exist", name),
				errdetail("The library has another version than the extension in this database."),
				errhint("Run ALTER EXTENSION webhook UPDATE."));
	pfree(vector);
	return oid;
}

Datum
wh_call(FmgrInfo *function, Oid collation, int n_args, const NullableDatum *args, bool *isnull)
{
	LOCAL_FCINFO(call, FUNC_MAX_ARGS);
	Datum result;

	InitFunctionCallInfoData(*call, function, (short) n_args, collation, NULL, NULL);
	for (int i = 0; i < n_args; i++)
		call->args[i] = args[i];
	result = FunctionCallInvoke(call);
	*isnull = call->isnull;
	return result;
}

TriggerData *
wh_row_trigger(FunctionCallInfo fcinfo, const char *name)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR, errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function webhook_internal.%s() was not called as a trigger", name),
				errdetail("It must be executed by a trigger BEFORE INSERT or UPDATE, FOR EACH ROW."),
				errhint("The extension has created its triggers; call no other."));
	return trigger;
}

HeapTuple
wh_new_row(const TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
}

HeapTuple
wh_old_row(const TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_trigtuple : NULL;
}

void
wh_require_not_null(Relation relation, HeapTuple row)
{
	TupleDesc desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attnotnull && !attribute->attisdropped && heap_attisnull(row, i + 1, desc))
			ereport(ERROR, errcode(ERRCODE_NOT_NULL_VIOLATION),
					errmsg("column \"%s\" of %s must not be null", NameStr(attribute->attname),
						   quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
													  RelationGetRelationName(relation))),
					errdetail("A null value was given."),
					errhint("Omit the column to use its default, or give it a value."),
					err_generic_string(PG_DIAG_COLUMN_NAME, NameStr(attribute->attname)));
	}
}

static int
column_number(Relation relation, const char *name)
{
	AttrNumber n = get_attnum(RelationGetRelid(relation), name);

	if (n == InvalidAttrNumber)
		elog(ERROR, "table \"%s\" has no column \"%s\"", RelationGetRelationName(relation), name);
	return n;
}

Datum
wh_column(Relation relation, HeapTuple row, const char *name, bool *isnull)
{
	return heap_getattr(row, column_number(relation, name), RelationGetDescr(relation), isnull);
}

bool
wh_unchanged(Relation relation, HeapTuple row, HeapTuple old, const char *name)
{
	bool isnull;
	bool was_null;
	Datum value = wh_column(relation, row, name, &isnull);
	Datum before = wh_column(relation, old, name, &was_null);

	return !isnull && !was_null && strcmp(TextDatumGetCString(value), TextDatumGetCString(before)) == 0;
}

HeapTuple
wh_with_text(Relation relation, HeapTuple row, const char *name, const char *text)
{
	int n = column_number(relation, name);
	Datum value = CStringGetTextDatum(text);
	bool isnull = false;

	return heap_modify_tuple_by_cols(row, RelationGetDescr(relation), 1, &n, &value, &isnull);
}
