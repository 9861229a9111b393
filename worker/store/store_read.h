/*
 * store_read.h
 *	  Reading the outbox by position, and the checkpoints.
 */
#ifndef WEBHOOK_STORE_READ_H
#define WEBHOOK_STORE_READ_H

#include "postgres.h"

#include "access/transam.h"
#include "access/xlogdefs.h"

#include "memory_limit.h"
#include "store_event.h"
#include "types.h"

/* How far has been read. See docs/internals/reading.md. */
typedef struct WhPosition
{
	char *snapshot;             /* S: pg_snapshot as text, palloc'd */
	FullTransactionId next_xid; /* N */
	int64 hi;
	/* between two pages of stragglers: */
	char *within_snapshot; /* NULL: not */
	FullTransactionId within_next_xid;
	int64 within_last; /* the last straggler read */
} WhPosition;

#define WH_PAGE_EVENTS 500
#define WH_PAGE_BYTES wh_page_bytes_max() /* of its events, and of those fetched from pending at once */

typedef struct WhPage
{
	WhRow rows[WH_PAGE_EVENTS];
	int n;
	int max; /* rows to be read at most */
	/* how they were read, for wh_store_position */
	char *snapshot;
	FullTransactionId next_xid;
	int n_stragglers;    /* of the rows, from the beginning */
	bool all_stragglers; /* there are no more of them */
	bool all_above;      /* nor of those above */
	bool more;           /* there is more after the last wh_store_position: read on at once */
} WhPage;

extern WhPosition *wh_position_copy(const WhPosition *p);
extern void wh_position_free(WhPosition *p);
/* Had this event, visible or not, been read when the position was `p`? */
extern bool wh_position_covers(const WhPosition *p, const WhEvent *event);

/* The newest checkpoint of a kind, or NULL; and the position before all events. */
extern WhPosition *wh_store_checkpoint(const char *kind);
extern WhPosition *wh_store_origin(void);
extern void wh_store_write_checkpoint(const char *kind, const WhPosition *p);
extern int64 wh_store_checkpoint_id(void); /* of the next row of webhook.checkpoint */
/* Remove old checkpoints, unless somebody else is looking at them. */
extern void wh_store_trim_checkpoints(void);

/* Before wh_store_read: lock the outbox and take the snapshot that this transaction reads under. */
extern void wh_store_begin_reading(void);

/* Read the next page, and the position after the first `n` of its rows (palloc'd). */
extern void wh_store_read(const WhPosition *from, WhPage *page);
extern WhPosition *wh_store_position(const WhPosition *from, WhPage *page, int n);
/* Up to where must WAL be flushed so that no crash can undo the first `n` events of this page? */
extern XLogRecPtr wh_store_commits(const WhPage *page, int n);

/* An event for a subscription. */
typedef struct WhPair
{
	int64 event_number;
	int64 subscription_id;
} WhPair;

/* The last result as pairs, of its first two columns: an event and a subscription. Outlives the transaction. */
extern WhPair *wh_result_pairs(int *n);

/*
 * Which pairs have a row in the log, in pending or in dead_letter: all of the pairs
 * given that have, and perhaps others of the same events, in order.
 */
extern WhPair *wh_store_dealt_with(const WhPair *pairs, int n_pairs, int *n);
extern int wh_pair_compare(const void *a, const void *b); /* that order */

#endif /* WEBHOOK_STORE_READ_H */
