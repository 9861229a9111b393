/*
 * sql_call.h
 *	  Calling the extension's SQL functions from C, and what its triggers share.
 */
#ifndef WEBHOOK_SQL_CALL_H
#define WEBHOOK_SQL_CALL_H

#include "postgres.h"

#include "access/htup.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

/* The function of this name and these argument types in the schema webhook_internal. */
extern Oid wh_internal_function(const char *name, int n_args, const Oid *types);

/* Call a function; `isnull`: is the result null? */
extern Datum wh_call(FmgrInfo *function, Oid collation, int n_args, const NullableDatum *args, bool *isnull);

/* The data of a BEFORE ROW trigger for INSERT and UPDATE; an error if it was called differently. */
extern TriggerData *wh_row_trigger(FunctionCallInfo fcinfo, const char *name);

/* The row to be written, and the row that it replaces (NULL: none). */
extern HeapTuple wh_new_row(const TriggerData *trigger);
extern HeapTuple wh_old_row(const TriggerData *trigger);

/*
 * Raise not_null_violation if a NOT NULL column is null. The error names only the column;
 * the server's own would quote the whole row.
 */
extern void wh_require_not_null(Relation relation, HeapTuple row);

/* A column of a row; an error if the table has no column of that name. */
extern Datum wh_column(Relation relation, HeapTuple row, const char *name, bool *isnull);

/* Is this text column unchanged, and not null? */
extern bool wh_unchanged(Relation relation, HeapTuple row, HeapTuple old, const char *name);

/* The row with this text, which is not NULL, in a column. */
extern HeapTuple wh_with_text(Relation relation, HeapTuple row, const char *name, const char *text);

#endif /* WEBHOOK_SQL_CALL_H */
