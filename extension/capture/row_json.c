/*
 * row_json.c
 *	  A row as JSON text.
 *
 * The text is that of PostgreSQL's row_to_json(); any difference is a bug here.
 * row_to_json() looks up the writer, the output function and the escaped name in the
 * catalogues for each value of each row. Here they are looked up once per column.
 * Frequent types are written directly into the buffer, without a call through fmgr and
 * without a copy.
 *
 * Nothing here is shared or locked. A JsonColumn, with the date or time it wrote last,
 * belongs to whoever made it: capture_source.c, which discards it when the table or a
 * cast changes. Everything else is allocated in the current memory context.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "parser/parse_coerce.h"
#include "row_json.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Room for any int8, with its sign and its NUL. */
#define INT_TEXT_SIZE 21

/* enlargeStringInfo(), inline: a row has dozens of pieces. */
static inline void
make_room(StringInfo out, int len)
{
	if (unlikely(out->len + len >= out->maxlen))
		enlargeStringInfo(out, len);
}

/* appendBinaryStringInfo(), inline */
static inline void
append_bytes(StringInfo out, const char *bytes, int len)
{
	make_room(out, len);
	memcpy(out->data + out->len, bytes, len);
	out->len += len;
	out->data[out->len] = '\0';
}

/*
 * Strings
 */

/* Must this byte be escaped in a JSON string? */
static inline bool
needs_escape(unsigned char c)
{
	return c < ' ' || c == '"' || c == '\\';
}

/*
 * Does any of the eight bytes need an escape? The answer is exact. It uses the usual
 * tests for a zero byte or a smaller byte. Their common part is computed once, which is
 * right because neither a quote nor a backslash has the highest bit.
 */
static inline bool
any_needs_escape(const char *bytes)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);
	uint64 word;
	uint64 quote;
	uint64 backslash;

	memcpy(&word, bytes, sizeof(word));
	quote = word ^ (ones * '"');
	backslash = word ^ (ones * '\\');
	return ((word - ones * ' ') | (quote - ones) | (backslash - ones)) & ~word & (ones * 0x80);
}

/* Length of the run at the start of the string that needs no escape. */
static inline int
plain_run(const char *string, int len)
{
	const int step = sizeof(uint64);
	int run = 0;

	if (len >= step)
	{
		while (run + step <= len && !any_needs_escape(string + run))
			run += step;
		/* the last eight bytes: the rest, and some that were tested before */
		if (run + step > len && !any_needs_escape(string + len - step))
			return len;
	}
	while (run < len && !needs_escape((unsigned char) string[run]))
		run++;
	return run;
}

static void
append_escape(StringInfo out, unsigned char c)
{
	switch (c)
	{
		case '"':
			append_bytes(out, "\\\"", 2);
			break;
		case '\\':
			append_bytes(out, "\\\\", 2);
			break;
		case '\b':
			append_bytes(out, "\\b", 2);
			break;
		case '\f':
			append_bytes(out, "\\f", 2);
			break;
		case '\n':
			append_bytes(out, "\\n", 2);
			break;
		case '\r':
			append_bytes(out, "\\r", 2);
			break;
		case '\t':
			append_bytes(out, "\\t", 2);
			break;
		default:
			appendStringInfo(out, "\\u%04x", (int) c);
			break;
	}
}

void
wh_json_append_string(StringInfo out, const char *string, int len)
{
	const char *end = string + len;

	make_room(out, len + 2);
	out->data[out->len++] = '"';
	while (string < end)
	{
		int run = plain_run(string, end - string);

		append_bytes(out, string, run);
		string += run;
		if (string < end)
			append_escape(out, (unsigned char) *string++);
	}
	append_bytes(out, "\"", 1);
}

/*
 * Writers
 */

static void
write_bool(StringInfo out, JsonColumn *column, Datum value)
{
	if (DatumGetBool(value))
		append_bytes(out, "true", 4);
	else
		append_bytes(out, "false", 5);
}

static void
write_int2(StringInfo out, JsonColumn *column, Datum value)
{
	make_room(out, INT_TEXT_SIZE);
	out->len += pg_itoa(DatumGetInt16(value), out->data + out->len);
}

static void
write_int4(StringInfo out, JsonColumn *column, Datum value)
{
	make_room(out, INT_TEXT_SIZE);
	out->len += pg_ltoa(DatumGetInt32(value), out->data + out->len);
}

static void
write_int8(StringInfo out, JsonColumn *column, Datum value)
{
	make_room(out, INT_TEXT_SIZE);
	out->len += pg_lltoa(DatumGetInt64(value), out->data + out->len);
}

