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
 * Started by launcher.c. worker.h tells which step is in which file and who
 * owns which state; this one has the loop, its beginning and its end.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "counters.h"
#include "deliver.h"
#include "settings.h"
#include "store.h"
#include "wake.h"
#include "worker.h"

#define REPORT_EVERY_MS 200   /* status is no older than this while busy */
#define AGAIN_AFTER_MS 200    /* a step that could not get its lock */
#define ROTATE_AGAIN_MS 10000 /* a drawer that could not be emptied */
#define LOOK_AGAIN_MS 20      /* there is more to read, but no room for it */

PGDLLEXPORT void webhook_worker_main(Datum arg);

WhDeliver *wh_engine = NULL;

static WaitEventSet *wait_set = NULL;
static MemoryContext cycle_context = NULL; /* reset after each turn */
static TimestampTz not_before = 0;         /* a lock could not be had: no transaction until then */
static TimestampTz next_rotation = 0;
static TimestampTz next_report = 0;
static bool start_over = false;
static bool silent = false;
static char silent_reason[WH_REASON_MAX];

/* Run a step; where it could not get a lock, do nothing for a moment. */
bool
wh_attempt(void (*step)(void *), void *arg)
{
	static bool complained = false;

	if (wh_tx_try(step, arg))
	{
		complained = false;
		return true;
	}
	if (!complained)
		ereport(LOG, errmsg("webhook worker is waiting for a lock on its tables"),
				errdetail("Somebody holds one that conflicts; deliveries go on as soon as it is released."));
	complained = true;
	not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_AFTER_MS);
	return false;
}

void
wh_start_over(void)
{
	start_over = true;
}

static const char *const breaker_names[] =
	{[WH_BREAKER_CLOSED] = "closed", [WH_BREAKER_OPEN] = "open", [WH_BREAKER_HALF_OPEN] = "half-open"};

static void
report(void)
{
	WhWorkerReport r = {.silent = silent,
						.reason = silent ? silent_reason : NULL,
						.last_read = wh_read_last(),
						.last_settled = wh_settle_last(),
						.events_read = wh_read_events(),
						.counters = DSM_HANDLE_INVALID};
	int n = list_length(wh_config_routes());
	WhCounter *rows = palloc0(Max(1, n) * sizeof(WhCounter));
	int filled = 0;

	if (wh_engine)
	{
		WhCounts c;

		r.queued = wh_deliver_queued(wh_engine);
		r.in_flight = wh_deliver_in_flight(wh_engine);
		while (filled < n && wh_deliver_counts(wh_engine, filled, &rows[filled].subscription_id, &c))
		{
			WhCounter *row = &rows[filled++];

			row->queued = c.queued;
			row->in_flight = c.in_flight;
			row->catching_up = c.catching_up;
			strlcpy(row->breaker, breaker_names[c.breaker], sizeof(row->breaker));
			row->delivered = c.delivered;
			row->failed = c.failed;
			row->last_success = wh_timestamp_of(c.last_success_us);
			row->last_failure = wh_timestamp_of(c.last_failure_us);
			strlcpy(row->last_error, c.last_error ? c.last_error : "", sizeof(row->last_error));
		}
		r.counters = wh_counters_publish(rows, filled);
	}
	wh_worker_report(&r);
	pfree(rows);
	next_report = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), REPORT_EVERY_MS);
}

/* Stop reading, break off what is under way, write down what was not sent. */
static void
clean_stop(void)
{
	if (wh_engine == NULL)
		return;
	wh_deliver_stop(wh_engine);
	wh_settle_collect();
	if (wh_settle_due() != DT_NOEND)
		wh_settle();
	report();
}

void
wh_gone(bool anew, const char *why)
{
	/* the tables that what is in memory belongs to are gone: nothing to settle */
	ereport(LOG, errmsg("webhook worker ends: %s", why));
	wh_worker_detach(!anew);
	proc_exit(0);
}

void
wh_leave(void)
{
	clean_stop();
	proc_exit(0);
}

static void
rotate_step(void *arg)
{
	WhRotation *r = arg;

	wh_tx_begin("webhook: rotating drawers");
	*r = wh_store_rotate(wh_settle_position());
	wh_tx_commit(false);
}

static void
rotate(TimestampTz now)
{
	int64 width = wh_drawer_width();
	int64 unix_s = timestamptz_to_time_t(now);
	WhRotation r = {0};

	/* when the next drawer's turn begins, or soon again if this one could not be emptied */
	next_rotation = TimestampTzPlusMilliseconds(now, Min(ROTATE_AGAIN_MS, width * 1000 / 4));
	if (!wh_attempt(rotate_step, &r))
		return;
	if (!r.done)
		wh_read_again(); /* what holds it up may be that our position is old */
	else
		next_rotation = time_t_to_timestamptz((unix_s / width + 1) * width);
	if (r.dead > 0)
	{
		ereport(LOG,
				errmsg("webhook worker moved " INT64_FORMAT " deliveries to webhook.dead_letter", r.dead),
				errdetail("Their events are older than webhook.retention."));
		start_over = true;
	}
}

