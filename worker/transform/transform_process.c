/*
 * transform_process.c
 *	  The process that calls the transforms of one owner.
 *
 * A dynamic background worker, started by the delivering worker for one database and
 * one role. It ends when the worker lets go of it, or dies. It becomes the role
 * before it calls anything (transform_call.c), and then calls functions one after
 * the other, as requested.
 *
 * Whatever a function does to its process affects nobody else: FATAL, running out of
 * memory, a loop that cannot be interrupted. The worker notices (see
 * worker_transform.c). So this process only defends against a function that tries
 * to outlive its call. Nothing needs cleaning up at the end either: no transaction
 * of a function is ever committed, so no trigger waits for one.
 *
 * Owns the link to the worker. One thread.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "compat.h"
#include "time_limit.h"
#include "transform_process.h"
#include "store.h"

PGDLLEXPORT void webhook_transform_main(Datum arg);

static WhLink to_worker;
static MemoryContext call_context = NULL; /* reset after each call */
static emit_log_hook_type previous_log_hook = NULL;
static planner_hook_type previous_planner = NULL;

/* Before this process ends with an error: leave it for the worker. */
static void
note_exit_error(ErrorData *error)
{
	if (error->elevel >= FATAL && error->message && to_worker.segment)
	{
		WhLastWords *last = wh_link_last_words(&to_worker);

		wh_clip(last->error, sizeof(last->error), error->message);
		last->told_to_end = error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN;
	}
	if (previous_log_hook)
		previous_log_hook(error);
}

/* A parallel worker would be a process without this one's limits of time and memory. */
static PlannedStmt *
plan_for_one(WH_PLANNER_PARAMETERS)
{
	return (previous_planner ? previous_planner
							 : standard_planner)(WH_PLANNER_ARGUMENTS(options & ~CURSOR_OPT_PARALLEL_OK));
}

/*
 * What a function finds, whatever settings the database or the bootstrap superuser
 * has: a session of nobody in particular. A function may change them; that goes
 * with its transaction.
 */
static const struct
{
	const char *name;
	const char *value;
} settings[] = {
	{"role", "none"},
	{"search_path", "pg_catalog, pg_temp"},
	{"row_security", "on"},
	{"exit_on_error", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "on"},
	{"default_transaction_deferrable", "off"},
	{"session_replication_role", "origin"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	WH_FURTHER_TIMEOUTS{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"jit", "off"}, /* it would take most of a call's time */
};

static void
set_up(const WhTransformStart *start)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(start->dboid, InvalidOid, 0);
	pgstat_report_appname(WH_TRANSFORM_TYPE);

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
	previous_log_hook = emit_log_hook;
	emit_log_hook = note_exit_error;
	previous_planner = planner_hook;
	planner_hook = plan_for_one;
	call_context = AllocSetContextCreate(TopMemoryContext, "webhook transform", ALLOCSET_DEFAULT_SIZES);
	wh_time_limit_set_up();
}

/* False: the worker has let go. */
static bool
send_answer(const WhAnswer *answer, const char *text)
{
	WhOutgoing out = {0};

	wh_outgoing_add(&out, answer, sizeof(*answer));
	wh_outgoing_add(&out, text, answer->len);
	return wh_link_send(&to_worker, &out, false) == SHM_MQ_SUCCESS;
}

/* Wait for a request and receive all of it. `buffer`: its texts; NULL: no memory. False: the worker has let go. */
static bool
receive_request(WhRequest *request, char **buffer)
{
	const char *data;
	Size len;
	Size all = 0;
	Size filled = 0;

	if (wh_link_receive(&to_worker, &data, &len, false) != SHM_MQ_SUCCESS)
		return false;
	memcpy(request, data, sizeof(*request));
	for (int i = 0; i < WH_REQUEST_TEXTS; i++)
		all += request->len[i];
	*buffer = palloc_extended(all, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	data += sizeof(*request);
	len -= sizeof(*request);
	for (;;)
	{
		if (*buffer)
			memcpy(*buffer + filled, data, len);
		filled += len;
		if (filled == all)
			return true;
		if (wh_link_receive(&to_worker, &data, &len, false) != SHM_MQ_SUCCESS)
			return false;
	}
}

static void
handle_request(const WhRequest *request, char *buffer, WhAnswer *answer, char **text)
{
	char *texts[WH_REQUEST_TEXTS];

	if (buffer == NULL)
	{
		*text = pstrdup("out of memory");
		*answer = (WhAnswer){
			.kind = WH_ANSWER_OUTCOME, .outcome = WH_OUT_TRANSFORM, .worn_out = true, .len = strlen(*text)};
		return;
	}
	for (int i = 0; i < WH_REQUEST_TEXTS; i++)
	{
		texts[i] = request->len[i] > 0 ? buffer : NULL;
		buffer += request->len[i];
	}
	wh_transform_call(request, texts, answer, text);
}

void
webhook_transform_main(Datum arg)
{
	WhTransformStart start;
	WhAnswer answer = {.kind = WH_ANSWER_READY};
	WhRequest request;
	char *buffer;
	char *text = NULL;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	set_up(&start);
	if (!wh_link_attach(&to_worker, DatumGetUInt32(arg)))
		proc_exit(0);
	wh_transform_become(start.owner);

	MemoryContextSwitchTo(call_context);
	while (send_answer(&answer, text))
	{
		MemoryContextReset(call_context);
		pgstat_report_activity(STATE_IDLE, NULL);
		if (!receive_request(&request, &buffer))
			break;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		handle_request(&request, buffer, &answer, &text);
	}
	proc_exit(0);
}
