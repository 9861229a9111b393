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

/* The date or time written last. The rows of a statement often have the same one. */
typedef struct DatetimeText
{
	int64 value;
	const pg_tz *zone; /* it was written in this zone */
	int len;           /* 0: none yet */
	char text[MAXDATELEN + 1];
} DatetimeText;

/* A column of a table, and how to write it: determined once, used for every row. */
struct JsonColumn
{
	AttrNumber attnum;
	Oid base_type; /* the type below all domains */
	JsonWriter write;
	FmgrInfo output; /* the type's output function */
	Oid cast;        /* the type's cast to json, for the writer that calls it */
	char *label;     /* ,"name": */
	int label_len;
	DatetimeText datetime;
};

/*
 * Fill in a column. What it points to is allocated in `context`, which must live as long
 * as the column is used.
 */
extern void wh_json_column_init(JsonColumn *column, TupleDesc tupdesc, AttrNumber attnum,
								MemoryContext context);

/* The function that casts this type to json, as row_to_json() uses it; InvalidOid: none. */
extern Oid wh_json_cast(Oid type);

/* Append the text of row_to_json() of a row of these columns. The slot must be deformed so far. */
extern void wh_json_append_row(StringInfo out, JsonColumn *columns, int ncolumns, TupleTableSlot *slot);

/* Write an object in steps: open it, append any members, close it with the result of open. */
extern int wh_json_open(StringInfo out);
extern void wh_json_append_member(StringInfo out, JsonColumn *column, TupleTableSlot *slot);
extern void wh_json_close(StringInfo out, int start);

/* Append a string, with quotes and escapes. */
extern void wh_json_append_string(StringInfo out, const char *string, int len);

#endif /* WEBHOOK_ROW_JSON_H */
