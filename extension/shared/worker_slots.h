/*
 * worker_slots.h
 *	  The shared slots through which backends, launcher and workers meet.
 *
 * See worker_slots.c for who owns which field and the locking rule.
 */
#ifndef WEBHOOK_WORKER_SLOTS_H
#define WEBHOOK_WORKER_SLOTS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "storage/dsm.h"

#define WH_MAX_DATABASES 1024    /* databases of one cluster that may have, or want, a worker */
#define WH_MAX_DATABASES_BARE 64 /* without preload: all of it must fit into what the server has to spare */
#define WH_REASON_MAX 256        /* bytes of a worker's reason, with its NUL */

typedef enum WhSlotState
{
	WH_SLOT_FREE,    /* no database */
	WH_SLOT_WANTED,  /* this database shall have a worker */
	WH_SLOT_RUNNING, /* its worker has attached itself */
} WhSlotState;

/* A slot as others see it: a copy taken under the lock. */
typedef struct WhSlotView
{
	Oid dboid;
	WhSlotState state;
	int pid;                /* of the worker, while RUNNING */
	TimestampTz not_before; /* while WANTED: no start earlier than this, by wh_monotonic() */
	bool aside;             /* its worker has stepped aside for a command that needs the database to itself */
	bool suspended; /* events are captured and not delivered: see reason; while WANTED: so it was found */
	bool failing;   /* it meets errors, while WANTED: it has ended because of one; see reason */
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

/* What a worker reports of itself. */
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

/* The tranche of this library's locks, in a process that is attached: there are not many to be had. */
extern int wh_lock_tranche(void);

/* Was this library loaded by the postmaster? Set before any of the following. */
extern bool wh_preloaded;

/* How much shared memory, and where from. */
extern Size wh_worker_slots_shmem_size(void);

/* How many databases of this server may have a worker, and are there so many? */
extern int wh_max_databases(void);
extern bool wh_slots_full(void);

/*
 * Nobody delivers here, and the server's log has not said so of this database
 * for an hour: say so now. True only for whoever is to say it.
 */
extern bool wh_claim_undelivered(void);

/*
 * The launcher's side. Attach makes this process the launcher; false where
 * there is one already.
 */
extern bool wh_launcher_attach(void);
extern bool wh_launcher_running(void);
extern int wh_slots(WhSlotView *out, int max);
/* False where all slots are taken. */
extern bool wh_slot_want(Oid dboid, TimestampTz not_before);
/* Why a database that wants a worker has none; a suspended one keeps its own reason. */
extern void wh_slot_explain(Oid dboid, const char *reason);
/* Something has changed that suspended databases live by: look at each of them. */
extern void wh_slots_look_at_suspended(void);
/* Has somebody been turned away because all slots are taken? Asked for the first time, says yes only once. */
extern bool wh_slots_overflowed(void);
/* The database is gone, or has no extension: nobody wants a worker there. */
extern void wh_slot_release(Oid dboid);

/*
 * The worker's side. Attach takes this database's slot; false where another
 * worker has it. `absent` at detach: there is nothing to do in this database,
 * so do not start a worker again.
 */
extern bool wh_worker_attach(void);
extern void wh_worker_detach(bool absent);
/*
 * As last reported, a suspended worker leaves: another one shall look after so
 * many milliseconds, or at once where the configuration has changed since
 * wh_worker_generation() was `generation`.
 */
extern void wh_worker_rest(int64 ms, uint32 generation);
/* The error that this process is about to end with: the more often, the later is it started again. */
extern void wh_worker_exit_error(const char *error);
/* Have transactions with events committed since the last call? */
extern bool wh_worker_woken(void);
/* Counts the commits that changed the configuration. Read it before reading the configuration. */
extern uint32 wh_worker_generation(void);
extern void wh_worker_report(const WhWorkerReport *report);

/*
 * For commands that need a database to themselves: have its worker end, and
 * keep it from being started again until the end of this transaction. Waits
 * until it has let go, two seconds at most. `for_good`: if this transaction
 * commits, the database is gone. Nothing happens where there is no worker.
 */
extern void wh_worker_step_aside(Oid dboid, bool for_good);

/* This database's slot; false where it has none. */
extern bool wh_my_slot(WhSlotView *out);

#endif /* WEBHOOK_WORKER_SLOTS_H */
