/*
 * launcher.c
 *	  Which databases get a worker.
 *
 * One launcher per server. When it starts it requests a worker in every database
 * that can be connected to; a worker that finds no extension says so and ends.
 * From then on the slots in shared memory (worker_slots.c) say what is wanted:
 * CREATE EXTENSION, and every commit with an event that finds no worker, request
 * one, and a worker that ends for any reason leaves its slot marked as wanted. A
 * suspended worker ends when its work is done and leaves the time of the next
 * look, so copies, however many, occupy no background worker. No setting
 * names a database.
 *
 * Registered by name, in webhook.c or by webhook.start_worker(). Connected to no
 * database; it reads pg_database only.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "monotonic.h"
#include "settings.h"
#include "worker_slots.h"

#define LOOK_EVERY_MS 60000 /* for databases made by CREATE DATABASE ... TEMPLATE */
#define RETRY_AFTER_MS 5000 /* a worker that could not be started */
#define LOOK_SOON_MS 1000   /* while workers are starting */
#define ASK_AT_ONCE 2 /* databases that are searched for the extension; suspended ones that are visited */

PGDLLEXPORT void webhook_launcher_main(Datum arg);

/* A database this launcher has started a worker in. */
typedef struct Started
{
	Oid dboid;
	BackgroundWorkerHandle *handle;
} Started;

/* A database that was found and not yet searched for the extension. */
typedef struct Candidate
{
	Oid dboid;
	char name[NAMEDATALEN];
} Candidate;

static Started started[WH_MAX_DATABASES];
static int n_started = 0;
static MemoryContext launcher_context = NULL;
static List *candidates = NIL; /* Candidate: waiting for a free slot */
static List *known = NIL;      /* Oid: databases seen before */
static volatile bool databases_changed = true;
static WhSlotView slots[WH_MAX_DATABASES]; /* as last read */

static void
on_database_change(Datum arg, int cacheid, uint32 hash)
{
	databases_changed = true;
}

/*
 * A template is there to be copied, which a connected worker prevents. -2 marks a
 * DROP DATABASE that was interrupted, after which nobody can connect.
 */
static bool
may_have_worker(Form_pg_database db)
{
	return db->datallowconn && !db->datistemplate && db->datconnlimit != -2;
}

/* Is the worker we started in this database still alive, or about to be? */
static bool
still_there(Oid dboid)
{
	for (int i = 0; i < n_started; i++)
		if (started[i].dboid == dboid)
			return true;
	return false;
}

/*
 * Look through pg_database for databases not seen before. Templates and those
 * that accept no connections are skipped: somebody may be about to copy or
 * restore them.
 */
static void
find_databases(void)
{
	int n_before;
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;
	List *now = NIL;
	MemoryContext old;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	AcceptInvalidationMessages();
	if (!databases_changed)
	{
		CommitTransactionCommand();
		return;
	}
	databases_changed = false;
	/* these slots exist before we look, so a database that is not found is gone, or may have no worker */
	n_before = wh_slots(slots, WH_MAX_DATABASES);
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);

		if (!may_have_worker(db))
			continue;
		old = MemoryContextSwitchTo(launcher_context);
		now = lappend_oid(now, db->oid);
		if (!list_member_oid(known, db->oid))
		{
			Candidate *c = palloc(sizeof(Candidate));

			c->dboid = db->oid;
			strlcpy(c->name, NameStr(db->datname), NAMEDATALEN);
			candidates = lappend(candidates, c);
		}
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	list_free(known);
	known = now;
	for (int i = 0; i < n_before; i++)
		if (!list_member_oid(known, slots[i].dboid) && !still_there(slots[i].dboid))
			wh_slot_release(slots[i].dboid);
}

/*
 * The name of a database that may have a worker. False: it is gone, accepts no
 * connections or is a template. Looked up in the table: a cache may be older
 * than the commit that woke us.
 */
static bool
database_name(Oid dboid, char name[NAMEDATALEN])
{
	ScanKeyData key;
	SysScanDesc scan;
	Relation rel;
	HeapTuple tuple;
	bool ok = false;

	StartTransactionCommand();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(dboid));
	/* no index: without a database of its own, this process knows none */
	scan = systable_beginscan(rel, DatabaseOidIndexId, false, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);

		ok = may_have_worker(db);
		strlcpy(name, NameStr(db->datname), NAMEDATALEN);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return ok;
}

/* Forget the workers that have ended: those that found no extension leave no slot. */
static void
forget_ended(void)
{
	for (int i = 0; i < n_started;)
	{
		pid_t pid;

		if (GetBackgroundWorkerPid(started[i].handle, &pid) != BGWH_STOPPED)
		{
			i++;
			continue;
		}
		pfree(started[i].handle);
		started[i] = started[--n_started];
	}
}

