/*
 * worker_read.c
 *	  Reading: a page of events from the outbox, to the subscriptions that want
 *	  them, into the engine.
 *
 * A page is read and matched with the subscriptions (route.c) in one transaction.
 * Its events go to the engine when that has committed and their own commits are
 * flushed. The next settle writes the "read" checkpoint.
 *
 * In checkpoint-first mode the reading transaction itself writes it, before
 * anything is sent. That mode lasts until this worker has dealt with everything
 * that a previous worker may have sent, and for some time after.
 *
 * If it cannot be determined whether a subscription wants an event, the event
 * becomes a dead letter of that subscription.
 *
 * Owns the position, and the "read" checkpoint that records it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

#include "page_tracker.h"
#include "compat.h"
#include "fault.h"
#include "route.h"
#include "settings.h"
#include "store.h"
#include "store_event.h"
#include "store_notices.h"
#include "store_read.h"
#include "store_sequence.h"
#include "filter_strikes.h"
#include "suspect.h"
#include "worker_slots.h"
#include "worker.h"

static WhPosition *position = NULL;    /* read up to here */
static WhPosition *read_before = NULL; /* while recovering: what a worker that died may have sent */
static WhPage page = {.max = WH_PAGE_EVENTS};
static bool more_to_read = true;
static uint64 completions_seen = 0;
static uint64 events_read = 0;
static TimestampTz last_read = 0;
static TimestampTz unwritten_since = 0; /* 0: the checkpoint covers all that was sent */
static TimestampTz checkpoint_first_until = 0;

#define CHECKPOINT_FIRST_MS 10000
#define DELIVERY_BYTES 1024 /* of one delivery in the engine, with its lane */

uint64
wh_completions(void)
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
	checkpoint_first_until = TimestampTzPlusMilliseconds(wh_now(), CHECKPOINT_FIRST_MS);
}

static bool
is_checkpoint_first(void)
{
	return read_before != NULL || wh_suspect_doubts() || wh_now() < checkpoint_first_until;
}

typedef struct Reading
{
	WhPosition *next;
	bool reload;
	WhLoaded loaded;
	WhMatches matches;
	WhPair *dealt;
	int n_dealt;
	int n_events;      /* of the page, dealt with */
	bool all;          /* that was the whole page */
	bool fix_sequence; /* the sequence of event numbers must be fixed before anything is read */
	bool to_send;      /* some subscription wants an event of it */
	bool written;      /* its checkpoint is written with it */
	XLogRecPtr flush;  /* WAL up to here, before anything is sent */
} Reading;

static void
release_page(void)
{
	for (int i = 0; i < page.n; i++)
		wh_row_release(&page.rows[i]);
	page.n = 0;
}

/*
 * Match the page. If that makes too many deliveries, only its first events: the
 * position is then the one after those, and the next pages are smaller and grow
 * again.
 */
static void
match_page(Reading *r, const WhRoutes *routes)
{
	wh_route_page(routes, &page, &r->matches);
	ereport(DEBUG1, errmsg_internal("webhook worker matched %d events: %d deliveries, " UINT64_FORMAT
									" entries of the index looked at",
									r->matches.n_events, r->matches.n, r->matches.n_looked_at));
	if (r->matches.n_events < page.n)
		page.max = Max(1, r->matches.n_events);
	else if (page.max < WH_PAGE_EVENTS)
		page.max = Min(WH_PAGE_EVENTS, page.max * 2);
}

/* While recovering: mark what a worker that died may have sent, and find out what of it has been recorded. */
static void
find_interrupted(Reading *r)
{
	WhPair *pairs = palloc(Max(1, r->matches.n) * sizeof(WhPair));
	int n = 0;
	int event = -1;
	bool interrupted = false;

	for (int i = 0; i < r->matches.n; i++)
	{
		WhMatch *match = &r->matches.list[i];

		if (match->event != event)
		{
			event = match->event;
			interrupted = wh_position_covers(read_before, &page.rows[event].head);
		}
		match->interrupted = interrupted;
		if (interrupted)
			pairs[n++] =
				(WhPair){.event_number = page.rows[event].head.id, .subscription_id = match->route->id};
	}
	if (n > 0)
		r->dealt = wh_store_dealt_with(pairs, n, &r->n_dealt);
}

/*
 * If this worker dies, the next one must know what may have been sent. While
 * recovering, that includes what the previous worker may have sent beyond our
 * position: to be safe, everything visible now up to its highest event.
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

/* The furthest known position, of this worker or the previous one. */
static const WhPosition *
furthest(void)
{
	return read_before && read_before->hi > position->hi ? read_before : position;
}

static void
fix_sequence_step(void *arg)
{
	wh_tx_begin("webhook: fixing the sequence of event numbers");
	(void) wh_store_fix_sequence(furthest());
	wh_tx_commit(false);
}

