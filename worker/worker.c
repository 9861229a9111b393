/*
 * worker.c
 *	  The worker of one database: wait, read, send, settle.
 *
 * One loop, one sleep at its bottom. Each step opens and commits its own short
 * transaction. None is open while requests are in flight. The engine (engine/)
 * is run between the steps and never blocks.
 *
 *	  read		read a page of events by position, match it with the subscriptions,
 *				hand the deliveries to the engine
 *	  fetch		hand pending deliveries that are due to the engine
 *	  run		the engine
 *	  transform	hand deliveries to the processes that call transforms, and
 *				take their results
 *	  settle	write what has ended: log, pending, dead letters, checkpoint
 *
 * A step that fails is rolled back and tried again later (worker_step.c). An
 * error outside of a step ends the process. The launcher starts it again, after
 * a longer pause each time, and it continues from its checkpoint. A clean stop
 * aborts what is in flight and writes what was not sent.
 *
 * The loop, its beginning and its end are here; worker.h says which file has
 * which step and owns which state.
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

#include "compat.h"
#include "counters.h"
#include "engine.h"
#include "fault.h"
#include "memory_limit.h"
#include "settings.h"
#include "stop.h"
#include "store.h"
#include "store_read.h"
#include "suspect.h"
#include "time_limit.h"
#include "worker_slots.h"
#include "transform_pool.h"
#include "worker.h"

#define REPORT_EVERY_MS 200   /* the status is at most this old while busy */
#define DRAIN_WITHIN_MS 15000 /* starting over waits at most this long for requests in flight */
#define STOP_WITHIN_MS 2000   /* a clean stop settles for at most this long */
#define LOOK_AGAIN_MS 20      /* when there is more to read, but no room for it */

PGDLLEXPORT void webhook_worker_main(Datum arg);

WhEngine *wh_engine = NULL;

static WaitEventSet *wait_set = NULL;
static MemoryContext cycle_context = NULL; /* reset after each turn */
static TimestampTz next_report = 0;
static bool start_over = false;
static TimestampTz drained_by = 0;

void
wh_start_over(void)
{
	if (start_over)
		return;
	start_over = true;
	/* requests in flight may finish: this is no reason to repeat those of other subscriptions */
	wh_engine_drain(wh_engine);
	drained_by = TimestampTzPlusMilliseconds(wh_now(), DRAIN_WITHIN_MS);
}

static const char *const breaker_names[] =
	{[WH_BREAKER_CLOSED] = "closed", [WH_BREAKER_OPEN] = "open", [WH_BREAKER_HALF_OPEN] = "half-open"};

void
wh_report(void)
{
	const char *suspended = wh_suspended_reason();
	const char *attempt = wh_step_failing(wh_now());
	const char *failing = attempt ? attempt : wh_pool_problem();
	const char *version = suspended ? NULL : wh_version_problem();
	WhWorkerReport r = {.suspended = suspended != NULL,
						.failing = failing != NULL,
						.reason = suspended ? suspended
								  : failing ? failing
								  : version ? version
											: wh_flight_problem(),
						.last_read = wh_table_time(wh_read_last()),
						.last_settled = wh_table_time(wh_settle_last()),
						.events_read = wh_read_events(),
						.read_to = wh_read_to(),
						.counters = DSM_HANDLE_INVALID};
	int n = list_length(wh_config_routes());
	WhCounter *rows =
		palloc_extended((n + 1) * sizeof(WhCounter), MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO | MCXT_ALLOC_HUGE);
	int filled = 0;

	if (rows == NULL) /* the status stays older for once */
		return;
	if (wh_engine)
	{
		WhCounts c;

		wh_notices_look();
		r.queued = wh_engine_queued(wh_engine);
		r.in_flight = wh_engine_in_flight(wh_engine);
		while (filled < n && wh_engine_counts(wh_engine, filled, &rows[filled].subscription_id, &c))
		{
			WhCounter *row = &rows[filled++];

			wh_notices_see(row->subscription_id, &c);
			wh_progress_see(row->subscription_id, &c, &row->progress);
			row->queued = c.queued;
			row->in_flight = c.in_flight;
			row->catching_up = c.catching_up;
			strlcpy(row->breaker, breaker_names[c.breaker], sizeof(row->breaker));
			row->next_probe_at = wh_table_time(wh_timestamp_of(c.next_probe_us));
			row->delivered = c.delivered;
			row->failed = c.failed;
			row->last_success_at = wh_table_time(wh_timestamp_of(c.last_success_us));
			row->last_failure_at = wh_table_time(wh_timestamp_of(c.last_failure_us));
			strlcpy(row->last_error,
					wh_config_left_out(row->subscription_id) ? "too_large"
					: c.last_error                           ? c.last_error
															 : "",
					sizeof(row->last_error));
		}
		if (wh_progress_rotation(&rows[filled].progress))
			filled++; /* the worker's own row is that of subscription 0 */
		r.counters = wh_counters_publish(rows, filled);
	}
	wh_worker_report(&r);
	pfree(rows);
	wh_memory_limit_look();
	next_report = TimestampTzPlusMilliseconds(wh_now(), REPORT_EVERY_MS);
}

