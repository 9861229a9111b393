/*
 * config_size.h
 *	  How large the columns of webhook.subscription and webhook.profile may be.
 */
#ifndef WEBHOOK_CONFIG_SIZE_H
#define WEBHOOK_CONFIG_SIZE_H

#include "postgres.h"

#include "access/htup.h"
#include "access/tupdesc.h"

/* What the worker would hold of a row, and what in it is larger than it may be. */
typedef struct WhRowSize
{
	Size routing;  /* bytes of the columns that say which events a subscription is for */
	Size sending;  /* and of all others */
	char why[128]; /* the first column that is too large, for people; "": none is */
	bool why_routing;
} WhRowSize;

/*
 * `row` of "subscription" or "profile"; of an update only what differs from
 * `before` is looked at (NULL: all of it). Costs no more memory than one column
 * of the size allowed, whatever is in the row.
 */
extern void wh_config_row_size(const char *table, TupleDesc desc, HeapTuple row, HeapTuple before,
							   WhRowSize *size);

#endif /* WEBHOOK_CONFIG_SIZE_H */