/*
 * numeric and floats. NaN and the infinities are not JSON numbers; all other values start
 * with a digit.
 */
static void
write_number(StringInfo out, JsonColumn *column, Datum value)
{
	char *text = OutputFunctionCall(&column->output, value);
	int len = strlen(text);
	char first = text[0] == '-' ? text[1] : text[0];

	if (first >= '0' && first <= '9')
		append_bytes(out, text, len);
	else
		wh_json_append_string(out, text, len);
	pfree(text);
}

static void
write_text(StringInfo out, JsonColumn *column, Datum value)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

	wh_json_append_string(out, VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
	if ((Pointer) text != DatumGetPointer(value))
		pfree(text);
}

/*
 * date, timestamp, timestamptz. None of their characters needs an escape. Zones are never
 * freed, so their addresses identify them.
 */
static void
write_datetime(StringInfo out, JsonColumn *column, Datum value)
{
	DatetimeText *last = &column->datetime;
	int64 number = column->base_type == DATEOID ? DatumGetDateADT(value) : DatumGetTimestampTz(value);

	if (last->len == 0 || last->value != number || last->zone != session_timezone)
	{
		last->len = 0; /* until it is complete: an error may come first */
		JsonEncodeDateTime(last->text, value, column->base_type, NULL);
		last->value = number;
		last->zone = session_timezone;
		last->len = strlen(last->text);
	}
	append_bytes(out, "\"", 1);
	append_bytes(out, last->text, last->len);
	append_bytes(out, "\"", 1);
}

static void
write_uuid(StringInfo out, JsonColumn *column, Datum value)
{
	static const char digits[] = "0123456789abcdef";
	const pg_uuid_t *uuid = DatumGetUUIDP(value);
	char text[2 * UUID_LEN + 6];
	char *at = text;

	*at++ = '"';
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		*at++ = digits[uuid->data[i] >> 4];
		*at++ = digits[uuid->data[i] & 15];
	}
	*at++ = '"';
	append_bytes(out, text, at - text);
}

static void
write_json(StringInfo out, JsonColumn *column, Datum value)
{
	struct varlena *json = PG_DETOAST_DATUM_PACKED(value);

	append_bytes(out, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	if ((Pointer) json != DatumGetPointer(value))
		pfree(json);
}

static void
append_jsonb_scalar(StringInfo out, const JsonbValue *scalar)
{
	switch (scalar->type)
	{
		case jbvNull:
			append_bytes(out, "null", 4);
			break;
		case jbvString:
			wh_json_append_string(out, scalar->val.string.val, scalar->val.string.len);
			break;
		case jbvNumeric:
			appendStringInfoString(
				out, DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(scalar->val.numeric))));
			break;
		case jbvBool:
			appendStringInfoString(out, scalar->val.boolean ? "true" : "false");
			break;
		default:
			elog(ERROR, "unexpected type of a jsonb scalar: %d", (int) scalar->type);
	}
}

/* Like JsonbToCString(), which is slower: it escapes strings one character at a time. */
static void
append_jsonb(StringInfo out, Jsonb *jsonb)
{
	const bool is_scalar = JB_ROOT_IS_SCALAR(jsonb); /* stored as an array of one */
	JsonbIterator *iterator = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue value;
	bool is_first = true; /* the first of its object or array, or a member's value */

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		const bool ends = token == WJB_END_ARRAY || token == WJB_END_OBJECT;

		if (!is_first && !ends)
			append_bytes(out, ", ", 2);
		is_first = token == WJB_BEGIN_ARRAY || token == WJB_BEGIN_OBJECT || token == WJB_KEY;
		if (token == WJB_KEY)
		{
			wh_json_append_string(out, value.val.string.val, value.val.string.len);
			append_bytes(out, ": ", 2);
		}
		else if (token == WJB_VALUE || token == WJB_ELEM)
			append_jsonb_scalar(out, &value);
		else if (token == WJB_BEGIN_OBJECT || token == WJB_END_OBJECT)
			appendStringInfoChar(out, ends ? '}' : '{');
		else if (!is_scalar)
			appendStringInfoChar(out, ends ? ']' : '[');
	}
}

static void
write_jsonb(StringInfo out, JsonColumn *column, Datum value)
{
	Jsonb *jsonb = DatumGetJsonbP(value);

	append_jsonb(out, jsonb);
	if ((Pointer) jsonb != DatumGetPointer(value))
		pfree(jsonb);
}

