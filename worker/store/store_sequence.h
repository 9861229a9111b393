/*
 * store_sequence.h
 *	  The sequence of event ids was set back, or ahead, by hand.
 */
#ifndef WEBHOOK_STORE_SEQUENCE_H
#define WEBHOOK_STORE_SEQUENCE_H

#include "postgres.h"

#include "store_read.h"

/*
 * In the reading transaction, before and after wh_store_read: is the sequence right
 * for reading from this position, and is the page? If not, nothing of the page may
 * be used: wh_store_fix_sequence in a transaction of its own, then read again.
 * wh_sequence_read_on is called when a page has been read.
 */
extern bool wh_sequence_is_right(const WhPosition *position);
extern bool wh_sequence_suits(const WhPosition *position, const WhPage *page, const WhPosition *next);
extern bool wh_store_fix_sequence(const WhPosition *position);
extern void wh_sequence_read_on(const WhPosition *next);

#endif /* WEBHOOK_STORE_SEQUENCE_H */
