/*
 * store_pending.c
 *	  Taking deliveries from webhook.pending to be sent again, and bringing the
 *	  table in order at start.
 *
 * A row that is taken becomes 'sending', its attempt counted and its due_at
 * set as if the attempt failed, before the request leaves. So a worker that
 * dies leaves nothing that needs repair: at the next start 'sending' is read
 * as 'retry'. Called by worker.c and worker_take.c.
 *
 * A batch that failed is sent again whole. All its rows name its lead; that
 * one is 'retry' and due, the others are 'behind', and all are taken with it.
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

#include "store.h"

/*
 * The ways of choosing rows share everything but the choice, a query of
 * ctid with a limit.
 *
 * The planner is left no choice in any of these statements, because what it
 * knows of this table is nearly always wrong: the choice can use one index
 * only, its rows are updated by ctid, and subqueries that refer to a row
 * outside cannot be turned into joins that begin at the wrong end.
 */
#define TAKE(choice)                                                                                         \
	"WITH chosen AS MATERIALIZED (" choice "), taken AS ("                                                   \
	" UPDATE webhook.pending p SET state = 'sending', attempts = p.attempts + 1,"                            \
	" due_at = clock_timestamp() + coalesce((SELECT s.retry_schedule[least(p.attempts + 1, "                 \
	"cardinality(s.retry_schedule))]"                                                                        \
	" FROM webhook.subscription s WHERE s.id = p.subscription_id), interval '1 minute')"                     \
	" WHERE p.ctid = ANY (ARRAY(SELECT c.ctid FROM chosen c))"                                               \
	" RETURNING p.subscription_id, p.event_id, p.lane, p.attempts, p.first_at, p.batch, p.drawer, p.judged)" \
	" SELECT t.subscription_id, t.event_id, t.lane, t.attempts, t.first_at, t.batch, t.judged,"              \
	" " WH_EVENT_COLUMNS                                                                                     \
	" FROM taken t LEFT JOIN LATERAL (SELECT * FROM webhook.outbox b WHERE b.id = t.event_id AND b.drawer "  \
	"= t.drawer"                                                                                             \
	" OFFSET 0) o ON true ORDER BY coalesce(t.batch, t.event_id), t.subscription_id, t.event_id"

/* The row's subscription takes deliveries now; it is none of those in this parameter. */
#define IS_LIVE                                                                                              \
	"(SELECT s.active AND s.state = 'live' FROM webhook.subscription s WHERE s.id = p.subscription_id)"

/*
 * As many rows, in the order of an index, as fit a page: their events are to
 * be held in memory. One row is taken whatever its size.
 */
#define THAT_FIT(condition, order, bytes)                                                                    \
	"SELECT q.ctid FROM (SELECT p.ctid, sum(p.size) OVER (ORDER BY " order " ROWS UNBOUNDED PRECEDING)"      \
	" - p.size AS before FROM webhook.pending p WHERE " condition " ORDER BY " order " LIMIT $1) q"          \
	" WHERE q.before < " bytes

#define IS_NOT_HELD(parameter) "p.subscription_id <> ALL (" parameter ")"
#define IS_DUE "p.state = 'retry' AND p.due_at <= $2 AND " IS_NOT_HELD("$3") " AND " IS_LIVE

/* The same where a row may be the lead of a batch, and then counts for all of it; and the others of those chosen. */
#define LEADS_THAT_FIT(condition, order, bytes)                                                              \
	"SELECT q.ctid, q.subscription_id, q.batch FROM (SELECT p.ctid, p.subscription_id, p.batch,"             \
	" sum(w.size) OVER f - w.size AS before, sum(w.n) OVER f - w.n AS n_before"                              \
	" FROM webhook.pending p CROSS JOIN LATERAL (SELECT p.size, 1 AS n WHERE p.batch IS NULL UNION ALL"      \
	" SELECT sum(m.size), count(*) FROM webhook.pending m WHERE m.subscription_id = p.subscription_id"       \
	" AND m.batch = p.batch HAVING p.batch IS NOT NULL OFFSET 0) w WHERE " condition                         \
	" WINDOW f AS (ORDER BY " order " ROWS UNBOUNDED PRECEDING) ORDER BY " order " LIMIT $1) q"              \
	" WHERE q.before < " bytes " AND q.n_before < $1"
