/*
 * sql_call.h
 *	  Calling a function of the extension from C, and what its triggers share.
 */
#ifndef WEBHOOK_SQL_CALL_H
#define WEBHOOK_SQL_CALL_H

#include "postgres.h"

#include "access/htup.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

/* The function of this name and of these types of arguments, in the schema webhook_internal. */
extern Oid wh_internal_function(const char *name, int n_args, const Oid *types);

/* Call it; nulls: which arguments are null, or NULL for none. */
extern Datum wh_call(FmgrInfo *function, Oid collation, int n_args, const NullableDatum *args, bool *isnull);

/* What a BEFORE ROW trigger for INSERT and UPDATE is called with; an error if it was called otherwise. */
extern TriggerData *wh_row_trigger(FunctionCallInfo fcinfo, const char *name);

/* The row to be written, and the one that it replaces (NULL: none). */
extern HeapTuple wh_new_row(const TriggerData *trigger);
extern HeapTuple wh_old_row(const TriggerData *trigger);

/* not_null_violation, naming the column only: the server's own message would quote the whole row. */
extern void wh_require_not_null(Relation relation, HeapTuple row);

/* A column of a row; an error where the table has none of that name. */
extern Datum wh_column(Relation relation, HeapTuple row, const char *name, bool *isnull);

/* Is this text column as it was, and not null? */
extern bool wh_unchanged(Relation relation, HeapTuple row, HeapTuple old, const char *name);

/* The row with this text in a column, which is not null. */
extern HeapTuple wh_with_text(Relation relation, HeapTuple row, const char *name, const char *text);

#endif /* WEBHOOK_SQL_CALL_H */
