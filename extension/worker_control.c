/*
 * worker_control.c
 *	  What backends may ask of the worker: to start, to check everything, to read
 *	  its configuration again.
 *
 * Keeps nothing; wake.c remembers what must happen at commit.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "wake.h"
#include "worker_control.h"
#include "worker_slots.h"

PG_FUNCTION_INFO_V1(webhook_config_changed);
PG_FUNCTION_INFO_V1(webhook_wake_worker);
PG_FUNCTION_INFO_V1(webhook_request_worker);
PG_FUNCTION_INFO_V1(webhook_start_worker);

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

/*
 * The configuration has changed: send a relcache invalidation of webhook.subscription,
 * and wake the worker at commit. The invalidation reaches it only if, and as soon as,
 * this transaction commits.
 */
static void
wake_worker(void)
{
	Oid subscription = get_relname_relid("subscription", get_namespace_oid("webhook", false));

	if (OidIsValid(subscription))
		CacheInvalidateRelcacheByRelid(subscription);
	wh_config_changed_at_commit();
}

Datum
webhook_config_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function webhook_internal.config_changed() was not called as a trigger"),
				errdetail("It notifies the worker of changes to its configuration."),
				errhint("The extension has created its triggers; call no other."));
	wake_worker();
	/* a suspended database has no worker to tell */
	if (strcmp(RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation), "identity") == 0)
		wh_want_worker_at_commit();
	return PointerGetDatum(NULL);
}

/* The same for requests in webhook.pending: the worker reads them with its subscriptions. */
Datum
webhook_wake_worker(PG_FUNCTION_ARGS)
{
	wake_worker();
	PG_RETURN_VOID();
}

Datum
webhook_request_worker(PG_FUNCTION_ARGS)
{
	wh_want_worker_at_commit();
	PG_RETURN_VOID();
}

Datum
webhook_start_worker(PG_FUNCTION_ARGS)
{
	BackgroundWorker launcher;

	if (!superuser())
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be superuser to start delivery"),
				errdetail("Its processes connect as a superuser."),
				errhint("Ask a superuser to call webhook.start_worker(), or add webhook to "
						"shared_preload_libraries."));
	wh_want_worker_at_commit();
	if (wh_launcher_running())
		PG_RETURN_VOID();

	wh_describe_launcher(&launcher);
	if (!RegisterDynamicBackgroundWorker(&launcher, NULL))
		ereport(
			ERROR, errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("could not start the webhook launcher"),
			errdetail("All background worker slots are in use."), errhint("Increase max_worker_processes."));
	PG_RETURN_VOID();
}
