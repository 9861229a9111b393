/*
 * config_size.c
 *	  How large the columns of webhook.subscription and webhook.profile may be.
 *
 * The worker holds the whole configuration in memory, so its size is limited when it is
 * saved: a trigger refuses what is larger than the table below allows. The worker checks
 * again when it reads the configuration, because rows can get around triggers. It leaves
 * out what is too large instead of reading it.
 *
 * A column is measured without being fetched: a value that is compressed or out of line
 * says how large it is. JSON is measured as the text that it becomes. That may be far
 * larger than what is stored (a number of a few bytes may have a hundred thousand
 * digits). Owns nothing.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "config_size.h"

#define OTHER_BYTES 4096   /* the limit of a column that is not in the table below */
#define OTHER_ELEMENTS 100 /* the limit of elements, if it is an array */

static const struct
{
	const char *table;
	const char *column;
	int bytes;
	int elements; /* of an array */
	bool routing;
} limits[] = {
	{"subscription", "url", 8192, 0, false},
	{"subscription", "events", 32768, 1000, true},
	{"subscription", "tenant", 4096, 0, true},
	{"subscription", "filter", 16384, 0, true},
	{"subscription", "changed_columns", 32768, 1000, true},
	{"subscription", "exclude_origins", 32768, 1000, true},
	{"subscription", "headers", 16384, 0, false},
	{"subscription", "params", 65536, 0, false},
	{"profile", "envelope", 65536, 0, false},
	{"profile", "batch_envelope", 65536, 0, false},
	{"profile", "headers", 16384, 0, false},
	{"profile", "failure_match", 16384, 0, false},
	{"profile", "params", 65536, 0, false},
};

PG_FUNCTION_INFO_V1(webhook_check_size);

/* Bytes of a string as JSON. */
static Size
quoted_size(const char *text, int len)
{
	Size size = 2;

	for (int i = 0; i < len; i++)
		size += (unsigned char) text[i] < 0x20 ? 6 : text[i] == '"' || text[i] == '\\' ? 2 : 1;
	return size;
}

static Size
scalar_size(const JsonbValue *value)
{
	Size size;
	char *digits;

	switch (value->type)
	{
		case jbvString:
			return quoted_size(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			size = strlen(digits);
			pfree(digits);
			return size;
		default:
			return 5; /* null, true, false */
	}
}

/* The bytes of its text; more than `max` as soon as it is known to be larger. */
static Size
json_size(Jsonb *json, Size max)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;
	Size size = 0;

	while (size <= max && (token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
		size += 2 + (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM ? scalar_size(&value) : 0);
	return size;
}

static Size
value_size(Datum value, Oid type, Size max)
{
	Size size = toast_raw_datum_size(value) - VARHDRSZ;
	Jsonb *json;

	if (type != JSONBOID || size > max)
		return size;
	json = DatumGetJsonbP(value);
	size = json_size(json, max);
	if ((Pointer) json != DatumGetPointer(value))
		pfree(json);
	return size;
}

static int
elements_of(Datum value)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if ((Pointer) array != DatumGetPointer(value))
		pfree(array);
	return n;
}

void
wh_config_row_size(const char *table, TupleDesc desc, HeapTuple row, HeapTuple before, WhRowSize *out)
{
	memset(out, 0, sizeof(*out));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		int max = OTHER_BYTES;
		int max_elements = OTHER_ELEMENTS;
		bool routing = false;
		bool array = column->attndims > 0;
		bool isnull;
		Datum value = heap_getattr(row, i + 1, desc, &isnull);
		Size size;
		int n = 0;

		if (isnull || column->attisdropped || column->attlen != -1)
			continue;
		if (before)
		{
			bool was_null;
			Datum was = heap_getattr(before, i + 1, desc, &was_null);

			/* compared as stored: a column that an UPDATE does not name is the same */
			if (!was_null && datumIsEqual(value, was, false, -1))
				continue;
		}
		for (int k = 0; k < (int) lengthof(limits); k++)
			if (strcmp(limits[k].table, table) == 0 &&
				strcmp(limits[k].column, NameStr(column->attname)) == 0)
			{
				max = limits[k].bytes;
				max_elements = limits[k].elements;
				routing = limits[k].routing;
			}
		size = value_size(value, column->atttypid, (Size) max);
		if (array && size <= (Size) max)
			n = elements_of(value);
		*(routing ? &out->routing : &out->sending) += size;
		if ((size <= (Size) max && n <= max_elements) || out->why[0])
			continue;
		out->why_routing = routing;
		if (size > (Size) max)
			snprintf(out->why, sizeof(out->why), "%s has more than %d bytes", NameStr(column->attname), max);
		else
			snprintf(out->why, sizeof(out->why), "%s has %d elements, more than %d", NameStr(column->attname),
					 n, max_elements);
	}
}

Datum
webhook_check_size(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool update;
	HeapTuple row;
	const char *table;
	WhRowSize size;
	Datum name;
	bool isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function webhook_internal.check_size() was not called as a trigger"),
				errdetail("It must be executed by a trigger of webhook.subscription or webhook.profile."),
				errhint("The extension has created its triggers; call no other."));
	update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
	row = update ? trigger->tg_newtuple : trigger->tg_trigtuple;
	table = RelationGetRelationName(trigger->tg_relation);
	wh_config_row_size(table, RelationGetDescr(trigger->tg_relation), row,
					   update ? trigger->tg_trigtuple : NULL, &size);
	if (size.why[0] == '\0')
		return PointerGetDatum(row);
	name = heap_getattr(row, strcmp(table, "profile") == 0 ? 1 : 2, RelationGetDescr(trigger->tg_relation),
						&isnull);
	ereport(ERROR, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			errmsg("%s \"%.200s\" is too large", strcmp(table, "profile") == 0 ? "profile" : "subscription",
				   isnull ? "" : TextDatumGetCString(name)),
			errdetail("Its column %s.", size.why),
			errhint("The worker holds it in memory. Keep large data where the receiver can fetch it."));
}
