/*
 * transform_pool.c
 *	  The processes that call transforms: how they start and end.
 *
 * There is one for each owner that is needed, and at most PROCESSES_MAX. If another
 * owner needs one, the process that has been idle longest gives way. An idle process
 * ends after IDLE. Each is a background worker, started here and never by itself.
 * They belong to this process, which ends them before it ends (their connections
 * would block DROP DATABASE).
 *
 * A process that should have ended and has not is STUCK, in code that never checks
 * for interrupts. It is left alone: only a SIGKILL could end it, after which the
 * server would restart. It does not count for PROCESSES_MAX, but there are never
 * more than SLOTS in all.
 *
 * If none can be started (max_worker_processes), that is logged and tried again.
 *
 * Owns the processes, together with worker_transform.c, which owns the deliveries
 * in them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "monotonic.h"
#include "tx_guard.h"
#include "transform_pool.h"
#include "worker_slots.h"

#define IDLE (10 * 1000 * MS)
#define START_WITHIN (10 * 1000 * MS)
#define END_WITHIN (5000 * MS) /* unless it is in a call */
#define AGAIN (1000 * MS)      /* after a failed start */
#define FORGOTTEN_AFTER (5000 * MS)
#define START_EVERY (100 * MS) /* per owner: a function may end its process each time */
#define LOOK_AGAIN (20 * MS)   /* while an owner waits for a place */

Process wh_processes[SLOTS];

static int64 not_before = 0;        /* no process is started before this */
static bool waiting = false;        /* an owner waits for a place */
static char problem[WH_REASON_MAX]; /* why none can be started; "": no problem */

void
wh_pool_cannot_start(const char *why, int64 now)
{
	char is[WH_REASON_MAX];

	snprintf(is, sizeof(is), "no process for transforms: %s", why);
	if (strcmp(problem, is) != 0)
		ereport(WARNING, errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				errmsg("could not start a process for transforms"), errdetail_internal("%s", why),
				errhint("Deliveries that need one wait; no events are lost. Check max_worker_processes."));
	strlcpy(problem, is, sizeof(problem));
	not_before = now + AGAIN;
}

static void
start_step(void *arg)
{
	Process *p = arg;
	BackgroundWorker worker = {0};
	WhTransformStart start = {.dboid = MyDatabaseId};
	MemoryContext old;
	bool ok;

	wh_link_create(&p->link);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION | WH_INTERRUPTIBLE;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(p->link.segment));
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "webhook", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, WH_TRANSFORM_MAIN, BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, WH_TRANSFORM_TYPE " for role %s", p->owner);
	strlcpy(worker.bgw_type, WH_TRANSFORM_TYPE, BGW_MAXLEN);
	strlcpy(start.owner, p->owner, NAMEDATALEN);
	memcpy(worker.bgw_extra, &start, sizeof(start));

	old = MemoryContextSwitchTo(TopMemoryContext);
	ok = RegisterDynamicBackgroundWorker(&worker, &p->handle);
	MemoryContextSwitchTo(old);
	if (!ok)
		ereport(ERROR, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("all background worker slots are in use"));
	wh_link_for(&p->link, p->handle);
}

/* It has no delivery any more. */
void
wh_pool_let_go(Process *p, int64 now)
{
	wh_link_let_go(&p->link);
	p->state = ENDING;
	p->since = now;
	p->until = now + END_WITHIN;
}

void
wh_pool_terminate(Process *p, int64 now)
{
	bool calling = p->state == CALLING;

	TerminateBackgroundWorker(p->handle);
	wh_pool_let_go(p, now);
	if (calling)
		p->until = now + GRACE;
}

static void
start(Process *p, const char *owner, int64 now)
{
	WhFailure failure;

	memset(p, 0, sizeof(*p));
	strlcpy(p->owner, owner, NAMEDATALEN);
	p->started_at = now;
	if (wh_tx_try(start_step, p, &failure))
	{
		p->state = STARTING;
		p->since = now;
		p->until = now + START_WITHIN;
		return;
	}
	LWLockReleaseAll();
	wh_pool_cannot_start(failure.message, now);
	if (p->handle)
		wh_pool_terminate(p, now);
	else
		wh_link_let_go(&p->link);
}

