/*
 * wake.c
 *	  What the commit of a transaction does for this database's worker: it wakes
 *	  it, or requests one.
 *
 * When a backend that captured an event commits, it raises its database's `woken` flag.
 * If the flag was not raised before, it also sets the worker's latch. There is no NOTIFY
 * and no lock that writers share. If the database has no worker, the backend then asks the
 * launcher for one.
 *
 * Keeps what this transaction has done that a worker must learn, until the transaction
 * ends. worker_slots.c has the slots.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"

#include "monotonic.h"
#include "undelivered.h"
#include "wake.h"
#include "worker_slots_internal.h"

#define CLAIM_UNDELIVERED_MS                                                                                 \
	60000 /* the least between a session's checks whether to log that nothing delivers */

static WorkerSlots *shared = NULL;    /* once the callback is registered */
static bool captured = false;         /* this transaction captured an event */
static bool config_changed = false;   /* this transaction changed the configuration */
static bool worker_missing = false;   /* this transaction has found no worker */
static bool worker_requested = false; /* this transaction wants a worker to check everything */

/*
 * After the commit of a transaction that captured: wake this database's worker. Nothing
 * here may raise an error.
 */
static void
wake_worker(void)
{
	static int hint = 0; /* the last index of this database's slot */
	WorkerSlot *slot = &shared->slots[hint];

	/*
	 * The usual case under load takes no lock: the flag is raised already. If the
	 * slot gets a new worker at this very moment, that worker reads everything when
	 * it starts.
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
		worker_missing = true;
}

static void
ask_launcher(void)
{
	WorkerSlot *slot;
	bool overflowed;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	overflowed = shared->overflowed;
	slot = wh_want_slot(MyDatabaseId, 0);
	if (slot && worker_requested && slot->view.state == WH_SLOT_RUNNING)
	{
		/* it may be about to end */
		pg_atomic_fetch_add_u32(&slot->generation, 1);
		if (slot->view.suspended)
			wh_slot_request(slot);
		SetLatch(&slot->proc->procLatch);
	}
	else if (slot && worker_requested)
		wh_slot_request(slot);
	/* without a slot the launcher can only log that: commits must not keep it busy */
	if (shared->launcher && (slot || !overflowed))
		SetLatch(&shared->launcher->procLatch);
	LWLockRelease(&shared->lock);
}

static void
at_xact_end(XactEvent event, void *arg)
{
	if (!captured && !worker_requested)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		if (captured)
			wake_worker();
		if (worker_missing || worker_requested)
			ask_launcher();
	}
	/* a prepared transaction wakes nobody: the worker's regular look finds it once committed */
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		captured = config_changed = worker_missing = worker_requested = false;
}

static void
register_callback(void)
{
	WorkerSlots *slots;

	if (shared)
		return;
	slots = wh_worker_slots_shared();
	RegisterXactCallback(at_xact_end, NULL);
	shared = slots;
}

/* Log that nothing delivers: nothing else reports it. A WARNING would disturb writers. */
static void
log_undelivered(void)
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
	if (unlikely(shared == NULL))
		register_callback();
	if (!captured && !wh_preloaded && shared->launcher == NULL)
		log_undelivered();
	captured = true;
}

void
wh_config_changed_at_commit(void)
{
	if (unlikely(shared == NULL))
		register_callback();
	captured = config_changed = true;
}

void
wh_want_worker_at_commit(void)
{
	register_callback();
	worker_requested = true;
}
