/*
 * tx_guard.c
 *	  Steps that may fail: what happens to an error in a transaction.
 *
 * A step may be cancelled by SIGTERM (stop.c). A guarded step may also have limits
 * of time and memory, which end with it. An error is caught, its transaction is
 * rolled back, and the caller gets its message as text: nothing here knows what
 * the step was for. An error is raised again only if the server wants the process
 * to end.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "memory_limit.h"
#include "stop.h"
#include "store.h"
#include "store_rights.h"
#include "tx_guard.h"
#include "time_limit.h"

/* Does the server, or somebody, want this process to end? A cancelled statement does not mean that. */
static bool
wants_the_end(int code)
{
	return ERRCODE_TO_CATEGORY(code) == ERRCODE_OPERATOR_INTERVENTION && code != ERRCODE_QUERY_CANCELED;
}

bool
wh_tx_try(void (*step)(void *), void *arg, WhFailure *failure)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = true;

	wh_stop_may_cancel();
	PG_TRY();
	{
		step(arg);
	}
	PG_CATCH();
	{
		ErrorData *error;

		wh_stop_may_not_cancel();
		if (wants_the_end(geterrcode()))
			PG_RE_THROW();
		/* memory may be what was missing; this also ends a narrowed limit */
		wh_memory_limit_use_reserve();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		wh_rights_release();
		pgstat_report_activity(STATE_IDLE, NULL);
		failure->code = error->sqlerrcode;
		/* not the detail, which may show a whole row with its secrets */
		wh_clip(failure->message, sizeof(failure->message), error->message);
		FreeErrorData(error);
		wh_memory_limit_restore();
		ok = false;
	}
	PG_END_TRY();
	wh_stop_may_not_cancel();
	MemoryContextSwitchTo(context);
	return ok;
}

bool
wh_code_is_lock(int code)
{
	return code == ERRCODE_LOCK_NOT_AVAILABLE || code == ERRCODE_T_R_DEADLOCK_DETECTED;
}

bool
wh_failure_is_lock(const WhFailure *failure)
{
	return wh_code_is_lock(failure->code);
}

bool
wh_tx_try_or_warn(void (*step)(void *), void *arg, const char *what, const char *hint)
{
	WhFailure failure;

	if (wh_tx_try(step, arg, &failure))
		return true;
	if (ShutdownRequestPending)
		return false;
	ereport(WARNING, errcode(failure.code), errmsg("webhook worker could not %s", what),
			errdetail_internal("%s", failure.message), errhint("%s", hint));
	return false;
}

bool
wh_tx_guarded(void (*step)(void *), void *arg, int *code, const char **why)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool ok = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;
		const char *detail;
		/* the limits of the step do not apply to handling its error */
		bool exceeded = wh_time_limit_end();

		wh_memory_limit_use_reserve();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		wh_memory_limit_restore();
		exceeded = exceeded && error->sqlerrcode == ERRCODE_QUERY_CANCELED && !ShutdownRequestPending;
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION && !exceeded)
			ReThrowError(error);
		*code = exceeded ? WH_TIME_EXCEEDED : error->sqlerrcode;
		/* not a constraint's detail: it shows a whole row, with secrets, and with times, so no two are the same */
		detail = ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION
					 ? error->detail
					 : NULL;
		*why = wh_to_utf8(psprintf("%s%s%s", error->message, detail ? ": " : "", detail ? detail : ""));
		FreeErrorData(error);
		ok = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return ok;
}
