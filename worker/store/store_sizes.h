/*
 * store_sizes.h
 *	  How large the configuration is, looked at before it is read.
 */
#ifndef WEBHOOK_STORE_SIZES_H
#define WEBHOOK_STORE_SIZES_H

#include "postgres.h"

/*
 * What is too large to be read: by itself, or because all together exceed the
 * budget. Arrays, for the statements that read the rest.
 */
typedef struct WhLeftOut
{
	Datum sending;  /* bigint[]: subscriptions whose columns about sending are left out */
	Datum routing;  /* bigint[]: subscriptions whose columns about events are left out too */
	Datum profiles; /* text[]: names of profiles that are left out */
} WhLeftOut;
extern WhLeftOut wh_store_left_out(Size budget);

#endif /* WEBHOOK_STORE_SIZES_H */
