/*
 * wake.c
 *	  What the commit of a transaction does for this database's worker: it wakes
 *	  it, or requests one.
 *
 * When a backend that captured an event commits, it raises its database's `woken` flag.
 * If the worker was asleep, it also sets the worker's latch. There is no NOTIFY and no lock
 * that writers share. If the database has no worker, the backend then asks the launcher for
 * one.
 *
 * Keeps what this transaction has done that a worker must learn, until the transaction
 * ends. worker_slots.c has the slots.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
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
static bool worker_requested = false; /* this transaction wants a worker to check everything */
static bool applies_prepared = false; /* this process replicates, and has prepared events */

/*
 * Raise the flag of a slot without the lock, if it is this database's and its worker looks
 * by itself: within milliseconds, or it was told already. Written even if it is raised, so
 * that the worker that clears it sees what was committed. If that worker ends now, the
 * next one reads everything when it starts.
 */
static bool
raise_flag(WorkerSlot *slot)
{
	uint64 seen = pg_atomic_read_u64(&slot->flag);

	while (wh_flag_dboid(seen) == MyDatabaseId && wh_flag_woken(seen) != WH_ASLEEP)
	{
		if (pg_atomic_compare_exchange_u64(&slot->flag, &seen, wh_flag(MyDatabaseId, WH_WOKEN)))
			return true;
	}
	return false;
}

/*
 * After the commit of a transaction that captured, or its PREPARE: wake this database's
 * worker. False: it has none. Nothing here may raise an error. `rests`, if not NULL: there
 * is one that will not look at its own reason to rest for long.
 */
static bool
wake_worker(bool prepared, bool *rests)
{
	static int hint = 0; /* the last index of this database's slot */
	WorkerSlot *slot;

	/* the usual case under load takes no lock */
	if (!config_changed && !prepared && raise_flag(&shared->slots[hint]))
		return true;

	LWLockAcquire(&shared->lock, LW_SHARED);
	slot = wh_find_slot(MyDatabaseId);
	if (rests)
		*rests = slot && slot->view.suspended;
	if (slot && slot->view.state == WH_SLOT_RUNNING)
	{
		hint = slot - shared->slots;
		if (prepared)
		{
			pg_atomic_write_u32(&slot->prepared, 1);
			pg_write_barrier(); /* who sees the flag sees this */
		}
		else if (config_changed)
			pg_atomic_fetch_add_u32(&slot->generation, 1);
		pg_atomic_write_u64(&slot->flag, wh_flag(MyDatabaseId, WH_WOKEN));
		SetLatch(&slot->proc->procLatch);
	}
	LWLockRelease(&shared->lock);
	return slot != NULL;
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
	/* replication commits what it has prepared without a command: any commit may be that one */
	if (event == XACT_EVENT_COMMIT && applies_prepared && !captured)
		(void) wake_worker(false, NULL);
	if (!captured && !worker_requested)
		return;
	if (event == XACT_EVENT_COMMIT)
	{
		bool missing = captured && !wake_worker(false, NULL);

		if (missing || worker_requested)
			ask_launcher();
	}
	/* whoever commits it may wake nobody: the worker is told to look for that by itself */
	if (event == XACT_EVENT_PREPARE && captured)
	{
		applies_prepared = applies_prepared || IsLogicalWorker();
		if (!wake_worker(true, NULL))
			ask_launcher();
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		captured = config_changed = worker_requested = false;
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

void
wh_wake_now(void)
{
	bool rests = false;

	/* with preload the memory is there, so attaching to it cannot fail */
	if (shared == NULL && !wh_preloaded)
		return;
	register_callback();
	/*
	 * The prepared transaction may have made the extension, or enabled delivery: its wish for a worker
	 * was forgotten with the rest.
	 */
	if ((!wake_worker(false, &rests) || rests) && OidIsValid(get_extension_oid("webhook", true)))
	{
		worker_requested = rests;
		ask_launcher();
		worker_requested = false;
	}
}
