/*
 * worker_slots_internal.h
 *	  The slots themselves, shared by worker_slots*.c and wake.c only.
 *	  worker_slots.c has the locking rule.
 */
#ifndef WEBHOOK_WORKER_SLOTS_INTERNAL_H
#define WEBHOOK_WORKER_SLOTS_INTERNAL_H

#include "postgres.h"

#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/proc.h"

#include "worker_slots.h"

typedef struct WorkerSlot
{
	WhSlotView view;             /* under the lock */
	PGPROC *proc;                /* the worker's, while RUNNING; under the lock */
	int failures;                /* workers in a row that ended with an error; under the lock */
	TimestampTz logged_at;       /* when it was logged that nothing delivers here; under the lock */
	pg_atomic_uint32 woken;      /* events were committed since the worker last asked */
	pg_atomic_uint32 generation; /* commits that changed the configuration */
} WorkerSlot;

typedef struct WorkerSlots
{
	LWLock lock;
	PGPROC *launcher; /* NULL: none is running */
	bool overflowed;  /* a database has found no free slot; never reset */
	WorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
} WorkerSlots;

/* Attaches this process, if need be. */
extern WorkerSlots *wh_worker_slots_shared(void);
/* A database's slot, or NULL. want: makes a WANTED one if there is none. The caller locks. */
extern WorkerSlot *wh_find_slot(Oid dboid);
extern WorkerSlot *wh_want_slot(Oid dboid, TimestampTz not_before);
/* Somebody wants to know whether it delivers now: what its last worker found holds no longer. The caller locks. */
extern void wh_slot_request(WorkerSlot *slot);

#endif /* WEBHOOK_WORKER_SLOTS_INTERNAL_H */