/* Append a text that is JSON already, and free it. */
static void
append_json_text(StringInfo out, Datum value)
{
	text *json = DatumGetTextPP(value);

	append_bytes(out, VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));
	pfree(json);
}

static void
write_array(StringInfo out, JsonColumn *column, Datum value)
{
	append_json_text(out, DirectFunctionCall1(array_to_json, value));
}

static void
write_composite(StringInfo out, JsonColumn *column, Datum value)
{
	append_json_text(out, DirectFunctionCall1(row_to_json, value));
}

/*
 * A cast function may be in any language and may be replaced at any time. So it is looked
 * up at each call, as row_to_json() does. (Output functions are C and do not change.)
 */
static void
write_cast(StringInfo out, JsonColumn *column, Datum value)
{
	append_json_text(out, OidFunctionCall1(column->cast, value));
}

static void
write_other(StringInfo out, JsonColumn *column, Datum value)
{
	char *text = OutputFunctionCall(&column->output, value);

	wh_json_append_string(out, text, strlen(text));
	pfree(text);
}

/*
 * Columns
 */

/* The function that writes a user-defined type as JSON; InvalidOid: it has none. */
Oid
wh_json_cast(Oid type)
{
	Oid cast;

	if (type >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &cast) == COERCION_PATH_FUNC)
		return cast;
	return InvalidOid;
}

/* For other types: arrays, composites, and user-defined types with a cast to json. */
static JsonWriter
choose_other_writer(Oid type, Oid *cast)
{
	if (OidIsValid(get_element_type(type)) || type == ANYARRAYOID || type == ANYCOMPATIBLEARRAYOID ||
		type == RECORDARRAYOID)
		return write_array;
	if (type_is_rowtype(type))
		return write_composite;
	*cast = wh_json_cast(type);
	return OidIsValid(*cast) ? write_cast : write_other;
}

static JsonWriter
choose_writer(Oid type, Oid *cast)
{
	switch (type)
	{
		case BOOLOID:
			return write_bool;
		case INT2OID:
			return write_int2;
		case INT4OID:
			return write_int4;
		case INT8OID:
			return write_int8;
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
			return write_number;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return write_text;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return write_datetime;
		case UUIDOID:
			return write_uuid;
		case JSONOID:
			return write_json;
		case JSONBOID:
			return write_jsonb;
		default:
			return choose_other_writer(type, cast);
	}
}

void
wh_json_column_init(JsonColumn *column, TupleDesc tupdesc, AttrNumber attnum, MemoryContext context)
{
	Form_pg_attribute attribute = TupleDescAttr(tupdesc, attnum - 1);
	MemoryContext caller = MemoryContextSwitchTo(context);
	StringInfoData label;
	Oid output;
	bool is_varlena;

	memset(column, 0, sizeof(*column));
	column->attnum = attnum;
	column->base_type = getBaseType(attribute->atttypid);
	column->write = choose_writer(column->base_type, &column->cast);
	getTypeOutputInfo(column->base_type, &output, &is_varlena);
	fmgr_info_cxt(output, &column->output, context);

	initStringInfo(&label);
	appendStringInfoChar(&label, ',');
	wh_json_append_string(&label, NameStr(attribute->attname), strlen(NameStr(attribute->attname)));
	appendStringInfoChar(&label, ':');
	column->label = repalloc(label.data, label.len + 1);
	column->label_len = label.len;
	MemoryContextSwitchTo(caller);
}

/*
 * Objects
 */

int
wh_json_open(StringInfo out)
{
	return out->len;
}

/* Each member begins with a comma. The first comma becomes the brace that opens the object. */
void
wh_json_close(StringInfo out, int start)
{
	if (out->len == start)
		appendStringInfoChar(out, '{');
	else
		out->data[start] = '{';
	appendStringInfoChar(out, '}');
}

static inline void
append_value(StringInfo out, JsonColumn *column, TupleTableSlot *slot)
{
	if (slot->tts_isnull[column->attnum - 1])
		append_bytes(out, "null", 4);
	else
		column->write(out, column, slot->tts_values[column->attnum - 1]);
}

void
wh_json_append_member(StringInfo out, JsonColumn *column, TupleTableSlot *slot)
{
	Assert(column->attnum <= slot->tts_nvalid);
	append_bytes(out, column->label, column->label_len);
	append_value(out, column, slot);
}

void
wh_json_append_row(StringInfo out, JsonColumn *columns, int ncolumns, TupleTableSlot *slot)
{
	int start = wh_json_open(out);

	for (int i = 0; i < ncolumns; i++)
		wh_json_append_member(out, &columns[i], slot);
	wh_json_close(out, start);
}
