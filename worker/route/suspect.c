/*
 * suspect.c
 *	  What may have ended the previous worker while it read or matched.
 *
 * A worker that is killed (by the OOM killer, a crash in the server's code, an
 * operator) starts again at the last checkpoint. If an event killed it, or what a
 * filter does with that event, it would meet the same event again, and so would
 * the next worker. So it is recorded in webhook.checkpoint, and flushed, before it
 * is tried again:
 *
 *	  first death	nothing is recorded, but the next worker starts in checkpoint-first
 *					mode (worker_read.c)
 *	  matching		before each page, a worker in that mode records the position at
 *					which the page begins
 *	  second death	the next worker finds that record with no "read" checkpoint after
 *					it. What lies beyond the position it does step by step
 *	  suspect		before each step it records which one: reading this event, or judging
 *					it for this subscription
 *	  third death	the next worker finds that record with no "read" checkpoint after it
 *	  killed		it records that too, for good. The step is not done again: the event is
 *					a dead letter of that subscription or, if reading it was the step,
 *					of all that want it
 *
 * A worker that is asked to end during that (a shutdown, DROP DATABASE,
 * pg_terminate_backend) has not died of it. It writes a "read" checkpoint once more
 * when it ends, so that no record outlives it.
 *
 * So it costs three deaths. A step during which something else killed the worker is
 * blamed wrongly; that costs one dead letter, which says what it is and can be
 * redelivered.
 *
 * Owns the records in memory; store_suspect.c writes them.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "suspect.h"
#include "store_read.h"
#include "store_suspect.h"

static bool checkpoint_first = true; /* until worker_read.c says otherwise */
static WhPosition *doubtful = NULL;  /* what lies beyond is done step by step; NULL: nothing */
static int n_doubtful = 0;           /* rows beyond it that may still be the cause */
static WhPair noted[2];              /* by WhSuspectAt: the recorded step */
static WhPair wanted[2];             /* the step to be recorded */
static bool page_noted = false;
static bool any_noted = false; /* in the table, by this worker or the previous one */
static WhPair *killed = NULL;
static int n_killed = 0;

static bool
same(WhPair a, WhPair b)
{
	return a.event_number == b.event_number && a.subscription_id == b.subscription_id;
}

bool
wh_suspect_load(const WhPosition *settled)
{
	MemoryContext old;
	WhSuspects found = wh_store_suspects();
	bool accused = found.suspect.event_number != 0;

	any_noted = found.matching != NULL || accused;
	if (found.matching)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		wh_position_free(doubtful);
		doubtful = wh_position_copy(found.matching);
		MemoryContextSwitchTo(old);
		n_doubtful = WH_PAGE_EVENTS;
		ereport(LOG, errmsg("webhook worker proceeds step by step"),
				errdetail("The previous worker ended while it read or matched events after " INT64_FORMAT ".",
						  found.matching->hi));
	}
	if (accused)
	{
		wh_store_note_suspect("killed", found.suspect, found.matching ? found.matching : settled);
		ereport(WARNING,
				errmsg("webhook event " INT64_FORMAT " ended the worker", found.suspect.event_number),
				errdetail("It ended each time that the event was %s.",
						  found.suspect.subscription_id == 0 ? "read"
															 : "matched with what a subscription asks for"),
				errhint("The event becomes a dead letter and is not tried again."));
	}
	if (killed)
		pfree(killed);
	n_killed = found.n_killed;
	killed = MemoryContextAlloc(TopMemoryContext, (n_killed + 1) * sizeof(WhPair));
	memcpy(killed, found.killed, n_killed * sizeof(WhPair));
	if (accused)
		killed[n_killed++] = found.suspect;
	return accused;
}

bool
wh_suspect_note_page(const WhPosition *position)
{
	if (doubtful || page_noted)
		return false; /* there is such a record */
	wh_store_write_checkpoint("matching", position);
	page_noted = any_noted = true;
	return true;
}

static bool
step_may(WhSuspectAt at, const WhEvent *event, int64 subscription_id)
{
	WhPair step = {.event_number = event->id, .subscription_id = subscription_id};

	/* an event that is judged is read for it: reading it again needs no record of its own */
	if (same(step, noted[at]) || (subscription_id == 0 && noted[at].event_number == event->id))
		return true;
	wanted[at] = step;
	return false;
}

bool
wh_suspect_may(const WhEvent *event, int64 subscription_id)
{
	return doubtful == NULL || wh_position_covers(doubtful, event) ||
		   step_may(WH_SUSPECT_READING, event, subscription_id);
}

bool
wh_suspect_may_put_off(const WhEvent *event, int64 subscription_id)
{
	return !checkpoint_first || step_may(WH_SUSPECT_FETCHING, event, subscription_id);
}

bool
wh_suspect_wanted(WhSuspectAt at)
{
	return wanted[at].event_number != 0;
}

void
wh_suspect_note(WhSuspectAt at, const WhPosition *position)
{
	wh_store_note_suspect("suspect", wanted[at], position);
	any_noted = true;
}

void
wh_suspect_noted(WhSuspectAt at)
{
	noted[at] = wanted[at];
	wanted[at] = (WhPair){0};
}

void
wh_suspect_forget(WhSuspectAt at)
{
	noted[at] = wanted[at] = (WhPair){0};
}

bool
wh_suspect_any_noted(void)
{
	return any_noted;
}

void
wh_suspect_survived(const WhPosition *settled)
{
	WhPosition *read = wh_store_checkpoint("read");

	/* where it is: what is beyond may have been sent, and is not read again before that has been looked up */
	wh_store_write_checkpoint("read", read ? read : settled);
}

const char *
wh_suspect_why(int64 event_number, int64 subscription_id)
{
	for (int i = 0; i < n_killed; i++)
		if (killed[i].event_number == event_number && killed[i].subscription_id == subscription_id)
			return subscription_id == 0
					   ? "the worker ended, more than once, while it read this event"
					   : "the worker ended, more than once, while it matched this event with the "
						 "subscription";
	return NULL;
}

bool
wh_suspect_doubts(void)
{
	return doubtful != NULL;
}

void
wh_suspect_checkpoint_first(bool is_checkpoint_first)
{
	checkpoint_first = is_checkpoint_first;
}

void
wh_suspect_passed(const WhPage *page, int n)
{
	page_noted = page_noted && n == 0;
	for (int i = 0; i < n && doubtful; i++)
		if (!wh_position_covers(doubtful, &page->rows[i].head) && --n_doubtful <= 0)
			wh_suspect_caught_up();
}

void
wh_suspect_caught_up(void)
{
	wh_position_free(doubtful);
	doubtful = NULL;
	page_noted = false;
	wh_suspect_forget(WH_SUSPECT_READING);
}

bool
wh_suspect_in_force(const WhPosition *settled)
{
	if (doubtful || page_noted)
		return true;
	for (int i = 0; i < n_killed; i++)
		if (killed[i].event_number > settled->hi)
			return true;
	return false;
}
