/*
 * result_row.c
 *	  A row that a function in C returns.
 *
 * The library may be older or newer than the function's declaration (sql_version.c).
 * heap_form_tuple() reads as many values as are declared, whoever provides how many.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "result_row.h"

HeapTuple
wh_result_row(TupleDesc desc, const Datum *values, const bool *nulls, int n)
{
	Datum *all = palloc0(sizeof(Datum) * desc->natts);
	bool *all_nulls = palloc(sizeof(bool) * desc->natts);

	memset(all_nulls, true, sizeof(bool) * desc->natts);
	n = Min(n, desc->natts);
	memcpy(all, values, sizeof(Datum) * n);
	memcpy(all_nulls, nulls, sizeof(bool) * n);
	return heap_form_tuple(desc, all, all_nulls);
}
