/*
 * store_settle.c
 *	  What is written about deliveries that have ended or must be kept: attempts,
 *	  pending, dead letters.
 *
 * A settle is one short transaction for many outcomes. A delivery that simply
 * succeeded costs one row of webhook.attempt (store_attempts.c) and nothing else. Each
 * of the other tables, where few deliveries have a row, is written by one statement
 * over arrays. The statements leave the planner no choice: see store_pending.c.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "store.h"
#include "store_attempts.h"
#include "store_event.h"
#include "store_pending.h"
#include "store_read.h"
#include "store_settle.h"

/* A column of a statement over arrays, while it is filled. */
typedef struct Column
{
	Oid type;
	int16 len;
	bool byval;
	char align;
	int n;
	Datum *values;
	bool *nulls;
} Column;

static void
columns_init(Column *columns, const Oid *types, int n, int cap)
{
	for (Column *c = columns; c < columns + n; c++)
	{
		*c = (Column){.type = types[c - columns]};
		get_typlenbyvalalign(c->type, &c->len, &c->byval, &c->align);
		c->values = palloc(Max(1, cap) * sizeof(Datum));
		c->nulls = palloc(Max(1, cap) * sizeof(bool));
	}
}

static void
column_add(Column *c, Datum value, bool isnull)
{
	c->values[c->n] = value;
	c->nulls[c->n++] = isnull;
}

/* As the parameters of their statement. */
static void
columns_arrays(const Column *columns, int n, Datum *values)
{
	for (const Column *c = columns; c < columns + n; c++)
	{
		int dims[1] = {c->n};
		int lower[1] = {1};

		values[c - columns] = PointerGetDatum(construct_md_array(c->values, c->nulls, c->n > 0 ? 1 : 0, dims,
																 lower, c->type, c->len, c->byval, c->align));
	}
}

/*
 * Settling
 */

/* clang-format off */
#define PENDING_COLUMNS \
	"subscription_id, event_number, lane, state, attempts, next_attempt_at," \
	" first_attempt_at, last_error, segment, size, batch, judged"

/* Rows to keep, unless subscription or event are gone; the event may be in another segment by now. */
#define ROWS_TO_KEEP \
	"SELECT k.subscription_id, k.event_number, k.lane, k.state, k.attempts, k.next_attempt_at," \
	"       k.first_attempt_at, k.last_error, o.segment, k.size, k.batch, k.judged" \
	"  FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) k(" PENDING_COLUMNS ")" \
	" CROSS JOIN LATERAL " WH_EVENT_OF("k.event_number", "k.segment") " o" \
	" WHERE EXISTS (SELECT FROM webhook.subscription s WHERE s.id = k.subscription_id)"
/* clang-format on */
#define N_PENDING 12

/* Is there an index that finds a second row of a delivery? People drop indexes they do not know. */
static bool
has_unique_index(void)
{
	Oid index = get_relname_relid("pending_idx", get_namespace_oid("webhook", false));
	HeapTuple row = OidIsValid(index) ? SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index)) : NULL;
	bool unique;

	if (!HeapTupleIsValid(row))
		return false;
	unique = ((Form_pg_index) GETSTRUCT(row))->indisunique && ((Form_pg_index) GETSTRUCT(row))->indisvalid;
	ReleaseSysCache(row);
	return unique;
}

static bool
is_kept(const WhDelivery *d)
{
	return d->disposal == WH_DO_RETRY || d->disposal == WH_DO_BLOCK || d->disposal == WH_DO_DEFER;
}

typedef struct Kept
{
	WhPair pair;
	int at;
} Kept;

static int
kept_compare(const void *a, const void *b)
{
	const Kept *p = a;
	const Kept *q = b;
	int order = wh_pair_compare(&p->pair, &q->pair);

	return order != 0 ? order : p->at - q->at;
}

/* The deliveries to keep, each pair once: if it was made twice, as it ended last. */
static const WhDelivery **
kept_once(WhDelivery *const *deliveries, int n, int *n_kept)
{
	Kept *kept = palloc(Max(1, n) * sizeof(Kept));
	const WhDelivery **once = palloc(Max(1, n) * sizeof(WhDelivery *));
	int n_all = 0;

	for (int i = 0; i < n; i++)
		if (is_kept(deliveries[i]))
			kept[n_all++] = (Kept){.pair = {.event_number = deliveries[i]->event->id,
											.subscription_id = deliveries[i]->subscription_id},
								   .at = i};
	qsort(kept, n_all, sizeof(Kept), kept_compare);
	*n_kept = 0;
	for (int i = 0; i < n_all; i++)
		if (i + 1 == n_all || wh_pair_compare(&kept[i].pair, &kept[i + 1].pair) != 0)
			once[(*n_kept)++] = deliveries[kept[i].at];
	return once;
}

