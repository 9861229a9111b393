/*
 * store_rotate.h
 *	  The ring of segments: emptying the one whose turn is next.
 */
#ifndef WEBHOOK_STORE_ROTATE_H
#define WEBHOOK_STORE_ROTATE_H

#include "postgres.h"

#include "store_carry.h"
#include "store_read.h"

typedef struct WhRotation
{
	bool done;      /* the segment is empty, or holds nothing that is old */
	bool more;      /* there is more to carry over: go on soon */
	WhCarry carry;  /* the caller's to keep when the transaction has committed */
	char doing[64]; /* "empty webhook.outbox_5": filled in at once, so that it can be told after an error */
	int further;    /* not the next segment but one so many behind it */
	bool unsettled; /* nobody will read the outbox: whether settled or not, what is old goes */
	int64 bytes;    /* of events that went without having been settled, on disk */
} WhRotation;

/* Empty the segment whose turn is next, if all in it is old and nobody holds a lock on it. */
extern void wh_store_rotate_attempt(WhRotation *r);
/* The same; and all in it must be settled, by this position. */
extern void wh_store_rotate_outbox(WhRotation *r, const WhPosition *settled);

#endif /* WEBHOOK_STORE_ROTATE_H */
