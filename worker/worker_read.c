/*
 * worker_read.c
 *	  Reading: a page of events from the outbox, to the subscriptions that want
 *	  them, into the engine.
 *
 * Called by the loop in worker.c. Owns the position. A page is read, and the
 * checkpoint "read" written, in one transaction; its events go to the engine
 * after that has committed and WAL is flushed.
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "books.h"
#include "compat.h"
#include "route.h"
#include "settings.h"
#include "store.h"
#include "wake.h"
#include "worker.h"

static WhPosition *position = NULL;    /* read up to here */
static WhPosition *read_before = NULL; /* while recovering: what a worker that died may have sent */
static WhPage page;
static bool more_to_read = true;
static uint64 completions_seen = 0;
static uint64 events_read = 0;
static TimestampTz last_read = 0;

/* Transactions that have ended in this cluster: nothing can have become visible while this stands still. */
static uint64
completions(void)
{
	uint64 n;

	LWLockAcquire(ProcArrayLock, LW_SHARED);
	n = wh_transam_variables->xactCompletionCount;
	LWLockRelease(ProcArrayLock);
	return n;
}

void
wh_read_from(WhPosition *from, WhPosition *before)
{
	position = from;
	read_before = before;
}

typedef struct Reading
{
	WhPosition *next;
	bool reload;
	WhLoaded loaded;
	WhDealt *dealt;
	int n_dealt;
	int n_events;
} Reading;

static bool
page_concerns(List *with)
{
	for (int i = 0; i < page.n; i++)
	{
		ListCell *lc;

		foreach (lc, with)
			if (wh_route_matches(lfirst(lc), page.events[i]))
				return true;
	}
	return false;
}

/*
 * Before anything of the page is sent: if this worker dies, the next one must
 * know what may have been sent. While recovering, that is also what the worker
 * before this one may have sent, beyond where we have come to; to be on the
 * safe side, everything visible now below it.
 */
static void
write_read_checkpoint(const WhPosition *next)
{
	WhPosition covered = *next;

	if (read_before)
	{
		if (next->within_snapshot)
		{
			covered.snapshot = next->within_snapshot;
			covered.next_xid = next->within_next_xid;
			covered.within_snapshot = NULL;
		}
		covered.hi = Max(next->hi, read_before->hi);
	}
	wh_store_write_checkpoint("read", &covered);
}

static void
read_step(void *arg)
{
	Reading *r = arg;
	bool concerned = false;

	wh_tx_begin("webhook: reading");
	wh_store_read(position, &page, &r->next);

	/*
	 * Configuration that was committed before one of these events must count
	 * for it. Its invalidation was sent before the event's transaction began,
	 * so look for it now, after the snapshot that shows the event.
	 */
	r->reload = wh_store_config_stale();
	if (r->reload)
		wh_config_load(&r->loaded);
	if (page.n > 0 && !(r->reload && !(r->loaded.presence == WH_PRESENT && r->loaded.may_deliver)))
	{
		if (read_before)
			r->dealt = wh_store_dealt_with(&page, &r->n_dealt);
		concerned = page_concerns(r->reload ? r->loaded.routes : wh_config_routes());
		if (concerned)
			write_read_checkpoint(r->next);
	}
	wh_tx_commit(concerned);
}

static bool
dealt_with(const Reading *r, int64 event_id, int64 subscription_id)
{
	for (int i = 0; i < r->n_dealt; i++)
		if (r->dealt[i].event_id == event_id && r->dealt[i].subscription_id == subscription_id)
			return true;
	return false;
}

static void
submit_event(const Reading *r, WhEvent *event, uint64 number)
{
	bool lost = read_before && wh_position_covers(read_before, event);
	ListCell *lc;

	foreach (lc, wh_config_routes())
	{
		WhRoute *route = lfirst(lc);
		WhSubmit submit = {.event = event,
						   .subscription_id = route->sub.id,
						   .from = lost ? WH_FROM_LOST : WH_FROM_LOG,
						   .page = number};

		if (!wh_route_matches(route, event))
			continue;
		if (lost && dealt_with(r, event->id, route->sub.id))
			continue;
		if (!wh_deliver_submit(wh_engine, &submit))
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
		wh_books_add(number);
	}
}

static void
release_page(void)
{
	for (int i = 0; i < page.n; i++)
		wh_event_release(page.events[i]);
	page.n = 0;
}

/*
 * Has all been read that the worker before this one may have sent? Everything
 * visible now at or below our position has been, unless we are in the midst
 * of stragglers; and what was visible then is visible now.
 */
static bool
recovered(void)
{
	return !more_to_read || (position->within_snapshot == NULL && position->hi >= read_before->hi);
}

void
wh_read_page(void)
{
	Reading r = {0};
	MemoryContext old = CurrentMemoryContext;
	uint64 seen = completions();
	uint64 number;

	if (!wh_attempt(read_step, &r))
	{
		release_page();
		if (r.loaded.context)
			MemoryContextDelete(r.loaded.context);
		return;
	}
	if (r.reload)
		wh_config_apply(&r.loaded);
	r.n_events = page.n;
	if (page.n > 0)
	{
		number = wh_books_open(r.next);
		for (int i = 0; i < page.n; i++)
			submit_event(&r, page.events[i], number);
		events_read += page.n;
		wh_settle_pages();
	}
	MemoryContextSwitchTo(TopMemoryContext);
	wh_position_free(position);
	position = wh_position_copy(r.next);
	MemoryContextSwitchTo(old);
	release_page();

	if (r.n_events == 0)
		wh_settle_caught_up(position);
	more_to_read = page.more;
	if (read_before && recovered())
	{
		wh_position_free(read_before);
		read_before = NULL;
	}
	completions_seen = seen;
	last_read = GetCurrentTimestamp();
}

bool
wh_read_wanted(TimestampTz now)
{
	if (wh_worker_woken())
		more_to_read = true;
	else if (now >= TimestampTzPlusMilliseconds(last_read, wh_naptime) && completions() != completions_seen)
		more_to_read = true;
	return more_to_read;
}

void
wh_read_again(void)
{
	more_to_read = true;
}

bool
wh_read_may(void)
{
	return wh_deliver_has_room(wh_engine);
}

bool
wh_read_recovering(void)
{
	return read_before != NULL;
}

TimestampTz
wh_read_last(void)
{
	return last_read;
}

uint64
wh_read_events(void)
{
	return events_read;
}
