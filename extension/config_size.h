/*
 * config_size.h
 *	  How large the columns of webhook.subscription and webhook.profile may be.
 */
#ifndef WEBHOOK_CONFIG_SIZE_H
#define WEBHOOK_CONFIG_SIZE_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"

/* How much of a row the worker would hold, and which column is too large. */
typedef struct WhRowSize
{
	Size routing;  /* bytes of the columns that say which events a subscription is for */
	Size sending;  /* bytes of all others */
	char why[128]; /* the first column that is too large, for people; "": none */
	bool why_routing;
} WhRowSize;

/*
 * Measure a `row` of "subscription" or "profile". With `before`, only the columns that
 * differ from it are measured (NULL: all). Whatever is in the row, this takes no more
 * memory than one column of the size allowed.
 */
extern void wh_config_row_size(const char *table, TupleDesc desc, HeapTuple row, HeapTuple before,
							   WhRowSize *size);

#endif /* WEBHOOK_CONFIG_SIZE_H */
