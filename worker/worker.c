/*
 * worker.c
 *	  The worker of one database: wait, read, send, settle.
 *
 * One loop, one sleep at its bottom. Each step opens and commits its own
 * short transaction; none is open while requests are under way. The engine
 * (deliver/) is moved on between them and never blocks.
 *
 *	  read		a page of events by position; match them with subscriptions;
 *				hand the deliveries to the engine
 *	  take		what is due again from webhook.pending; hand it to the engine
 *	  run		the engine
 *	  settle	what has ended: log, pending, dead letters, checkpoint
 *
 * A step that cannot get a lock is tried again later. Any other error ends
 * the process; the launcher starts it again, and it goes on from its
 * checkpoint. A clean stop writes down what was not sent and breaks off what
 * was under way.
 *
 * Started by launcher.c. Owns the engine, the position and the routes; the
 * pages not yet settled are in books.c.
 */
#include "postgres.h"

#include <math.h>

#include "access/transam.h"
#include "access/xact.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "books.h"
#include "compat.h"
#include "counters.h"
#include "deliver.h"
#include "route.h"
#include "settings.h"
#include "store.h"
#include "wake.h"

#define SETTLE_AFTER_MS 50      /* an outcome waits no longer than this */
#define SETTLE_AT_ONCE 500      /* outcomes that are settled without waiting */
#define TAKE_AT_ONCE 500        /* rows taken from pending in one go */
#define LANE_AT_ONCE 100        /* rows of one lane */
#define LANES_AT_ONCE 100       /* lanes in one transaction */
#define REPORT_EVERY_MS 200     /* status is no older than this while busy */
#define AGAIN_AFTER_MS 200      /* a step that could not get its lock */
#define ROTATE_AGAIN_MS 10000   /* a drawer that could not be emptied */
#define EVENT_BYTES_MAX (128 * 1024 * 1024) /* of events in memory: above this, reading waits */

PGDLLEXPORT void webhook_worker_main(Datum arg);

static WhDeliver *engine = NULL;
static WaitEventSet *wait_set = NULL;
static char instance[WH_INSTANCE_LEN + 1];

/* configuration, and its memory */
static MemoryContext config_context = NULL;
static List *routes = NIL;

/* reading */
static MemoryContext cycle_context = NULL;
static WhPosition *position = NULL;      /* read up to here */
static WhPosition *settled = NULL;       /* settled up to here, as last written */
static WhPosition *read_at_start = NULL; /* while recovering: what a dead worker may have sent */
static WhPage page;
static bool more_to_read = true;
static uint64 completions_seen = 0;
static uint64 events_read = 0;
static TimestampTz last_read = 0;
static TimestampTz last_settled = 0;

/* settling */
static WhDelivery **ended = NULL; /* taken from the engine, not yet settled */
static int n_ended = 0;
static int cap_ended = 0;
static int n_booked = 0; /* of them, how many the books know about */
static TimestampTz first_ended_at = 0;
static WhPosition *to_settle = NULL; /* the checkpoint to be written with them */

/* pending */
static TimestampTz next_due = DT_NOEND;

/* rotation */
static TimestampTz next_rotation = 0;
static bool start_over = false; /* rotation has taken rows from under the engine: begin anew */

static TimestampTz next_report = 0;
static bool silent = false;
static char silent_reason[WH_REASON_MAX];
static TimestampTz not_before = 0; /* a lock could not be had: no transaction until then */

/*
 * What the engine is given: a clock and randomness.
 */

