/*
 * store_stat.c
 *	  The cumulative counters: webhook_internal.stat_subscription and stat_worker.
 *
 * What has been counted is added to a row, which nobody needs to have read before: so
 * webhook.stat_reset() may set it to zero at any time, and a new worker just goes on.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/timestamp.h"

#include "store.h"
#include "store_stat.h"

/* clang-format off */
#define ADDED(histogram) \
	histogram " = ARRAY(SELECT u.a + u.b FROM unnest(t." histogram ", excluded." histogram ") u(a, b))"
/* clang-format on */

void
wh_store_stat_add(const WhStat *stat)
{
	/* a subscription that is gone gets no row: nobody would delete it */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"INSERT INTO webhook_internal.stat_subscription AS t"
		"       (subscription_id, delivered, skipped, failed, given_up, breaker_opened,"
		"        duration_seconds, duration_histogram, delay_seconds, delay_histogram)"
		" SELECT s.id, $2, $3, $4, $5, $6, $7, $8, $9, $10"
		"   FROM webhook.subscription s WHERE s.id = $1"
		" ON CONFLICT (subscription_id) WHERE subscription_id IS NOT NULL DO UPDATE"
		"   SET delivered = t.delivered + excluded.delivered,"
		"       skipped = t.skipped + excluded.skipped,"
		"       failed = t.failed + excluded.failed,"
		"       given_up = t.given_up + excluded.given_up,"
		"       breaker_opened = t.breaker_opened + excluded.breaker_opened,"
		"       duration_seconds = t.duration_seconds + excluded.duration_seconds,"
		"       delay_seconds = t.delay_seconds + excluded.delay_seconds,"
		"       " ADDED("duration_histogram") ","
		"       " ADDED("delay_histogram"),
		10,
		{INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, FLOAT8OID, INT8ARRAYOID, FLOAT8OID,
		 INT8ARRAYOID}};
	/* clang-format on */
	Datum values[10] = {
		Int64GetDatum(stat->subscription_id),       Int64GetDatum(stat->ends[WH_END_DELIVERED]),
		Int64GetDatum(stat->ends[WH_END_SKIPPED]),  Int64GetDatum(stat->ends[WH_END_FAILED]),
		Int64GetDatum(stat->ends[WH_END_GIVEN_UP]), Int64GetDatum(stat->breaker_opened),
		Float8GetDatum(stat->duration.seconds),     wh_int8_array(stat->duration.buckets, WH_STAT_BUCKETS),
		Float8GetDatum(stat->delay.seconds),        wh_int8_array(stat->delay.buckets, WH_STAT_BUCKETS)};

	wh_plan_run(&plan, values, NULL, SPI_OK_INSERT);
}

void
wh_store_stat_worker_add(const WhWorkerStat *stat)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook_internal.stat_worker t"
		"   SET delivered = t.delivered + $1, skipped = t.skipped + $2, failed = t.failed + $3,"
		"       given_up = t.given_up + $4, starts = t.starts + $5, reads = t.reads + $6,"
		"       events_read = t.events_read + $7, segments_emptied = t.segments_emptied + $8,"
		"       rotation_delayed_since = $9",
		9,
		{INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID}};
	/* clang-format on */
	Datum values[9] = {Int64GetDatum(stat->ends[WH_END_DELIVERED]),
					   Int64GetDatum(stat->ends[WH_END_SKIPPED]),
					   Int64GetDatum(stat->ends[WH_END_FAILED]),
					   Int64GetDatum(stat->ends[WH_END_GIVEN_UP]),
					   Int64GetDatum(stat->starts),
					   Int64GetDatum(stat->reads),
					   Int64GetDatum(stat->events_read),
					   Int64GetDatum(stat->segments_emptied),
					   TimestampTzGetDatum(stat->rotation_delayed_since)};

	wh_plan_run(&plan, values, stat->rotation_delayed_since == 0 ? "        n" : NULL, SPI_OK_UPDATE);
}
