/*
 * worker_slots_aside.c
 *	  Workers step aside for a command that needs exclusive use of their database,
 *	  until its transaction ends.
 *
 * Keeps the databases whose workers have stepped aside for this transaction.
 * worker_slots.c has the locking rule.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "monotonic.h"
#include "worker_slots_internal.h"

#define ASIDE_WITHIN_MS 2000 /* the longest wait for a worker to end; a clean stop takes less */

/* A database whose worker has stepped aside for this transaction. */
typedef struct Aside
{
	Oid dboid;
	bool for_good;
} Aside;

static Aside aside[8]; /* more than any transaction needs */
static int n_aside = 0;
static bool callback_registered = false;

/*
 * The transaction that made workers step aside has ended. They may come back, unless their
 * database is gone.
 */
static void
step_back(bool committed)
{
	WorkerSlots *shared = wh_worker_slots_shared();

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
}

/* Remember it, to undo it at the end of the transaction. False: there is no room for that. */
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
	WorkerSlots *shared = wh_worker_slots_shared();
	TimestampTz deadline = TimestampTzPlusMilliseconds(wh_monotonic(), ASIDE_WITHIN_MS);

	if (!callback_registered)
		RegisterXactCallback(at_xact_end, NULL);
	callback_registered = true;
	if (!remember_aside(dboid, for_good))
		return;
	for (;;)
	{
		static uint32 waiting;
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
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 wh_wait_event(&waiting, "WebhookWorkerEnd"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