static int64
unix_now(void)
{
	return GetCurrentTimestamp() + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static TimestampTz
timestamp_of(int64 unix_us)
{
	return unix_us == 0 ? 0 : unix_us - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

static double
random_fraction(void)
{
	return pg_prng_double(&pg_global_prng_state);
}

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

/* Run a step; where it could not get a lock, do nothing for a moment. */
static bool
attempt(void (*step)(void *), void *arg)
{
	if (wh_tx_try(step, arg))
		return true;
	ereport(LOG, errmsg("webhook worker is waiting for a lock on its tables"),
			errdetail("Somebody holds one that conflicts; deliveries go on as soon as it is released."));
	not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_AFTER_MS);
	return false;
}

/*
 * Configuration
 */

static WhDeliverConfig
engine_config(void)
{
	static int reserved = 0;
	WhDeliverConfig config = {.max_transfers = WH_MAX_MAX_IN_FLIGHT,
							  .ca_file = wh_ca_file,
							  .allowed_networks = wh_allowed_networks,
							  .now_us = unix_now,
							  .random = random_fraction};

	/* each request under way is a descriptor that the server must know of */
	while (reserved < wh_max_in_flight && AcquireExternalFD())
		reserved++;
	while (reserved > wh_max_in_flight)
	{
		ReleaseExternalFD();
		reserved--;
	}
	if (reserved < wh_max_in_flight)
		ereport(LOG, errmsg("webhook worker keeps to %d requests at once", reserved),
				errdetail("webhook.max_in_flight asks for %d, but there are not enough file descriptors.", wh_max_in_flight),
				errhint("Raise max_files_per_process, or lower webhook.max_in_flight."));
	config.max_in_flight = Max(1, reserved);
	strlcpy(config.instance, instance, sizeof(config.instance));
	return config;
}


/* Give the engine the subscriptions as they are now, and take away those that are gone. */
static void
apply_routes(List *fresh, MemoryContext context)
{
	ListCell *lc;

	foreach (lc, fresh)
	{
		WhRoute *route = lfirst(lc);

		if (!wh_deliver_subscribe(engine, &route->sub))
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
		for (int i = 0; i < route->sub.n_secrets; i++)
			explicit_bzero(route->sub.secrets[i], strlen(route->sub.secrets[i]));
		route->sub.n_secrets = 0;
	}
	foreach (lc, routes)
	{
		int64 id = ((WhRoute *) lfirst(lc))->sub.id;
		bool still = false;
		ListCell *lf;

		foreach (lf, fresh)
			still = still || ((WhRoute *) lfirst(lf))->sub.id == id;
		if (!still)
			wh_deliver_unsubscribe(engine, id);
	}
	if (config_context)
		MemoryContextDelete(config_context);
	config_context = context;
	routes = fresh;
}

/* What a transaction has read of the configuration, to be applied when it has committed. */
typedef struct Loaded
{
	bool present;    /* the extension is here */
	bool may_deliver;
	const char *why_not;
	List *routes;
	MemoryContext context;
} Loaded;

static void
load_config(Loaded *loaded)
{
	MemoryContext results = wh_tx_results;

	memset(loaded, 0, sizeof(*loaded));
	loaded->present = wh_store_find_extension(&loaded->why_not);
	if (!loaded->present)
		return;
	loaded->may_deliver = wh_store_identity(instance, &loaded->why_not);
	loaded->context = AllocSetContextCreate(TopMemoryContext, "webhook configuration", ALLOCSET_DEFAULT_SIZES);
	wh_tx_results = loaded->context;
	loaded->routes = wh_store_subscriptions();
	wh_tx_results = results;
	wh_store_config_fresh();
}

static void
report(void)
{
	WhWorkerReport r = {.silent = silent,
						.reason = silent ? silent_reason : NULL,
						.last_read = last_read,
						.last_settled = last_settled,
						.events_read = events_read,
						.counters = DSM_HANDLE_INVALID};
	int n = list_length(routes);
	WhCounter *rows = palloc0(Max(1, n) * sizeof(WhCounter));
	int filled = 0;

	if (engine)
	{
		WhCounts c;

		r.queued = wh_deliver_queued(engine);
		r.in_flight = wh_deliver_in_flight(engine);
		while (filled < n && wh_deliver_counts(engine, filled, &rows[filled].subscription_id, &c))
		{
			WhCounter *row = &rows[filled++];

			row->queued = c.queued;
			row->in_flight = c.in_flight;
			row->catching_up = c.catching_up;
			row->delivered = c.delivered;
			row->failed = c.failed;
			row->last_success = timestamp_of(c.last_success_us);
			row->last_failure = timestamp_of(c.last_failure_us);
			strlcpy(row->last_error, c.last_error ? c.last_error : "", sizeof(row->last_error));
		}
		r.counters = wh_counters_publish(rows, filled);
	}
	wh_worker_report(&r);
	next_report = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), REPORT_EVERY_MS);
}

