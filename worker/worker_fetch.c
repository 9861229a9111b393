/*
 * worker_fetch.c
 *	  Taking deliveries from webhook.pending into the engine again.
 *
 * Owns the time when the next one is due. Nothing is taken of subscriptions
 * whose breaker is open, but a single row as a probe, and none because it is
 * due of those that have enough to do. Further rows of a lane, and deferred
 * rows, are asked for only when nothing waits to be settled: what the engine
 * gave back a moment ago must be in the table before it is asked what it holds.
 */
#include "postgres.h"

#include "fault.h"
#include "route.h"
#include "store.h"
#include "suspect.h"
#include "worker.h"

#define TAKE_AT_ONCE 500  /* rows taken in one go */
#define LANE_AT_ONCE 100  /* rows of one lane */
#define LANES_AT_ONCE 100 /* lanes in one transaction */

static TimestampTz next_due = DT_NOEND;

static void take_step(void *arg);

void
wh_fetch_look_at(TimestampTz due)
{
	next_due = Min(next_due, due);
}

TimestampTz
wh_fetch_due(void)
{
	return next_due == DT_NOEND ? DT_NOEND : Max(next_due, wh_step_not_before(take_step));
}

typedef enum TakeWhat
{
	TAKE_DUE,
	TAKE_LANES,
	TAKE_DEFERRED,
	TAKE_PROBE,
	MAKE_DUE
} TakeWhat;

typedef struct Taking
{
	TakeWhat what;
	int n_lanes;
	int n_asked; /* of the lanes: the others would have been too much at once */
	int64 subscriptions[LANES_AT_ONCE];
	uint64 lanes[LANES_AT_ONCE];
	bool lane_empty[LANES_AT_ONCE];
	int max;
	int64 *held; /* subscriptions of which nothing may be taken */
	int n_held;
	List *taken;
	bool deferred; /* what was taken as a probe was deferred */
	int n_found;   /* rows, those included that are not taken after all */
	int64 last;    /* the event of the last row that is not left where it was */
	TimestampTz next_due;
} Taking;

/* Is a row to be sent? What its table is to say of that is written. */
static WhJudgement
judge_row(WhTaken *row, bool not_now)
{
	WhJudgement is = WH_IS_FOR_IT;

	if (not_now)
		is = WH_NOT_NOW;
	else if (row->event && row->unjudged)
		is = wh_route_judge(wh_config_routing(), row->event, row->subscription_id, &row->why);
	switch (is)
	{
		case WH_IS_FOR_IT:
			if (row->unjudged && row->event)
				wh_store_pending_judged(row->subscription_id, row->event_number);
			break;
		case WH_CANNOT_BE_TOLD: /* a dead letter, when this is committed */
			break;
		case WH_IS_NOT_FOR_IT:
			wh_store_forget_pending(row->subscription_id, row->event_number);
			break;
		case WH_NOT_NOW:
			wh_store_defer_again(row->subscription_id, row->event_number);
			break;
	}
	return is;
}

/*
 * Rows that were kept unjudged, because their subscription was not live: are they
 * for it, as it is now? What is not goes. When the time is over, the rest stays as
 * it was, and so it does behind one that cannot be judged now: they are to be sent in order.
 */
static void
judge_taken(Taking *t)
{
	TimestampTz until = TimestampTzPlusMilliseconds(wh_now(), WH_JUDGING_MS);
	MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
	bool not_now = false;
	bool any = false;
	ListCell *lc;

	t->n_found = list_length(t->taken);
	foreach (lc, t->taken)
		any = any || ((WhTaken *) lfirst(lc))->unjudged;
	foreach (lc, t->taken)
	{
		WhTaken *row = lfirst(lc);
		WhJudgement is = any ? judge_row(row, not_now) : WH_IS_FOR_IT;

		if (is == WH_NOT_NOW)
			not_now = true;
		else
			t->last = row->event_number;
		if (is == WH_NOT_NOW || is == WH_IS_NOT_FOR_IT)
		{
			wh_event_release(row->event);
			t->taken = foreach_delete_current(t->taken, lc);
		}
		not_now = not_now || (row->unjudged && wh_now() >= until);
	}
	MemoryContextSwitchTo(old);
}