#define WITH_ITS_BATCH(leads)                                                                                \
	"WITH lead AS MATERIALIZED (" leads ") SELECT l.ctid FROM lead l UNION ALL"                              \
	" SELECT m.ctid FROM lead l CROSS JOIN LATERAL (SELECT m.ctid FROM webhook.pending m"                    \
	" WHERE m.subscription_id = l.subscription_id AND m.batch = l.batch AND m.state = 'behind' OFFSET 0) m"

static Datum
int8_array(const int64 *values, int n)
{
	Datum *elements = palloc(Max(1, n) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(
		construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static List *
take(WhPlan *plan, Datum *values)
{
	List *list = NIL;

	wh_plan_run(plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(wh_tx_results);
		WhTaken *t = palloc0(sizeof(WhTaken));
		bool isnull;
		Datum first_at;
		Datum batch;

		list = lappend(list, t);
		MemoryContextSwitchTo(old);
		t->subscription_id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		t->event_id = DatumGetInt64(SPI_getbinval(row, desc, 2, &isnull));
		t->lane = (uint64) DatumGetInt64(SPI_getbinval(row, desc, 3, &isnull));
		t->attempts = DatumGetInt32(SPI_getbinval(row, desc, 4, &isnull));
		first_at = SPI_getbinval(row, desc, 5, &isnull);
		t->first_at = isnull ? 0 : DatumGetTimestampTz(first_at);
		batch = SPI_getbinval(row, desc, 6, &isnull);
		t->batch = isnull ? 0 : DatumGetInt64(batch);
		t->unjudged = !DatumGetBool(SPI_getbinval(row, desc, 7, &isnull));
		SPI_getbinval(row, desc, 8, &isnull);
		t->event = isnull ? NULL : wh_store_event(row, desc, 8);
	}
	return list;
}

List *
wh_store_take_due(int max, const int64 *held, int n_held)
{
	/* now is a parameter, so that the index scan ends there and not after all that is due some day */
	static WhPlan plan = {.sql = TAKE(WITH_ITS_BATCH(LEADS_THAT_FIT(IS_DUE, "p.due_at", "$4"))),
						  4,
						  {INT8OID, TIMESTAMPTZOID, INT8ARRAYOID, INT8OID}};
	Datum values[4] = {Int64GetDatum(max), TimestampTzGetDatum(GetCurrentTimestamp()),
					   int8_array(held, n_held), Int64GetDatum((int64) WH_PAGE_BYTES)};

	return take(&plan, values);
}

List *
wh_store_take_lane(int64 subscription_id, uint64 lane, int max)
{
	static WhPlan plan = {
		.sql = TAKE(THAT_FIT("p.subscription_id + 0 = $2 AND p.lane = $3 AND p.state IN ('behind', 'retry')"
							 " AND p.batch IS NULL",
							 "p.lane, p.event_id", "$4")),
		4,
		{INT8OID, INT8OID, INT8OID, INT8OID}};
	Datum values[4] = {Int64GetDatum(max), Int64GetDatum(subscription_id), Int64GetDatum((int64) lane),
					   Int64GetDatum((int64) WH_PAGE_BYTES)};

	return take(&plan, values);
}

/*
 * Where the parked rows of a subscription begin. Those taken leave dead entries
 * in the index, and while somebody's old snapshot keeps them from being cleaned
 * up, each take would walk over all of them again: 0.2 s for a million. This is
 * a shortcut only. Where nothing is found from there on, it is looked for from
 * the beginning, so that a row that came from elsewhere is not missed.
 */
typedef struct ParkedFrom
{
	int64 subscription_id;
	int64 event_id;
} ParkedFrom;

static HTAB *parked_from = NULL;

static ParkedFrom *
parked_from_of(int64 subscription_id)
{
	HASHCTL ctl = {.keysize = sizeof(int64), .entrysize = sizeof(ParkedFrom)};
	ParkedFrom *from;
	bool found;

	if (parked_from == NULL)
		parked_from = hash_create("webhook parked rows", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	from = hash_search(parked_from, &subscription_id, HASH_ENTER, &found);
	if (!found)
		from->event_id = 0;
	return from;
}

void
wh_store_parked_taken(int64 subscription_id, int64 event_id)
{
	parked_from_of(subscription_id)->event_id = event_id + 1;
}

void
wh_store_parked_at(int64 subscription_id, int64 event_id)
{
	ParkedFrom *from = parked_from_of(subscription_id);

	from->event_id = Min(from->event_id, event_id);
}

void
wh_store_parked_anywhere(void)
{
	if (parked_from)
		hash_destroy(parked_from);
	parked_from = NULL;
}

List *
wh_store_take_parked(int64 subscription_id, int max)
{
	static WhPlan plan = {
		.sql = TAKE(THAT_FIT("p.subscription_id = $2 AND p.state = 'parked' AND p.event_id >= $3",
							 "p.subscription_id, p.event_id", "$4")),
		4,
		{INT8OID, INT8OID, INT8OID, INT8OID}};
	ParkedFrom *from = parked_from_of(subscription_id);
	Datum values[4] = {Int64GetDatum(max), Int64GetDatum(subscription_id), Int64GetDatum(from->event_id),
					   Int64GetDatum((int64) WH_PAGE_BYTES)};
	List *list = take(&plan, values);

	if (list != NIL || from->event_id == 0)
		return list;
	from->event_id = 0;
	values[2] = Int64GetDatum(0);
	return take(&plan, values);
}

List *
wh_store_take_probe(int64 subscription_id, bool *parked)
{
	/* with it, the batch that it belongs to, or that is in its lane and hence before it */
	static WhPlan oldest = {
		.sql = "SELECT q.event_id, q.state = 'parked', (SELECT b.batch FROM webhook.pending b"
			   " WHERE b.subscription_id + 0 = $1 AND b.lane = q.lane AND b.batch IS NOT NULL"
			   " ORDER BY b.lane, b.event_id LIMIT 1) FROM ("
			   "SELECT p.event_id, p.state, p.lane FROM webhook.pending p"
			   " WHERE p.subscription_id = $1 AND p.state IN ('retry', 'behind', 'parked')"
			   " ORDER BY p.subscription_id, p.event_id LIMIT 1) q",
		1,
		{INT8OID}};
	static WhPlan one = {.sql = TAKE("SELECT p.ctid FROM webhook.pending p"
									 " WHERE p.subscription_id = $1 AND p.event_id = $2"),
						 2,
						 {INT8OID, INT8OID}};
	static WhPlan whole = {.sql = TAKE("SELECT p.ctid FROM webhook.pending p"
									   " WHERE p.subscription_id = $1 AND p.batch = $2"),
						   2,
						   {INT8OID, INT8OID}};
	Datum values[2] = {Int64GetDatum(subscription_id)};
	Datum batch;
	bool isnull;

	wh_plan_run(&oldest, values, NULL, SPI_OK_SELECT);
	if (SPI_processed == 0)
		return NIL;
	values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	*parked = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	batch = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull);
	if (isnull)
		return take(&one, values);
	values[1] = batch;
	*parked = false;
	return take(&whole, values);
}

void
wh_store_make_due(int64 subscription_id)
{
	/* by the index of what is due some day: only heads of lanes are in it, however much is parked */
	static WhPlan plan = {
		.sql =
			"UPDATE webhook.pending SET due_at = $2 WHERE ctid = ANY (ARRAY(SELECT p.ctid"
			" FROM webhook.pending p WHERE p.subscription_id + 0 = $1 AND p.state = 'retry' AND p.due_at > $2"
			" ORDER BY p.due_at))",
		2,
		{INT8OID, TIMESTAMPTZOID}};
	Datum values[2] = {Int64GetDatum(subscription_id), TimestampTzGetDatum(GetCurrentTimestamp())};

	wh_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

TimestampTz
wh_store_next_due(const int64 *held, int n_held)
{
	static WhPlan plan = {
		.sql = "SELECT p.due_at FROM webhook.pending p"
			   " WHERE p.state = 'retry' AND " IS_NOT_HELD("$1") " AND " IS_LIVE " ORDER BY p.due_at LIMIT 1",
		1,
		{INT8ARRAYOID}};
	Datum value = int8_array(held, n_held);
	bool isnull;

	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	if (SPI_processed == 0)
		return DT_NOEND;
	return DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

void
wh_store_forget_pending(int64 subscription_id, int64 event_id)
{
	static WhPlan plan = {.sql = "DELETE FROM webhook.pending WHERE subscription_id = $1 AND event_id = $2",
						  2,
						  {INT8OID, INT8OID}};
	Datum values[2] = {Int64GetDatum(subscription_id), Int64GetDatum(event_id)};

	wh_plan_run(&plan, values, NULL, SPI_OK_DELETE);
}

void
wh_store_pending_judged(int64 subscription_id, int64 event_id)
{
	static WhPlan plan = {.sql = "UPDATE webhook.pending SET judged = true WHERE subscription_id = $1"
								 " AND event_id = $2",
						  2,
						  {INT8OID, INT8OID}};
	Datum values[2] = {Int64GetDatum(subscription_id), Int64GetDatum(event_id)};

	wh_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

void
wh_store_park_again(int64 subscription_id, int64 event_id)
{
	static WhPlan plan = {.sql = "UPDATE webhook.pending SET state = 'parked', attempts = attempts - 1,"
								 " due_at = clock_timestamp() WHERE subscription_id = $1 AND event_id = $2",
						  2,
						  {INT8OID, INT8OID}};
	Datum values[2] = {Int64GetDatum(subscription_id), Int64GetDatum(event_id)};

	wh_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
}

void
wh_store_restore(void (*parked)(void *arg, int64 subscription_id, int64 rows),
				 void (*lane)(void *arg, int64 subscription_id, uint64 lane, int rows), void *arg)
{
	/*
	 * What a dead worker had taken, or is in no state that we know; subscriptions that are gone; batches whose
	 * lead is; then one 'retry' at the head of each lane, but of a batch the lead
	 * alone, and of a lane with a batch no other.
	 */
	static WhPlan untake = {
		.sql = "UPDATE webhook.pending SET state = CASE WHEN judged THEN 'retry' ELSE 'parked' END,"
			   " due_at = coalesce(due_at, clock_timestamp())"
			   " WHERE coalesce(state NOT IN ('retry', 'behind', 'parked', 'asked'), true) OR due_at IS NULL",
		0};
	static WhPlan orphans = {.sql = "DELETE FROM webhook.pending p WHERE NOT EXISTS"
									" (SELECT FROM webhook.subscription s WHERE s.id = p.subscription_id)",
							 0};
	static WhPlan leaderless = {
		.sql = "UPDATE webhook.pending p SET batch = NULL WHERE p.batch IS NOT NULL AND NOT EXISTS"
			   " (SELECT FROM webhook.pending l WHERE l.subscription_id = p.subscription_id"
			   " AND l.event_id = p.batch AND l.batch = p.batch)",
		0};
	static WhPlan heads = {
		.sql = "UPDATE webhook.pending p SET state = CASE WHEN h.first THEN 'retry' ELSE 'behind' END,"
			   " due_at = CASE WHEN h.first THEN clock_timestamp() ELSE 'infinity' END"
			   " FROM (SELECT q.subscription_id, q.event_id, q.state, CASE WHEN q.batch IS NOT NULL"
			   " THEN q.event_id = q.batch ELSE row_number() OVER (PARTITION BY q.subscription_id, q.lane"
			   " ORDER BY q.batch IS NULL, q.event_id) = 1 END AS first"
			   " FROM webhook.pending q WHERE q.state IN ('retry', 'behind')) h"
			   " WHERE p.subscription_id = h.subscription_id AND p.event_id = h.event_id"
			   " AND h.first <> (h.state = 'retry')",
		0};
	static WhPlan counts = {
		.sql = "SELECT subscription_id, NULL::bigint, count(*) FROM webhook.pending WHERE state = 'parked'"
			   " GROUP BY subscription_id UNION ALL SELECT subscription_id, lane, count(*)"
			   " FROM webhook.pending WHERE state IN ('retry', 'behind') GROUP BY subscription_id, lane",
		0};

	wh_plan_run(&untake, NULL, NULL, SPI_OK_UPDATE);
	wh_plan_run(&orphans, NULL, NULL, SPI_OK_DELETE);
	wh_plan_run(&leaderless, NULL, NULL, SPI_OK_UPDATE);
	wh_plan_run(&heads, NULL, NULL, SPI_OK_UPDATE);
	wh_plan_run(&counts, NULL, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		int64 subscription_id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		int64 rows = DatumGetInt64(SPI_getbinval(row, desc, 3, &isnull));
		Datum key = SPI_getbinval(row, desc, 2, &isnull);

		if (isnull)
			parked(arg, subscription_id, rows);
		else
			lane(arg, subscription_id, (uint64) DatumGetInt64(key), (int) Min(rows, INT_MAX));
	}
}
