/*
 * webhook.c
 *	  The library's entry: declares settings, shared memory, hooks and the launcher.
 *
 * _PG_init only declares. It runs in the postmaster if the library is in
 * shared_preload_libraries, else in each backend at its first use. So nothing here may
 * start a thread, open a file descriptor or call libcurl.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "commit_prepared.h"
#include "database_ddl.h"
#include "error_context.h"
#include "find_entity.h"
#include "find_event.h"
#include "outbox.h"
#include "timeline.h"
#include "settings.h"
#include "worker_control.h"
#include "worker_slots.h"

PG_MODULE_MAGIC;

static shmem_request_hook_type previous_shmem_request = NULL;

void _PG_init(void);

static void
request_shmem(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(wh_worker_slots_shmem_size());
}

void
_PG_init(void)
{
	BackgroundWorker launcher;

	wh_define_settings();
	wh_outbox_install();
	wh_commit_prepared_install();
	wh_error_context_install();
	wh_find_entity_install();
	wh_find_event_install();
	if (!process_shared_preload_libraries_in_progress)
		return;
	wh_preloaded = true;
	wh_note_recovery();
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shmem;
	/* the temporary servers of pg_upgrade must send nothing */
	if (IsBinaryUpgrade)
		return;
	wh_database_ddl_install();
	wh_describe_launcher(&launcher);
	RegisterBackgroundWorker(&launcher);
}
