/*
 * store_requeue.c
 *	  Requested rows of webhook.pending: those of redeliver and replay.
 *
 * SQL writes them as 'requested', and the worker has not counted them. It defers
 * them, and then knows how many it may fetch. The statements leave the planner no
 * choice: see store_pending.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "store.h"
#include "store_event.h"
#include "store_requeue.h"

int
wh_store_requested(int64 subscription_id, int64 after, WhRequested *rows, int max)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT p.event_number, o.entity_type, o.entity_id, o.segment"
		"  FROM (SELECT q.event_number, q.segment FROM webhook.pending q"
		"         WHERE q.subscription_id = $1 AND q.state = 'requested' AND q.event_number > $3"
		"         ORDER BY q.subscription_id, q.event_number"
		"         LIMIT $2) p"
		"  LEFT JOIN LATERAL " WH_EVENT_OF("p.event_number", "p.segment") " o ON true",
		3,
		{INT8OID, INT8OID, INT8OID}};
	/* clang-format on */
	Datum values[3] = {Int64GetDatum(subscription_id), Int64GetDatum(max), Int64GetDatum(after)};
	int n;

	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	n = (int) Min(SPI_processed, (uint64) max);
	for (int i = 0; i < n; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		WhEvent event = {.action_type = "", .entity_type = wh_utf8_column(row, desc, 2)};
		bool isnull;

		rows[i] = (WhRequested){.event_number = wh_result_int8((uint64) i, 1),
								.segment = DatumGetInt16(wh_result((uint64) i, 4, &isnull))};
		if (event.entity_type == NULL)
			continue;
		event.id = rows[i].event_number;
		event.entity_id = wh_utf8_column(row, desc, 3);
		if ((rows[i].event = wh_event_make(&event)) == NULL)
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
	}
	return n;
}

int64
wh_store_defer_requested(int64 subscription_id, const WhRequested *rows, int n)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.pending p"
		"   SET state = 'deferred',"
		"       lane = ($3)[array_position($2, p.event_number)],"
		"       segment = ($4)[array_position($2, p.event_number)]"
		" WHERE p.state = 'requested'"
		"   AND p.ctid = ANY (ARRAY("
		"         SELECT q.ctid FROM unnest($2) k(event_number)"
		"          CROSS JOIN LATERAL (SELECT r.ctid FROM webhook.pending r"
		"                               WHERE r.subscription_id = $1"
		"                                 AND r.event_number = k.event_number OFFSET 0) q))",
		4,
		{INT8OID, INT8ARRAYOID, INT8ARRAYOID, INT2ARRAYOID}};
	/* clang-format on */
	int64 *numbers = palloc(n * sizeof(int64));
	int64 *lanes = palloc(n * sizeof(int64));
	Datum *segments = palloc(n * sizeof(Datum));
	Datum values[4];

	for (int i = 0; i < n; i++)
	{
		segments[i] = Int16GetDatum(rows[i].segment);
		numbers[i] = rows[i].event_number;
		lanes[i] = (int64) rows[i].lane;
	}
	values[0] = Int64GetDatum(subscription_id);
	values[1] = wh_int8_array(numbers, n);
	values[2] = wh_int8_array(lanes, n);
	values[3] = PointerGetDatum(construct_array(segments, n, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
	wh_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
	return (int64) SPI_processed;
}
