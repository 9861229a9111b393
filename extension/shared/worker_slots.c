/*
 * worker_slots.c
 *	  The slots in shared memory through which backends, launcher and workers
 *	  communicate; and the worker's side of its own slot.
 *
 * One fixed array in shared memory, with a slot for each database that has or wants a
 * worker. wake.c has what commits do, worker_slots_launcher.c the launcher's side,
 * worker_slots_aside.c how workers step aside.
 *
 * Locking: everything except `flag`, `generation` and `prepared` is read and written
 * under `lock`. These three are atomic. Committing backends raise `flag` after their
 * transaction is visible, and the worker clears it before it reads, so no event can be
 * missed. It names the database as long as a worker is attached; only the worker itself
 * changes that, under the lock. So wake.c may raise it without the lock. Only the PGPROC
 * references belong to a process; before_shmem_exit clears them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "monotonic.h"
#include "worker_slots_internal.h"

#define RESTART_DELAY_MS 1000      /* until a worker that has ended for any reason is restarted */
#define RESTART_DELAY_MAX_MS 60000 /* each error in a row doubles the delay, up to this */
#define HEALTHY_AFTER_MS 60000     /* a worker that has run this long was healthy */

bool wh_preloaded = false;

static WorkerSlots *shared = NULL;
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
wh_worker_slots_shmem_size(void)
{
	return offsetof(WorkerSlots, slots) + wh_max_databases() * sizeof(WorkerSlot);
}

/*
 * Find or make the shared array. Without preload, the memory was not requested in advance;
 * the array is then small enough for the server's spare memory.
 */
static void
attach_shared(void)
{
	bool found;

	if (shared)
		return;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("webhook", wh_worker_slots_shmem_size(), &found);
	if (!found)
	{
		memset(shared, 0, wh_worker_slots_shmem_size());
		LWLockInitialize(&shared->lock, wh_new_tranche("webhook"));
		for (int i = 0; i < wh_max_databases(); i++)
		{
			pg_atomic_init_u64(&shared->slots[i].flag, wh_flag(InvalidOid, WH_ASLEEP));
			pg_atomic_init_u32(&shared->slots[i].generation, 0);
			pg_atomic_init_u32(&shared->slots[i].prepared, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
	wh_name_tranche(shared->lock.tranche, "webhook");
}

WorkerSlots *
wh_worker_slots_shared(void)
{
	attach_shared();
	return shared;
}

/* The slot of a database, or NULL. The caller holds the lock. */
WorkerSlot *
wh_find_slot(Oid dboid)
{
	static int hint = 0; /* the last index found: it is nearly always the same */

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

/* The database's slot; if it has none, a new WANTED one. NULL: all are taken. The caller locks. */
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
			slot->logged_at = 0;
			return slot;
		}
	}
	shared->overflowed = true;
	return NULL;
}

void
wh_slot_request(WorkerSlot *slot)
{
	slot->view.not_before = 0;
	slot->view.reported = false;
}

/*
 * The worker's side
 */

/*
 * No PG_CATCH sees a FATAL error. A worker that ends with a code other than 0 has failed;
 * if it could, it has noted why.
 */
static void
worker_exit(int code, Datum arg)
{
	if (code != 0 && exit_error[0] == '\0')
		wh_worker_exit_error("the worker ended with a fatal error; see the server log");
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
		/* if the last worker was suspended, that stays visible until this one has checked */
		if (!slot->view.suspended)
		{
			slot->view.reported = false;
			slot->view.reason[0] = '\0';
		}
		slot->view.failing = false;
		slot->proc = MyProc;
		pg_atomic_write_u64(&slot->flag,
							wh_flag(MyDatabaseId, WH_WOKEN)); /* there may be something to read */
		my_slot = slot;
		if (shared->launcher) /* it may have other workers to start */
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

/* How long must the next worker wait? The caller holds the lock and has not changed the slot. */
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
	pg_atomic_write_u64(&my_slot->flag, wh_flag(InvalidOid, WH_ASLEEP));
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
	view->not_before = TimestampTzPlusMilliseconds(wh_monotonic(), ms);
	if (pg_atomic_read_u32(&my_slot->generation) != generation)
		wh_slot_request(my_slot);
	pg_atomic_write_u64(&my_slot->flag, wh_flag(InvalidOid, WH_ASLEEP));
	my_slot->proc = NULL;
	my_slot->failures = 0;
	if (shared->launcher)
		SetLatch(&shared->launcher->procLatch);
	LWLockRelease(&shared->lock);
	my_slot = NULL;
}

bool
wh_worker_woken(bool awake)
{
	return wh_flag_woken(pg_atomic_exchange_u64(
			   &my_slot->flag, wh_flag(MyDatabaseId, awake ? WH_AWAKE : WH_ASLEEP))) == WH_WOKEN;
}

void
wh_worker_stay_awake(void)
{
	uint64 expected = wh_flag(MyDatabaseId, WH_ASLEEP);

	(void) pg_atomic_compare_exchange_u64(&my_slot->flag, &expected, wh_flag(MyDatabaseId, WH_AWAKE));
}

bool
wh_worker_prepared(void)
{
	return pg_atomic_exchange_u32(&my_slot->prepared, 0) != 0;
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
	my_slot->view.reported = true;
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
