/*
 * key_text.h
 *	  A key as text, the same in every session.
 */
#ifndef WEBHOOK_KEY_TEXT_H
#define WEBHOOK_KEY_TEXT_H

#include "postgres.h"

#include "row_json.h"

/* A column of the key, or the tenant's. */
typedef struct KeyColumn
{
	JsonColumn column;
	int depends; /* the settings that its text would depend on: bits of key_text.c; 0: none */
} KeyColumn;

/* Like wh_json_column_init(). */
extern void wh_key_init(KeyColumn *key, TupleDesc tupdesc, AttrNumber attnum, MemoryContext context);

/* The column's value as plain text, palloc'd; NULL for null. The slot must be deformed so far. */
extern char *wh_key_text(KeyColumn *key, TupleTableSlot *slot);

/*
 * Append the value as a member of a JSON array. Numbers, booleans and null are written
 * as such, arrays and rows as JSON.
 */
extern void wh_key_append(StringInfo out, KeyColumn *key, TupleTableSlot *slot);

/* The reverse: the value of this type that has this plain text. An error if there is none. */
extern Datum wh_key_value(KeyColumn *key, Oid type, int32 typmod, char *text);

#endif /* WEBHOOK_KEY_TEXT_H */
