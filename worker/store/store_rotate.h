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
	bool emptied;   /* it held something, and is empty now */
	bool more;      /* there is more to carry over: continue soon */
	WhCarry carry;  /* the caller keeps it when the transaction has committed */
	char doing[64]; /* "empty webhook.outbox_5": set at once, so that it is known after an error */
	int further;    /* not the next segment, but the one so many after it */
	bool unsettled; /* nobody reads the outbox here: what is old goes, settled or not */
	int64 bytes;    /* on disk, of events that went unsettled */
} WhRotation;

/* Empty the segment whose turn is next, if everything in it is old and nobody holds a lock on it. */
extern void wh_store_rotate_attempt(WhRotation *r);
/* The same, if everything in it is settled by this position. */
extern void wh_store_rotate_outbox(WhRotation *r, const WhPosition *settled);

#endif /* WEBHOOK_STORE_ROTATE_H */
