/*
 * worker_fetch.c
 *	  Fetching deliveries from webhook.pending into the engine.
 *
 * Of a subscription whose breaker is open only a single row is fetched, as a
 * probe. A subscription that has enough to do gets no due rows. Further rows of a
 * lane, and deferred rows, are fetched only when nothing waits to be settled:
 * what the engine gave back a moment ago must be in the table before the table
 * is searched.
 *
 * Owns the time when the next delivery is due.
 */
#include "postgres.h"

#include "fault.h"
#include "route.h"
#include "store.h"
#include "store_pending.h"
#include "store_read.h"
#include "suspect.h"
#include "worker.h"

#define FETCH_AT_ONCE 500 /* rows in one transaction */
#define LANE_AT_ONCE 100  /* rows of one lane */
#define LANES_AT_ONCE 100 /* lanes in one transaction */

static TimestampTz next_due = DT_NOEND;

static void fetch_step(void *arg);

void
wh_fetch_look_at(TimestampTz due)
{
	next_due = Min(next_due, due);
}

TimestampTz
wh_fetch_due(void)
{
	return next_due == DT_NOEND ? DT_NOEND : Max(next_due, wh_step_not_before(fetch_step));
}

typedef enum FetchWhat
{
	FETCH_DUE,
	FETCH_LANES,
	FETCH_DEFERRED,
	FETCH_PROBE,
	MAKE_DUE
} FetchWhat;

typedef struct Fetch
{
	FetchWhat what;
	int n_lanes;
	int n_fetched_lanes; /* of the lanes: the others would have been too much in one transaction */
	int64 subscriptions[LANES_AT_ONCE];
	uint64 lanes[LANES_AT_ONCE];
	bool lane_empty[LANES_AT_ONCE];
	int max;
	int64 *excluded; /* subscriptions whose rows are left alone */
	int n_excluded;
	List *fetched;
	bool deferred; /* the probe was a deferred row */
	int n_found;   /* rows, including those that are not sent after all */
	int64 last;    /* the event of the last row that is not put back */
	TimestampTz next_due;
} Fetch;

/* Is a row to be sent? Writes the answer to its table. */
static WhJudgement
judge_row(WhFetched *row, bool not_now)
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
		case WH_CANNOT_JUDGE: /* becomes a dead letter after the commit */
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
 * Rows that were kept without judging them, because their subscription was not
 * active: are they for it as it is now? Those that are not go. When the time is
 * over the rest is put back, and so is everything behind a row that cannot be
 * judged now: they must be sent in order.
 */
static void
judge_fetched(Fetch *t)
{
	TimestampTz until = TimestampTzPlusMilliseconds(wh_now(), WH_JUDGING_MS);
	MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
	bool not_now = false;
	bool any = false;
	ListCell *lc;

	t->n_found = list_length(t->fetched);
	foreach (lc, t->fetched)
		any = any || ((WhFetched *) lfirst(lc))->unjudged;
	foreach (lc, t->fetched)
	{
		WhFetched *row = lfirst(lc);
		WhJudgement is = any ? judge_row(row, not_now) : WH_IS_FOR_IT;

		if (is == WH_NOT_NOW)
			not_now = true;
		else
			t->last = row->event_number;
		if (is == WH_NOT_NOW || is == WH_IS_NOT_FOR_IT)
		{
			wh_event_release(row->event);
			t->fetched = foreach_delete_current(t->fetched, lc);
		}
		not_now = not_now || (row->unjudged && wh_now() >= until);
	}
	MemoryContextSwitchTo(old);
}

static void
fetch_step(void *arg)
{
	Fetch *t = arg;
	Size bytes = 0;
	ListCell *lc;

	wh_tx_begin("webhook: fetching pending deliveries");
	switch (t->what)
	{
		case FETCH_DUE:
			t->fetched = wh_store_fetch_due(t->max, t->excluded, t->n_excluded);
			t->next_due = wh_store_next_due(t->excluded, t->n_excluded);
			break;
		case FETCH_LANES:
			for (int i = 0; i < t->n_lanes && bytes < WH_PAGE_BYTES; i++)
			{
				List *rows = wh_store_fetch_lane(t->subscriptions[i], t->lanes[i], LANE_AT_ONCE);
				MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
				ListCell *row;

				t->lane_empty[i] = rows == NIL;
				foreach (row, rows)
				{
					WhFetched *fetched = lfirst(row);

					bytes += fetched->event ? fetched->event->size : 0;
				}
				t->fetched = list_concat(t->fetched, rows);
				t->n_fetched_lanes = i + 1;
				MemoryContextSwitchTo(old);
			}
			break;
		case FETCH_DEFERRED:
			t->fetched = wh_store_fetch_deferred(t->subscriptions[0], t->max);
			break;
		case FETCH_PROBE:
			t->fetched = wh_store_fetch_probe(t->subscriptions[0], &t->deferred);
			break;
		case MAKE_DUE:
			wh_store_make_due(t->subscriptions[0]);
			break;
	}
	foreach (lc, t->fetched)
	{
		WhFetched *row = lfirst(lc);

		if (row->event == NULL)
			wh_store_forget_pending(row->subscription_id, row->event_number);
	}
	judge_fetched(t);
	wh_tx_commit(true); /* the attempt must be durable before the request is sent */
}

/* Do two rows that follow each other belong to one batch? */
static bool
of_one_batch(const WhFetched *a, const WhFetched *b)
{
	return a->batch != 0 && a->batch == b->batch && a->subscription_id == b->subscription_id;
}