/*
 * Settling
 */

/* Take what has ended from the engine. */
static void
collect(void)
{
	WhDelivery *d;

	while ((d = wh_deliver_take(engine)) != NULL)
	{
		if (n_ended == cap_ended)
		{
			cap_ended = Max(1024, cap_ended * 2);
			ended = ended ? repalloc(ended, cap_ended * sizeof(WhDelivery *))
						  : MemoryContextAlloc(TopMemoryContext, cap_ended * sizeof(WhDelivery *));
		}
		if (n_ended == 0)
			first_ended_at = GetCurrentTimestamp();
		ended[n_ended++] = d;
	}
}

static void
settle_step(void *arg)
{
	wh_tx_begin("webhook: settling");
	wh_store_settle(ended, n_ended);
	if (to_settle)
		wh_store_write_checkpoint("settled", to_settle);
	wh_store_trim_checkpoints();
	wh_tx_commit(false); /* losing this means a repeat, never a loss */
}

static bool
settle(void)
{
	WhPosition *end;

	/* the books first: which page do these outcomes complete? */
	while (n_booked < n_ended)
		wh_books_ended(ended[n_booked++]->page);
	if ((end = wh_books_settled()) != NULL)
	{
		wh_position_free(to_settle);
		to_settle = end;
	}
	if (!attempt(settle_step, NULL))
		return false;

	for (int i = 0; i < n_ended; i++)
	{
		WhDelivery *d = ended[i];

		if (d->disposal == WH_DO_RETRY)
			next_due = Min(next_due, d->due_us ? timestamp_of(d->due_us) : GetCurrentTimestamp());
		wh_delivery_free(d);
	}
	n_ended = n_booked = 0;
	if (to_settle)
	{
		wh_position_free(settled);
		settled = to_settle;
		to_settle = NULL;
	}
	last_settled = GetCurrentTimestamp();
	return true;
}

static bool
settle_is_due(TimestampTz now)
{
	return n_ended >= SETTLE_AT_ONCE || (n_ended > 0 && now >= TimestampTzPlusMilliseconds(first_ended_at, SETTLE_AFTER_MS));
}

/*
 * Ending
 */

/* Stop reading, break off what is under way, write down what was not sent. */
static void
clean_stop(void)
{
	if (engine == NULL)
		return;
	wh_deliver_stop(engine);
	collect();
	if (n_ended > 0)
		settle();
	report();
}

static void pg_attribute_noreturn()
leave(bool absent)
{
	clean_stop();
	wh_worker_detach(absent);
	proc_exit(0);
}

/* What the configuration now says about whether this worker has anything to do here. */
static void
apply_config(Loaded *loaded)
{
	if (!loaded->present)
	{
		ereport(LOG, errmsg("webhook worker ends: %s", loaded->why_not));
		/* created anew: somebody wants a worker; missing: nobody does */
		leave(strstr(loaded->why_not, "anew") == NULL);
	}
	if (!loaded->may_deliver)
	{
		ereport(LOG, errmsg("webhook worker does not deliver: %s", loaded->why_not));
		leave(false);
	}
	apply_routes(loaded->routes, loaded->context);
}

/*
 * Reading
 */

