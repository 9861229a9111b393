/*
 * store_carry.h
 *	  Events that somebody still waits for leave a segment before it is emptied.
 */
#ifndef WEBHOOK_STORE_CARRY_H
#define WEBHOOK_STORE_CARRY_H

#include "postgres.h"

/* How far the events that are still waited for have been carried over. */
typedef struct WhCarry
{
	int from;              /* the segment; -1: of none */
	int64 subscription_id; /* rows of pending up to this one have been looked at */
	int64 event_number;
	bool ended;  /* all have */
	int64 moved; /* events */
	int64 gone;  /* rows of pending whose event is nowhere, and which were forgotten */
} WhCarry;

/* Begin with a segment; and move the next portion, a short transaction's worth. */
extern void wh_carry_begin(WhCarry *carry, int segment);
extern void wh_store_carry(WhCarry *carry);

#endif /* WEBHOOK_STORE_CARRY_H */
