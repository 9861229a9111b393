/*
 * store_carry.h
 *	  Events with pending deliveries leave a segment before it is emptied.
 */
#ifndef WEBHOOK_STORE_CARRY_H
#define WEBHOOK_STORE_CARRY_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* How far the events with pending deliveries have been carried over. */
typedef struct WhCarry
{
	int from;              /* the segment; -1: of none */
	int64 subscription_id; /* rows of pending up to this one are done */
	int64 event_number;
	bool ended;   /* all are done */
	int64 moved;  /* events */
	int64 walked; /* rows of pending, done */
	int64 rows;   /* of pending there were so many when it began */
	TimestampTz started_at;
	int64 gone; /* rows of pending that were deleted because their event is missing */
} WhCarry;

/* Begin with a segment; and move the next portion, as much as a short transaction can. */
extern void wh_carry_begin(WhCarry *carry, int segment);
extern void wh_store_carry(WhCarry *carry);

#endif /* WEBHOOK_STORE_CARRY_H */
