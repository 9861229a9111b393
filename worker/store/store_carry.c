/*
 * store_carry.c
 *	  Events with pending deliveries leave a segment before it is emptied.
 *
 * An event whose delivery is pending (paused, failing, behind an open breaker) is
 * moved into the current segment unchanged, with its number, xid and time, by an
 * UPDATE of the column that the table is partitioned by: at each moment it exists
 * once. The reader cannot take it for new: see docs/internals/reading.md. The rows
 * of webhook.pending that name the old segment then name the new one. A delivery
 * in memory need not know: an event is found wherever it is (WH_EVENT_OF).
 *
 * All of pending is walked once per segment, by its key, in portions that are a
 * short transaction each. The caller keeps how far that has come.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "settings.h"
#include "store.h"
#include "store_carry.h"
#include "store_read.h"

#define WALK_AT_ONCE 5000 /* rows of pending, not all of which are of the segment */
#define CARRY_AT_ONCE 500 /* events moved */

void
wh_carry_begin(WhCarry *carry, int segment)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT count(*) FROM webhook.pending p",
		0};
	/* clang-format on */

	wh_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	*carry = (WhCarry){.from = segment,
					   .subscription_id = PG_INT64_MIN,
					   .event_number = PG_INT64_MIN,
					   .rows = wh_result_int8(0, 1),
					   .started_at = GetCurrentTimestamp()};
}

/* The rows of a portion. */
typedef struct Portion
{
	int n;
	int64 events[CARRY_AT_ONCE];
	Datum rows[CARRY_AT_ONCE]; /* of pending: ctids */
} Portion;

static void
walk(WhCarry *carry, Portion *portion)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT p.subscription_id, p.event_number, p.size, p.ctid, p.segment = $3"
		"  FROM webhook.pending p"
		" WHERE (p.subscription_id, p.event_number) > ($1, $2)"
		"   AND p.subscription_id IS NOT NULL"
		" ORDER BY p.subscription_id, p.event_number"
		" LIMIT 5000",
		3,
		{INT8OID, INT8OID, INT2OID}};
	/* clang-format on */
	Datum values[3] = {Int64GetDatum(carry->subscription_id), Int64GetDatum(carry->event_number),
					   Int16GetDatum((int16) carry->from)};
	int64 bytes = 0;
	uint64 i;

	StaticAssertStmt(WALK_AT_ONCE == 5000, "the statement's literal limit differs");
	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (i = 0; i < SPI_processed && portion->n < CARRY_AT_ONCE && bytes < (int64) WH_PAGE_BYTES; i++)
	{
		bool isnull;
		bool of_it = DatumGetBool(wh_result(i, 5, &isnull));

		of_it = of_it && !isnull;
		carry->subscription_id = wh_result_int8(i, 1);
		carry->event_number = DatumGetInt64(wh_result(i, 2, &isnull));
		if (!of_it || isnull)
			continue;
		bytes += Max(0, DatumGetInt32(wh_result(i, 3, &isnull)));
		portion->events[portion->n] = carry->event_number;
		portion->rows[portion->n++] = wh_result(i, 4, &isnull);
	}
	carry->walked += (int64) i;
	carry->ended = i == SPI_processed && SPI_processed < WALK_AT_ONCE;
}

void
wh_store_carry(WhCarry *carry)
{
	/* clang-format off */
	static WhPlan move = {
		.sql =
		"UPDATE webhook.outbox o SET segment = $2"
		" WHERE o.segment = $1 AND o.event_number = ANY ($3)",
		3,
		{INT2OID, INT2OID, INT8ARRAYOID}};
	/* clang-format on */
	/* an event that is missing cannot be sent */
	/* clang-format off */
	static WhPlan forget = {
		.sql =
		"DELETE FROM webhook.pending p"
		" WHERE p.ctid = ANY ($1)"
		"   AND NOT EXISTS (SELECT FROM webhook.outbox o"
		"                    WHERE o.event_number = p.event_number OFFSET 0)",
		1,
		{TIDARRAYOID}};
	/* clang-format on */
	/* wherever the event is now: another of its pending rows may have moved it earlier, to another segment */
	/* clang-format off */
	static WhPlan follow = {
		.sql =
		"UPDATE webhook.pending p"
		"   SET segment = (SELECT o.segment FROM webhook.outbox o"
		"                   WHERE o.event_number = p.event_number LIMIT 1)"
		" WHERE p.ctid = ANY ($1)"
		"   AND EXISTS (SELECT FROM webhook.outbox o"
		"                WHERE o.event_number = p.event_number OFFSET 0)",
		1,
		{TIDARRAYOID}};
	/* clang-format on */
	int to = wh_segment_at(timestamptz_to_time_t(GetCurrentTimestamp()));
	Portion portion = {0};
	Datum values[3] = {Int16GetDatum((int16) carry->from), Int16GetDatum((int16) to)};
	Datum rows;

	walk(carry, &portion);
	if (portion.n == 0)
		return;
	values[2] = wh_int8_array(portion.events, portion.n);
	rows = PointerGetDatum(
		construct_array(portion.rows, portion.n, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	wh_plan_run(&move, values, NULL, SPI_OK_UPDATE);
	carry->moved += SPI_processed;
	wh_plan_run(&forget, &rows, NULL, SPI_OK_DELETE);
	carry->gone += SPI_processed;
	wh_plan_run(&follow, &rows, NULL, SPI_OK_UPDATE);
}
