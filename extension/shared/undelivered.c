/*
 * undelivered.c
 *	  What is reported when nothing delivers, and how much the outbox takes.
 *
 * Runs in any process of the server. Keeps only whether this session has been warned.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"

#include "settings.h"
#include "undelivered.h"
#include "worker_slots.h"

PG_FUNCTION_INFO_V1(webhook_warn_undelivered);

#define PRELOAD_HINT                                                                                         \
	"Add webhook to shared_preload_libraries and restart the server, or call webhook.start_worker() for "    \
	"this server's lifetime."

static bool warned = false; /* this session has been warned */

int64
wh_outbox_bytes(void)
{
	Oid schema = get_namespace_oid("webhook", true);
	int64 sum = 0;

	for (int i = 0; i < WH_SEGMENTS; i++)
	{
		LOCAL_FCINFO(call, 1);
		char name[NAMEDATALEN];
		Oid segment;
		Datum size;

		snprintf(name, sizeof(name), "outbox_%d", i);
		segment = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
		if (!OidIsValid(segment) || !ConditionalLockRelationOid(segment, AccessShareLock))
			return -1;
		InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
		call->args[0].value = ObjectIdGetDatum(segment);
		call->args[0].isnull = false;
		size = pg_total_relation_size(call);
		if (!call->isnull)
			sum += DatumGetInt64(size);
		UnlockRelationOid(segment, AccessShareLock);
	}
	return sum;
}

/* "webhook.outbox takes 12 MB", or that the size is not known. */
static const char *
outbox_takes(void)
{
	int64 bytes = wh_outbox_bytes();

	if (bytes < 0)
		return "the size of webhook.outbox is not known, because it is locked";
	return psprintf("webhook.outbox takes %s",
					TextDatumGetCString(DirectFunctionCall1(pg_size_pretty, Int64GetDatum(bytes))));
}

void
wh_log_undelivered(void)
{
	ereport(
		LOG,
		errmsg("events of database \"%s\" are captured but not delivered", get_database_name(MyDatabaseId)),
		errdetail("%s; %s.", WH_NOT_PRELOADED, outbox_takes()), errhint(PRELOAD_HINT));
}

Datum
webhook_warn_undelivered(PG_FUNCTION_ARGS)
{
	if (warned || wh_preloaded || wh_launcher_running())
		PG_RETURN_VOID();
	warned = true;
	ereport(WARNING, errmsg("webhook is not in shared_preload_libraries"),
			errdetail("Events are captured but not delivered; %s, and is never emptied.", outbox_takes()),
			errhint(PRELOAD_HINT));
	PG_RETURN_VOID();
}
