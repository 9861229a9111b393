/*
 * store_pending.c
 *	  Taking deliveries from webhook.pending to be sent again, and bringing the
 *	  table in order at start.
 *
 * A row that is taken becomes 'in_flight', its attempt counted and its
 * next_attempt_at set as if the attempt failed, before the request leaves. So a
 * worker that dies leaves nothing that needs repair: at the next start
 * 'in_flight' is read as 'retry'.
 *
 * A batch that failed is sent again whole. All its rows name its lead; that
 * one is 'retry' and due, the others are 'blocked', and all are taken with it.
 * In their lanes they come before all other rows (see queue_batch.c): no
 * statement takes another row of such a lane before them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "store.h"
#include "store_event.h"
#include "store_pending.h"
#include "store_read.h"

#define A_LIFE_US (INT64CONST(1000) * 365 * USECS_PER_DAY)

/*
 * The ways of choosing rows share everything but the choice, a query of
 * ctid with a limit.
 *
 * The planner is left no choice in any of these statements, because what it
 * knows of this table is nearly always wrong: the choice can use one index
 * only, its rows are updated by ctid, and subqueries that refer to a row
 * outside cannot be turned into joins that begin at the wrong end.
 */
/* clang-format off */

/* After how many attempts, how long until the next one. No schedule can hold more than ten years: nor does this. */
#define STEP(attempts) \
	"least(coalesce((SELECT s.retry_schedule[" \
	"                       least(greatest(" attempts ", 1), cardinality(s.retry_schedule))]" \
	"                  FROM webhook.subscription s" \
	"                 WHERE s.id = p.subscription_id), interval '1 minute'), interval '10 years')"
#define NEXT_STEP STEP("least(coalesce(p.attempts, 0), 1000000000) + 1")

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

/* The row's subscription takes deliveries now; it is none of those in this parameter. */
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

/* The same where a row may be the lead of a batch, and then counts for all of it; and the others of those chosen. */
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

/* The events of a step that takes, which may fail after some were made: until it is known whether it did. */
static WhEvent **made = NULL;
static int n_made = 0;
static int cap_made = 0;

/* Before an event is made, so that none is without a place. */
static void
make_room(void)
{
	if (n_made == cap_made)
		made = wh_grow(TopMemoryContext, made, &cap_made, 64, sizeof(*made));
}

static WhEvent *
remember_made(WhEvent *event)
{
	event->refs++; /* whoever takes rows may let some of their events go in the same step */
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
		/* somebody has made two rows of it: what becomes of one becomes of both */
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
		made[i]->refs = 1; /* nobody else's: the list is lost */
	wh_store_fetch_done();
	wh_store_event_drop();
}