static void
take_step(void *arg)
{
	Taking *t = arg;
	Size bytes = 0;
	ListCell *lc;

	wh_tx_begin("webhook: taking pending deliveries");
	switch (t->what)
	{
		case TAKE_DUE:
			t->taken = wh_store_take_due(t->max, t->held, t->n_held);
			t->next_due = wh_store_next_due(t->held, t->n_held);
			break;
		case TAKE_LANES:
			for (int i = 0; i < t->n_lanes && bytes < WH_PAGE_BYTES; i++)
			{
				List *rows = wh_store_take_lane(t->subscriptions[i], t->lanes[i], LANE_AT_ONCE);
				MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
				ListCell *row;

				t->lane_empty[i] = rows == NIL;
				foreach (row, rows)
				{
					WhTaken *taken = lfirst(row);

					bytes += taken->event ? taken->event->size : 0;
				}
				t->taken = list_concat(t->taken, rows);
				t->n_asked = i + 1;
				MemoryContextSwitchTo(old);
			}
			break;
		case TAKE_DEFERRED:
			t->taken = wh_store_take_deferred(t->subscriptions[0], t->max);
			break;
		case TAKE_PROBE:
			t->taken = wh_store_take_probe(t->subscriptions[0], &t->deferred);
			break;
		case MAKE_DUE:
			wh_store_make_due(t->subscriptions[0]);
			break;
	}
	foreach (lc, t->taken)
	{
		WhTaken *row = lfirst(lc);

		if (row->event == NULL)
			wh_store_forget_pending(row->subscription_id, row->event_number);
	}
	judge_taken(t);
	wh_tx_commit(true); /* the attempt must be counted for good before the request leaves */
}

/* Do two rows that follow each other belong to one batch? */
static bool
of_one_batch(const WhTaken *a, const WhTaken *b)
{
	return a->batch != 0 && a->batch == b->batch && a->subscription_id == b->subscription_id;
}

static void
submit_row(const Taking *t, const WhTaken *row, bool more)
{
	WhSubmit submit = {.event = row->event,
					   .subscription_id = row->subscription_id,
					   .from = t->what == TAKE_DEFERRED || t->deferred ? WH_FROM_DEFERRED : WH_FROM_STORED,
					   .lane = row->lane,
					   .attempts = row->attempts,
					   .first_us = wh_unix_of(wh_own_time(row->first_attempt_at)),
					   .batch = row->batch,
					   .more = more};

	if (row->event == NULL)
	{
		ereport(WARNING, errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("webhook event " INT64_FORMAT " is gone", row->event_number),
				errdetail("A delivery of it was pending, but webhook.outbox has no such row."),
				errhint("Rows of webhook.outbox must not be deleted by hand."));
		wh_start_over();
		return;
	}
	/* no memory; or its subscription was removed since, and with it the row */
	if (!(row->why ? wh_read_dead_letter(row->event, row->subscription_id, row->why, 0, row->attempts - 1)
				   : wh_engine_submit(wh_engine, &submit)))
		wh_start_over();
	wh_event_release(row->event);
}

static void
submit_taken(const Taking *t)
{
	ListCell *lc;

	foreach (lc, t->taken)
	{
		ListCell *next = lnext(t->taken, lc);

		submit_row(t, lfirst(lc), next && of_one_batch(lfirst(lc), lfirst(next)));
	}
}

