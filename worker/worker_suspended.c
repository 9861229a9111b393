/*
 * worker_suspended.c
 *	  A database in which nothing is delivered.
 *
 * Either it is a copy, or its tables were altered.
 *
 * A copy captures events as any database does, so they must go when they are
 * older than webhook.retention; only nobody settles them first. That is all there
 * is to do, a few times per retention. So the worker of a copy does it, leaves the
 * reason in its slot and ends. The launcher starts another one when the next
 * segment may be old, or when somebody wants one (webhook.enable_delivery() and
 * every change of webhook.identity do). It waits at least a minute: a copy must
 * cost next to nothing.
 *
 * Altered tables may be fixed at any time without notice, so there the worker
 * stays and looks.
 *
 * Owns the reason.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "settings.h"
#include "store.h"
#include "store_rotate.h"
#include "tx_guard.h"
#include "worker_slots.h"
#include "worker.h"

#define REST_AT_LEAST_MS 60000

static char why[WH_REASON_MAX];

const char *
wh_suspended_reason(void)
{
	return why[0] ? why : NULL;
}

/* Not in the log again if the last worker of this database had the same reason. */
static void
log_reason(const char *reason)
{
	WhSlotView slot;
	bool logged;

	strlcpy(why, reason, sizeof(why));
	logged = wh_my_slot(&slot) && slot.suspended && strcmp(slot.reason, why) == 0;
	ereport(logged ? DEBUG1 : LOG, errmsg("webhook worker does not deliver: %s", reason));
}

/*
 * A copy
 */

static bool
rotate(bool (*log)(WhRotation *), int further)
{
	WhRotation r = {.doing = WH_ROTATING, .further = further, .unsettled = true, .carry = {.from = -1}};
	bool ok;

	/* events with pending deliveries are carried over in portions */
	do
		ok = log(&r);
	while (ok && r.more && !ShutdownRequestPending);
	if (ok && r.bytes > 0)
		ereport(
			LOG,
			errmsg("webhook worker dropped undelivered events: %s",
				   TextDatumGetCString(DirectFunctionCall1(pg_size_pretty, Int64GetDatum(r.bytes)))),
			errdetail("They are older than webhook.retention, and this database does not deliver: %s.", why));
	return ok && r.done;
}

void
wh_suspended_rest(const char *reason, uint32 generation)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 epoch = timestamptz_to_time_t(now);
	int64 rest = (wh_segment_width() - epoch % wh_segment_width()) * 1000;

	log_reason(reason);
	/* else the reason may be gone: the next worker looks */
	if (wh_worker_generation() == generation)
		wh_report();
	/* all segments except the current one: however long ago the last look was, what is old goes */
	for (int further = 0; further < WH_SEGMENTS - 1; further++)
	{
		if (!rotate(wh_rotate_attempt, further))
			rest = 0;
		if (!rotate(wh_rotate_outbox, further))
			rest = 0;
	}
	wh_worker_rest(Max(REST_AT_LEAST_MS, rest), generation);
	proc_exit(0);
}

/*
 * Altered tables
 */

/* There is no signal when a missing table comes back. */
static void
look_again_step(void *arg)
{
	const char *problem;

	wh_tx_begin("webhook: looking at the configuration");
	*(bool *) arg = wh_store_find_extension(&problem) != WH_BROKEN;
	wh_tx_commit(false);
}

void
wh_wait_suspended(const char *reason)
{
	bool fixed = false;

	log_reason(reason);
	while (!fixed)
	{
		TimestampTz now = wh_now();
		TimestampTz until = TimestampTzPlusMilliseconds(now, wh_poll_interval);

		/* commits wake this worker; it ignores them */
		while (now < until)
		{
			wh_report();
			wh_wait_until(now, until);
			now = wh_now();
		}
		wh_run_until_success(look_again_step, &fixed);
	}
	wh_leave();
}