/* Has a process ended that was let go of? */
static void
look_whether_gone(Process *p, int64 now)
{
	pid_t pid;

	if (GetBackgroundWorkerPid(p->handle, &pid) == BGWH_STOPPED)
	{
		if (p->state == STUCK)
			ereport(LOG, errmsg("webhook transform of role \"%s\" has ended", p->owner));
		pfree(p->handle);
		p->handle = NULL;
		p->state = NONE;
	}
	else if (p->state == ENDING && now >= p->until)
	{
		p->state = STUCK;
		ereport(
			WARNING, errmsg("webhook transform of role \"%s\" cannot be cancelled", p->owner),
			errdetail("Process %d runs a function that does not check for interrupts. Deliveries that need "
					  "functions of this role fail until it ends; others go on.",
					  (int) pid),
			errhint("It ends by itself when the function returns. Killing it restarts the server."));
	}
}

Process *
wh_pool_find(const char *owner)
{
	Process *found = NULL;

	for (Process *p = wh_processes; p < wh_processes + SLOTS; p++)
		if (strcmp(p->owner, owner) == 0 && (found == NULL || found->state == NONE))
			found = p;
	return found;
}

/* A place for one more, this one if possible; NULL: there will be one later. */
static Process *
find_place(Process *place, int64 now)
{
	Process *idle = NULL;
	int n = 0;
	bool ending = false;

	for (Process *p = wh_processes; p < wh_processes + SLOTS; p++)
	{
		n += p->state != NONE && p->state != STUCK;
		ending = ending || p->state == ENDING;
		if (p->state == NONE && (place == NULL || p->started_at < place->started_at))
			place = p;
		if (p->state == READY && (idle == NULL || p->since < idle->since))
			idle = p;
	}
	if (n < PROCESSES_MAX && place)
		return place;
	waiting = true;
	if (idle && !ending)
		wh_pool_let_go(idle, now);
	return NULL;
}

void
wh_pool_want(const char *owner, Process *last, int64 now)
{
	Process *place;

	if (now < not_before || (last && now < last->started_at + START_EVERY) || ShutdownRequestPending)
		return;
	place = find_place(last, now);
	if (place)
		start(place, owner, now);
}

void
wh_pool_started(Process *p, int64 now)
{
	p->state = READY;
	p->since = p->fed_from = now;
	problem[0] = '\0';
}

bool
wh_pool_was_waited_for(void)
{
	bool was = waiting;

	waiting = false;
	return was;
}

void
wh_pool_look(Process *p, int64 now)
{
	if (p->state == STARTING && now >= p->until)
	{
		wh_pool_cannot_start("it does not come up", now);
		wh_pool_terminate(p, now);
	}
	else if (p->state == READY && now >= p->since + IDLE)
		wh_pool_let_go(p, now);
	if (p->state == ENDING || p->state == STUCK)
		look_whether_gone(p, now);
}

/* When time next affects this process. */
static int64
process_due(const Process *p)
{
	switch (p->state)
	{
		case STARTING:
		case CALLING:
		case DIED:
		case ENDING:
			return p->until;
		case READY:
			return p->since + IDLE;
		case NONE:
		case STUCK:
			break;
	}
	return PG_INT64_MAX;
}

int64
wh_pool_due(int64 now)
{
	int64 due = PG_INT64_MAX;

	for (const Process *p = wh_processes; p < wh_processes + SLOTS; p++)
	{
		due = Min(due, process_due(p));
		if (p->state == NONE && p->owner[0] && now < p->started_at + START_EVERY)
			due = Min(due, p->started_at + START_EVERY);
	}
	if (now < not_before)
		due = Min(due, not_before);
	return waiting ? Min(due, now + LOOK_AGAIN) : due;
}

const char *
wh_pool_problem(void)
{
	/* none may have been wanted since */
	return problem[0] && wh_monotonic() < not_before + FORGOTTEN_AFTER ? problem : NULL;
}

static void
at_exit(int code, Datum arg)
{
	wh_pool_end();
}

void
wh_pool_set_up(void)
{
	before_shmem_exit(at_exit, (Datum) 0);
}

static bool
all_gone(int64 now)
{
	bool gone = true;

	for (Process *p = wh_processes; p < wh_processes + SLOTS; p++)
	{
		if (p->state == ENDING)
			look_whether_gone(p, now);
		gone = gone && p->state != ENDING;
	}
	return gone;
}

void
wh_pool_end(void)
{
	int64 now = wh_monotonic();
	int64 until = now + GRACE;

	for (Process *p = wh_processes; p < wh_processes + SLOTS; p++)
	{
		if (p->state == STARTING || p->state == CALLING)
			wh_pool_terminate(p, now);
		else if (p->state == READY || p->state == DIED)
			wh_pool_let_go(p, now);
	}
	while (!all_gone(now) && now < until)
	{
		static uint32 waiting;

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 wh_wait_event(&waiting, "WebhookTransformEnd"));
		ResetLatch(MyLatch);
		now = wh_monotonic();
	}
}
