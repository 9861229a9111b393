/*
 * suspect.h
 *	  What may have ended the worker before this one, while it read or matched.
 */
#ifndef WEBHOOK_SUSPECT_H
#define WEBHOOK_SUSPECT_H

#include "store_read.h"

/* At start, in a transaction: what the worker before this one was at. True: something was written down, to be flushed. */
extern bool wh_suspect_load(const WhPosition *settled);

/* Before a page is matched, in a transaction of its own: it begins here. True: that was written, and is to be flushed. */
extern bool wh_suspect_note_page(const WhPosition *position);

/* Who is at a step: the reader of the outbox, or whoever takes from pending what it had put off. */
typedef enum WhSuspectAt
{
	WH_SUSPECT_READING,
	WH_SUSPECT_FETCHING
} WhSuspectAt;

/*
 * May an event be read now (subscription 0), or judged for a subscription? False:
 * not before that has been written down; wh_suspect_wanted then says so, and
 * wh_suspect_note does it, in a transaction of its own, to be flushed.
 */
extern bool wh_suspect_may(const WhEvent *event, int64 subscription_id);
/* The same when it was put off: always while the worker is careful. */
extern bool wh_suspect_may_put_off(const WhEvent *event, int64 subscription_id);
extern bool wh_suspect_wanted(WhSuspectAt at);
extern void wh_suspect_note(WhSuspectAt at, const WhPosition *position);
extern void wh_suspect_noted(WhSuspectAt at); /* when that has committed */
extern void wh_suspect_forget(WhSuspectAt at);

/* Is there a note that the next worker might take for the cause of our end? Who leaves in order says otherwise, in a transaction. */
extern bool wh_suspect_any_noted(void);
extern void wh_suspect_survived(const WhPosition *settled);

/* NULL, or why that must not be done at all: a worker has died of it. */
extern const char *wh_suspect_why(int64 event_number, int64 subscription_id);

/* Is it going step by step? */
extern bool wh_suspect_doubts(void);

/* Is it being careful? Told by whoever knows. */
extern void wh_suspect_checkpoint_first(bool checkpoint_first);

/* So many rows of the page have been done with; all that there were. */
extern void wh_suspect_passed(const WhPage *page, int n);
extern void wh_suspect_caught_up(void);

/* Must what was written down be kept? `settled`: nothing before it is read again. */
extern bool wh_suspect_in_force(const WhPosition *settled);

#endif /* WEBHOOK_SUSPECT_H */
