/*
 * wake.c
 *	  The shared slots through which backends, launcher and workers meet.
 *
 * One fixed array in shared memory, one slot per database that has or wants
 * a worker. A backend that captured an event raises its database's `woken`
 * flag when it commits, and sets the worker's latch if nobody had raised it
 * before: no NOTIFY, no lock shared between writers. A database that has no
 * worker asks the launcher for one in the same breath.
 *
 * Locking: everything but `woken` is read and written under `lock`. `woken`
 * is atomic, raised by committing backends after their transaction is visible
 * and cleared by the worker before it reads, so an event can never fall in
 * between. Nothing here is private to a process but the PGPROC references,
 * which are cleared by before_shmem_exit.
 *
 * Called by outbox.c (wake), api.c (status), database_ddl.c, webhook.c (shared
 * memory), and worker/launcher.c and worker/worker.c.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "monotonic.h"
#include "undelivered.h"
#include "wake.h"
#include "wake_internal.h"

#define RESTART_DELAY_MS 1000 /* a worker that ended for whatever reason starts again after this */
#define RESTART_DELAY_MAX_MS                                                                                 \
	60000                      /* doubled for each time that it ended with an error, but no more than this */
#define HEALTHY_AFTER_MS 60000 /* one that has run for so long was well */
#define CLAIM_UNDELIVERED_MS                                                                                 \
	60000 /* where nothing delivers, a session looks no more often whether that is to be logged */
#define ASIDE_WITHIN_MS                                                                                      \
	2000 /* a worker asked to step aside is waited for no longer; a clean stop takes less */

bool wh_preloaded = false;

static Shared *shared = NULL;
static bool callback_registered = false;
static bool captured = false;       /* this transaction captured an event */
static bool config_changed = false; /* this transaction changed the configuration */
static bool worker_wanted = false;  /* this transaction has found no worker */
static bool worker_asked = false;   /* this transaction wants a worker to look around */

/* Databases whose worker has stepped aside for this transaction. */
typedef struct Aside
{
	Oid dboid;
	bool for_good;
} Aside;

static Aside aside[8]; /* more in one transaction than anybody has a use for */
static int n_aside = 0;

static WorkerSlot *my_slot = NULL;     /* in a worker: the slot it holds */
static char exit_error[WH_REASON_MAX]; /* in a worker: the error it ends with */
static TimestampTz attached_at = 0;    /* in a worker: when it began, by wh_monotonic() */

int
wh_lock_tranche(void)
{
	return shared->lock.tranche;
}

int
wh_max_databases(void)
{
	return wh_preloaded ? WH_MAX_DATABASES : WH_MAX_DATABASES_BARE;
}

Size
wh_wake_shmem_size(void)
{
	return offsetof(Shared, slots) + wh_max_databases() * sizeof(WorkerSlot);
}

/*
 * Find or make the shared array. Without preload nobody has asked for the
 * memory beforehand; it is small enough for what the server keeps in reserve.
 */