List *
wh_store_fetch_due(int max, const int64 *excluded, int n_excluded)
{
	/* now is a parameter, so that the index scan ends there and not after all that is due some day */
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
 * Where the deferred rows of a subscription begin. Those taken leave dead entries
 * in the index, and while somebody's old snapshot keeps them from being cleaned
 * up, each take would walk over all of them again: 0.2 s for a million. This is
 * a shortcut only. Where nothing is found from there on, it is looked for from
 * the beginning, so that a row that came from elsewhere is not missed.
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
	/* with it, the batch that it belongs to, or that is in its lane and hence before it */
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
	/* by the index of what is due some day: only heads of lanes are in it, however much is deferred */
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

void
wh_store_move_waits(int64 jump)
{
	/* what is as far away as that was never a time of a clock */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.pending p"
		"   SET next_attempt_at = CASE WHEN p.next_attempt_at BETWEEN $2 AND $3"
		"                              THEN p.next_attempt_at + $1 ELSE p.next_attempt_at END,"
		"       first_attempt_at = CASE WHEN p.first_attempt_at BETWEEN $2 AND $3"
		"                               THEN p.first_attempt_at + $1 ELSE p.first_attempt_at END"
		" WHERE p.state IN ('retry', 'in_flight') OR p.first_attempt_at IS NOT NULL",
		3,
		{INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID}};
	/* clang-format on */
	TimestampTz now = wh_table_time(wh_now());
	Interval by = {.time = jump};
	Datum values[3] = {IntervalPGetDatum(&by), TimestampTzGetDatum(now - A_LIFE_US),
					   TimestampTzGetDatum(now + A_LIFE_US)};

	if (jump > -A_LIFE_US && jump < A_LIFE_US)
		wh_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

void
wh_store_shorten_waits(void)
{
	/* a receiver may have asked for a day; a schedule's step is made longer at random, never twice as long */
	/* clang-format off */
	static WhPlan due = {
		.sql =
		"UPDATE webhook.pending p"
		"   SET next_attempt_at = $1 + " STEP("p.attempts")
		" WHERE p.ctid = ANY (ARRAY("
		"       SELECT p.ctid FROM webhook.pending p"
		"        WHERE p.state = 'retry'"
		"          AND p.next_attempt_at > $1 + interval '25 hours'"
		"          AND p.next_attempt_at > $1 + 2 * " STEP("p.attempts")
		"          AND p.next_attempt_at < 'infinity'"
		"        ORDER BY p.next_attempt_at))",
		1,
		{TIMESTAMPTZOID}};
	/* clang-format on */
	/* clang-format off */
	static WhPlan first = {
		.sql =
		"UPDATE webhook.pending p SET first_attempt_at = $1"
		" WHERE p.first_attempt_at > $1",
		1,
		{TIMESTAMPTZOID}};
	/* clang-format on */
	Datum now = TimestampTzGetDatum(wh_table_time(wh_now()));

	wh_plan_run(&due, &now, NULL, SPI_OK_UPDATE);
	wh_plan_run(&first, &now, NULL, SPI_OK_UPDATE);
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

/*
 * At start, in this order: of two rows that people have made of one delivery,
 * the second (only where no index keeps them from it); rows that a dead worker
 * had fetched, or whose state we do not know; subscriptions that are gone;
 * batches whose lead is gone. Then the head of each lane becomes its one
 * 'retry': of a batch the lead alone, and in a lane with a batch nothing else.
 */
void
wh_store_restore(void (*deferred)(void *arg, int64 subscription_id, int64 rows),
				 void (*lane)(void *arg, int64 subscription_id, uint64 lane, int rows), void *arg)
{
	/* clang-format off */
	static WhPlan twins = {
		.sql =
		"DELETE FROM webhook.pending p"
		" WHERE p.ctid = ANY (ARRAY("
		"       SELECT q.ctid"
		"         FROM (SELECT r.ctid,"
		"                      row_number() OVER (PARTITION BY r.subscription_id, r.event_number"
		"                                         ORDER BY r.state = 'requested', r.attempts DESC) AS n"
		"                 FROM webhook.pending r) q"
		"        WHERE q.n > 1))"
		"   AND NOT EXISTS (SELECT FROM pg_index i"
		"                    WHERE i.indrelid = 'webhook.pending'::regclass"
		"                      AND i.indisunique AND i.indisvalid)",
		0};
	/* clang-format on */
	/* clang-format off */
	static WhPlan reset_in_flight = {
		.sql =
		"UPDATE webhook.pending"
		"   SET state = CASE WHEN judged THEN 'retry' ELSE 'deferred' END,"
		"       next_attempt_at = coalesce(next_attempt_at, clock_timestamp())"
		" WHERE coalesce(state NOT IN ('retry', 'blocked', 'deferred', 'requested'), true)"
		"    OR next_attempt_at IS NULL",
		0};
	/* clang-format on */
	/* clang-format off */
	static WhPlan orphans = {
		.sql =
		"DELETE FROM webhook.pending p"
		" WHERE NOT EXISTS (SELECT FROM webhook.subscription s WHERE s.id = p.subscription_id)",
		0};
	/* clang-format on */
	/* clang-format off */
	static WhPlan leaderless = {
		.sql =
		"UPDATE webhook.pending p SET batch = NULL"
		" WHERE p.batch IS NOT NULL"
		"   AND NOT EXISTS (SELECT FROM webhook.pending l"
		"                    WHERE l.subscription_id = p.subscription_id"
		"                      AND l.event_number = p.batch AND l.batch = p.batch)",
		0};
	/* clang-format on */
	/* clang-format off */
	static WhPlan heads = {
		.sql =
		"UPDATE webhook.pending p"
		"   SET state = CASE WHEN h.first THEN 'retry' ELSE 'blocked' END,"
		"       next_attempt_at = CASE WHEN h.first THEN clock_timestamp() ELSE 'infinity' END"
		"  FROM (SELECT q.subscription_id, q.event_number, q.state,"
		"               CASE WHEN q.batch IS NOT NULL THEN q.event_number = q.batch"
		"                    ELSE row_number() OVER (PARTITION BY q.subscription_id, q.lane"
		"                                            ORDER BY q.batch IS NULL, q.event_number) = 1"
		"               END AS first"
		"          FROM webhook.pending q"
		"         WHERE q.state IN ('retry', 'blocked')) h"
		" WHERE p.subscription_id = h.subscription_id"
		"   AND p.event_number = h.event_number"
		"   AND h.first <> (h.state = 'retry')",
		0};
	/* clang-format on */
	/* clang-format off */
	static WhPlan counts = {
		.sql =
		"SELECT subscription_id, NULL::bigint, count(*)"
		"  FROM webhook.pending"
		" WHERE state = 'deferred'"
		" GROUP BY subscription_id"
		" UNION ALL "
		"SELECT subscription_id, lane, count(*)"
		"  FROM webhook.pending"
		" WHERE state IN ('retry', 'blocked')"
		" GROUP BY subscription_id, lane",
		0};
	/* clang-format on */

	wh_plan_run(&twins, NULL, NULL, SPI_OK_DELETE);
	wh_plan_run(&reset_in_flight, NULL, NULL, SPI_OK_UPDATE);
	wh_plan_run(&orphans, NULL, NULL, SPI_OK_DELETE);
	wh_plan_run(&leaderless, NULL, NULL, SPI_OK_UPDATE);
	wh_plan_run(&heads, NULL, NULL, SPI_OK_UPDATE);
	wh_store_shorten_waits();
	wh_plan_run(&counts, NULL, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		int64 subscription_id = wh_result_int8(i, 1);
		int64 rows = wh_result_int8(i, 3);
		Datum key = wh_result(i, 2, &isnull);

		if (isnull)
			deferred(arg, subscription_id, rows);
		else
			lane(arg, subscription_id, (uint64) DatumGetInt64(key), (int) Min(rows, INT_MAX));
	}
}
