/*
 * worker_settle.c
 *	  Settling: what has ended is written, and the checkpoint moves.
 *
 * A settle that failed is repeated together with everything that has ended since.
 * While that is too much, nothing more is started.
 *
 * Owns the deliveries taken from the engine until they are written, and the
 * settled position.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"

#include "grow.h"
#include "page_tracker.h"
#include "fault.h"
#include "store.h"
#include "store_attempts.h"
#include "store_read.h"
#include "store_settle.h"
#include "tx_guard.h"
#include "suspect.h"
#include "worker.h"

#define SETTLE_AFTER_MS 50 /* an outcome waits at most this long */
#define SETTLE_AT_ONCE 500 /* this many outcomes are settled at once */
#define UNSETTLED_MAX                                                                                        \
	1000 /* with this many, nothing more is started; nor when their events take their part */
#define CHECKPOINT_AFTER_MS 1000 /* pages that nobody wanted are not urgent */
#define SUMMARIZE_AGAIN_MS 60000 /* after an error */

static WhDelivery **ended = NULL; /* taken from the engine, not yet settled */
static int n_ended = 0;
static int cap_ended = 0;
static size_t ended_bytes = 0; /* of their events */
static int n_booked = 0;       /* how many of them the page tracker has counted */
static TimestampTz first_ended_at = 0;
static WhPosition *to_settle = NULL; /* the checkpoint to be written with them */
static TimestampTz to_settle_since = 0;
static WhPosition *settled = NULL; /* as last written, or later */
static TimestampTz last_settled = 0;

void
wh_settle_from(WhPosition *from)
{
	settled = from;
}

void
wh_settle_add(WhDelivery *d)
{
	if (n_ended == cap_ended)
	{
		wh_memory_limit_use_reserve();
		ended = wh_grow(TopMemoryContext, ended, &cap_ended, 1024, sizeof(*ended));
		wh_memory_limit_restore();
	}
	if (n_ended == 0)
		first_ended_at = wh_now();
	ended[n_ended++] = d;
	ended_bytes += d->event->size;
}

void
wh_settle_collect(void)
{
	WhDelivery *d;

	while ((d = wh_engine_take(wh_engine)) != NULL)
		wh_settle_add(d);
}

/*
 * A delivery that the log has must be covered by the "read" checkpoint, or it
 * would be sent again after a crash. If everything is settled, the "settled"
 * checkpoint covers it.
 */
static void
settle_step(void *arg)
{
	bool *apart = arg; /* for each delivery: could it be settled? NULL: all at once */
	bool all;

	wh_tx_begin("webhook: settling");
	if (apart)
		wh_apart_settle(ended, n_ended, apart);
	else
		wh_store_settle(ended, n_ended, true);
	all = to_settle && !wh_apart_any();
	for (int i = 0; apart && i < n_ended; i++)
		all = all && apart[i];
	if (wh_read_unwritten_since() != 0 && !(all && wh_pages_all_ended()))
		wh_read_write_checkpoint();
	if (n_ended > 0)
		WH_FAULT("settling");
	if (apart == NULL)
		wh_stat_add();
	if (all)
		wh_store_write_checkpoint("settled", to_settle);
	if (!wh_suspect_in_force(settled))
		wh_store_trim_checkpoints();
	wh_tx_commit(false); /* if this is lost, deliveries are repeated; none is lost */
}

static void
summarize_step(void *arg)
{
	wh_tx_begin("webhook: summarizing the log");
	wh_store_summarize();
	wh_tx_commit(false);
}

/*
 * In a transaction of its own, and not as a step that fails: whatever is wrong with that
 * index, only who looks for an entity is slower. So it is said once, and tried again later.
 */
static void
summarize_log(void)
{
	static TimestampTz not_before = 0;
	static char said[sizeof(((WhFailure *) 0)->message)];
	WhFailure failure;

	if (!wh_store_summary_due() || wh_now() < not_before || wh_tx_try(summarize_step, NULL, &failure))
		return;
	not_before = TimestampTzPlusMilliseconds(wh_now(), SUMMARIZE_AGAIN_MS);
	if (!ShutdownRequestPending && !wh_failure_is_lock(&failure) && strcmp(said, failure.message) != 0)
	{
		strlcpy(said, failure.message, sizeof(said));
		ereport(
			WARNING, errcode(failure.code),
			errmsg("webhook worker could not summarize the index of webhook.attempt by entity_id"),
			errdetail_internal("%s", failure.message),
			errhint("Deliveries go on. Until the index is repaired and VACUUM or the worker summarizes it, "
					"finding the requests of an entity takes longer."));
	}
}