static void
attach_shared(void)
{
	bool found;

	if (shared)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("webhook", wh_wake_shmem_size(), &found);
	if (!found)
	{
		memset(shared, 0, wh_wake_shmem_size());
		LWLockInitialize(&shared->lock, wh_new_tranche("webhook"));
		for (int i = 0; i < wh_max_databases(); i++)
		{
			pg_atomic_init_u32(&shared->slots[i].woken, 0);
			pg_atomic_init_u32(&shared->slots[i].generation, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
	wh_name_tranche(shared->lock.tranche, "webhook");
}

Shared *
wh_shared_slots(void)
{
	attach_shared();
	return shared;
}

/* The slot of a database, or NULL. The caller holds the lock. */
WorkerSlot *
wh_find_slot(Oid dboid)
{
	static int hint = 0; /* where the last one was: it is nearly always the same */

	if (shared->slots[hint].view.state != WH_SLOT_FREE && shared->slots[hint].view.dboid == dboid)
		return &shared->slots[hint];
	for (int i = 0; i < wh_max_databases(); i++)
	{
		WorkerSlot *slot = &shared->slots[i];

		if (slot->view.state != WH_SLOT_FREE && slot->view.dboid == dboid)
		{
			hint = i;
			return slot;
		}
	}
	return NULL;
}

/* A WANTED slot for the database, made if need be; NULL where all are taken. The caller holds the lock. */
WorkerSlot *
wh_want_slot(Oid dboid, TimestampTz not_before)
{
	WorkerSlot *slot = wh_find_slot(dboid);

	if (slot)
		return slot;
	for (int i = 0; i < wh_max_databases(); i++)
	{
		slot = &shared->slots[i];
		if (slot->view.state == WH_SLOT_FREE)
		{
			memset(&slot->view, 0, sizeof(slot->view));
			slot->view.dboid = dboid;
			slot->view.state = WH_SLOT_WANTED;
			slot->view.not_before = not_before;
			slot->view.counters = DSM_HANDLE_INVALID;
			slot->proc = NULL;
			slot->failures = 0;
			slot->said_at = 0;
			return slot;
		}
	}
	shared->overflowed = true;
	return NULL;
}

/*
 * After the commit of a transaction that captured: wake this database's
 * worker. Nothing in here may throw.
 */
static void
wake_worker(void)
{
	static int hint = 0; /* where this database's slot was last time */
	WorkerSlot *slot = &shared->slots[hint];

	/*
	 * The usual case under load takes no lock: the flag is up already. A slot
	 * that changes hands at this very moment belongs to a worker that reads
	 * everything when it starts.
	 */
	if (!config_changed && slot->view.dboid == MyDatabaseId && slot->view.state == WH_SLOT_RUNNING &&
		pg_atomic_exchange_u32(&slot->woken, 1) == 1)
		return;

	LWLockAcquire(&shared->lock, LW_SHARED);
	slot = wh_find_slot(MyDatabaseId);
	if (slot && slot->view.state == WH_SLOT_RUNNING)
	{
		hint = slot - shared->slots;
		if (config_changed)
			pg_atomic_fetch_add_u32(&slot->generation, 1);
		pg_atomic_write_u32(&slot->woken, 1);
		SetLatch(&slot->proc->procLatch);
	}
	LWLockRelease(&shared->lock);
	if (slot == NULL)
		worker_wanted = true;
}

static void
ask_launcher(void)
{
	WorkerSlot *slot;
	bool told;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	told = shared->overflowed;
	slot = wh_want_slot(MyDatabaseId, 0);
	if (slot && worker_asked && slot->view.state == WH_SLOT_RUNNING)
	{
		/* it may be about to leave */
		pg_atomic_fetch_add_u32(&slot->generation, 1);
		SetLatch(&slot->proc->procLatch);
	}
	else if (slot && worker_asked)
		slot->view.not_before = 0;
	/* where there is no slot the launcher can do nothing but say so: commits shall not keep it busy */
	if (shared->launcher && (slot || !told))
		SetLatch(&shared->launcher->procLatch);
	LWLockRelease(&shared->lock);
}

/* The transaction that made workers step aside has ended: they may come back, but where their database is gone. */
static void
step_back(bool committed)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	while (n_aside > 0)
	{
		Aside *a = &aside[--n_aside];
		WorkerSlot *slot = wh_find_slot(a->dboid);

		if (slot == NULL)
			continue;
		slot->view.aside = false;
		slot->view.not_before = 0;
		if (a->for_good && committed && slot->view.state == WH_SLOT_WANTED)
			slot->view.state = WH_SLOT_FREE;
	}
	if (shared->launcher)
		SetLatch(&shared->launcher->procLatch);
	LWLockRelease(&shared->lock);
}

static void
at_xact_end(XactEvent event, void *arg)
{
	if (n_aside > 0 &&
		(event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE))
		step_back(event == XACT_EVENT_COMMIT);
	if (!captured && !worker_asked)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		if (captured)
			wake_worker();
		if (worker_wanted || worker_asked)
			ask_launcher();
	}
	/* a prepared transaction wakes nobody: the safety look finds it once it is committed */
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		captured = config_changed = worker_wanted = worker_asked = false;
}

static void
register_callback(void)
{
	attach_shared();
	if (!callback_registered)
	{
		RegisterXactCallback(at_xact_end, NULL);
		callback_registered = true;
	}
}

/* Nothing but this would tell of it: whoever writes shall not be troubled, so it is for the server's log. */
static void
say_undelivered(void)
{
	static TimestampTz not_before = 0;
	TimestampTz now = wh_monotonic();

	if (now < not_before)
		return;
	not_before = TimestampTzPlusMilliseconds(now, CLAIM_UNDELIVERED_MS);
	if (wh_claim_undelivered())
		wh_log_undelivered();
}

void
wh_wake_at_commit(void)
{
	if (unlikely(!callback_registered))
		register_callback();
	if (!captured && !wh_preloaded && shared->launcher == NULL)
		say_undelivered();
	captured = true;
}

void
wh_config_changed_at_commit(void)
{
	if (unlikely(!callback_registered))
		register_callback();
	captured = config_changed = true;
}

void
wh_want_worker_at_commit(void)
{
	register_callback();
	worker_asked = true;
}

/*
 * The worker's side
 */

/* A FATAL error passes every PG_CATCH by: whoever ends with anything but 0 has failed, and said why if it could. */
static void
worker_exit(int code, Datum arg)
{
	if (code != 0 && exit_error[0] == '\0')
		wh_worker_exit_error("the worker met a fatal error: see the server's log");
	wh_worker_detach(false);
}

bool
wh_worker_attach(void)
{
	WorkerSlot *slot;
	bool mine;

	attach_shared();
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = wh_want_slot(MyDatabaseId, 0);
	mine = slot && slot->view.state == WH_SLOT_WANTED && !slot->view.aside;
	if (mine)
	{
		slot->view.state = WH_SLOT_RUNNING;
		slot->view.pid = MyProcPid;
		slot->view.started_at = GetCurrentTimestamp();
		attached_at = wh_monotonic();
		/* found suspended the last time, it is so in everybody's eyes until this worker has looked */
		slot->view.failing = false;
		if (!slot->view.suspended)
			slot->view.reason[0] = '\0';
		slot->proc = MyProc;
		pg_atomic_write_u32(&slot->woken, 1); /* there may be anything to read */
		my_slot = slot;
		if (shared->launcher) /* it may have others to start */
			SetLatch(&shared->launcher->procLatch);
	}
	LWLockRelease(&shared->lock);
	if (mine)
		before_shmem_exit(worker_exit, (Datum) 0);
	return mine;
}

void
wh_worker_exit_error(const char *error)
{
	int len = error ? pg_mbcliplen(error, (int) strlen(error), sizeof(exit_error) - 1) : 0;

	strlcpy(exit_error, error ? error : "", len + 1);
}

/* How long is the next worker to wait? The caller holds the lock; the slot is still as it was. */
static int
restart_delay(WorkerSlot *slot)
{
	if (exit_error[0] == '\0' || wh_monotonic() >= TimestampTzPlusMilliseconds(attached_at, HEALTHY_AFTER_MS))
		slot->failures = 0;
	if (exit_error[0] != '\0')
		slot->failures++;
	return Min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MS << Min(Max(slot->failures - 1, 0), 10));
}