static void
survived_step(void *arg)
{
	wh_tx_begin("webhook: ending");
	wh_suspect_survived(wh_settle_position());
	wh_tx_commit(true);
}

/* Abort what is in flight, write what was not sent, and that none of it has ended this worker. */
static void
clean_stop(void)
{
	if (wh_engine == NULL)
		return;
	wh_engine_stop(wh_engine);
	wh_settle_collect();
	wh_stat_hurry();
	if (wh_settle_due() != DT_NOEND || wh_suspect_any_noted())
	{
		/* a user's trigger must not delay the stop; what is not written is sent again */
		wh_time_limit_begin(STOP_WITHIN_MS);
		if (wh_settle_due() != DT_NOEND)
			wh_settle();
		if (wh_suspect_any_noted())
			wh_run_step(survived_step, NULL);
		wh_time_limit_end();
	}
	wh_report();
	wh_log_write_rest();
}

void
wh_gone(WhPresence presence, const char *why)
{
	/* the tables are gone: there is nothing to settle */
	ereport(LOG, errmsg("webhook worker ends: %s", why));
	wh_pool_end();
	wh_worker_detach(presence == WH_ABSENT);
	proc_exit(0);
}

void
wh_leave(void)
{
	wh_stop_noticed();
	clean_stop();
	proc_exit(0);
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
	bool noted = false;

	if (s->loaded.context) /* of a try that failed */
		MemoryContextDelete(s->loaded.context);
	s->loaded.context = NULL;
	wh_tx_begin("webhook: starting");
	wh_config_load(&s->loaded);
	if (s->loaded.presence == WH_PRESENT && s->loaded.may_deliver)
	{
		s->read = wh_store_checkpoint("read");
		s->settled = wh_store_checkpoint("settled");
		if (s->settled == NULL)
			s->settled = wh_store_origin();
		noted = wh_suspect_load(s->settled);
	}
	wh_tx_commit(noted);
}

void
wh_wait_until(TimestampTz now, TimestampTz deadline)
{
	static uint32 for_events;
	static uint32 for_responses;
	bool sending = wh_engine && wh_engine_in_flight(wh_engine) > 0;
	WaitEvent event;
	int64 ms = deadline <= now ? 0 : (deadline - now + 999) / 1000;

	WaitEventSetWait(wait_set, (long) Min(ms, wh_poll_interval), &event, 1,
					 sending ? wh_wait_event(&for_responses, "WebhookResponses")
							 : wh_wait_event(&for_events, "WebhookEvents"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ShutdownRequestPending)
		wh_leave();
	if (ConfigReloadPending)
	{
		WhEngineConfig config;

		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		wh_config_limit_memory();
		config = wh_config_engine();
		if (wh_engine && !wh_engine_configure(wh_engine, &config))
			ereport(LOG, errmsg("webhook worker keeps its old settings"),
					errdetail("webhook.ca_file or webhook.allowed_networks could not be used."));
		wh_rotate_soon();
		wh_store_config_reread();
	}
}

static void
begin_waiting(void)
{
	if (wait_set)
		FreeWaitEventSet(wait_set);
	wait_set = wh_create_wait_event_set(3);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	if (wh_engine)
		AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, wh_engine_fd(wh_engine), NULL, NULL);
}

void
wh_run_until_success(void (*step)(void *), void *arg)
{
	while (!wh_run_step(step, arg))
	{
		wh_report();
		wh_wait_until(wh_now(), wh_step_not_before(step));
	}
}

static void
set_up(Oid dboid)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	wh_stop_set_up();
	BackgroundWorkerUnblockSignals();
	wh_settings_connect(dboid);
	if (!wh_worker_attach())
		proc_exit(0);
	pgstat_report_appname("webhook worker");
	wh_memory_small_stacks();
	wh_config_limit_memory();

	wh_store_watch_config(wh_gone);
	wh_time_limit_set_up();
	wh_pool_set_up();
	cycle_context = AllocSetContextCreate(TopMemoryContext, "webhook cycle", ALLOCSET_DEFAULT_SIZES);
	begin_waiting();
}