void
wh_settle_pages(void)
{
	WhPosition *end = wh_pages_settled();

	if (end == NULL)
		return;
	if (to_settle == NULL)
		to_settle_since = wh_now();
	wh_position_free(to_settle);
	to_settle = end;
}

/*
 * All at once. If that fails because of some of them (a row that a constraint
 * refuses, a trigger that raises), each subscription by itself; what cannot be
 * settled even then is set apart. False: nothing can be settled, which is not
 * due to any one delivery, and waits.
 */
static bool
settle_what_can_be(bool **apart)
{
	WhFailure failure;

	*apart = NULL;
	if (wh_run_step(settle_step, NULL))
		return true;
	if (n_ended < 2 || wh_step_not_before(settle_step) <= wh_now() || !wh_step_met_content(settle_step))
		return false;
	*apart = palloc0(n_ended * sizeof(bool));
	if (!wh_tx_try(settle_step, *apart, &failure))
		return false;
	wh_step_forget(settle_step);
	return true;
}

bool
wh_settle(void)
{
	bool *apart;
	bool ok;

	/* first: which pages do these outcomes complete? */
	for (int i = n_booked; i < n_ended; i++)
		wh_pages_ended(ended[i]->page);
	wh_settle_pages();
	/* settling is what frees memory, so it may use the reserve */
	wh_memory_limit_use_reserve();
	while (n_booked < n_ended)
		wh_stat_count(ended[n_booked++]);
	ok = settle_what_can_be(&apart);
	wh_memory_limit_restore();
	if (!ok)
		return false;

	if (apart == NULL)
		wh_stat_added();
	if (n_ended > 0)
		WH_FAULT("settled");
	for (int i = 0; i < n_ended; i++)
	{
		WhDelivery *d = ended[i];

		if (apart && !apart[i])
		{
			wh_stat_take_back(d);
			wh_apart_add(d);
			continue;
		}
		wh_log_settled(d);
		if (d->disposal == WH_DO_RETRY)
			wh_fetch_look_at(d->due_us ? wh_timestamp_of(d->due_us) : wh_now());
		wh_delivery_free(d);
	}
	n_ended = n_booked = 0;
	ended_bytes = 0;
	wh_read_checkpoint_written();
	if (to_settle && !wh_apart_any())
	{
		wh_position_free(settled);
		settled = to_settle;
		to_settle = NULL;
	}
	last_settled = wh_now();
	summarize_log();
	return true;
}

TimestampTz
wh_settle_due(void)
{
	TimestampTz unwritten = wh_read_unwritten_since();
	TimestampTz due;

	if (n_ended >= SETTLE_AT_ONCE || wh_settle_behind())
		due = first_ended_at;
	else if (n_ended > 0 || unwritten != 0)
	{
		TimestampTz since = n_ended > 0 ? first_ended_at : unwritten;

		due = TimestampTzPlusMilliseconds(unwritten != 0 ? Min(since, unwritten) : since, SETTLE_AFTER_MS);
	}
	else if (to_settle && !wh_apart_any())
		due = TimestampTzPlusMilliseconds(to_settle_since, CHECKPOINT_AFTER_MS);
	else
		due = DT_NOEND;
	due = Min(due, wh_stat_due());
	return due == DT_NOEND ? due : Max(due, wh_step_not_before(settle_step));
}

bool
wh_settle_behind(void)
{
	return n_ended >= UNSETTLED_MAX || ended_bytes >= wh_memory_part(WH_PART_UNSETTLED, SIZE_MAX);
}

void
wh_settle_caught_up(const WhPosition *position)
{
	MemoryContext old;

	if (n_ended > 0 || to_settle || wh_apart_any() || !wh_pages_all_ended())
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	wh_position_free(settled);
	settled = wh_position_copy(position);
	MemoryContextSwitchTo(old);
}

bool
wh_settle_clear(void)
{
	return n_ended == 0;
}

const WhPosition *
wh_settle_position(void)
{
	return settled;
}

TimestampTz
wh_settle_last(void)
{
	return last_settled;
}
