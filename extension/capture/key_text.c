/*
 * key_text.c
 *	  A key as text, the same in every session.
 *
 * An entity's id decides which deliveries go one after the other, and what a receiver
 * takes for the same thing. So it must not depend on who changed the row. But output
 * functions of many types depend on settings, which differ between sessions. Which ones
 * is determined once per column. A key of a frequent type depends on none and costs
 * nothing more. Other keys are written under fixed settings. They are set as a function
 * with SET clauses sets them, and reset afterwards, also if an error ends the
 * transaction.
 *
 * The type decides: the column's, or the type that its arrays or ranges are made of. The
 * output function of an extension's type is assumed to depend on no settings except
 * PostgreSQL's own.
 *
 * Nothing here is shared or locked. A KeyColumn belongs to whoever made it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "key_text.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/fmgroids.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

/* Room for any int8, with its sign and its NUL. */
#define INT_TEXT_SIZE 21

/* What a key's text may depend on. */
#define ON_SESSION (1 << 0) /* how binary, dates, intervals and floats are written */
#define ON_MONEY (1 << 1)
#define ON_NAMES (1 << 2) /* whether names are qualified and quoted */
#define ON_ANY (ON_SESSION | ON_MONEY | ON_NAMES)

static const struct
{
	int depends;
	const char *name;
	const char *value;
} fixed_settings[] = {
	{ON_SESSION, "bytea_output", "hex"},
	{ON_SESSION, "DateStyle", "ISO, MDY"},
	{ON_SESSION, "extra_float_digits", "1"},
	{ON_SESSION, "IntervalStyle", "postgres"},
	{ON_SESSION, "TimeZone", "UTC"},
	{ON_MONEY, "lc_monetary", "C"},
	{ON_NAMES, "quote_all_identifiers", "off"},
	{ON_NAMES, "search_path", "pg_catalog, pg_temp"},
};

/* Output functions that depend on no setting. Types of extensions and enums use them too. */
static const PGFunction independent[] = {
	boolout,    charout,   nameout,    int2out,     int4out,  int8out,   oidout,   numeric_out,
	textout,    bpcharout, varcharout, uuid_out,    json_out, jsonb_out, enum_out, bit_out,
	varbit_out, inet_out,  cidr_out,   macaddr_out, time_out, xidout,    xid8out,  pg_lsn_out,
};

/*
 * Settings
 */

/* Most sessions have all of these settings, except the time zone; some have that too. */
static bool
session_is_as_fixed(void)
{
	return bytea_output == BYTEA_OUTPUT_HEX && DateStyle == USE_ISO_DATES && extra_float_digits > 0 &&
		   IntervalStyle == INTSTYLE_POSTGRES && strcmp(pg_get_timezone_name(session_timezone), "UTC") == 0;
}

/* Returns the argument for leave_fixed(); 0: nothing had to be set. */
static int
enter_fixed(int depends)
{
	int level;

	if (depends == 0 || (depends == ON_SESSION && session_is_as_fixed()))
		return 0;
	level = NewGUCNestLevel();
	for (int i = 0; i < (int) lengthof(fixed_settings); i++)
	{
		if (fixed_settings[i].depends & depends)
			(void) set_config_option(fixed_settings[i].name, fixed_settings[i].value, PGC_USERSET,
									 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	}
	return level;
}

static void
leave_fixed(int level)
{
	if (level != 0)
		AtEOXact_GUC(true, level);
}

/*
 * Types
 */

static bool
is_independent(Oid type)
{
	Oid output;
	bool is_varlena;
	FmgrInfo function;

	getTypeOutputInfo(type, &output, &is_varlena);
	fmgr_info(output, &function);
	for (int i = 0; i < (int) lengthof(independent); i++)
	{
		if (function.fn_addr == independent[i])
			return true;
	}
	return false;
}

/* These types are numbers written as names. Names change, and depend on search_path. */
static bool
is_object_id(Oid type)
{
	switch (type)
	{
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGROLEOID:
		case REGTYPEOID:
			return true;
		default:
			return false;
	}
}

static int
dependence_of(Oid type)
{
	Oid base = getBaseType(type);
	Oid element = get_element_type(base);

	if (OidIsValid(element))
		return dependence_of(element);
	switch (get_typtype(base))
	{
		case TYPTYPE_RANGE:
			return dependence_of(get_range_subtype(base));
		case TYPTYPE_MULTIRANGE:
			return dependence_of(get_multirange_range(base));
		case TYPTYPE_COMPOSITE:
		case TYPTYPE_PSEUDO: /* record and the like */
			return ON_ANY;   /* its columns may change without our notice */
		default:
			break;
	}
	if (OidIsValid(wh_json_cast(base)))
		return ON_ANY; /* in a key of several columns, somebody's function writes it */
	if (base == MONEYOID)
		return ON_MONEY;
	if (is_object_id(base))
		return ON_NAMES;
	return is_independent(base) ? 0 : ON_SESSION;
}

void
wh_key_init(KeyColumn *key, TupleDesc tupdesc, AttrNumber attnum, MemoryContext context)
{
	wh_json_column_init(&key->column, tupdesc, attnum, context);
	key->depends = dependence_of(key->column.base_type);
	if (is_object_id(key->column.base_type))
	{
		fmgr_info_cxt(F_OIDOUT, &key->column.output, context);
		key->depends = 0;
	}
}

/*
 * Texts
 */

/* As in JSON, but always in UTC. */
static char *
datetime_text(Oid type, Datum value)
{
	static const int utc = 0;

	return JsonEncodeDateTime(NULL, value, type, type == TIMESTAMPTZOID ? &utc : NULL);
}

static char *
text_of(KeyColumn *key, Datum value)
{
	JsonColumn *column = &key->column;
	char *text;
	int level;

	switch (column->base_type)
	{
		case INT4OID:
			text = palloc(INT_TEXT_SIZE);
			pg_ltoa(DatumGetInt32(value), text);
			return text;
		case INT8OID:
			text = palloc(INT_TEXT_SIZE);
			pg_lltoa(DatumGetInt64(value), text);
			return text;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return datetime_text(column->base_type, value);
		default:
			level = enter_fixed(key->depends);
			text = OutputFunctionCall(&column->output, value);
			leave_fixed(level);
			return text;
	}
}

char *
wh_key_text(KeyColumn *key, TupleTableSlot *slot)
{
	const int i = key->column.attnum - 1;

	Assert(key->column.attnum <= slot->tts_nvalid);
	return slot->tts_isnull[i] ? NULL : text_of(key, slot->tts_values[i]);
}

void
wh_key_append(StringInfo out, KeyColumn *key, TupleTableSlot *slot)
{
	const int i = key->column.attnum - 1;
	char *text;
	int level;

	Assert(key->column.attnum <= slot->tts_nvalid);
	if (slot->tts_isnull[i])
		appendStringInfoString(out, "null");
	else if (key->column.base_type == TIMESTAMPTZOID)
	{
		text = datetime_text(TIMESTAMPTZOID, slot->tts_values[i]);
		wh_json_append_string(out, text, strlen(text));
		pfree(text);
	}
	else
	{
		level = enter_fixed(key->depends);
		key->column.write(out, &key->column, slot->tts_values[i]);
		leave_fixed(level);
	}
}

Datum
wh_key_value(KeyColumn *key, Oid type, int32 typmod, char *text)
{
	const int level = enter_fixed(key->depends);
	Oid input;
	Oid io_param;
	Datum value;

	getTypeInputInfo(type, &input, &io_param);
	value = OidInputFunctionCall(input, text, io_param, typmod);
	leave_fixed(level);
	return value;
}
