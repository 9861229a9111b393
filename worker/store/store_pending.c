/*
 * store_pending.c
 *	  Deliveries in webhook.pending: fetched to be sent again, or put back. Those
 *	  that have ended are deleted in store_settle.c.
 *
 * A fetched row becomes 'in_flight'; its attempt is counted and its
 * next_attempt_at is set as if the attempt had failed, before the request is sent.
 * So a worker that dies leaves nothing to repair: at the next start (store_restore.c)
 * 'in_flight' is read as 'retry'.
 *
 * A batch that failed is sent again whole. All its rows name its lead. The lead is
 * 'retry' and due, the others are 'blocked', and all are fetched with it. In their
 * lanes they come before all other rows (see queue_batch.c): no statement fetches
 * another row of such a lane before them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "grow.h"
#include "clock.h"
#include "store.h"
#include "store_event.h"
#include "store_pending.h"
#include "store_read.h"

/*
 * The ways of choosing rows share everything except the choice, a query of ctid
 * with a limit.
 *
 * The planner has no choice in any of these statements, because its statistics
 * of this table are nearly always wrong: the choice can use only one index, its
 * rows are updated by ctid, and subqueries that refer to an outer row cannot be
 * turned into joins that begin at the wrong end.
 */
/* clang-format off */

#define NEXT_STEP WH_RETRY_STEP("least(coalesce(p.attempts, 0), 1000000000) + 1")

#define FETCH(choice) \
	"WITH chosen AS MATERIALIZED (" choice "), " \
	"fetched AS (" \
	" UPDATE webhook.pending p" \
	"    SET state = 'in_flight'," \
	"        attempts = least(greatest(coalesce(p.attempts, 0), 0), 1000000000) + 1," \
	"        next_attempt_at = clock_timestamp() + " NEXT_STEP \
	"  WHERE p.ctid = ANY (ARRAY(SELECT c.ctid FROM chosen c))" \
	"  RETURNING p.subscription_id, p.event_number, p.lane, p.attempts," \
	"            p.first_attempt_at, p.batch, p.segment, p.judged) " \
	"SELECT t.subscription_id, t.event_number, t.lane, t.attempts," \
	"       t.first_attempt_at, t.batch, t.judged, " WH_EVENT_COLUMNS \
	"  FROM fetched t" \
	"  LEFT JOIN LATERAL " WH_EVENT_OF("t.event_number", "t.segment") " o ON true" \
	" ORDER BY coalesce(t.batch, t.event_number), t.subscription_id, t.event_number"

/* The row's subscription takes deliveries now; it is not one of those in this parameter. */
#define IS_ACTIVE \
	"(SELECT s.state = 'active' FROM webhook.subscription s WHERE s.id = p.subscription_id)"
#define NOT_EXCLUDED(parameter) "p.subscription_id <> ALL (" parameter ")"

/*
 * As many rows, in the order of an index, as fit a page: their events are held
 * in memory. One row is fetched whatever its size.
 */
#define SIZE_P "greatest(coalesce(p.size, 0), 0)"
#define SIZE_M "greatest(coalesce(m.size, 0), 0)"
#define THAT_FIT(condition, order, bytes) \
	"SELECT q.ctid" \
	"  FROM (SELECT p.ctid," \
	"               sum(" SIZE_P ") OVER (ORDER BY " order " ROWS UNBOUNDED PRECEDING)" \
	"                 - " SIZE_P " AS before" \
	"          FROM webhook.pending p" \
	"         WHERE " condition \
	"         ORDER BY " order \
	"         LIMIT $1) q" \
	" WHERE q.before < " bytes

/* The same where a row may be the lead of a batch and counts for all of it; and the others of those batches. */
#define LEADS_THAT_FIT(condition, order, bytes) \
	"SELECT q.ctid, q.subscription_id, q.batch" \
	"  FROM (SELECT p.ctid, p.subscription_id, p.batch," \
	"               sum(w.size) OVER f - w.size AS before," \
	"               sum(w.n) OVER f - w.n AS n_before" \
	"          FROM webhook.pending p" \
	"         CROSS JOIN LATERAL (" \
	"               SELECT " SIZE_P " AS size, 1 AS n WHERE p.batch IS NULL" \
	"               UNION ALL " \
	"               SELECT sum(" SIZE_M "), count(*) FROM webhook.pending m" \
	"                WHERE m.subscription_id = p.subscription_id AND m.batch = p.batch" \
	"               HAVING p.batch IS NOT NULL OFFSET 0) w" \
	"         WHERE " condition \
	"        WINDOW f AS (ORDER BY " order " ROWS UNBOUNDED PRECEDING)" \
	"         ORDER BY " order \
	"         LIMIT $1) q" \
	" WHERE q.before < " bytes " AND q.n_before < $1"
