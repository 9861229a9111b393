/*
 * worker_slots.h
 *	  The slots in shared memory through which backends, launcher and workers
 *	  communicate.
 *
 * See worker_slots.c for who owns which field and the locking rule.
 */
#ifndef WEBHOOK_WORKER_SLOTS_H
#define WEBHOOK_WORKER_SLOTS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/dsm.h"

#define WH_MAX_DATABASES 1024    /* databases of one cluster that may have, or want, a worker */
#define WH_MAX_DATABASES_BARE 64 /* without preload: must fit into the spare shared memory */
#define WH_REASON_MAX 256        /* bytes of a worker's reason, with its NUL */

typedef enum WhSlotState
{
	WH_SLOT_FREE,    /* no database */
	WH_SLOT_WANTED,  /* this database needs a worker */
	WH_SLOT_RUNNING, /* its worker has attached itself */
} WhSlotState;

/* A slot as others see it: a copy taken under the lock. */
typedef struct WhSlotView
{
	Oid dboid;
	WhSlotState state;
	int pid;                /* of the worker, while RUNNING */
	TimestampTz not_before; /* while WANTED: no start earlier than this, by wh_monotonic() */
	bool aside;             /* its worker has stepped aside for a command */
	bool reported;          /* what follows is what its worker found, and nobody has asked to look again */
	bool suspended;         /* events are not delivered: see reason; while WANTED: as last known */
	bool failing;           /* it meets errors; while WANTED: one has ended it; see reason */
	char reason[WH_REASON_MAX];
	TimestampTz started_at;
	TimestampTz last_read;
	TimestampTz last_settled;
	int queued;
	int in_flight;
	uint64 events_read;
	int64 read_to;       /* the highest event number read; 0: unknown */
	dsm_handle counters; /* DSM_HANDLE_INVALID: none */
} WhSlotView;

/* What a worker reports about itself. */
typedef struct WhWorkerReport
{
	bool suspended;
	bool failing;
	const char *reason; /* NULL: none */
	TimestampTz last_read;
	TimestampTz last_settled;
	int queued;
	int in_flight;
	uint64 events_read;
	int64 read_to;
	dsm_handle counters;
} WhWorkerReport;

/* The lock tranche of this library, in an attached process. Tranches are scarce. */
extern int wh_lock_tranche(void);

/* Was this library loaded by the postmaster? Set before any of the following. */
extern bool wh_preloaded;

/* Bytes of shared memory that the slots need. */
extern Size wh_worker_slots_shmem_size(void);

/* How many databases of this server may have a worker; and whether that many have one. */
extern int wh_max_databases(void);
extern bool wh_slots_full(void);

/*
 * Nothing delivers here, and this database has not been logged for an hour. True
 * for one caller only, which must log it.
 */
extern bool wh_claim_undelivered(void);

/*
 * The launcher's side. Attach makes this process the launcher; false where
 * there is one already.
 */
extern bool wh_launcher_attach(void);
extern bool wh_launcher_running(void);
extern int wh_slots(WhSlotView *out, int max);
/* False: all slots are in use. */
extern bool wh_slot_want(Oid dboid, TimestampTz not_before);
/* Why a database that wants a worker has none; a suspended one keeps its own reason. */
extern void wh_slot_explain(Oid dboid, const char *reason);
/* Something that suspended databases depend on has changed: check each of them. */
extern void wh_slots_look_at_suspended(void);
/* Was a database refused because all slots are in use? True only once. */
extern bool wh_slots_overflowed(void);
/* The database or its extension is gone: no worker is needed there. */
extern void wh_slot_release(Oid dboid);

/*
 * The worker's side. Attach takes this database's slot; false where another
 * worker has it. `absent` at detach: there is nothing to do in this database,
 * so do not start a worker again.
 */
extern bool wh_worker_attach(void);
extern void wh_worker_detach(bool absent);
/*
 * A suspended worker, as last reported, ends. Another one checks again after this
 * time, or at once if the configuration has changed since wh_worker_generation()
 * was `generation`.
 */
extern void wh_worker_rest(int64 ms, uint32 generation);
/* The error that this process is about to end with. Repeated errors delay the restart. */
extern void wh_worker_exit_error(const char *error);
/*
 * Have transactions with events committed since the last call? A commit sets the
 * worker's latch only if it is the first one, and not if the worker is awake: it
 * then calls this again soon, whatever happens.
 */
extern bool wh_worker_woken(bool awake);
extern void wh_worker_stay_awake(void); /* from now on; the next call says what was committed until then */
/* Have events been prepared, for a later COMMIT PREPARED, since the last call? */
extern bool wh_worker_prepared(void);
/* Counts the commits that changed the configuration. Read it before reading the configuration. */
extern uint32 wh_worker_generation(void);
extern void wh_worker_report(const WhWorkerReport *report);

/*
 * For commands that need exclusive use of a database: ends its worker, and keeps
 * it from being restarted until the end of this transaction. Waits until it has
 * ended, two seconds at most. `for_good`: the database is gone if this transaction
 * commits. Does nothing if there is no worker.
 */
extern void wh_worker_step_aside(Oid dboid, bool for_good);

/* This database's slot; false: it has none. */
extern bool wh_my_slot(WhSlotView *out);

#endif /* WEBHOOK_WORKER_SLOTS_H */
