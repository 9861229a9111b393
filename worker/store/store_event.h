/*
 * store_event.h
 *	  Rows of the outbox, and the events made of them.
 */
#ifndef WEBHOOK_STORE_EVENT_H
#define WEBHOOK_STORE_EVENT_H

#include "postgres.h"

#include "executor/spi.h"

#include "types.h"

/* An event's columns in a select list whose outbox is "o". Not cast, so that large values stay out of line. */
/* clang-format off */
#define WH_EVENT_COLUMNS \
	"o.event_number, o.xid, o.entity_id, o.entity_type, o.action_type, o.result, o.previous," \
	" o.tenant, o.context, o.subscription_id, o.created_at, o.segment"
/* clang-format on */

/* A row as it was read: what decides which subscriptions want it. The rest is fetched on demand. */
typedef struct WhRow
{
	WhEvent head; /* without content; its strings are in the transaction's memory, long ones are cut */
	size_t size;  /* bytes of text in the row */
	size_t bytes; /* bytes that it takes in memory as it is */
	bool cut;     /* some strings of the head are */
	bool claims; /* some of its values are packed or out of line: `size` is what they say, and may be wrong */
	HeapTuple tuple;
	TupleDesc desc;
	int at;
	WhEvent *event;  /* made of it; the row holds a reference; NULL: not yet */
	WhEvent *making; /* the same, half read */
	WhEvent *light;  /* the same, without content */
} WhRow;

/* From WH_EVENT_COLUMNS that begin at column `at`; until the transaction ends. */
extern void wh_store_row(HeapTuple tuple, TupleDesc desc, int at, WhRow *row);
/* Its event, made at the first call: with its content, or with a problem if that is too large. */
extern WhEvent *wh_row_event(WhRow *row);
/* The same with this problem, without reading its content. */
extern WhEvent *wh_row_unread(WhRow *row, const char *problem);
/* The same without its content, for a subscription that takes none now; its size is that of the whole. */
extern WhEvent *wh_row_light(WhRow *row);
extern void wh_row_release(WhRow *row);
/* wh_store_row and wh_row_event in one; the reference is the caller's. */
extern WhEvent *wh_store_event(HeapTuple tuple, TupleDesc desc, int at);
/* Drop what an error has left of one that was being made. */
extern void wh_store_event_drop(void);

/*
 * The event behind a row of pending, as a relation of at most one row: from the
 * segment where it was, or from wherever it has been moved to since. Where it
 * is there twice, one of them.
 */
/* clang-format off */
#define WH_EVENT_OF(event_number, in_segment) \
	"((SELECT * FROM webhook.outbox b" \
	"   WHERE b.event_number = " event_number " AND b.segment = " in_segment " LIMIT 1)" \
	" UNION ALL " \
	" (SELECT * FROM webhook.outbox b WHERE b.event_number = " event_number " LIMIT 1)" \
	" LIMIT 1)"
/* clang-format on */

#endif /* WEBHOOK_STORE_EVENT_H */
