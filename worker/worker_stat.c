/*
 * worker_stat.c
 *	  What webhook.stat_subscription and webhook.stat_worker count.
 *
 * Counting an outcome is an addition in memory. What has been counted since the last
 * time is added to the tables in a transaction that settles, a second later at the latest
 * and at most once a second: so an event costs no write of its own, and what is in the
 * tables is settled. If the worker crashes, what it had not added yet is not counted; no
 * delivery depends on that. docs/internals/decisions.md has what was measured.
 *
 * Adding runs in a subtransaction: whatever is wrong with these tables holds up no
 * delivery. It is said once, and tried again a minute later. It takes no more than a
 * hundredth of the worker's time: the longer it took, the later the next time, up to ten
 * seconds.
 *
 * Owns what has been counted and is not in the tables yet.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "store.h"
#include "store_stat.h"
#include "tx_guard.h"
#include "worker.h"

#define ADD_AFTER_MS 1000   /* and no sooner again */
#define ADD_WITHIN_MS 10000 /* however long it took */
#define ADD_LATER_MS 60000  /* after an error */
#define ADD_SHARE 100       /* of the time, one part */
#define ADD_AT_ONCE 500     /* subscriptions in one transaction */

/* Upper bounds of the buckets, in seconds, as webhook.metrics() has them; the last has none. */
static const double bounds[WH_STAT_BUCKETS - 1] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300};

static HTAB *stats = NULL; /* of subscriptions that something was counted of */
static WhWorkerStat worker = {0};
static TimestampTz dirty_since = 0; /* 0: all that was counted is in the tables */
static TimestampTz not_before = 0;
static int64 adding[ADD_AT_ONCE]; /* subscriptions that the open transaction adds */
static int n_adding = 0;
static bool added = false; /* the open transaction has added these, and the worker's row */

static void
dirty(void)
{
	if (dirty_since == 0)
		dirty_since = wh_now();
}

static WhStat *
stat_of(int64 subscription_id)
{
	WhStat *stat;
	bool found;

	if (stats == NULL)
	{
		HASHCTL how = {.keysize = sizeof(int64), .entrysize = sizeof(WhStat), .hcxt = TopMemoryContext};

		stats = hash_create("webhook counters", 64, &how, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	stat = hash_search(stats, &subscription_id, HASH_ENTER, &found);
	if (!found)
		*stat = (WhStat){.subscription_id = subscription_id};
	dirty();
	return stat;
}

static void
observe(WhHistogram *h, int64 us, int sign)
{
	double seconds = (double) Max(us, 0) / USECS_PER_SEC;
	int i = 0;

	while (i < (int) lengthof(bounds) && seconds > bounds[i])
		i++;
	h->buckets[i] += sign;
	h->seconds += sign * seconds;
}

static void
count_end(WhStat *stat, WhEnd end, int sign)
{
	stat->ends[end] += sign;
	worker.ends[end] += sign;
}

/* Of what the log has a row of, and of dead letters. */
static void
count(const WhDelivery *d, int sign)
{
	WhStat *stat;

	if (!d->attempted && d->disposal != WH_DO_DEAD_LETTER)
		return;
	stat = stat_of(d->subscription_id);
	if (d->attempted && d->kind == WH_OUT_SKIPPED)
		count_end(stat, WH_END_SKIPPED, sign);
	else if (d->attempted)
	{
		bool delivered = d->kind == WH_OUT_DELIVERED;

		count_end(stat, delivered ? WH_END_DELIVERED : WH_END_FAILED, sign);
		observe(&stat->duration, d->duration_us, sign);
		if (delivered)
			observe(&stat->delay, d->wall_us + d->duration_us - d->event->created_us, sign);
	}
	if (d->disposal == WH_DO_DEAD_LETTER)
		count_end(stat, WH_END_GIVEN_UP, sign);
}

void
wh_stat_count(const WhDelivery *d)
{
	count(d, 1);
}

void
wh_stat_take_back(const WhDelivery *d)
{
	count(d, -1);
}

void
wh_stat_breaker_opened(int64 subscription_id)
{
	stat_of(subscription_id)->breaker_opened++;
}

void
wh_stat_started(void)
{
	worker.starts++;
	dirty();
}

void
wh_stat_read(int events)
{
	if (events == 0)
		return;
	worker.reads++;
	worker.events_read += events;
	dirty();
}

void
wh_stat_emptied(void)
{
	worker.segments_emptied++;
	dirty();
}

void
wh_stat_rotation_delayed(bool delayed)
{
	if (delayed == (worker.rotation_delayed_since != 0))
		return;
	worker.rotation_delayed_since = delayed ? GetCurrentTimestamp() : 0;
	dirty();
}

static void
add_all(void *arg)
{
	for (int i = 0; i < n_adding; i++)
		wh_store_stat_add(hash_search(stats, &adding[i], HASH_FIND, NULL));
	wh_store_stat_worker_add(&worker);
}

static void
choose(void)
{
	HASH_SEQ_STATUS scan;
	const WhStat *stat;

	n_adding = 0;
	if (stats == NULL)
		return;
	hash_seq_init(&scan, stats);
	while (n_adding < ADD_AT_ONCE && (stat = hash_seq_search(&scan)) != NULL)
		adding[n_adding++] = stat->subscription_id;
	if (n_adding == ADD_AT_ONCE)
		hash_seq_term(&scan);
}

static void
failed(int code, const char *why)
{
	static bool said = false;

	not_before = TimestampTzPlusMilliseconds(wh_now(), ADD_LATER_MS);
	if (!said)
		ereport(WARNING, errcode(code), errmsg("webhook worker could not add to its counters"),
				errdetail_internal("%s", why),
				errhint("Deliveries go on. What is counted meanwhile is added when the error is fixed."));
	said = true;
}

void
wh_stat_hurry(void)
{
	not_before = 0;
}

void
wh_stat_add(void)
{
	TimestampTz begun = wh_now();
	const char *why;
	int code;

	added = false;
	if (dirty_since == 0 || begun < not_before)
		return;
	choose();
	added = wh_tx_guarded(add_all, NULL, &code, &why);
	if (added)
		not_before = begun + Min(ADD_WITHIN_MS * INT64CONST(1000),
								 Max(ADD_AFTER_MS * INT64CONST(1000), (wh_now() - begun) * ADD_SHARE));
	else
		failed(code, why);
}

void
wh_stat_added(void)
{
	if (!added)
		return;
	added = false;
	for (int i = 0; i < n_adding; i++)
		(void) hash_search(stats, &adding[i], HASH_REMOVE, NULL);
	worker = (WhWorkerStat){.rotation_delayed_since = worker.rotation_delayed_since};
	dirty_since = 0;
	if (stats && hash_get_num_entries(stats) > 0)
		dirty();
}

TimestampTz
wh_stat_due(void)
{
	return dirty_since == 0 ? DT_NOEND
							: Max(TimestampTzPlusMilliseconds(dirty_since, ADD_AFTER_MS), not_before);
}