/* For each delivery to keep, insert a row of pending or update the one there is. */
static void
write_pending(WhDelivery *const *deliveries, int n)
{
	/* clang-format off */
	static WhPlan upsert = {
		.sql =
		"INSERT INTO webhook.pending (" PENDING_COLUMNS ") " ROWS_TO_KEEP
		" ON CONFLICT (subscription_id, event_number) WHERE subscription_id IS NOT NULL DO UPDATE"
		"   SET state = excluded.state, attempts = excluded.attempts,"
		"       next_attempt_at = excluded.next_attempt_at,"
		"       first_attempt_at = excluded.first_attempt_at,"
		"       last_error = coalesce(excluded.last_error, pending.last_error),"
		"       segment = excluded.segment, batch = excluded.batch",
		N_PENDING,
		{INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID,
		 TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT2ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, BOOLARRAYOID}};
	/* clang-format on */
	/* clang-format off */
	static WhPlan without_index = {
		.sql =
		"WITH kept AS MATERIALIZED (" ROWS_TO_KEEP "), "
		"changed AS ("
		" UPDATE webhook.pending p"
		"    SET state = c.state, attempts = c.attempts,"
		"        next_attempt_at = c.next_attempt_at,"
		"        first_attempt_at = c.first_attempt_at,"
		"        last_error = coalesce(c.last_error, p.last_error),"
		"        segment = c.segment, batch = c.batch"
		"   FROM kept c"
		"  WHERE c.subscription_id = p.subscription_id AND c.event_number = p.event_number)"
		" INSERT INTO webhook.pending (" PENDING_COLUMNS ")"
		" SELECT " PENDING_COLUMNS
		"   FROM kept c"
		"  WHERE NOT EXISTS (SELECT FROM webhook.pending p"
		"                     WHERE p.subscription_id = c.subscription_id"
		"                       AND p.event_number = c.event_number)"
		" ON CONFLICT DO NOTHING",
		N_PENDING,
		{INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID,
		 TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT2ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, BOOLARRAYOID}};
	/* clang-format on */
	static const Oid types[N_PENDING] = {INT8OID,        INT8OID, INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID,
										 TIMESTAMPTZOID, TEXTOID, INT2OID, INT4OID, INT8OID, BOOLOID};
	Column c[N_PENDING];
	Datum values[N_PENDING];
	int n_kept;
	const WhDelivery **kept = kept_once(deliveries, n, &n_kept);

	if (n_kept == 0)
		return;
	columns_init(c, types, N_PENDING, n_kept);
	for (int i = 0; i < n_kept; i++)
	{
		const WhDelivery *d = kept[i];
		const char *state;
		TimestampTz due;

		if (d->disposal == WH_DO_RETRY)
		{
			state = "retry";
			due = wh_table_time(d->due_us ? wh_timestamp_of(d->due_us) : wh_now());
		}
		else if (d->disposal == WH_DO_BLOCK)
		{
			state = "blocked";
			due = DT_NOEND;
		}
		else if (d->disposal == WH_DO_DEFER)
		{
			state = "deferred";
			due = wh_table_time(wh_now());
			wh_store_deferred_at(d->subscription_id, d->event->id);
		}
		else
			elog(ERROR, "a delivery that is not kept");
		column_add(&c[0], Int64GetDatum(d->subscription_id), false);
		column_add(&c[1], Int64GetDatum(d->event->id), false);
		column_add(&c[2], Int64GetDatum((int64) d->lane), false);
		column_add(&c[3], CStringGetTextDatum(state), false);
		column_add(&c[4], Int32GetDatum(d->attempts), false);
		column_add(&c[5], TimestampTzGetDatum(due), false);
		column_add(&c[6],
				   d->first_us && d->attempts > 0
					   ? TimestampTzGetDatum(wh_table_time(wh_timestamp_of(d->first_us)))
					   : (Datum) 0,
				   d->first_us == 0 || d->attempts == 0);
		column_add(&c[7], d->error ? wh_text_datum(d->error) : (Datum) 0, d->error == NULL);
		column_add(&c[8], Int16GetDatum(d->event->segment), false);
		column_add(&c[9], Int32GetDatum((int32) Min(d->event->size, INT_MAX)), false);
		column_add(&c[10], Int64GetDatum(d->batch), d->batch == 0 || d->disposal == WH_DO_DEFER);
		column_add(&c[11], BoolGetDatum(!d->unjudged), false);
	}
	columns_arrays(c, N_PENDING, values);
	wh_plan_run(has_unique_index() ? &upsert : &without_index, values, NULL, SPI_OK_INSERT);
}