typedef struct Starting
{
	WhLoaded loaded;
	WhPosition *read;
	WhPosition *settled;
} Starting;

static void
start_step(void *arg)
{
	Starting *s = arg;

	wh_tx_begin("webhook: starting");
	wh_config_load(&s->loaded);
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
	wh_deliver_restore_parked(wh_engine, subscription_id, rows);
}

static void
restore_lane(void *arg, int64 subscription_id, uint64 lane, int rows)
{
	if (!wh_deliver_restore_lane(wh_engine, subscription_id, lane, rows))
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
}

static void
restore_step(void *arg)
{
	wh_tx_begin("webhook: restoring pending deliveries");
	wh_store_restore(restore_parked, restore_lane, NULL);
	wh_take_look_at(wh_store_next_due(NULL, 0));
	wh_tx_commit(false);
}

/* Wait until a latch, a signal, the wh_engine or the time; then take in what has come. */
static void
wait_until(TimestampTz now, TimestampTz deadline)
{
	WaitEvent event;
	int64 ms = deadline <= now ? 0 : (deadline - now + 999) / 1000;

	WaitEventSetWait(wait_set, (long) Min(ms, wh_naptime), &event, 1, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
		wh_leave();
	if (ConfigReloadPending)
	{
		WhDeliverConfig config;

		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		config = wh_config_engine();
		if (wh_engine && !wh_deliver_configure(wh_engine, &config))
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
	if (wh_engine)
		AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, wh_deliver_fd(wh_engine), NULL, NULL);
}

/* Steps at start, which must succeed: wait for whoever holds the lock. */
static void
insist(void (*step)(void *), void *arg)
{
	while (!wh_attempt(step, arg))
		wait_until(GetCurrentTimestamp(), not_before);
}

/* This database may not deliver: say so, and wait until something about that changes. */
static void
pg_attribute_noreturn() stay_silent(const char *reason)
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
				wh_leave();
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

	wh_store_watch_config(wh_gone);
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
	{
		/* the usual answer where the launcher asks every database: nothing to trouble the log with */
		ereport(s.loaded.foreign ? LOG : DEBUG1, errmsg("webhook worker ends: %s", s.loaded.why_not));
		wh_worker_detach(true);
		proc_exit(0);
	}
	if (!s.loaded.may_deliver)
		stay_silent(s.loaded.why_not);

	config = wh_config_engine();
	wh_engine = wh_deliver_create(&config);
	if (wh_engine == NULL)
		ereport(
			ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not start the webhook wh_engine"),
			errdetail("There is no memory or no file descriptor for it, or webhook.ca_file cannot be used."));
	begin_waiting();
	wh_config_apply(&s.loaded);
	insist(restore_step, NULL);

	wh_settle_from(s.settled);
	wh_read_from(wh_position_copy(s.settled), s.read);
	ereport(LOG, errmsg("webhook worker started in database \"%s\"", MyBgworkerEntry->bgw_extra),
			errdetail("It goes on after event " INT64_FORMAT ".", s.settled->hi));
}

/* One turn: everything that can be done now. Returns when the next one is due at the latest. */
static TimestampTz
turn(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;
	int64 engine_us;
	bool wanted = wh_read_wanted(now);
	bool room = wh_read_may();

	if (now >= not_before)
	{
		if (now >= next_rotation)
			rotate(now);
		if (wanted && room)
			wh_read_page();
	}
	wh_deliver_run(wh_engine);
	wh_settle_collect();
	now = GetCurrentTimestamp();
	if (now >= not_before && wh_settle_due() <= now)
		wh_settle();
	if (now >= not_before && wh_take_pending(now))
	{
		wh_deliver_run(wh_engine);
		wh_settle_collect();
	}
	if (start_over)
		wh_leave();
	if (now >= next_report)
		report();

	/* when next? */
	deadline = TimestampTzPlusMilliseconds(now, wh_naptime);
	if (wh_read_wanted(now))
		deadline = wh_read_may() ? now : TimestampTzPlusMilliseconds(now, LOOK_AGAIN_MS);
	deadline = Min(deadline, wh_settle_due());
	deadline = Min(deadline, wh_take_due());
	deadline = Min(deadline, next_rotation);
	if (not_before > now)
		deadline = Max(deadline, not_before);
	engine_us = wh_deliver_deadline(wh_engine);
	if (engine_us != INT64_MAX)
		deadline = Min(deadline, wh_timestamp_of(Max(1, engine_us)));
	return deadline;
}

void
webhook_worker_main(Datum arg)
{
	set_up(DatumGetObjectId(arg));
	start();
	for (;;)
	{
		TimestampTz deadline;
		TimestampTz now;

		MemoryContextSwitchTo(cycle_context);
		deadline = turn();
		now = GetCurrentTimestamp();
		/* going to rest: leave the truth behind in the status */
		if (deadline > TimestampTzPlusMilliseconds(now, REPORT_EVERY_MS))
			report();
		MemoryContextReset(cycle_context);
		wait_until(now, deadline);
	}
}
