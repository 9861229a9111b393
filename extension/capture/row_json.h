/*
 * row_json.h
 *	  A row, or single columns of it, as JSON text.
 */
#ifndef WEBHOOK_ROW_JSON_H
#define WEBHOOK_ROW_JSON_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "pgtime.h"
#include "utils/datetime.h"

typedef struct JsonColumn JsonColumn;

/* Appends one value that is not null. */
typedef void (*JsonWriter)(StringInfo out, JsonColumn *column, Datum value);

/* The date or time that was written last: the rows of a statement often have the same. */
typedef struct DatetimeText
{
	int64 value;
	const pg_tz *zone; /* in which it was written */
	int len;           /* 0: none was yet */
	char text[MAXDATELEN + 1];
} DatetimeText;

/* A column of a table and how it is written: chosen once, used for every row. */
struct JsonColumn
{
	AttrNumber attnum;
	Oid base_type; /* the type, domains looked through */
	JsonWriter write;
	FmgrInfo output; /* the type's output function */
	Oid cast;        /* the type's cast to json, for the writer that calls it */
	char *label;     /* ,"name": */
	int label_len;
	DatetimeText datetime;
};

/* Fill in a column; what it points to is allocated in context, and must live as long as the column is used. */
extern void wh_json_column_init(JsonColumn *column, TupleDesc tupdesc, AttrNumber attnum,
								MemoryContext context);

/* The function that is a cast of this type to json, and writes it; InvalidOid where row_to_json() asks for none. */
extern Oid wh_json_cast(Oid type);

/* The same text as row_to_json() of a row of these columns. Their attributes must have been deformed. */
extern void wh_json_append_row(StringInfo out, JsonColumn *columns, int ncolumns, TupleTableSlot *slot);

/* An object piece by piece: open, any number of members, close with what open returned. */
extern int wh_json_open(StringInfo out);
extern void wh_json_append_member(StringInfo out, JsonColumn *column, TupleTableSlot *slot);
extern void wh_json_close(StringInfo out, int start);

/* Append a string with quotes and escapes. */
extern void wh_json_append_string(StringInfo out, const char *string, int len);

#endif /* WEBHOOK_ROW_JSON_H */
