/*
 * suspect.h
 *	  What may have ended the previous worker while it read or matched.
 */
#ifndef WEBHOOK_SUSPECT_H
#define WEBHOOK_SUSPECT_H

#include "store_read.h"

/* At start, in a transaction: what the previous worker was doing. True: wrote something that must be flushed. */
extern bool wh_suspect_load(const WhPosition *settled);

/* Before a page is matched, in a transaction of its own: record where it begins. True: wrote it, flush. */
extern bool wh_suspect_note_page(const WhPosition *position);

/* Who does a step: the reader of the outbox, or the fetching of what it had put off. */
typedef enum WhSuspectAt
{
	WH_SUSPECT_READING,
	WH_SUSPECT_FETCHING
} WhSuspectAt;

/*
 * May an event be read now (subscription 0), or judged for a subscription? False:
 * not before the step is recorded. Then wh_suspect_wanted is true, and
 * wh_suspect_note records it, in a transaction of its own that must be flushed.
 */
extern bool wh_suspect_may(const WhEvent *event, int64 subscription_id);
/* The same for a judgement that was put off: needs a record whenever the mode is checkpoint-first. */
extern bool wh_suspect_may_put_off(const WhEvent *event, int64 subscription_id);
extern bool wh_suspect_wanted(WhSuspectAt at);
extern void wh_suspect_note(WhSuspectAt at, const WhPosition *position);
extern void wh_suspect_noted(WhSuspectAt at); /* after that has committed */
extern void wh_suspect_forget(WhSuspectAt at);

/* Is there a record that could blame an event for our end? A worker that ends in order revokes it, in a transaction. */
extern bool wh_suspect_any_noted(void);
extern void wh_suspect_survived(const WhPosition *settled);

/* NULL, or why that must not be done at all: it has killed a worker. */
extern const char *wh_suspect_why(int64 event_number, int64 subscription_id);

/* Is the worker going step by step? */
extern bool wh_suspect_doubts(void);

/* Is the mode checkpoint-first? worker_read.c decides. */
extern void wh_suspect_checkpoint_first(bool checkpoint_first);

/* So many rows of the page are done; or everything has been read. */
extern void wh_suspect_passed(const WhPage *page, int n);
extern void wh_suspect_caught_up(void);

/* Must the records be kept? `settled`: nothing before it is read again. */
extern bool wh_suspect_in_force(const WhPosition *settled);

#endif /* WEBHOOK_SUSPECT_H */
