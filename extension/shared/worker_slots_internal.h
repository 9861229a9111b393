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

typedef enum WhWoken
{
	WH_ASLEEP, /* no, and the worker asks again when its latch is set */
	WH_WOKEN,  /* yes */
	WH_AWAKE,  /* no, and the worker asks again by itself: its latch need not be set */
} WhWoken;

typedef struct WorkerSlot
{
	WhSlotView view;             /* under the lock */
	PGPROC *proc;                /* the worker's, while RUNNING; under the lock */
	int failures;                /* workers in a row that ended with an error; under the lock */
	TimestampTz logged_at;       /* when it was logged that nothing delivers here; under the lock */
	pg_atomic_uint64 flag;       /* wh_flag(): were events committed since the worker last asked? */
	pg_atomic_uint32 generation; /* commits that changed the configuration */
	pg_atomic_uint32 prepared;   /* not 0: events were prepared since the worker last asked */
} WorkerSlot;

/*
 * A slot's flag names the database of the worker that is attached, or none. Commits change
 * it without the lock, and may come to a slot that meanwhile serves another database. Both
 * are in one word, so they change it only while it is their database's.
 */
static inline uint64
wh_flag(Oid dboid, WhWoken woken)
{
	return (uint64) dboid << 32 | (uint64) woken;
}

static inline Oid
wh_flag_dboid(uint64 flag)
{
	return (Oid) (flag >> 32);
}

static inline WhWoken
wh_flag_woken(uint64 flag)
{
	return (WhWoken) (flag & 0xffffffff);
}

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
