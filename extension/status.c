/*
 * status.c
 *	  The state of this database's worker, for people.
 *
 * Runs in users' backends. What a worker reports about itself is in its slot
 * (worker_slots.c). If there is no worker, the reasons are tried in order: first those
 * that rule out delivery altogether, last those that only take a moment. A caller who
 * may not read a segment may still know how large it is. Keeps nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "timeline.h"
#include "result_row.h"
#include "settings.h"
#include "undelivered.h"
#include "unread.h"
#include "worker_slots.h"

PG_FUNCTION_INFO_V1(webhook_worker_status);

/* Why this database can have no worker, whatever the launcher does; NULL: it can. */
static const char *
why_never(void)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	const char *why = NULL;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);

		/* a connected worker would make copying it fail */
		if (db->datistemplate)
			why = "this database is a template: events are captured but not delivered";
		else if (!db->datallowconn)
			why = "this database does not allow connections: events are captured but not delivered";
		ReleaseSysCache(tuple);
	}
	return why;
}

/* The state in one word while no worker is attached; and the reason, or NULL. */
static const char *
state_without_worker(const WhSlotView *slot, const char **reason)
{
	*reason = NULL;
	if (RecoveryInProgress())
	{
		*reason = wh_recovering();
		if (!wh_preloaded)
			*reason = psprintf(
				"%s; webhook is not in shared_preload_libraries, so it will not run after that either",
				*reason);
		return "not_running";
	}
	*reason = why_never();
	if (*reason == NULL && slot && slot->suspended && slot->reported)
	{
		*reason =
			psprintf("%s; webhook.enable_delivery_preview() shows what either would send", slot->reason);
		return "suspended";
	}
	if (*reason == NULL && !wh_launcher_running())
		*reason = wh_preloaded
					  ? "the launcher is not running: the server restarts it one second after it ends; "
						"the server log says why, for example max_worker_processes is too low"
					  : WH_NOT_PRELOADED;
	if (*reason == NULL && slot == NULL && wh_slots_full())
		*reason =
			psprintf("all %d slots for databases with webhook are in use: no worker can be started here "
					 "until the extension, or a database that has it, is dropped elsewhere",
					 wh_max_databases());
	if (*reason)
		return "not_running";
	if (slot && slot->aside)
		*reason = "it has stepped aside for a command that needs exclusive use of the database";
	else if (slot && slot->reason[0] && !slot->suspended)
		*reason = slot->reason;
	return slot && slot->failing && !slot->aside ? "failing" : "starting";
}

Datum
webhook_worker_status(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[12] = {0};
	bool nulls[lengthof(values)];
	WhSlotView slot;
	bool have_slot = wh_my_slot(&slot);
	bool runs = have_slot && slot.state == WH_SLOT_RUNNING;
	WhUnread unread;
	const char *state;
	const char *reason;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	if (runs)
	{
		state = !slot.reported   ? "starting"
				: slot.suspended ? "suspended"
				: slot.failing   ? "failing"
								 : "running";
		reason = slot.reported && slot.reason[0] ? slot.reason : NULL;
		values[2] = Int32GetDatum(slot.pid);
		values[3] = TimestampTzGetDatum(slot.started_at);
		values[4] = TimestampTzGetDatum(slot.last_read);
		nulls[4] = slot.last_read == 0;
		values[5] = TimestampTzGetDatum(slot.last_settled);
		nulls[5] = slot.last_settled == 0;
		values[6] = Int32GetDatum(slot.queued);
		values[7] = Int32GetDatum(slot.in_flight);
		values[8] = Int64GetDatum((int64) slot.events_read);
		nulls[2] = nulls[3] = nulls[6] = nulls[7] = nulls[8] = false;
	}
	else
		state = state_without_worker(have_slot ? &slot : NULL, &reason);
	if (!RecoveryInProgress())
	{
		int64 bytes = wh_outbox_bytes();

		values[9] = Int64GetDatum(bytes);
		nulls[9] = bytes < 0;
	}
	if (wh_unread(runs ? slot.read_to : 0, &unread))
	{
		values[10] = Int64GetDatum(unread.events);
		nulls[10] = false;
		/* not negative, even if the clock was set back */
		values[11] = DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(GetCurrentTimestamp()),
										 TimestampTzGetDatum(Min(unread.oldest, GetCurrentTimestamp())));
		nulls[11] = unread.events == 0;
	}
	values[0] = CStringGetTextDatum(state);
	nulls[0] = false;
	if (reason)
	{
		values[1] = CStringGetTextDatum(reason);
		nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(wh_result_row(BlessTupleDesc(desc), values, nulls, lengthof(values))));
}
