/*
 * result_row.h
 *	  A row that a function in C returns.
 */
#ifndef WEBHOOK_RESULT_ROW_H
#define WEBHOOK_RESULT_ROW_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"

/*
 * The row of the function's result type, as the installed version declares it, of the
 * `n` columns that this library knows. Columns are only ever added at the end, so those
 * of a newer version are null, and those that an older version lacks are left out.
 */
extern HeapTuple wh_result_row(TupleDesc desc, const Datum *values, const bool *nulls, int n);

#endif /* WEBHOOK_RESULT_ROW_H */
