/*
 * page_tracker.h
 *	  Which pages have been read and not yet settled.
 */
#ifndef WEBHOOK_PAGE_TRACKER_H
#define WEBHOOK_PAGE_TRACKER_H

#include "postgres.h"

#include "store_read.h"

/* Open a page that ends at this position (copied); returns its number. */
extern uint64 wh_pages_open(const WhPosition *end);

/* A delivery of this page begins; one has ended. */
extern void wh_pages_add(uint64 page);
extern void wh_pages_ended(uint64 page);

/*
 * The end of the last page up to which everything has ended; those pages are
 * forgotten. NULL: nothing new. The caller frees it.
 */
extern WhPosition *wh_pages_settled(void);

/* Has every page ended? */
extern bool wh_pages_all_ended(void);

#endif /* WEBHOOK_PAGE_TRACKER_H */