#define WITH_ITS_BATCH(leads) \
	"WITH lead AS MATERIALIZED (" leads ") " \
	"SELECT l.ctid FROM lead l" \
	" UNION ALL " \
	"SELECT m.ctid FROM lead l" \
	" CROSS JOIN LATERAL (SELECT m.ctid FROM webhook.pending m" \
	"                      WHERE m.subscription_id = l.subscription_id" \
	"                        AND m.batch = l.batch AND m.state = 'blocked' OFFSET 0) m"

#define IS_DUE \
	"p.state = 'retry' AND p.next_attempt_at <= $2" \
	" AND " NOT_EXCLUDED("$3") " AND " IS_ACTIVE

/* clang-format on */

/* The events of a fetching step, until it is known whether it failed after some were made. */
static WhEvent **made = NULL;
static int n_made = 0;
static int cap_made = 0;

/* Before an event is made, so that there is a place for it. */
static void
make_room(void)
{
	if (n_made == cap_made)
		made = wh_grow(TopMemoryContext, made, &cap_made, 64, sizeof(*made));
}

static WhEvent *
remember_made(WhEvent *event)
{
	event->refs++; /* the caller may release some of them in the same step */
	return made[n_made++] = event;
}

static List *
fetch(WhPlan *plan, Datum *values)
{
	List *list = NIL;
	WhFetched *before = NULL;

	wh_plan_run(plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		MemoryContext old;
		WhFetched *t;
		bool isnull;
		int64 subscription_id = wh_result_int8(i, 1);
		int64 event_number = wh_result_int8(i, 2);
		Datum first_attempt_at;

		make_room();
		/* somebody has made two rows of one delivery: they share its fate */
		if (before && before->subscription_id == subscription_id && before->event_number == event_number)
			continue;
		old = MemoryContextSwitchTo(wh_tx_results);
		t = before = palloc0(sizeof(WhFetched));
		list = lappend(list, t);
		MemoryContextSwitchTo(old);
		t->subscription_id = subscription_id;
		t->event_number = event_number;
		t->lane = (uint64) wh_result_int8(i, 3);
		t->attempts = DatumGetInt32(wh_result(i, 4, &isnull));
		first_attempt_at = wh_result(i, 5, &isnull);
		t->first_attempt_at = isnull ? 0 : DatumGetTimestampTz(first_attempt_at);
		if (TIMESTAMP_NOT_FINITE(t->first_attempt_at))
			t->first_attempt_at = 0;
		t->batch = wh_result_int8(i, 6);
		t->unjudged = !DatumGetBool(wh_result(i, 7, &isnull));
		(void) wh_result(i, 8, &isnull);
		if (!isnull)
			t->event = remember_made(wh_store_event(row, desc, 8));
	}
	return list;
}

void
wh_store_fetch_done(void)
{
	while (n_made > 0)
		wh_event_release(made[--n_made]);
}

void
wh_store_fetch_failed(void)
{
	for (int i = 0; i < n_made; i++)
		made[i]->refs = 1; /* nobody else holds it: the list is lost */
	wh_store_fetch_done();
	wh_store_event_drop();
}

List *
wh_store_fetch_due(int max, const int64 *excluded, int n_excluded)
{
	/* the time is a parameter, so that the index scan ends there and not after everything with a due time */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		FETCH(WITH_ITS_BATCH(LEADS_THAT_FIT(IS_DUE, "p.next_attempt_at", "$4"))),
		4,
		{INT8OID, TIMESTAMPTZOID, INT8ARRAYOID, INT8OID}};
	/* clang-format on */
	Datum values[4] = {Int64GetDatum(max), TimestampTzGetDatum(wh_table_time(wh_now())),
					   wh_int8_array(excluded, n_excluded), Int64GetDatum((int64) WH_PAGE_BYTES)};

	return fetch(&plan, values);
}

