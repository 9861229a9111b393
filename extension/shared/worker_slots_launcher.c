/*
 * worker_slots_launcher.c
 *	  The launcher's side of the slots in shared memory; and what to report if there
 *	  is no launcher, or no slot.
 *
 * worker_slots.c has the locking rule. A process keeps only whether it was told that all
 * slots are taken.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include "monotonic.h"
#include "worker_slots_internal.h"

#define LOG_UNDELIVERED_MS 3600000 /* the least between logs for a database that nothing delivers */

static void
launcher_exit(int code, Datum arg)
{
	WorkerSlots *shared = wh_worker_slots_shared();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (shared->launcher == MyProc)
		shared->launcher = NULL;
	LWLockRelease(&shared->lock);
}

bool
wh_launcher_attach(void)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	bool mine;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	mine = shared->launcher == NULL;
	if (mine)
		shared->launcher = MyProc;
	LWLockRelease(&shared->lock);
	if (mine)
		before_shmem_exit(launcher_exit, (Datum) 0);
	return mine;
}

bool
wh_launcher_running(void)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	bool running;

	LWLockAcquire(&shared->lock, LW_SHARED);
	running = shared->launcher != NULL;
	LWLockRelease(&shared->lock);
	return running;
}

int
wh_slots(WhSlotView *out, int max)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	int n = 0;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < wh_max_databases() && n < max; i++)
		if (shared->slots[i].view.state != WH_SLOT_FREE)
			out[n++] = shared->slots[i].view;
	LWLockRelease(&shared->lock);
	return n;
}

bool
wh_slot_want(Oid dboid, TimestampTz not_before)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	WorkerSlot *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = wh_want_slot(dboid, not_before);
	if (slot && slot->view.state == WH_SLOT_WANTED)
		slot->view.not_before = not_before;
	LWLockRelease(&shared->lock);
	return slot != NULL;
}

void
wh_slot_explain(Oid dboid, const char *reason)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	WorkerSlot *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = wh_find_slot(dboid);
	if (slot && slot->view.state == WH_SLOT_WANTED && !slot->view.suspended && !slot->view.failing)
		strlcpy(slot->view.reason, reason, WH_REASON_MAX);
	LWLockRelease(&shared->lock);
}

void
wh_slots_look_at_suspended(void)
{
	WorkerSlots *shared = wh_worker_slots_shared();

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < wh_max_databases(); i++)
		if (shared->slots[i].view.suspended)
			shared->slots[i].view.not_before = wh_monotonic(); /* not 0: that is a request */
	LWLockRelease(&shared->lock);
}

bool
wh_slots_overflowed(void)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	static bool said = false;

	if (said || !shared->overflowed)
		return false;
	said = true;
	return true;
}

bool
wh_slots_full(void)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	bool full = true;

	LWLockAcquire(&shared->lock, LW_SHARED);
	for (int i = 0; i < wh_max_databases() && full; i++)
		full = shared->slots[i].view.state != WH_SLOT_FREE;
	LWLockRelease(&shared->lock);
	return full;
}

void
wh_slot_release(Oid dboid)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	WorkerSlot *slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = wh_find_slot(dboid);
	if (slot && slot->view.state == WH_SLOT_WANTED)
		slot->view.state = WH_SLOT_FREE;
	LWLockRelease(&shared->lock);
}

bool
wh_claim_undelivered(void)
{
	WorkerSlots *shared = wh_worker_slots_shared();
	TimestampTz now = wh_monotonic();
	WorkerSlot *slot;
	bool mine = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = shared->launcher ? NULL : wh_want_slot(MyDatabaseId, 0);
	if (slot && (slot->logged_at == 0 || now < slot->logged_at ||
				 now >= TimestampTzPlusMilliseconds(slot->logged_at, LOG_UNDELIVERED_MS)))
	{
		slot->logged_at = now;
		mine = true;
	}
	LWLockRelease(&shared->lock);
	return mine;
}