typedef struct Reading
{
	WhPosition *next;
	bool reload;
	Loaded loaded;
	WhDealt *dealt;
	int n_dealt;
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

static void
read_step(void *arg)
{
	Reading *r = arg;

	wh_tx_begin("webhook: reading");
	wh_store_read(position, &page, &r->next);

	/*
	 * Configuration that was committed before one of these events must count
	 * for it. Its invalidation was sent before the event's transaction began,
	 * so look for it now, after the snapshot that shows the event.
	 */
	r->reload = wh_store_config_stale();
	if (r->reload)
		load_config(&r->loaded);
	if (page.n > 0 && !(r->reload && !(r->loaded.present && r->loaded.may_deliver)))
	{
		if (read_at_start)
			r->dealt = wh_store_dealt_with(&page, &r->n_dealt);
		else if (page_concerns(r->reload ? r->loaded.routes : routes))
			wh_store_write_checkpoint("read", r->next);
		else if (!wh_books_open_pages() && n_ended == 0)
			wh_store_write_checkpoint("settled", r->next);
	}
	wh_tx_commit(page.n > 0);
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
	bool lost = read_at_start && wh_position_covers(read_at_start, event);
	ListCell *lc;

	foreach (lc, routes)
	{
		WhRoute *route = lfirst(lc);
		WhSubmit submit = {.event = event,
						   .subscription_id = route->sub.id,
						   .from = lost ? WH_FROM_LOST : WH_FROM_LOG,
						   .page = number};

		if (!wh_route_matches(route, event) || (lost && dealt_with(r, event->id, route->sub.id)))
			continue;
		if (!wh_deliver_submit(engine, &submit))
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

static void
read_page(void)
{
	Reading r = {0};
	MemoryContext old = MemoryContextSwitchTo(cycle_context);
	uint64 seen = completions();
	uint64 number;

	if (!attempt(read_step, &r))
	{
		release_page();
		MemoryContextSwitchTo(old);
		return;
	}
	if (r.reload)
		apply_config(&r.loaded);
	if (page.n > 0)
	{
		number = wh_books_open(r.next);
		for (int i = 0; i < page.n; i++)
			submit_event(&r, page.events[i], number);
		events_read += page.n;
	}
	MemoryContextSwitchTo(TopMemoryContext);
	wh_position_free(position);
	position = wh_position_copy(r.next);
	MemoryContextSwitchTo(old);
	release_page();

	more_to_read = page.more;
	if (!more_to_read && read_at_start)
	{
		wh_position_free(read_at_start);
		read_at_start = NULL;
	}
	completions_seen = seen;
	last_read = GetCurrentTimestamp();
}

static bool
may_read(void)
{
	return wh_deliver_event_bytes(engine) < EVENT_BYTES_MAX && wh_deliver_has_room(engine);
}

/*
 * Taking from pending
 */

typedef enum TakeWhat
{
	TAKE_DUE,
	TAKE_LANES,
	TAKE_PARKED
} TakeWhat;

typedef struct Taking
{
	TakeWhat what;
	int n_lanes;
	int64 subscriptions[LANES_AT_ONCE];
	uint64 lanes[LANES_AT_ONCE];
	bool lane_empty[LANES_AT_ONCE];
	int max;
	List *taken;
	TimestampTz next_due;
} Taking;

static void
take_step(void *arg)
{
	Taking *t = arg;
	ListCell *lc;

	wh_tx_begin("webhook: taking pending deliveries");
	switch (t->what)
	{
		case TAKE_DUE:
			t->taken = wh_store_take_due(t->max);
			t->next_due = wh_store_next_due();
			break;
		case TAKE_LANES:
			for (int i = 0; i < t->n_lanes; i++)
			{
				List *rows = wh_store_take_lane(t->subscriptions[i], t->lanes[i], LANE_AT_ONCE);
				MemoryContext old = MemoryContextSwitchTo(wh_tx_results);

				t->lane_empty[i] = rows == NIL;
				t->taken = list_concat(t->taken, rows);
				MemoryContextSwitchTo(old);
			}
			break;
		case TAKE_PARKED:
			t->taken = wh_store_take_parked(t->subscriptions[0], t->max);
			break;
	}
	foreach (lc, t->taken)
	{
		WhTaken *row = lfirst(lc);

		if (row->event == NULL)
			wh_store_forget_pending(row->subscription_id, row->event_id);
	}
	wh_tx_commit(true); /* the attempt must be counted for good before the request leaves */
}

static void
submit_taken(const Taking *t)
{
	ListCell *lc;

	foreach (lc, t->taken)
	{
		WhTaken *row = lfirst(lc);
		WhSubmit submit = {.event = row->event,
						   .subscription_id = row->subscription_id,
						   .from = t->what == TAKE_PARKED ? WH_FROM_PARKED : WH_FROM_STORED,
						   .lane = row->lane,
						   .attempts = row->attempts,
						   .first_us = row->first_at ? row->first_at
								   + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY
														 : 0};

		if (row->event == NULL)
		{
			ereport(WARNING, errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("webhook event " INT64_FORMAT " is gone", row->event_id),
					errdetail("A delivery of it was pending, but webhook.outbox has no such row."),
					errhint("Rows of webhook.outbox must not be deleted by hand."));
			start_over = true;
			continue;
		}
		/* unknown: its subscription was removed since, and with it the row */
		(void) wh_deliver_submit(engine, &submit);
		wh_event_release(row->event);
	}
}

static void
take(Taking *t)
{
	MemoryContext old = MemoryContextSwitchTo(cycle_context);

	if (!attempt(take_step, t))
	{
		for (int i = 0; i < t->n_lanes; i++)
			wh_deliver_lane_fetch_again(engine, t->subscriptions[i], t->lanes[i]);
		MemoryContextSwitchTo(old);
		return;
	}
	submit_taken(t);
	if (t->what == TAKE_DUE)
		next_due = t->next_due;
	for (int i = 0; t->what == TAKE_LANES && i < t->n_lanes; i++)
		if (t->lane_empty[i])
			wh_deliver_lane_is_empty(engine, t->subscriptions[i], t->lanes[i]);
	if (t->what == TAKE_PARKED && t->taken == NIL)
		wh_deliver_parked_is_empty(engine, t->subscriptions[0]);
	MemoryContextSwitchTo(old);
}

/* Take what is due, what a free lane has left, what a subscription that catches up has parked. */
static void
take_pending(TimestampTz now)
{
	Taking lanes = {.what = TAKE_LANES};
	int64 subscription_id;
	int room;

	if (next_due <= now && may_read())
	{
		Taking due = {.what = TAKE_DUE, .max = TAKE_AT_ONCE};

		take(&due);
	}
	while (lanes.n_lanes < LANES_AT_ONCE
		   && wh_deliver_lane_to_fetch(engine, &lanes.subscriptions[lanes.n_lanes], &lanes.lanes[lanes.n_lanes]))
		lanes.n_lanes++;
	if (lanes.n_lanes > 0)
	{
		/* what this lane still has to write must be in the table before it is asked for */
		if (n_ended == 0 || settle())
			take(&lanes);
		else
			for (int i = 0; i < lanes.n_lanes; i++)
				wh_deliver_lane_fetch_again(engine, lanes.subscriptions[i], lanes.lanes[i]);
	}
	subscription_id = wh_deliver_parked_to_fetch(engine, &room);
	if (subscription_id != 0 && (n_ended == 0 || settle()))
	{
		Taking parked = {.what = TAKE_PARKED, .subscriptions = {subscription_id}, .max = room};

		take(&parked);
	}
}

/*
 * Rotation
 */

static void
rotate_step(void *arg)
{
	WhRotation *r = arg;

	wh_tx_begin("webhook: rotating drawers");
	*r = wh_store_rotate(settled);
	wh_tx_commit(false);
}

static void
rotate(TimestampTz now)
{
	int64 width = Max(1, wh_retention / (WH_DRAWERS - 2));
	int64 unix_s = timestamptz_to_time_t(now);
	WhRotation r = {0};

	/* when the next drawer's turn begins, or soon again if this one could not be emptied */
	next_rotation = TimestampTzPlusMilliseconds(now, Min(ROTATE_AGAIN_MS, width * 1000 / 4));
	if (!attempt(rotate_step, &r))
		return;
	if (r.done)
		next_rotation = time_t_to_timestamptz((unix_s / width + 1) * width);
	if (r.dead > 0)
	{
		ereport(LOG, errmsg("webhook worker moved " INT64_FORMAT " deliveries to webhook.dead_letter", r.dead),
				errdetail("Their events are older than webhook.retention."));
		start_over = true;
	}
}

/*
 * Starting
 */

typedef struct Starting
{
	Loaded loaded;
	WhPosition *read;
	WhPosition *settled;
	bool woken;
} Starting;

static void
start_step(void *arg)
{
	Starting *s = arg;

	wh_tx_begin("webhook: starting");
	load_config(&s->loaded);
	if (s->loaded.present && s->loaded.may_deliver)
	{
		s->read = wh_store_checkpoint("read");
		s->settled = wh_store_checkpoint("settled");
		if (s->settled == NULL)
			s->settled = wh_store_origin();
	}
	wh_tx_commit(false);
}

static void
restore_parked(void *arg, int64 subscription_id, int64 rows)
{
	wh_deliver_restore_parked(engine, subscription_id, rows);
}

static void
restore_lane(void *arg, int64 subscription_id, uint64 lane, int rows)
{
	if (!wh_deliver_restore_lane(engine, subscription_id, lane, rows))
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
}

static void
restore_step(void *arg)
{
	wh_tx_begin("webhook: restoring pending deliveries");
	wh_store_restore(restore_parked, restore_lane, NULL);
	next_due = wh_store_next_due();
	wh_tx_commit(false);
}

/* Wait until a latch, a signal, the engine or the time; then take in what has come. */
static void
wait_until(TimestampTz now, TimestampTz deadline)
{
	WaitEvent event;
	int64 ms = deadline <= now ? 0 : (deadline - now + 999) / 1000;

	WaitEventSetWait(wait_set, (long) Min(ms, wh_naptime), &event, 1, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
		leave(false);
	if (ConfigReloadPending)
	{
		WhDeliverConfig config;

		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		config = engine_config();
		if (engine && !wh_deliver_configure(engine, &config))
			ereport(LOG, errmsg("webhook worker keeps its old settings"),
					errdetail("webhook.ca_file or webhook.allowed_networks could not be used."));
		next_rotation = 0;
	}
}

static void
begin_waiting(void)
{
	if (wait_set)
		FreeWaitEventSet(wait_set);
	wait_set = CreateWaitEventSet(TopMemoryContext, 3);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	if (engine)
		AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, wh_deliver_fd(engine), NULL, NULL);
}

/* Steps at start, which must succeed: wait for whoever holds the lock. */
static void
insist(void (*step)(void *), void *arg)
{
	while (!attempt(step, arg))
		wait_until(GetCurrentTimestamp(), not_before);
}

/* This database may not deliver: say so, and wait until something about that changes. */
static void pg_attribute_noreturn()
stay_silent(const char *reason)
{
	silent = true;
	strlcpy(silent_reason, reason, sizeof(silent_reason));
	ereport(LOG, errmsg("webhook worker does not deliver: %s", reason));
	report();
	for (;;)
	{
		wait_until(0, wh_naptime * INT64CONST(1000));
		if (wh_worker_woken())
		{
			bool stale;

			wh_tx_begin("webhook: looking at the configuration");
			stale = wh_store_config_stale();
			wh_tx_commit(false);
			if (stale)
				leave(false);
		}
	}
}

static void
set_up(Oid dboid)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	if (!wh_worker_attach())
		proc_exit(0);
	pgstat_report_appname("webhook worker");

	/* nothing that a role or a database sets may change what the worker's statements mean */
	SetConfigOption("search_path", "pg_catalog", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_deferrable", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("row_security", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("bytea_output", "hex", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("DateStyle", "ISO", PGC_SUSET, PGC_S_OVERRIDE);
	/* it never keeps anybody waiting for long, and never loses more than a repeat */
	SetConfigOption("lock_timeout", "500ms", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	/* its statements walk indexes, whatever the statistics say of tables that were never analysed */
	SetConfigOption("plan_cache_mode", "force_generic_plan", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_seqscan", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_sort", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_bitmapscan", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_hashjoin", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_mergejoin", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("jit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	wh_store_watch_config();
	cycle_context = AllocSetContextCreate(TopMemoryContext, "webhook cycle", ALLOCSET_DEFAULT_SIZES);
	begin_waiting();
}

static void
start(void)
{
	Starting s = {0};
	WhDeliverConfig config;

	insist(start_step, &s);
	if (!s.loaded.present)
		leave(true);
	if (!s.loaded.may_deliver)
		stay_silent(s.loaded.why_not);

	config = engine_config();
	engine = wh_deliver_create(&config);
	if (engine == NULL)
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not start the webhook engine"),
				errdetail("There is no memory or no file descriptor for it, or webhook.ca_file cannot be used."));
	begin_waiting();
	apply_config(&s.loaded);
	insist(restore_step, NULL);

	settled = s.settled;
	position = wh_position_copy(settled);
	read_at_start = s.read;
	ereport(LOG, errmsg("webhook worker started in database \"%s\"", MyBgworkerEntry->bgw_extra),
			errdetail("It goes on after event " INT64_FORMAT ".", position->hi));
}

/* One turn: everything that can be done now. Returns when the next one is due at the latest. */
static TimestampTz
turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;
	int64 engine_us;
	bool room = false;

	if (wh_worker_woken() || (now >= TimestampTzPlusMilliseconds(last_read, wh_naptime) && completions() != completions_seen))
		more_to_read = true;
	if (now >= not_before)
	{
		if (now >= next_rotation)
			rotate(now);
		if (start_over)
			leave(false);
		take_pending(now);
		room = may_read();
		if (more_to_read && room)
			read_page();
	}
	wh_deliver_run(engine);
	collect();
	now = GetCurrentTimestamp();
	if (settle_is_due(now) && now >= not_before)
		settle();
	if (now >= next_report)
		report();

	/* when next? */
	if (more_to_read && room && now >= not_before)
		return now;
	deadline = TimestampTzPlusMilliseconds(now, wh_naptime);
	if (more_to_read)
		deadline = Min(deadline, TimestampTzPlusMilliseconds(now, 20));
	if (n_ended > 0)
		deadline = Min(deadline, TimestampTzPlusMilliseconds(first_ended_at, SETTLE_AFTER_MS));
	deadline = Min(deadline, next_due);
	deadline = Min(deadline, next_rotation);
	if (not_before > now)
		deadline = Max(deadline, not_before);
	engine_us = wh_deliver_deadline(engine);
	if (engine_us != INT64_MAX)
		deadline = Min(deadline, timestamp_of(Max(1, engine_us)));
	return deadline;
}

void
webhook_worker_main(Datum arg)
{
	set_up(DatumGetObjectId(arg));
	start();
	for (;;)
	{
		TimestampTz deadline = turn();
		TimestampTz now = GetCurrentTimestamp();

		/* going to rest: leave the truth behind in the status */
		if (deadline > TimestampTzPlusMilliseconds(now, REPORT_EVERY_MS) && last_read > 0)
			report();
		MemoryContextReset(cycle_context);
		wait_until(now, deadline);
	}
}
