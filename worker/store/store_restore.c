/*
 * store_restore.c
 *	  webhook.pending when a worker starts, and when the system clock was set.
 *
 * A worker that died, people who write rows, and a clock that was set may have
 * left the table in an order that fetching does not expect. These statements see
 * all of the table, once. Rows are found by ctid where they are many, for the
 * reason that store_pending.c gives.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "store.h"
#include "store_pending.h"
#include "store_restore.h"

#define A_LIFE_US (INT64CONST(1000) * 365 * USECS_PER_DAY)

void
wh_store_move_waits(int64 jump)
{
	/* times further away than that came from no clock */
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

/* Shorten waits that no schedule can have made, because the clock was set while no worker ran. */
static void
shorten_waits(void)
{
	/* Retry-After may say a day; jitter makes a schedule's step longer, but less than twice as long */
	/* clang-format off */
	static WhPlan due = {
		.sql =
		"UPDATE webhook.pending p"
		"   SET next_attempt_at = $1 + " WH_RETRY_STEP("p.attempts")
		" WHERE p.ctid = ANY (ARRAY("
		"       SELECT p.ctid FROM webhook.pending p"
		"        WHERE p.state = 'retry'"
		"          AND p.next_attempt_at > $1 + interval '25 hours'"
		"          AND p.next_attempt_at > $1 + 2 * " WH_RETRY_STEP("p.attempts")
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
	shorten_waits();
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
