/*
 * worker_step.c
 *	  Steps that fail are tried again.
 *
 * A step whose transaction fails is rolled back, and nothing that it was to write
 * is forgotten: what has ended stays in memory, what is to be read stays in the
 * outbox. So the same process tries it again. It waits a moment if it only lacked
 * a lock. After any other error (a user's trigger that raises, a full disk, a
 * malformed row) it waits a second, then two, four, and so on up to ten. Ending
 * the process instead would repeat everything that is not settled, each time.
 *
 * Each step has its own delay, so a step that fails for hours does not keep the
 * others from running. An error is logged when it begins, not each time, and
 * webhook.worker shows it until it is over.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"

#include "store.h"
#include "tx_guard.h"
#include "worker.h"

#define LOCK_AGAIN_MS 500        /* as long as lock_timeout: so half of the time is left for the engine */
#define ERROR_AGAIN_MS 1000      /* doubled each time */
#define ERROR_AGAIN_MAX_MS 10000 /* a fixed error is noticed within this */
#define LOG_AGAIN_MS 60000       /* the same error, after it was gone */
#define FORGOTTEN_AFTER_MS 5000  /* a step that failed and was not wanted since */

typedef struct Failing
{
	void (*step)(void *);
	int failures; /* in a row */
	bool lock;    /* the last one only lacked a lock */
	int code;     /* its SQLSTATE */
	TimestampTz not_before;
	TimestampTz logged_at; /* when `message` was logged */
	char message[sizeof(((WhFailure *) 0)->message)];
} Failing;

static Failing all[32]; /* more than there are steps */
static int n_all = 0;

static Failing *
find(void (*step)(void *))
{
	for (int i = 0; i < n_all; i++)
		if (all[i].step == step)
			return &all[i];
	if (n_all == (int) lengthof(all))
		elog(ERROR, "there are more than %d steps", n_all);
	all[n_all] = (Failing){.step = step};
	return &all[n_all++];
}

/* From a label such as "webhook: settling". */
static const char *
doing(void)
{
	const char *colon = strchr(wh_tx_label, ' ');

	return colon ? colon + 1 : wh_tx_label;
}

static void
log_failure(Failing *f, const WhFailure *failure, bool was_lock, TimestampTz now)
{
	if (f->lock)
	{
		if (f->failures == 1 || !was_lock)
			ereport(LOG, errmsg("webhook worker is waiting for a lock on its tables"),
					errdetail("Another session holds a conflicting lock. Deliveries continue when it is "
							  "released."));
		return;
	}
	if (strcmp(f->message, failure->message) == 0 && f->logged_at != 0 &&
		(f->failures > 1 || now < TimestampTzPlusMilliseconds(f->logged_at, LOG_AGAIN_MS)))
		return;
	ereport(WARNING, errcode(failure->code), errmsg("webhook worker failed while %s", doing()),
			errdetail_internal("%s", failure->message),
			errhint("Retrying at least every %d seconds; no events are lost. Fix the reported error.",
					ERROR_AGAIN_MAX_MS / 1000));
	strlcpy(f->message, failure->message, sizeof(f->message));
	f->logged_at = now;
}

static void
succeeded(Failing *f)
{
	if (f->failures > 0 && !f->lock)
		ereport(LOG, errmsg("webhook worker resumed %s", doing()));
	f->failures = 0;
	f->lock = false;
	f->not_before = 0;
}

bool
wh_run_step(void (*step)(void *), void *arg)
{
	Failing *f = find(step);
	WhFailure failure;
	TimestampTz now;
	bool was_lock = f->lock;
	int delay;

	if (f->not_before != 0 && wh_now() < f->not_before)
		return false;
	if (wh_tx_try(step, arg, &failure))
	{
		if (f->failures > 0)
			succeeded(f);
		return true;
	}
	if (ShutdownRequestPending)
		return false; /* the stop cancelled it, as a rule; in any case the last settle must not wait */
	now = wh_now();
	f->lock = wh_failure_is_lock(&failure);
	f->code = failure.code;
	f->failures = was_lock == f->lock ? f->failures + 1 : 1;
	delay = f->lock ? LOCK_AGAIN_MS : Min(ERROR_AGAIN_MAX_MS, ERROR_AGAIN_MS << Min(f->failures - 1, 10));
	f->not_before = TimestampTzPlusMilliseconds(now, delay);
	log_failure(f, &failure, was_lock, now);
	return false;
}

bool
wh_step_met_content(void (*step)(void *))
{
	switch (ERRCODE_TO_CATEGORY(find(step)->code))
	{
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return true;
	}
}

void
wh_step_forget(void (*step)(void *))
{
	Failing *f = find(step);

	f->failures = 0;
	f->not_before = 0;
}

TimestampTz
wh_step_not_before(void (*step)(void *))
{
	return find(step)->not_before;
}

TimestampTz
wh_step_again(TimestampTz now)
{
	TimestampTz again = DT_NOEND;

	for (int i = 0; i < n_all; i++)
		if (all[i].failures > 0 && all[i].not_before > now)
			again = Min(again, all[i].not_before);
	return again;
}

const char *
wh_step_failing(TimestampTz now)
{
	for (int i = 0; i < n_all; i++)
		if (all[i].failures > 0 && !all[i].lock &&
			now < TimestampTzPlusMilliseconds(all[i].not_before, FORGOTTEN_AFTER_MS))
			return all[i].message;
	return NULL;
}
