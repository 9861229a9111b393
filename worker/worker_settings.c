/*
 * worker_settings.c
 *	  The settings under which the worker works: those of the server's
 *	  configuration, and its own.
 *
 * A database, a role and all roles can have settings (ALTER DATABASE or ROLE ...
 * SET), and the owner of a database may set any that a user may set. When a
 * process connects, they come after the configuration file and the command line
 * and before a client's. The worker takes none of them. While it connects, all of
 * its settings are marked as coming from a source that outranks these, so the
 * server skips what it finds. Afterwards each has its true source again, so that
 * a reload changes it as usual. Nothing has to be put back, no such value is
 * in force at any moment, and there is no list of names to maintain.
 *
 * Then come settings of the worker's own, on which its statements rely whatever
 * the configuration says. Those that turn an error into the end of the process
 * are locked: nobody can change them, not even a trigger that runs in the
 * worker. Whatever else such code sets ends with its transaction
 * (store_rights.c).
 *
 * The launcher is connected to no database and gets no settings of roles.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#include "compat.h"
#include "worker.h"

typedef struct Source
{
	struct config_generic *setting;
	GucSource source;
	GucSource reset_source;
} Source;

/* So that the worker's statements mean what they say and use indexes, whatever the configuration says. */
static const struct
{
	const char *name;
	const char *value;
} own[] = {
	{"exit_on_error", "off"}, /* errors are caught, and the step tried again */
	{"search_path", "pg_catalog"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"statement_timeout", "0"},
	WH_FURTHER_TIMEOUTS{"idle_in_transaction_session_timeout", "0"},
	{"session_replication_role", "origin"},
	{"row_security", "off"}, /* an error rather than half of the rows */
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
	{"array_nulls", "on"},
	{"DateStyle", "ISO"},
	{"IntervalStyle", "postgres"},
	/* the worker makes nobody wait for long; what it loses in a crash is repeated */
	{"lock_timeout", "500ms"},
	{"synchronous_commit", "off"},
	/* indexes, whatever the statistics say of tables that were never analysed */
	{"plan_cache_mode", "force_generic_plan"},
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_tidscan", "on"},
	{"enable_nestloop", "on"},
	{"enable_partition_pruning", "on"},
	{"enable_seqscan", "off"},
	{"enable_sort", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"max_parallel_workers_per_gather", "0"},
	{"jit", "off"},
};

/* With these, code that runs in this process could end it. */
static const char *const fixed[] = {"exit_on_error", WH_ENDING_TIMEOUTS};

/* From here on, no setting of a database or a role takes effect. */
static Source *
raise_sources(int *n)
{
	struct config_generic **all = wh_all_settings(n);
	Source *sources = palloc(*n * sizeof(Source));

	for (int i = 0; i < *n; i++)
	{
		sources[i] = (Source){all[i], all[i]->source, all[i]->reset_source};
		if (all[i]->context <= PGC_SIGHUP)
			continue;
		all[i]->source = Max(all[i]->source, PGC_S_OVERRIDE);
		all[i]->reset_source = Max(all[i]->reset_source, PGC_S_OVERRIDE);
	}
	return sources;
}

static void
put_back_sources(Source *sources, int n)
{
	for (int i = 0; i < n; i++)
	{
		sources[i].setting->source = sources[i].source;
		sources[i].setting->reset_source = sources[i].reset_source;
	}
	pfree(sources);
}

/*
 * A setting of a library that is not loaded exists since it was set, as a
 * placeholder for the library. Give it no value, so that the library has nothing
 * to take over. Its source must not be "default" afterwards, because the server
 * keeps a list of the settings whose source is not.
 */
static void
forget_placeholders(void)
{
	int n;
	struct config_generic **all = wh_all_settings(&n);

	for (int i = 0; i < n; i++)
	{
		struct config_generic *setting = all[i];

		if (!(setting->flags & GUC_CUSTOM_PLACEHOLDER) || setting->source < PGC_S_GLOBAL ||
			setting->source > PGC_S_DATABASE_USER)
			continue;
		setting->source = setting->reset_source = PGC_S_DEFAULT;
		(void) set_config_option(setting->name, NULL, PGC_SUSET, PGC_S_DEFAULT, GUC_ACTION_SET, true, DEBUG1,
								 false);
		setting->source = setting->reset_source = PGC_S_DYNAMIC_DEFAULT;
	}
}

static void
fix(const char *name)
{
	int n;
	struct config_generic **all = wh_all_settings(&n);

	for (int i = 0; i < n; i++)
		if (strcmp(all[i]->name, name) == 0)
			all[i]->context = PGC_INTERNAL;
}

void
wh_settings_connect(Oid dboid)
{
	int n;
	Source *sources = raise_sources(&n);

	BackgroundWorkerInitializeConnectionByOid(dboid, InvalidOid, 0);
	put_back_sources(sources, n);
	forget_placeholders();
	/* what the server sets itself when it connects; there is no client */
	SetConfigOption("client_encoding", GetDatabaseEncodingName(), PGC_SUSET, PGC_S_OVERRIDE);
	for (int i = 0; i < (int) lengthof(own); i++)
		SetConfigOption(own[i].name, own[i].value, PGC_SUSET, PGC_S_OVERRIDE);
	for (int i = 0; i < (int) lengthof(fixed) && fixed[i]; i++)
		fix(fixed[i]);
}