/* False: it could not be done now. */
static bool
take_once(Taking *t)
{
	if (!wh_run_step(take_step, t))
	{
		wh_store_taken_in_vain();
		for (int i = 0; i < t->n_lanes; i++)
			wh_engine_lane_fetch_again(wh_engine, t->subscriptions[i], t->lanes[i]);
		return false;
	}
	wh_store_taken_over();
	if (t->taken != NIL)
		WH_FAULT("taken");
	submit_taken(t);
	if (t->what == TAKE_DUE)
		next_due = t->next_due;
	for (int i = 0; t->what == TAKE_LANES && i < t->n_lanes; i++)
	{
		if (i >= t->n_asked)
			wh_engine_lane_fetch_again(wh_engine, t->subscriptions[i], t->lanes[i]);
		else if (t->lane_empty[i])
			wh_engine_lane_is_empty(wh_engine, t->subscriptions[i], t->lanes[i]);
	}
	if (t->what == TAKE_DEFERRED && t->n_found == 0)
		wh_engine_deferred_is_empty(wh_engine, t->subscriptions[0]);
	else if (t->what == TAKE_DEFERRED &&
			 t->last != 0) /* not before it is committed; they come in the order of ids */
		wh_store_deferred_taken(t->subscriptions[0], t->last);
	if (t->what == TAKE_PROBE && t->n_found == 0)
		wh_engine_probe_is_empty(wh_engine, t->subscriptions[0]);
	wh_read_disable();
	return true;
}

/* The same. What is to be judged may have to be written down before; then it is taken, at once after that. */
static bool
take(Taking *t)
{
	Taking again = *t;
	bool ok;

	wh_suspect_forget(WH_SUSPECT_TAKING);
	ok = take_once(t);
	if (!ok || !wh_suspect_wanted(WH_SUSPECT_TAKING))
		return ok;
	if (wh_read_note_step(WH_SUSPECT_TAKING))
	{
		*t = again;
		ok = take_once(t);
	}
	wh_suspect_forget(WH_SUSPECT_TAKING);
	return ok;
}

/* Subscriptions that are well again, and those that may be: see breakers in engine.h. */
static bool
look_at_breakers(void)
{
	int64 subscription_id;
	bool any = false;

	while ((subscription_id = wh_engine_to_expedite(wh_engine)) != 0)
	{
		Taking hurry = {.what = MAKE_DUE, .subscriptions = {subscription_id}};

		if (!take(&hurry))
		{
			wh_engine_expedite_again(wh_engine, subscription_id);
			return any;
		}
		wh_fetch_look_at(wh_now());
		any = true;
	}
	/* as with what is deferred: while recovering, the oldest row may not be there yet */
	while (!wh_read_recovering() && (subscription_id = wh_engine_to_probe(wh_engine)) != 0)
	{
		Taking probe = {.what = TAKE_PROBE, .subscriptions = {subscription_id}};

		if (wh_requeue_left(subscription_id)) /* its oldest may not be deferred yet; the engine asks again */
			continue;
		if (!take(&probe)) /* the engine asks again */
			return any;
		any = true;
	}
	return any;
}

bool
wh_fetch_pending(TimestampTz now)
{
	Taking lanes = {.what = TAKE_LANES};
	int64 subscription_id;
	int room;
	bool any = false;

	if (wh_engine_wants_more(wh_engine))
		wh_fetch_look_at(now);
	if (next_due <= now && wh_read_may())
	{
		Taking due = {.what = TAKE_DUE, .max = TAKE_AT_ONCE};
		int n = list_length(wh_config_routes());

		due.held = palloc(Max(1, n) * sizeof(int64));
		due.n_held = wh_engine_not_due(wh_engine, due.held, n);
		take(&due);
		any = due.taken != NIL;
	}
	if (!wh_settle_clear())
		return any;
	any = wh_requeue_defer() || any;
	any = look_at_breakers() || any;
	while (
		lanes.n_lanes < LANES_AT_ONCE &&
		wh_engine_lane_to_fetch(wh_engine, &lanes.subscriptions[lanes.n_lanes], &lanes.lanes[lanes.n_lanes]))
		lanes.n_lanes++;
	if (lanes.n_lanes > 0)
	{
		take(&lanes);
		any = true;
	}
	/* what is deferred while recovering may be older than what is deferred already: wait until all is there */
	subscription_id = wh_read_recovering() ? 0 : wh_engine_deferred_to_fetch(wh_engine, &room);
	if (subscription_id != 0 && !wh_requeue_left(subscription_id))
	{
		Taking deferred = {.what = TAKE_DEFERRED, .subscriptions = {subscription_id}, .max = room};

		take(&deferred);
		any = true;
	}
	return any;
}