static void
read_step(void *arg)
{
	Reading *r = arg;

	r->to_send = r->written = r->fix_sequence = false;
	r->n_events = 0;
	release_page(); /* of a try that failed */
	wh_tx_begin("webhook: reading");
	wh_prepared_check(); /* before the snapshot: it shows all that had ended by then */
	wh_store_begin_reading();
	r->fix_sequence = !wh_sequence_is_right(furthest());
	if (!r->fix_sequence)
	{
		wh_store_read(position, &page);
		r->fix_sequence = !wh_sequence_suits(position, &page, wh_store_position(position, &page, page.n));
	}
	if (r->fix_sequence)
	{
		wh_tx_commit(false);
		return;
	}

	/*
	 * Configuration that was committed before one of these events must apply to
	 * it. Its invalidation was sent before the event's transaction began, so
	 * look for it now, after taking the snapshot that shows the event.
	 */
	r->reload = wh_store_config_stale();
	if (r->reload)
		wh_config_load(&r->loaded);
	if (page.n > 0 && !(r->reload && !(r->loaded.presence == WH_PRESENT && r->loaded.may_deliver)))
	{
		MemoryContext old = MemoryContextSwitchTo(wh_tx_results);

		match_page(r, r->reload ? r->loaded.routes : wh_config_routing());
		if (read_before)
			find_interrupted(r);
		/* the engine gets them after the commit, when nothing can be undone */
		if (r->matches.n > 0 && !wh_memory_has((size_t) r->matches.n * DELIVERY_BYTES))
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
					errdetail("There is not enough for %d deliveries.", r->matches.n));
		MemoryContextSwitchTo(old);
		r->n_events = r->matches.n_events;
		r->to_send = r->matches.n > 0;
		/* even when nothing is to be sent: the checkpoint records that the page was survived */
		r->written = r->n_events > 0 && is_checkpoint_first();
	}
	r->next = wh_store_position(position, &page, r->n_events);
	r->all = r->n_events == page.n;
	if (r->written)
		write_read_checkpoint(r->next);
	else if (r->to_send)
		r->flush = wh_store_commits(&page, r->n_events);
	if (page.n > 0)
		WH_FAULT("reading");
	wh_tx_commit(r->written);
}

static bool
dealt_with(const Reading *r, int64 event_number, int64 subscription_id)
{
	WhPair pair = {.event_number = event_number, .subscription_id = subscription_id};

	return r->n_dealt > 0 && bsearch(&pair, r->dealt, r->n_dealt, sizeof(WhPair), wh_pair_compare) != NULL;
}

/* It can neither be sent nor skipped: keep it for people, without an attempt. False: no memory. */
bool
wh_read_dead_letter(WhEvent *event, int64 subscription_id, const char *why, uint64 number, int attempts)
{
	WhDelivery *d = calloc(1, sizeof(WhDelivery));

	if (d == NULL)
		return false;
	if (!wh_delivery_set_error(d, why, pg_encoding_mbcliplen(PG_UTF8, why, strlen(why), WH_ERROR_MAX - 1)))
	{
		free(d);
		return false;
	}
	event->refs++;
	d->event = event;
	d->subscription_id = subscription_id;
	d->page = number;
	d->attempts = attempts;
	d->stored = number == 0;
	d->disposal = WH_DO_DEAD_LETTER;
	d->kind = WH_OUT_INTERNAL;
	d->class = WH_CLASS_GIVE_UP;
	wh_settle_add(d);
	return true;
}

static void
submit(const Reading *r, uint64 number)
{
	for (int i = 0; i < r->matches.n; i++)
	{
		const WhMatch *match = &r->matches.list[i];
		const WhRow *row = &page.rows[match->event];
		WhEvent *event = row->event ? row->event : row->light;
		WhSubmit submit = {.event = event,
						   .subscription_id = match->route->id,
						   .from = match->interrupted ? WH_FROM_INTERRUPTED : WH_FROM_LOG,
						   .page = number,
						   .keep = match->keep,
						   .unjudged = match->unjudged};

		if (match->interrupted && dealt_with(r, event->id, match->route->id))
			continue;
		wh_pages_add(number);
		if (!(match->why ? wh_read_dead_letter(event, match->route->id, match->why, number, 0)
						 : wh_engine_submit(wh_engine, &submit)))
		{
			/* its page is never settled, so the next worker reads it again; what the engine has is settled */
			ereport(WARNING, errcode(ERRCODE_OUT_OF_MEMORY),
					errmsg("webhook worker starts over because it is out of memory"),
					errhint("Raise webhook.worker_memory."));
			wh_start_over();
			break;
		}
	}
}

/*
 * Has everything been read that the previous worker may have sent? Everything
 * visible now up to our position has, unless we are between two pages of
 * stragglers; and what was visible then is visible now.
 */
static bool
recovered(void)
{
	return !more_to_read || (position->within_snapshot == NULL && position->hi >= read_before->hi);
}

/*
 * What may end the worker
 */