/* Given up: the event is copied whole, because its segment will be emptied. */
static void
write_dead_letters(WhDelivery *const *deliveries, int n)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"INSERT INTO webhook.dead_letter"
		"       (subscription_id, event_number, subscription, reason, attempts, first_attempt_at,"
		"        xid, entity_id, entity_type, action_type, result, previous, tenant, context,"
		"        created_at)"
		" SELECT s.id, o.event_number, coalesce(s.name, ''), k.reason, k.attempts, k.first_attempt_at,"
		"        coalesce(o.xid, '0'), o.entity_id, coalesce(o.entity_type, ''),"
		"        coalesce(o.action_type, ''), o.result, o.previous, o.tenant, o.context,"
		"        coalesce(o.created_at, clock_timestamp())"
		"   FROM unnest($1, $2, $3, $4, $5, $6)"
		"        k(subscription_id, event_number, reason, attempts, first_attempt_at, segment)"
		"  CROSS JOIN LATERAL (SELECT b.id, b.name FROM webhook.subscription b"
		"                       WHERE b.id = k.subscription_id OFFSET 0) s"
		"  CROSS JOIN LATERAL " WH_EVENT_OF("k.event_number", "k.segment") " o"
		" ON CONFLICT DO NOTHING",
		6,
		{INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID,
		 INT2ARRAYOID}};
	/* clang-format on */
	static const Oid types[6] = {INT8OID, INT8OID, TEXTOID, INT4OID, TIMESTAMPTZOID, INT2OID};
	Column c[6];
	Datum values[6];

	columns_init(c, types, 6, n);
	for (int i = 0; i < n; i++)
	{
		const WhDelivery *d = deliveries[i];

		if (d->disposal != WH_DO_DEAD_LETTER)
			continue;
		column_add(&c[0], Int64GetDatum(d->subscription_id), false);
		column_add(&c[1], Int64GetDatum(d->event->id), false);
		column_add(&c[2], wh_text_datum(d->error ? d->error : d->word), false);
		column_add(&c[3], Int32GetDatum(d->attempts), false);
		column_add(&c[4], TimestampTzGetDatum(wh_table_time(wh_timestamp_of(d->first_us))), d->first_us == 0);
		column_add(&c[5], Int16GetDatum(d->event->segment), false);
	}
	if (c[0].n == 0)
		return;
	columns_arrays(c, 6, values);
	wh_plan_run(&plan, values, NULL, SPI_OK_INSERT);
}

/* Delivered or dead letters, with a row in pending. */
static void
delete_pending(WhDelivery *const *deliveries, int n)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"DELETE FROM webhook.pending"
		" WHERE ctid = ANY (ARRAY("
		"       SELECT q.ctid"
		"         FROM unnest($1, $2) k(subscription_id, event_number)"
		"        CROSS JOIN LATERAL (SELECT p.ctid FROM webhook.pending p"
		"                             WHERE p.subscription_id = k.subscription_id"
		"                               AND p.event_number = k.event_number OFFSET 0) q))",
		2,
		{INT8ARRAYOID, INT8ARRAYOID}};
	/* clang-format on */
	static const Oid types[2] = {INT8OID, INT8OID};
	Column c[2];
	Datum values[2];

	columns_init(c, types, 2, n);
	for (int i = 0; i < n; i++)
	{
		const WhDelivery *d = deliveries[i];

		if (!d->stored || (d->disposal != WH_DO_DONE && d->disposal != WH_DO_DEAD_LETTER))
			continue;
		column_add(&c[0], Int64GetDatum(d->subscription_id), false);
		column_add(&c[1], Int64GetDatum(d->event->id), false);
	}
	if (c[0].n == 0)
		return;
	columns_arrays(c, 2, values);
	wh_plan_run(&plan, values, NULL, SPI_OK_DELETE);
}

static bool
disables(const WhDelivery *d)
{
	return d->attempted && d->class == WH_CLASS_DISABLE;
}

/*
 * An endpoint that answered 410 Gone wants no more; its deliveries are kept until
 * somebody resumes the subscription. If the subscription was active until now, one
 * delivery is marked as the one that disabled it.
 */
static void
disable_subscriptions(WhDelivery *const *deliveries, int n)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.subscription"
		"   SET state = 'disabled', state_reason = 'the endpoint answered 410 Gone'"
		" WHERE id = ANY ($1) AND state = 'active'"
		" RETURNING id",
		1,
		{INT8ARRAYOID}};
	/* clang-format on */
	int64 *ids = palloc(Max(1, n) * sizeof(int64));
	int n_ids = 0;
	Datum value;

	for (int i = 0; i < n; i++)
	{
		deliveries[i]->disabled = false; /* a settle that failed may have set it */
		if (disables(deliveries[i]))
			ids[n_ids++] = deliveries[i]->subscription_id;
	}
	if (n_ids == 0)
		return;
	value = wh_int8_array(ids, n_ids);
	wh_plan_run(&plan, &value, NULL, SPI_OK_UPDATE_RETURNING);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		int64 id = wh_result_int8(row, 1);

		for (int i = 0; i < n; i++)
			if (disables(deliveries[i]) && deliveries[i]->subscription_id == id)
			{
				deliveries[i]->disabled = true;
				break;
			}
	}
}

void
wh_store_settle(WhDelivery *const *deliveries, int n, bool logged)
{
	if (logged)
		wh_store_attempts(deliveries, n);
	write_pending(deliveries, n);
	write_dead_letters(deliveries, n);
	delete_pending(deliveries, n);
	disable_subscriptions(deliveries, n);
}
