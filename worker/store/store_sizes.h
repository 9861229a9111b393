/*
 * store_sizes.h
 *	  How large the configuration is, looked at before it is read.
 */
#ifndef WEBHOOK_STORE_SIZES_H
#define WEBHOOK_STORE_SIZES_H

#include "postgres.h"

/*
 * What is too large to be read, by itself or together with all
 * others, of which no more than so many bytes are to be held. Arrays, for the
 * statements that read the rest.
 */
typedef struct WhLeftOut
{
	Datum sending;  /* bigint[]: subscriptions of which the columns that say how to send are left out */
	Datum routing;  /* bigint[]: and of which those that say which events */
	Datum profiles; /* text[]: names of profiles */
} WhLeftOut;
extern WhLeftOut wh_store_left_out(Size budget);

#endif /* WEBHOOK_STORE_SIZES_H */
