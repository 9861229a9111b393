/*
 * store_sequence.h
 *	  The sequence of event ids was set back, or ahead, by hand.
 */
#ifndef WEBHOOK_STORE_SEQUENCE_H
#define WEBHOOK_STORE_SEQUENCE_H

#include "postgres.h"

#include "store_read.h"

/*
 * People can set the sequence of event ids. In the reading
 * transaction, before and after wh_store_read: is all as it must be for this position to be read from, and
 * does the page suit? Where not, nothing of it may be used: it is put right in a
 * transaction of its own, and then read again. When a page was read, that is told.
 */
extern bool wh_sequence_is_right(const WhPosition *position);
extern bool wh_sequence_suits(const WhPosition *position, const WhPage *page, const WhPosition *next);
extern bool wh_store_fix_sequence(const WhPosition *position);
extern void wh_sequence_read_on(const WhPosition *next);

#endif /* WEBHOOK_STORE_SEQUENCE_H */
