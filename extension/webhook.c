/*
 * webhook.c
 *	  The library's entry: settings, shared memory, the launcher's registration.
 *
 * _PG_init only declares. It runs in the postmaster when the library is in
 * shared_preload_libraries, else in each backend that first uses it; so
 * nothing here may start a thread, open a descriptor or touch libcurl.
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "database_ddl.h"
#include "find_event.h"
#include "outbox.h"
#include "timeline.h"
#include "settings.h"
#include "wake.h"

PG_MODULE_MAGIC;

int wh_poll_interval = WH_DEFAULT_NAPTIME_MS;
int wh_retention = WH_DEFAULT_RETENTION_S;
int wh_max_in_flight = WH_DEFAULT_MAX_IN_FLIGHT;
int wh_filter_timeout = WH_DEFAULT_FILTER_TIMEOUT_MS;
int wh_worker_memory = WH_DEFAULT_WORKER_MEMORY_MB;
bool wh_allow_http = false;
char *wh_allowed_networks = NULL;
char *wh_ca_file = NULL;
char *wh_key_file = NULL;
char *wh_context = NULL;

static shmem_request_hook_type previous_shmem_request = NULL;

void _PG_init(void);

/*
 * Of a ring of eight segments one is written and one is due to be emptied; the
 * six between them hold the retention. So when a segment's turn begins, all in
 * the next one is older than the retention, and the worker has the whole turn
 * to empty it; the width is rounded up for that. Negative times (a clock before 1970) still give a segment.
 */
int64
wh_segment_width(void)
{
	return ((int64) wh_retention + WH_SEGMENTS - 3) / (WH_SEGMENTS - 2);
}

int
wh_segment_at(int64 epoch_seconds)
{
	int64 turn = epoch_seconds / wh_segment_width();

	return (int) (((turn % WH_SEGMENTS) + WH_SEGMENTS) % WH_SEGMENTS);
}

static void
request_shmem(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(wh_wake_shmem_size());
}

static void
define_settings(void)
{
	DefineCustomIntVariable(
		"webhook.poll_interval", "Longest time the worker sleeps before it looks for events by itself.",
		"It is woken by every commit with events; this is for prepared transactions and lost "
		"wake-ups. It runs no query where no transaction has ended since the last look.",
		&wh_poll_interval, WH_DEFAULT_NAPTIME_MS, 100, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("webhook.retention", "How long events and the log of requests are kept.",
							"At least this long, and at most 4/3 of it once the worker runs.", &wh_retention,
							WH_DEFAULT_RETENTION_S, WH_SEGMENTS - 2, INT_MAX, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
	DefineCustomIntVariable("webhook.max_in_flight", "Most requests one worker has under way at once.",
							"Each subscription has a limit of its own as well.", &wh_max_in_flight,
							WH_DEFAULT_MAX_IN_FLIGHT, 1, WH_MAX_MAX_IN_FLIGHT, PGC_SIGHUP, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable(
		"webhook.filter_timeout", "How much of the processor's time a filter may take for one event.",
		"An event for which it takes longer is a dead letter of that subscription.", &wh_filter_timeout,
		WH_DEFAULT_FILTER_TIMEOUT_MS, 1, WH_MAX_FILTER_TIMEOUT_MS, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"webhook.worker_memory", "Most memory that one worker takes.",
		"Memory shared with the server is not counted. At the limit an event or a request "
		"fails, and is tried again; an eighth of it is the largest event that is sent.",
		&wh_worker_memory, WH_DEFAULT_WORKER_MEMORY_MB, WH_MIN_WORKER_MEMORY_MB, WH_MAX_WORKER_MEMORY_MB,
		PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomBoolVariable("webhook.allow_http", "Lets endpoints be http as well as https.", NULL,
							 &wh_allow_http, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("webhook.allowed_networks",
							   "Networks that may be dialled although they are private or special.",
							   "A list of addresses and CIDR blocks, separated by commas.",
							   &wh_allowed_networks, "", PGC_SUSET, 0, wh_check_allowed_networks, NULL, NULL);
	DefineCustomStringVariable("webhook.ca_file",
							   "File of the certificate authorities that endpoints are verified by.",
							   "Empty: the system's.", &wh_ca_file, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("webhook.key_file", "File of the keys that secrets are sealed under.",
							   "A line for each: an id, a blank and the base64 of 32 random bytes; the first "
							   "one seals. Empty: secrets are kept as they are.",
							   &wh_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"webhook.context", "A JSON object stored with each event of the transaction.",
		"SET LOCAL it to a request id, an actor, an origin: whatever a receiver wants to know.", &wh_context,
		"", PGC_USERSET, 0, wh_check_context, NULL, NULL);
	MarkGUCPrefixReserved("webhook");
}

void
wh_describe_launcher(BackgroundWorker *launcher)
{
	memset(launcher, 0, sizeof(*launcher));
	launcher->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher->bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher->bgw_restart_time = 1;
	strlcpy(launcher->bgw_library_name, "webhook", BGW_MAXLEN);
	strlcpy(launcher->bgw_function_name, "webhook_launcher_main", BGW_MAXLEN);
	strlcpy(launcher->bgw_name, "webhook launcher", BGW_MAXLEN);
	strlcpy(launcher->bgw_type, "webhook launcher", BGW_MAXLEN);
}

void
_PG_init(void)
{
	BackgroundWorker launcher;

	define_settings();
	wh_outbox_install();
	wh_find_event_install();
	if (!process_shared_preload_libraries_in_progress)
		return;
	wh_preloaded = true;
	wh_note_recovery();
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shmem;
	/* pg_upgrade's temporary servers must send nothing */
	if (IsBinaryUpgrade)
		return;
	wh_database_ddl_install();
	wh_describe_launcher(&launcher);
	RegisterBackgroundWorker(&launcher);
}