static void
submit_row(const Fetch *t, const WhFetched *row, bool more)
{
	WhSubmit submit = {.event = row->event,
					   .subscription_id = row->subscription_id,
					   .from = t->what == FETCH_DEFERRED || t->deferred ? WH_FROM_DEFERRED : WH_FROM_STORED,
					   .lane = row->lane,
					   .attempts = row->attempts,
					   .first_us = wh_unix_of(wh_own_time(row->first_attempt_at)),
					   .batch = row->batch,
					   .more = more};

	if (row->event == NULL)
	{
		ereport(WARNING, errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("webhook event " INT64_FORMAT " is missing", row->event_number),
				errdetail("A delivery of it was pending, but webhook.outbox has no such row."),
				errhint("Do not delete rows of webhook.outbox by hand."));
		wh_start_over();
		return;
	}
	/* fails without memory, or if its subscription and with it the row was removed meanwhile */
	if (!(row->why ? wh_read_dead_letter(row->event, row->subscription_id, row->why, 0, row->attempts - 1)
				   : wh_engine_submit(wh_engine, &submit)))
		wh_start_over();
	wh_event_release(row->event);
}

static void
submit_fetched(const Fetch *t)
{
	ListCell *lc;

	foreach (lc, t->fetched)
	{
		ListCell *next = lnext(t->fetched, lc);

		submit_row(t, lfirst(lc), next && of_one_batch(lfirst(lc), lfirst(next)));
	}
}

/* False: not possible now. */
static bool
fetch_once(Fetch *t)
{
	if (!wh_run_step(fetch_step, t))
	{
		wh_store_fetch_failed();
		for (int i = 0; i < t->n_lanes; i++)
			wh_engine_lane_fetch_again(wh_engine, t->subscriptions[i], t->lanes[i]);
		return false;
	}
	wh_store_fetch_done();
	if (t->fetched != NIL)
		WH_FAULT("taken");
	submit_fetched(t);
	if (t->what == FETCH_DUE)
		next_due = t->next_due;
	for (int i = 0; t->what == FETCH_LANES && i < t->n_lanes; i++)
	{
		if (i >= t->n_fetched_lanes)
			wh_engine_lane_fetch_again(wh_engine, t->subscriptions[i], t->lanes[i]);
		else if (t->lane_empty[i])
			wh_engine_lane_is_empty(wh_engine, t->subscriptions[i], t->lanes[i]);
	}
	if (t->what == FETCH_DEFERRED && t->n_found == 0)
		wh_engine_deferred_is_empty(wh_engine, t->subscriptions[0]);
	else if (t->what == FETCH_DEFERRED &&
			 t->last != 0) /* not before it is committed; they come in the order of ids */
		wh_store_deferred_fetched(t->subscriptions[0], t->last);
	if (t->what == FETCH_PROBE && t->n_found == 0)
		wh_engine_probe_is_empty(wh_engine, t->subscriptions[0]);
	wh_read_disable();
	return true;
}

/* The same. If the row to be judged must be noted first (suspect.h), notes it and fetches again. */
static bool
fetch(Fetch *t)
{
	Fetch again = *t;
	bool ok;

	wh_suspect_forget(WH_SUSPECT_FETCHING);
	ok = fetch_once(t);
	if (!ok || !wh_suspect_wanted(WH_SUSPECT_FETCHING))
		return ok;
	if (wh_read_note_step(WH_SUSPECT_FETCHING))
	{
		*t = again;
		ok = fetch_once(t);
	}
	wh_suspect_forget(WH_SUSPECT_FETCHING);
	return ok;
}

/* Subscriptions whose endpoint has recovered, and those to be probed: see breakers in engine.h. */
static bool
look_at_breakers(void)
{
	int64 subscription_id;
	bool any = false;

	while ((subscription_id = wh_engine_to_expedite(wh_engine)) != 0)
	{
		Fetch expedite = {.what = MAKE_DUE, .subscriptions = {subscription_id}};

		if (!fetch(&expedite))
		{
			wh_engine_expedite_again(wh_engine, subscription_id);
			return any;
		}
		wh_fetch_look_at(wh_now());
		any = true;
	}
	/* as with deferred rows: while recovering, the oldest row may not be written yet */
	while (!wh_read_recovering() && (subscription_id = wh_engine_to_probe(wh_engine)) != 0)
	{
		Fetch probe = {.what = FETCH_PROBE, .subscriptions = {subscription_id}};

		if (wh_requeue_left(
				subscription_id)) /* its oldest row may not be deferred yet; the engine will say so again */
			continue;
		if (!fetch(&probe)) /* the engine will say so again */
			return any;
		any = true;
	}
	return any;
}

bool
wh_fetch_pending(TimestampTz now)
{
	Fetch lanes = {.what = FETCH_LANES};
	int64 subscription_id;
	int room;
	bool any = false;

	wh_forget_removed();
	if (wh_engine_wants_more(wh_engine))
		wh_fetch_look_at(now);
	if (next_due <= now && wh_read_may())
	{
		Fetch due = {.what = FETCH_DUE, .max = FETCH_AT_ONCE};
		int n = list_length(wh_config_routes());

		due.excluded = palloc(Max(1, n) * sizeof(int64));
		due.n_excluded = wh_engine_not_due(wh_engine, due.excluded, n);
		fetch(&due);
		any = due.fetched != NIL;
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
		fetch(&lanes);
		any = true;
	}
	/* rows deferred while recovering may be older than those there are: wait until all are written */
	subscription_id = wh_read_recovering() ? 0 : wh_engine_deferred_to_fetch(wh_engine, &room);
	if (subscription_id != 0 && !wh_requeue_left(subscription_id))
	{
		Fetch deferred = {.what = FETCH_DEFERRED, .subscriptions = {subscription_id}, .max = room};

		fetch(&deferred);
		any = true;
	}
	return any;
}
