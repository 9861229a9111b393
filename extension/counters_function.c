/*
 * counters_function.c
 *	  webhook_internal.counters() and progress(): what the worker has counted, and how far
 *	  long work has come, of the subscriptions that the caller may see. Keeps nothing.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "counters.h"
#include "result_row.h"
#include "worker_slots.h"

PG_FUNCTION_INFO_V1(webhook_counters);
PG_FUNCTION_INFO_V1(webhook_progress);

/* The ids of the subscriptions that the current user may see, row security included; ascending. */
static int64 *
visible_subscriptions(uint64 *n)
{
	int64 *ids;

	SPI_connect();
	if (SPI_execute("SELECT s.id FROM webhook.subscription s ORDER BY s.id", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "webhook.subscription cannot be read");
	*n = SPI_processed;
	ids = SPI_palloc(Max(1, *n) * sizeof(int64));
	for (uint64 i = 0; i < *n; i++)
	{
		bool isnull;

		ids[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	return ids;
}

static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* What the worker reports now, of those that the current user may see, and of the worker itself. */
static int
visible_rows(WhCounter **rows)
{
	WhSlotView slot;
	uint64 n_visible;
	int64 *visible = visible_subscriptions(&n_visible);
	int n = 0;
	int kept = 0;

	*rows = NULL;
	if (wh_my_slot(&slot) && slot.state == WH_SLOT_RUNNING)
		n = wh_counters_copy(slot.counters, rows);
	for (int i = 0; i < n; i++)
	{
		int64 id = (*rows)[i].subscription_id;

		if (id == 0 || bsearch(&id, visible, n_visible, sizeof(int64), compare_ids) != NULL)
			(*rows)[kept++] = (*rows)[i];
	}
	return kept;
}

Datum
webhook_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	WhCounter *rows;
	int n = visible_rows(&rows);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		Datum values[11];
		bool nulls[lengthof(values)] = {0};

		if (rows[i].subscription_id == 0)
			continue;
		values[0] = Int64GetDatum(rows[i].subscription_id);
		values[1] = Int32GetDatum(rows[i].queued);
		values[2] = Int32GetDatum(rows[i].in_flight);
		values[3] = BoolGetDatum(rows[i].catching_up);
		values[4] = CStringGetTextDatum(rows[i].breaker);
		values[5] = Int64GetDatum(rows[i].delivered);
		values[6] = Int64GetDatum(rows[i].failed);
		values[7] = TimestampTzGetDatum(rows[i].last_success_at);
		nulls[7] = rows[i].last_success_at == 0;
		values[8] = TimestampTzGetDatum(rows[i].last_failure_at);
		nulls[8] = rows[i].last_failure_at == 0;
		values[9] = CStringGetTextDatum(rows[i].last_error);
		nulls[9] = rows[i].last_error[0] == '\0';
		values[10] = TimestampTzGetDatum(rows[i].next_probe_at);
		nulls[10] = rows[i].next_probe_at == 0;
		tuplestore_puttuple(rsinfo->setResult,
							wh_result_row(rsinfo->setDesc, values, nulls, lengthof(values)));
	}
	return (Datum) 0;
}

Datum
webhook_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	WhCounter *rows;
	int n = visible_rows(&rows);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		const WhProgress *p = &rows[i].progress;
		Datum values[5];
		bool nulls[5] = {0};

		if (p->command[0] == '\0')
			continue;
		values[0] = CStringGetTextDatum(p->command);
		values[1] = Int64GetDatum(rows[i].subscription_id);
		nulls[1] = rows[i].subscription_id == 0;
		values[2] = Int64GetDatum(p->done);
		values[3] = Int64GetDatum(p->total);
		values[4] = TimestampTzGetDatum(p->started_at);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