static void
start(void)
{
	Starting s = {0};
	List *pending;
	WhEngineConfig config;
	uint32 generation = wh_worker_generation();

	wh_run_until_success(start_step, &s);
	if (s.loaded.presence == WH_BROKEN)
		wh_wait_suspended(s.loaded.why_not);
	if (s.loaded.presence != WH_PRESENT)
	{
		/* the usual answer, because the launcher asks every database: not for the log */
		ereport(DEBUG1, errmsg("webhook worker ends: %s", s.loaded.why_not));
		wh_worker_detach(true);
		proc_exit(0);
	}
	if (!s.loaded.may_deliver)
		wh_suspended_rest(s.loaded.why_not, generation);

	config = wh_config_engine();
	wh_engine = wh_engine_create(&config);
	if (wh_engine == NULL)
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not start the webhook engine"),
				errdetail("Out of memory or file descriptors, or webhook.ca_file cannot be used."));
	begin_waiting();
	wh_config_apply(&s.loaded);
	MemoryContextSwitchTo(cycle_context);
	wh_run_until_success(wh_restore_step, &pending);
	wh_restore(pending);
	MemoryContextSwitchTo(TopMemoryContext);

	wh_stat_started();
	wh_settle_from(s.settled);
	wh_read_from(wh_position_copy(s.settled), s.read);
	ereport(LOG, errmsg("webhook worker started in database \"%s\"", MyBgworkerEntry->bgw_extra),
			errdetail("It continues after event " INT64_FORMAT ".", s.settled->hi));
}

static void
reload_step(void *arg)
{
	wh_tx_begin("webhook: reading the configuration");
	wh_config_load(arg);
	wh_tx_commit(false);
}

static void
reload(void)
{
	WhLoaded loaded = {0};

	if (wh_run_step(reload_step, &loaded))
		wh_config_apply(&loaded);
	else if (loaded.context)
		MemoryContextDelete(loaded.context);
}

/* One turn: do everything that can be done now. Returns when the next one is due at the latest. */
static TimestampTz
turn(void)
{
	TimestampTz now = wh_now();
	TimestampTz deadline;
	int64 engine_us;
	bool wanted;
	bool room;

	wh_follow_clock();
	wanted = wh_read_wanted(now);
	room = wh_read_may();

	if (!start_over)
	{
		if (now >= wh_rotate_due())
			wh_rotate(now);
		if (wanted && room)
			wh_read_page();
		else if (wh_store_config_hint())
			reload(); /* reading may wait for a subscription that was just paused */
	}
	wh_engine_freeze(wh_engine, wh_settle_behind());
	wh_engine_run(wh_engine);
	if (wh_transform_run())
		wh_engine_run(wh_engine);
	if (wh_engine_in_flight(wh_engine) > 0)
		WH_FAULT("sending");
	wh_settle_collect();
	now = wh_now();
	if (!wh_settle_clear())
		WH_FAULT("answered");
	if (wh_settle_due() <= now)
		wh_settle();
	wh_apart_try();
	if (!start_over && wh_fetch_pending(now))
	{
		wh_engine_run(wh_engine);
		wh_settle_collect();
	}
	if (start_over && (wh_engine_in_flight(wh_engine) == 0 || now >= drained_by))
		wh_leave();
	if (now >= next_report)
		wh_report();

	/* when is the next turn due? */
	deadline = TimestampTzPlusMilliseconds(now, wh_poll_interval);
	deadline = Min(deadline, wh_settle_due());
	deadline = Min(deadline, wh_transform_due());
	deadline = Min(deadline, wh_apart_due());
	if (start_over)
		deadline = Min(deadline, drained_by);
	else
	{
		if (!wh_read_may())
			deadline = Min(deadline, TimestampTzPlusMilliseconds(now, LOOK_AGAIN_MS));
		else if (wh_read_wanted(now) && wh_read_due() <= now)
			deadline = now;
		else
			deadline = Min(deadline, wh_fetch_due());
		deadline = Min(deadline, wh_pace_until());
		deadline = Min(deadline, wh_prepared_due());
		deadline = Min(deadline, wh_rotate_due());
	}
	deadline = Min(deadline, wh_step_again(now));
	engine_us = wh_engine_deadline(wh_engine);
	if (engine_us != INT64_MAX)
		deadline = Min(deadline, wh_timestamp_of(Max(1, engine_us)));
	return deadline;
}

wh_noreturn static void
work(void)
{
	start();
	for (;;)
	{
		TimestampTz deadline;
		TimestampTz now;

		MemoryContextSwitchTo(cycle_context);
		deadline = turn();
		now = wh_now();
		/* about to sleep: leave a status that is right */
		if (deadline > TimestampTzPlusMilliseconds(now, REPORT_EVERY_MS))
			wh_report();
		wh_notices_announce();
		wh_log_write(now);
		deadline = Min(deadline, wh_log_due());
		MemoryContextReset(cycle_context);
		now = wh_pace_nap(now, deadline);
		wh_wait_until(now, deadline);
	}
}

void
webhook_worker_main(Datum arg)
{
	set_up(DatumGetObjectId(arg));
	PG_TRY();
	{
		work();
	}
	PG_CATCH();
	{
		/* webhook.worker shows it, and the launcher waits longer the more often it happens */
		MemoryContextSwitchTo(TopMemoryContext);
		wh_worker_exit_error(CopyErrorData()->message);
		PG_RE_THROW();
	}
	PG_END_TRY();
}