static void
note_page_step(void *arg)
{
	bool any;

	wh_tx_begin("webhook: noting what is read");
	wh_store_begin_reading();
	wh_store_read(position, &page);
	any = page.n > 0 && wh_suspect_note_page(position);
	release_page();
	wh_tx_commit(any);
}

static void
note_step(void *arg)
{
	wh_tx_begin("webhook: noting what is read");
	wh_suspect_note(*(WhSuspectAt *) arg, position);
	wh_tx_commit(true);
}

bool
wh_read_note_step(WhSuspectAt at)
{
	if (!wh_run_step(note_step, &at))
		return false;
	wh_suspect_noted(at);
	return true;
}

/*
 * Subscriptions whose filters delay all others
 */

static void
disable_step(void *arg)
{
	const char *why;
	int64 id = wh_strikes_next(&why);
	bool was_active;

	wh_tx_begin("webhook: disabling a subscription");
	was_active = wh_store_disable(id, psprintf("%d events in a row: %s", WH_STRIKES_OUT, why));
	wh_tx_commit(false);
	wh_strikes_disabled(id);
	if (was_active)
		wh_log_disabled(id, "Its filter exceeded a limit for several events in a row.");
}

/* Until that succeeds nothing is judged for them either. */
void
wh_read_disable(void)
{
	const char *why;

	while (wh_strikes_next(&why) != 0 && wh_run_step(disable_step, NULL))
		;
}

void
wh_read_page(void)
{
	Reading r = {0};
	MemoryContext old = CurrentMemoryContext;
	uint64 seen = wh_completions();
	uint64 number;

	wh_suspect_checkpoint_first(is_checkpoint_first());
	if (is_checkpoint_first() && !wh_run_step(note_page_step, NULL))
		return;
	if (!wh_run_step(read_step, &r))
	{
		release_page();
		if (r.loaded.context)
			MemoryContextDelete(r.loaded.context);
		return;
	}
	if (r.fix_sequence)
	{
		release_page();
		more_to_read = true;
		(void) wh_run_step(fix_sequence_step, NULL);
		return;
	}
	wh_sequence_read_on(r.next);
	/* with synchronous_commit = off an event is visible before it is durable, and must not be sent yet */
	if (r.to_send && !r.written)
		XLogFlush(r.flush);
	if (r.reload)
		wh_config_apply(&r.loaded);
	if (r.n_events > 0)
	{
		WH_FAULT("read");
		wh_memory_limit_use_reserve();
		number = wh_pages_open(r.next);
		submit(&r, number);
		wh_memory_limit_restore();
		events_read += r.n_events;
		wh_stat_read(r.n_events);
		wh_settle_pages();
	}
	wh_suspect_passed(&page, r.n_events);
	MemoryContextSwitchTo(TopMemoryContext);
	wh_position_free(position);
	position = wh_position_copy(r.next);
	MemoryContextSwitchTo(old);
	release_page();

	if (r.all && r.n_events == 0)
		wh_settle_caught_up(position);
	more_to_read = page.more;
	if (!more_to_read)
		wh_suspect_caught_up();
	if (wh_suspect_wanted(WH_SUSPECT_READING))
		(void) wh_read_note_step(WH_SUSPECT_READING);
	/* not within an event: disabling reloads the subscriptions, which loses the verdicts on it so far */
	if (r.n_events > 0)
		wh_read_disable();
	if (read_before && recovered())
	{
		wh_position_free(read_before);
		read_before = NULL;
		checkpoint_first_until = TimestampTzPlusMilliseconds(wh_now(), CHECKPOINT_FIRST_MS);
	}
	if (r.written)
		unwritten_since = 0;
	else if (r.to_send && unwritten_since == 0)
		unwritten_since = wh_now();
	completions_seen = seen;
	last_read = wh_now();
	wh_prepared_after_read(last_read);
	/* more that is there already is read at once */
	wh_pace_after_read(r.n_events > 0 && !more_to_read, last_read);
}

bool
wh_read_wanted(TimestampTz now)
{
	/* whatever else there is: the next look is one of the loop's deadlines, and has to lie ahead */
	bool look = wh_prepared_look(now);

	if (wh_pace_woken(now))
		more_to_read = true;
	else if ((look || now >= TimestampTzPlusMilliseconds(last_read, wh_poll_interval)) &&
			 wh_completions() != completions_seen)
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
	/* in this order: the engine may hand back what it has no room for, to be settled as well */
	return !wh_settle_behind() && wh_engine_has_room(wh_engine);
}

TimestampTz
wh_read_due(void)
{
	return Max(wh_step_not_before(read_step), wh_step_not_before(fix_sequence_step));
}

TimestampTz
wh_read_unwritten_since(void)
{
	return unwritten_since;
}

void
wh_read_write_checkpoint(void)
{
	write_read_checkpoint(position);
}

void
wh_read_checkpoint_written(void)
{
	unwritten_since = 0;
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

int64
wh_read_to(void)
{
	return position ? position->hi : 0;
}
