/*
 * key_text.h
 *	  A key as text, the same in every session.
 */
#ifndef WEBHOOK_KEY_TEXT_H
#define WEBHOOK_KEY_TEXT_H

#include "postgres.h"

#include "row_json.h"

/* A column that is a key, or routes events. */
typedef struct KeyColumn
{
	JsonColumn column;
	int depends; /* which settings its text would depend on: bits of key_text.c; 0: on none */
} KeyColumn;

/* As wh_json_column_init(). */
extern void wh_key_init(KeyColumn *key, TupleDesc tupdesc, AttrNumber attnum, MemoryContext context);

/* The column's value as plain text, palloc'd; NULL for null. Its attributes must have been deformed. */
extern char *wh_key_text(KeyColumn *key, TupleTableSlot *slot);

/* The same as a member of a JSON array: numbers, booleans and null are such, and arrays and rows are JSON. */
extern void wh_key_append(StringInfo out, KeyColumn *key, TupleTableSlot *slot);

/* The way back: the value of the column's type that has this plain text. An error where none has. */
extern Datum wh_key_value(KeyColumn *key, Oid type, int32 typmod, char *text);

#endif /* WEBHOOK_KEY_TEXT_H */
