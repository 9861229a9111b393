/*
 * store_scan.h
 *	  Reads the segments of the outbox by their indexes, without a statement.
 */
#ifndef WEBHOOK_STORE_SCAN_H
#define WEBHOOK_STORE_SCAN_H

#include "postgres.h"

#include "store_read.h"

/* Lock the outbox and all its segments, as a SELECT does. */
extern void wh_scan_lock(void);

/*
 * Add to the page the events of these transactions with a number up to hi, by
 * number. False: that must be done by a statement, and the page is as it was: a
 * segment is not as expected, a statement would not just read it, or the page has no
 * room for all of them.
 */
extern bool wh_scan_transactions(WhPage *page, size_t *bytes, const uint64 *xids, int n, int64 hi);

/* Add to the page events above hi, by number, until it is full. The same. `all`: there are no more. */
extern bool wh_scan_above(WhPage *page, size_t *bytes, int64 hi, bool *all);

#endif /* WEBHOOK_STORE_SCAN_H */