void
wh_worker_detach(bool absent)
{
	Oid dboid;
	bool still_aside;
	int delay;

	if (my_slot == NULL)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	dboid = my_slot->view.dboid;
	still_aside = my_slot->view.aside;
	delay = restart_delay(my_slot);
	my_slot->proc = NULL;
	memset(&my_slot->view, 0, sizeof(my_slot->view));
	my_slot->view.counters = DSM_HANDLE_INVALID;
	if (!absent)
	{
		my_slot->view.dboid = dboid;
		my_slot->view.state = WH_SLOT_WANTED;
		my_slot->view.aside = still_aside;
		my_slot->view.not_before = TimestampTzPlusMilliseconds(wh_monotonic(), delay);
		my_slot->view.failing = my_slot->failures > 0;
		strlcpy(my_slot->view.reason, exit_error, WH_REASON_MAX);
	}
	if (shared->launcher)
		SetLatch(&shared->launcher->procLatch);
	LWLockRelease(&shared->lock);
	my_slot = NULL;
}

void
wh_worker_rest(int64 ms, uint32 generation)
{
	WhSlotView *view = &my_slot->view;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	view->state = WH_SLOT_WANTED;
	view->pid = 0;
	view->counters = DSM_HANDLE_INVALID;
	view->not_before = pg_atomic_read_u32(&my_slot->generation) == generation
						   ? TimestampTzPlusMilliseconds(wh_monotonic(), ms)
						   : 0;
	my_slot->proc = NULL;
	my_slot->failures = 0;
	if (shared->launcher)
		SetLatch(&shared->launcher->procLatch);
	LWLockRelease(&shared->lock);
	my_slot = NULL;
}

/* So that it is undone at the end of the transaction. False where that cannot be promised. */
static bool
remember_aside(Oid dboid, bool for_good)
{
	for (int i = 0; i < n_aside; i++)
	{
		if (aside[i].dboid != dboid)
			continue;
		aside[i].for_good = aside[i].for_good || for_good;
		return true;
	}
	if (n_aside == (int) lengthof(aside))
		return false;
	aside[n_aside++] = (Aside){.dboid = dboid, .for_good = for_good};
	return true;
}

void
wh_worker_step_aside(Oid dboid, bool for_good)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(wh_monotonic(), ASIDE_WITHIN_MS);

	register_callback();
	if (!remember_aside(dboid, for_good))
		return;
	for (;;)
	{
		WorkerSlot *slot;
		int pid = 0;

		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		slot = wh_find_slot(dboid);
		if (slot)
		{
			pid = slot->view.state == WH_SLOT_RUNNING ? slot->view.pid : 0;
			slot->view.aside = true;
		}
		LWLockRelease(&shared->lock);
		if (pid == 0 || wh_monotonic() >= deadline)
			return;
		kill(pid, SIGTERM);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

bool
wh_worker_woken(void)
{
	return pg_atomic_exchange_u32(&my_slot->woken, 0) != 0;
}

uint32
wh_worker_generation(void)
{
	return my_slot ? pg_atomic_read_u32(&my_slot->generation) : 0;
}

void
wh_worker_report(const WhWorkerReport *report)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	my_slot->view.suspended = report->suspended;
	my_slot->view.failing = report->failing;
	strlcpy(my_slot->view.reason, report->reason ? report->reason : "", WH_REASON_MAX);
	my_slot->view.last_read = report->last_read;
	my_slot->view.last_settled = report->last_settled;
	my_slot->view.queued = report->queued;
	my_slot->view.in_flight = report->in_flight;
	my_slot->view.events_read = report->events_read;
	my_slot->view.read_to = report->read_to;
	my_slot->view.counters = report->counters;
	LWLockRelease(&shared->lock);
}

bool
wh_my_slot(WhSlotView *out)
{
	WorkerSlot *slot;

	attach_shared();
	LWLockAcquire(&shared->lock, LW_SHARED);
	slot = wh_find_slot(MyDatabaseId);
	if (slot)
		*out = slot->view;
	LWLockRelease(&shared->lock);
	return slot != NULL;
}