static bool
start_worker(Oid dboid, const char *name)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	MemoryContext old;
	bool ok;

	if (n_started == lengthof(started))
		return false;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION | WH_INTERRUPTIBLE;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART; /* its slot stays wanted, and we start it again */
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "webhook", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "webhook_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, "webhook worker for database %s", name);
	strlcpy(worker.bgw_type, "webhook worker", BGW_MAXLEN);
	strlcpy(worker.bgw_extra, name, BGW_EXTRALEN);

	old = MemoryContextSwitchTo(launcher_context);
	ok = RegisterDynamicBackgroundWorker(&worker, &handle);
	MemoryContextSwitchTo(old);
	if (!ok)
		return false;
	started[n_started++] = (Started){.dboid = dboid, .handle = handle};
	return true;
}

/* Start workers where they are wanted. Returns when to look again at the latest. */
static TimestampTz
start_wanted(void)
{
	static bool warned = false;
	TimestampTz now = wh_monotonic();
	TimestampTz again = TimestampTzPlusMilliseconds(now, LOOK_EVERY_MS);
	int n_asked = 0;
	int n_suspended = 0;
	int n;

	forget_ended();

	/* a few candidates at a time: most have no extension, and to find out takes a background worker */
	n = wh_slots(slots, WH_MAX_DATABASES);
	for (int i = 0; i < n; i++)
		n_asked += slots[i].state == WH_SLOT_WANTED && slots[i].not_before <= now;
	for (; candidates != NIL && n_asked < ASK_AT_ONCE; n_asked++)
	{
		Candidate *c = linitial(candidates);

		if (!wh_slot_want(c->dboid, 0))
			break;
		candidates = list_delete_first(candidates);
		pfree(c);
	}
	n = wh_slots(slots, WH_MAX_DATABASES);
	for (int i = 0; i < n; i++)
		n_suspended +=
			slots[i].suspended && (slots[i].state == WH_SLOT_RUNNING || still_there(slots[i].dboid));
	for (int i = 0; i < n; i++)
	{
		char name[NAMEDATALEN];

		if (slots[i].state != WH_SLOT_WANTED || slots[i].aside)
			continue;
		if (still_there(slots[i].dboid))
		{
			/* it was started and will attach itself, or end: look again soon */
			again = Min(again, TimestampTzPlusMilliseconds(now, LOOK_SOON_MS));
			continue;
		}
		if (slots[i].not_before > now)
		{
			again = Min(again, slots[i].not_before);
			continue;
		}
		/* a thousand copies may be due at once: they wait for each other, and nobody waits for them */
		if (slots[i].suspended && slots[i].not_before != 0 && n_suspended++ >= ASK_AT_ONCE)
		{
			again = Min(again, TimestampTzPlusMilliseconds(now, LOOK_SOON_MS));
			continue;
		}
		if (!database_name(slots[i].dboid, name))
		{
			wh_slot_release(slots[i].dboid);
			continue;
		}
		/* in case it does not get as far as attaching itself */
		wh_slot_want(slots[i].dboid, TimestampTzPlusMilliseconds(now, RETRY_AFTER_MS));
		again = Min(again, TimestampTzPlusMilliseconds(now, RETRY_AFTER_MS));
		if (start_worker(slots[i].dboid, name))
		{
			warned = false;
			continue;
		}
		if (!warned)
			ereport(WARNING, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("could not start a webhook worker for database \"%s\"", name),
					errdetail("All background worker slots are in use. Events are captured and kept."),
					errhint("Increase max_worker_processes."));
		warned = true;
		wh_slot_explain(slots[i].dboid, "no background worker is free for it: increase max_worker_processes");
	}
	if (wh_slots_overflowed())
		ereport(WARNING, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("more than %d databases have webhook", wh_max_databases()),
				errdetail("Events of the other databases are captured and kept, but not delivered."),
				errhint(wh_preloaded ? "Drop the extension, or copies of databases that have it."
									 : "Add webhook to shared_preload_libraries, which makes room for more, "
									   "and restart the server."));
	return again;
}

void
webhook_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	if (!wh_launcher_attach())
		proc_exit(0); /* another one is running already */

	launcher_context = AllocSetContextCreate(TopMemoryContext, "webhook launcher", ALLOCSET_DEFAULT_SIZES);
	CacheRegisterSyscacheCallback(DATABASEOID, on_database_change, (Datum) 0);
	pgstat_report_appname("webhook launcher");
	ereport(LOG, errmsg("webhook launcher started"));

	for (;;)
	{
		static uint32 waiting;
		TimestampTz again;
		TimestampTz now;

		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending)
			proc_exit(1); /* with 0 it would never be started again */
		if (ConfigReloadPending)
		{
			int retention = wh_retention;

			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			if (wh_retention != retention)
				wh_slots_look_at_suspended();
		}
		find_databases();
		again = start_wanted();
		now = wh_monotonic();
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
				  again <= now ? 0 : (again - now) / 1000 + 1, wh_wait_event(&waiting, "WebhookLauncher"));
		ResetLatch(MyLatch);
	}
}