List *
wh_store_fetch_lane(int64 subscription_id, uint64 lane, int max)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		FETCH(THAT_FIT("p.subscription_id + 0 = $2 AND p.lane = $3"
		               " AND p.state IN ('blocked', 'retry') AND p.batch IS NULL",
		               "p.lane, p.event_number", "$4")),
		4,
		{INT8OID, INT8OID, INT8OID, INT8OID}};
	/* clang-format on */
	Datum values[4] = {Int64GetDatum(max), Int64GetDatum(subscription_id), Int64GetDatum((int64) lane),
					   Int64GetDatum((int64) WH_PAGE_BYTES)};

	return fetch(&plan, values);
}

/*
 * Where the deferred rows of a subscription begin. Fetched rows leave dead entries
 * in the index. While an old snapshot keeps them from being cleaned up, each
 * fetch would walk over all of them again: 0.2 s for a million. This is only a
 * shortcut. If nothing is found from there on, the search starts at the
 * beginning, so that a row that came from elsewhere is not missed.
 */
typedef struct DeferredFrom
{
	int64 subscription_id;
	int64 event_number;
} DeferredFrom;

static HTAB *deferred_from = NULL;

static DeferredFrom *
deferred_from_of(int64 subscription_id)
{
	HASHCTL ctl = {.keysize = sizeof(int64), .entrysize = sizeof(DeferredFrom)};
	DeferredFrom *from;
	bool found;

	if (deferred_from == NULL)
		deferred_from = hash_create("webhook deferred rows", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	from = hash_search(deferred_from, &subscription_id, HASH_ENTER, &found);
	if (!found)
		from->event_number = 0;
	return from;
}

void
wh_store_deferred_fetched(int64 subscription_id, int64 event_number)
{
	deferred_from_of(subscription_id)->event_number = event_number + 1;
}

void
wh_store_deferred_at(int64 subscription_id, int64 event_number)
{
	DeferredFrom *from = deferred_from_of(subscription_id);

	from->event_number = Min(from->event_number, event_number);
}

void
wh_store_deferred_anywhere(void)
{
	if (deferred_from)
		hash_destroy(deferred_from);
	deferred_from = NULL;
}

List *
wh_store_fetch_deferred(int64 subscription_id, int max)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		FETCH(THAT_FIT("p.subscription_id = $2 AND p.state = 'deferred'"
		               " AND p.event_number >= $3",
		               "p.subscription_id, p.event_number", "$4")),
		4,
		{INT8OID, INT8OID, INT8OID, INT8OID}};
	/* clang-format on */
	DeferredFrom *from = deferred_from_of(subscription_id);
	Datum values[4] = {Int64GetDatum(max), Int64GetDatum(subscription_id), Int64GetDatum(from->event_number),
					   Int64GetDatum((int64) WH_PAGE_BYTES)};
	List *list = fetch(&plan, values);

	if (list != NIL || from->event_number == 0)
		return list;
	from->event_number = 0;
	values[2] = Int64GetDatum(0);
	return fetch(&plan, values);
}

List *
wh_store_fetch_probe(int64 subscription_id, bool *deferred)
{
	/* with the batch that it belongs to, or that is in its lane and hence before it */
	/* clang-format off */
	static WhPlan oldest = {
		.sql =
		"SELECT q.event_number, q.state = 'deferred',"
		"       (SELECT b.batch FROM webhook.pending b"
		"         WHERE b.subscription_id + 0 = $1 AND b.lane = q.lane AND b.batch IS NOT NULL"
		"         ORDER BY b.lane, b.event_number LIMIT 1)"
		"  FROM (SELECT p.event_number, p.state, p.lane"
		"          FROM webhook.pending p"
		"         WHERE p.subscription_id = $1 AND p.state IN ('retry', 'blocked', 'deferred')"
		"         ORDER BY p.subscription_id, p.event_number"
		"         LIMIT 1) q",
		1,
		{INT8OID}};
	/* clang-format on */
	/* clang-format off */
	static WhPlan one = {
		.sql =
		FETCH("SELECT p.ctid FROM webhook.pending p"
		      " WHERE p.subscription_id = $1 AND p.event_number = $2"),
		2,
		{INT8OID, INT8OID}};
	/* clang-format on */
	/* clang-format off */
	static WhPlan whole = {
		.sql =
		FETCH("SELECT p.ctid FROM webhook.pending p"
		      " WHERE p.subscription_id = $1 AND p.batch = $2"),
		2,
		{INT8OID, INT8OID}};
	/* clang-format on */
	Datum values[2] = {Int64GetDatum(subscription_id)};
	Datum batch;
	bool isnull;

	wh_plan_run(&oldest, values, NULL, SPI_OK_SELECT);
	if (SPI_processed == 0)
		return NIL;
	values[1] = wh_result(0, 1, &isnull);
	*deferred = DatumGetBool(wh_result(0, 2, &isnull));
	batch = wh_result(0, 3, &isnull);
	if (isnull)
		return fetch(&one, values);
	values[1] = batch;
	*deferred = false;
	return fetch(&whole, values);
}

void
wh_store_make_due(int64 subscription_id)
{
	/* by the index of due times, which has only heads of lanes, however much is deferred */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.pending SET next_attempt_at = $2"
		" WHERE ctid = ANY (ARRAY("
		"       SELECT p.ctid FROM webhook.pending p"
		"        WHERE p.subscription_id + 0 = $1"
		"          AND p.state = 'retry' AND p.next_attempt_at > $2"
		"        ORDER BY p.next_attempt_at))",
		2,
		{INT8OID, TIMESTAMPTZOID}};
	/* clang-format on */
	Datum values[2] = {Int64GetDatum(subscription_id), TimestampTzGetDatum(wh_table_time(wh_now()))};

	wh_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

TimestampTz
wh_store_next_due(const int64 *excluded, int n_excluded)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT p.next_attempt_at"
		"  FROM webhook.pending p"
		" WHERE p.state = 'retry' AND " NOT_EXCLUDED("$1") " AND " IS_ACTIVE
		" ORDER BY p.next_attempt_at"
		" LIMIT 1",
		1,
		{INT8ARRAYOID}};
	/* clang-format on */
	Datum value = wh_int8_array(excluded, n_excluded);
	bool isnull;

	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	if (SPI_processed == 0)
		return DT_NOEND;
	return wh_own_time(DatumGetTimestampTz(wh_result(0, 1, &isnull)));
}

/* A statement on the row of one delivery. */
static void
run_for(WhPlan *plan, int64 subscription_id, int64 event_number, int expected)
{
	Datum values[2] = {Int64GetDatum(subscription_id), Int64GetDatum(event_number)};

	wh_plan_run(plan, values, NULL, expected);
}

void
wh_store_forget_pending(int64 subscription_id, int64 event_number)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"DELETE FROM webhook.pending"
		" WHERE subscription_id = $1 AND event_number = $2",
		2,
		{INT8OID, INT8OID}};
	/* clang-format on */

	run_for(&plan, subscription_id, event_number, SPI_OK_DELETE);
}

void
wh_store_forget_subscriptions(const int64 *ids, int n)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"DELETE FROM webhook.pending p"
		" WHERE p.subscription_id = ANY ($1)"
		"   AND NOT EXISTS (SELECT FROM webhook.subscription s WHERE s.id = p.subscription_id)",
		1,
		{INT8ARRAYOID}};
	/* clang-format on */
	Datum value = wh_int8_array(ids, n);

	wh_plan_run(&plan, &value, NULL, SPI_OK_DELETE);
}

void
wh_store_pending_judged(int64 subscription_id, int64 event_number)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.pending SET judged = true"
		" WHERE subscription_id = $1 AND event_number = $2",
		2,
		{INT8OID, INT8OID}};
	/* clang-format on */

	run_for(&plan, subscription_id, event_number, SPI_OK_UPDATE);
}

void
wh_store_defer_again(int64 subscription_id, int64 event_number)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.pending"
		"   SET state = 'deferred', attempts = attempts - 1, next_attempt_at = clock_timestamp()"
		" WHERE subscription_id = $1 AND event_number = $2",
		2,
		{INT8OID, INT8OID}};
	/* clang-format on */

	run_for(&plan, subscription_id, event_number, SPI_OK_UPDATE);
}
