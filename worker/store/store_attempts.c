/*
 * store_attempts.c
 *	  The rows of webhook.attempt: one for each request that has ended.
 *
 * They are most of what a settle writes, so they go into the current segment as COPY
 * writes rows: many in one WAL record, with no plan and no executor but that of their
 * indexes. That is done only while the table is as the extension made it. Triggers,
 * rules, constraints, columns, row security and revoked privileges of people are looked
 * for each time. If there are any, or the current segment is not where the rows belong,
 * an INSERT writes the rows, as it would for anybody else. Indexes that people add are
 * kept up either way: both ways use the executor for them.
 *
 * The index by entity is a BRIN index, which knows only what is summarized. What was
 * written since is read whole by whoever looks for an entity, so whenever a range of
 * pages is full the worker summarizes it, as VACUUM would, but at once. Which index that
 * is is found by what it is, not by its name.
 *
 * Owns how far the current segment has been summarized.
 */
#include "postgres.h"

#include "access/brin.h"
#include "access/genam.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "lib/qunique.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "partitioning/partdesc.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "clock.h"
#include "compat.h"
#include "schema_check.h"
#include "settings.h"
#include "sql_version.h"
#include "store.h"
#include "store_attempts.h"
#include "store_rights.h"

/* What the log has of an entity's id: no more than an index can surely hold. */
#define ENTITY_ID_MAX 500

#define ROWS_AT_ONCE 128 /* in one call; of a page each, there is one record of WAL */

#define PAGES_PER_RANGE 16 /* of the index by entity, as 30_logs.sql makes it */
#define RANGES_AT_ONCE 32  /* summarized in one transaction: some 30 ms */

typedef enum AttemptColumn
{
	STARTED_AT,
	EVENT_NUMBER,
	SUBSCRIPTION_ID,
	ATTEMPT_NUMBER,
	HTTP_STATUS,
	DURATION_MS,
	SEGMENT,
	OUTCOME,
	SUBSCRIPTION,
	ENTITY_TYPE,
	ENTITY_ID,
	ACTION_TYPE,
	ERROR_TEXT,
	RESPONSE,
	RESPONSE_HEADERS, /* since 1.1 */
	ATTEMPT_COLUMNS
} AttemptColumn;

/* As the table has them, in its order. */
static const struct
{
	const char *name;
	Oid type;
	bool never_null;
} attempt_columns[] = {
	[STARTED_AT] = {"started_at", TIMESTAMPTZOID, true},
	[EVENT_NUMBER] = {"event_number", INT8OID, true},
	[SUBSCRIPTION_ID] = {"subscription_id", INT8OID, true},
	[ATTEMPT_NUMBER] = {"attempt_number", INT4OID, true},
	[HTTP_STATUS] = {"http_status", INT4OID, false},
	[DURATION_MS] = {"duration_ms", FLOAT4OID, true},
	[SEGMENT] = {"segment", INT2OID, true},
	[OUTCOME] = {"outcome", TEXTOID, true},
	[SUBSCRIPTION] = {"subscription", TEXTOID, false},
	[ENTITY_TYPE] = {"entity_type", TEXTOID, true},
	[ENTITY_ID] = {"entity_id", TEXTOID, false},
	[ACTION_TYPE] = {"action_type", TEXTOID, true},
	[ERROR_TEXT] = {"error", TEXTOID, false},
	[RESPONSE] = {"response", TEXTOID, false},
	[RESPONSE_HEADERS] = {"response_headers", TEXTOID, false},
};
StaticAssertDecl(lengthof(attempt_columns) == ATTEMPT_COLUMNS, "every column of the log has a name");

static struct
{
	int segment;        /* the current one, when it was last written */
	BlockNumber blocks; /* it had so many then, */
	BlockNumber next;   /* and those before this one are summarized */
	BlockNumber range;  /* so many at once */
} summary = {.segment = -1, .range = PAGES_PER_RANGE};

/*
 * Rows
 */

static bool
has_response_headers(void)
{
	return wh_sql_version(wh_rights_version()) >= WH_SQL_1_1;
}

/* The table has so many of them; those that came later are at the end. */
static int
n_columns(void)
{
	return has_response_headers() ? ATTEMPT_COLUMNS : RESPONSE_HEADERS;
}

Datum
wh_text_datum(const char *utf8)
{
	char *copy;

	if (GetDatabaseEncoding() == PG_UTF8)
		return CStringGetTextDatum(utf8);
	copy = pstrdup(utf8);
	return CStringGetTextDatum(wh_only_ascii(copy));
}

static Datum
entity_id_datum(const char *entity_id)
{
	Datum datum = wh_text_datum(entity_id);

	if (strlen(entity_id) <= ENTITY_ID_MAX)
		return datum;
	return DirectFunctionCall2(text_left, datum, Int32GetDatum(ENTITY_ID_MAX));
}

/* What is not the same for all is set by the caller: SUBSCRIPTION. */
static void
fill_row(Datum *values, bool *isnull, const WhDelivery *d, int segment)
{
	const char *entity_id = d->event->entity_id;

	memset(isnull, 0, sizeof(bool) * ATTEMPT_COLUMNS);
	values[STARTED_AT] = TimestampTzGetDatum(wh_timestamp_of(d->wall_us));
	values[EVENT_NUMBER] = Int64GetDatum(d->event->id);
	values[SUBSCRIPTION_ID] = Int64GetDatum(d->subscription_id);
	values[ATTEMPT_NUMBER] = Int32GetDatum(d->attempts);
	values[HTTP_STATUS] = Int32GetDatum(d->http_status);
	isnull[HTTP_STATUS] = d->http_status == 0;
	values[DURATION_MS] = Float4GetDatum((float) d->duration_us / 1000);
	values[SEGMENT] = Int16GetDatum((int16) segment);
	values[OUTCOME] = CStringGetTextDatum(d->word);
	values[ENTITY_TYPE] = wh_text_datum(d->event->entity_type);
	values[ENTITY_ID] = entity_id ? entity_id_datum(entity_id) : (Datum) 0;
	isnull[ENTITY_ID] = entity_id == NULL;
	values[ACTION_TYPE] = wh_text_datum(d->event->action_type);
	values[ERROR_TEXT] = d->error ? wh_text_datum(d->error) : (Datum) 0;
	isnull[ERROR_TEXT] = d->error == NULL;
	values[RESPONSE] = d->response ? wh_text_datum(d->response) : (Datum) 0;
	isnull[RESPONSE] = d->response == NULL;
	values[RESPONSE_HEADERS] = d->headers ? wh_text_datum(d->headers) : (Datum) 0;
	isnull[RESPONSE_HEADERS] = d->headers == NULL;
}

/*
 * The subscriptions' names
 */

typedef struct SubscriptionName
{
	int64 subscription_id;
	Datum name;
	bool isnull; /* it is gone */
} SubscriptionName;

static int
name_compare(const void *a, const void *b)
{
	int64 p = ((const SubscriptionName *) a)->subscription_id;
	int64 q = ((const SubscriptionName *) b)->subscription_id;

	return p < q ? -1 : p > q ? 1 : 0;
}

/* Of all subscriptions that something was sent to, in the order of their ids. */
static SubscriptionName *
names_of(WhDelivery *const *deliveries, int n, int *n_names)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT s.id, s.name FROM webhook.subscription s WHERE s.id = ANY ($1)",
		1,
		{INT8ARRAYOID}};
	/* clang-format on */
	SubscriptionName *names = palloc(n * sizeof(SubscriptionName));
	int64 *ids;
	Datum value;

	*n_names = 0;
	for (int i = 0; i < n; i++)
		if (*n_names == 0 || names[*n_names - 1].subscription_id != deliveries[i]->subscription_id)
			names[(*n_names)++] =
				(SubscriptionName){.subscription_id = deliveries[i]->subscription_id, .isnull = true};
	qsort(names, *n_names, sizeof(SubscriptionName), name_compare);
	*n_names = (int) qunique(names, *n_names, sizeof(SubscriptionName), name_compare);
	ids = palloc(*n_names * sizeof(int64));
	for (int i = 0; i < *n_names; i++)
		ids[i] = names[i].subscription_id;
	value = wh_int8_array(ids, *n_names);
	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		SubscriptionName key = {.subscription_id = wh_result_int8(row, 1)};
		SubscriptionName *name = bsearch(&key, names, *n_names, sizeof(SubscriptionName), name_compare);

		if (name)
			name->name = wh_result(row, 2, &name->isnull);
	}
	return names;
}

/*
 * As COPY does
 */

static bool
has_our_columns(Relation relation)
{
	TupleDesc desc = RelationGetDescr(relation);

	if (desc->natts != n_columns())
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || attribute->atttypid != attempt_columns[i].type ||
			attribute->atttypmod != -1 || attribute->attgenerated != '\0' || attribute->attidentity != '\0' ||
			(attribute->attnotnull && !attempt_columns[i].never_null) ||
			strcmp(NameStr(attribute->attname), attempt_columns[i].name) != 0)
			return false;
	}
	return desc->constr == NULL || desc->constr->num_check == 0;
}

/* As an INSERT finds them: one that is being detached is none any more. */
static bool
is_partition_of(Relation segment, Relation log)
{
	PartitionDesc partitions = RelationGetPartitionDesc(log, true);

	for (int i = 0; i < partitions->nparts; i++)
		if (partitions->oids[i] == RelationGetRelid(segment))
			return true;
	return false;
}

/* May rows be written as COPY does, past everything that an INSERT would look at? */
static bool
is_as_made(Relation log, Relation segment)
{
	return log->rd_rel->relkind == RELKIND_PARTITIONED_TABLE &&
		   segment->rd_rel->relkind == RELKIND_RELATION && is_partition_of(segment, log) &&
		   has_our_columns(log) && has_our_columns(segment) && log->trigdesc == NULL &&
		   segment->trigdesc == NULL && log->rd_rules == NULL &&
		   !(log->rd_rel->relrowsecurity && log->rd_rel->relforcerowsecurity) &&
		   pg_class_aclcheck(RelationGetRelid(log), GetUserId(), ACL_INSERT) == ACLCHECK_OK && !XactReadOnly;
}

/* The rows that wait, into the table and its indexes. */
static void
flush(ResultRelInfo *result, EState *estate, TupleTableSlot **slots, int n)
{
	table_multi_insert(result->ri_RelationDesc, slots, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
	{
		list_free(wh_insert_index_tuples(result, slots[i], estate));
		ResetPerTupleExprContext(estate);
		ExecClearTuple(slots[i]);
	}
}

/* False, and nothing is written: they do not belong into this segment. */
static bool
copy_rows(Relation segment, int number, WhDelivery *const *deliveries, int n)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *result = makeNode(ResultRelInfo);
	TupleTableSlot *slots[ROWS_AT_ONCE];
	const int columns = n_columns();
	int n_slots = 0;
	int waiting = 0;
	int n_names;
	SubscriptionName *names = names_of(deliveries, n, &n_names);
	bool belongs = true;

	InitResultRelInfo(result, segment, 0, NULL, 0);
	ExecOpenIndices(result, false);
	for (int i = 0; i < n && belongs; i++)
	{
		const WhDelivery *d = deliveries[i];
		SubscriptionName key = {.subscription_id = d->subscription_id};
		const SubscriptionName *name;
		TupleTableSlot *slot;
		Datum values[ATTEMPT_COLUMNS];
		bool isnull[ATTEMPT_COLUMNS];

		if (waiting == n_slots)
			slots[n_slots++] = table_slot_create(segment, NULL);
		slot = ExecClearTuple(slots[waiting]);
		fill_row(values, isnull, d, number);
		name = bsearch(&key, names, n_names, sizeof(SubscriptionName), name_compare);
		values[SUBSCRIPTION] = name->name;
		isnull[SUBSCRIPTION] = name->isnull;
		memcpy(slot->tts_values, values, sizeof(Datum) * columns);
		memcpy(slot->tts_isnull, isnull, sizeof(bool) * columns);
		ExecStoreVirtualTuple(slot);
		/* what matters there is the same in all */
		belongs = n_slots > 1 || ExecPartitionCheck(result, slot, estate, false);
		if (belongs && ++waiting == ROWS_AT_ONCE)
		{
			flush(result, estate, slots, waiting);
			waiting = 0;
		}
	}
	if (belongs && waiting > 0)
		flush(result, estate, slots, waiting);
	ExecCloseIndices(result);
	for (int i = 0; i < n_slots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	FreeExecutorState(estate);
	CommandCounterIncrement();
	return belongs;
}

/*
 * As everybody does
 */

/* The rows to be written, as a relation that exists while the statement runs. */
#define ATTEMPTS "new_attempts"

static void
insert_rows(int number, WhDelivery *const *deliveries, int n)
{
	/* clang-format off */
#define INSERT_ATTEMPTS(more_columns, more_values) \
		"INSERT INTO webhook.attempt" \
		"       (event_number, subscription_id, attempt_number, started_at, outcome, http_status," \
		"        error, duration_ms, response, entity_type, entity_id, action_type," \
		"        subscription, segment" more_columns ")" \
		" SELECT a.event_number, a.subscription_id, a.attempt_number, a.started_at, a.outcome," \
		"        a.http_status, a.error, a.duration_ms, a.response, a.entity_type, a.entity_id," \
		"        a.action_type," \
		"        (SELECT s.name FROM webhook.subscription s WHERE s.id = a.subscription_id)," \
		"        a.segment" more_values \
		"   FROM " ATTEMPTS " a"
	static WhPlan of_1_0 = {.sql = INSERT_ATTEMPTS("", "")};
	static WhPlan of_1_1 = {.sql = INSERT_ATTEMPTS(", response_headers", ", a.response_headers")};
	/* clang-format on */
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	TupleDesc row = CreateTemplateTupleDesc(ATTEMPT_COLUMNS);
	static EphemeralNamedRelationData relation; /* SPI holds on to it where the statement fails */

	relation = (EphemeralNamedRelationData){
		.md = {.name = ATTEMPTS, .tupdesc = row, .enrtype = ENR_NAMED_TUPLESTORE}, .reldata = rows};
	for (int i = 0; i < ATTEMPT_COLUMNS; i++)
		TupleDescInitEntry(row, (AttrNumber) (i + 1), attempt_columns[i].name, attempt_columns[i].type, -1,
						   0);
	wh_row_is_described(row);
	for (int i = 0; i < n; i++)
	{
		Datum values[ATTEMPT_COLUMNS];
		bool isnull[ATTEMPT_COLUMNS];

		fill_row(values, isnull, deliveries[i], number);
		values[SUBSCRIPTION] = (Datum) 0;
		isnull[SUBSCRIPTION] = true;
		tuplestore_putvalues(rows, row, values, isnull);
		relation.md.enrtuples++;
	}
	(void) SPI_unregister_relation(ATTEMPTS); /* left behind by a failed subtransaction */
	if (SPI_register_relation(&relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the rows of webhook.attempt");
	wh_plan_run(has_response_headers() ? &of_1_1 : &of_1_0, NULL, NULL, SPI_OK_INSERT);
	SPI_unregister_relation(ATTEMPTS);
	tuplestore_end(rows);
}

/* Those of which there was a request. */
static WhDelivery **
attempted_of(WhDelivery *const *deliveries, int n, int *n_attempted)
{
	WhDelivery **attempted = palloc(Max(1, n) * sizeof(WhDelivery *));

	*n_attempted = 0;
	for (int i = 0; i < n; i++)
		if (deliveries[i]->attempted)
			attempted[(*n_attempted)++] = deliveries[i];
	return attempted;
}

static Oid
of_segment(const char *pattern, int segment)
{
	return get_relname_relid(psprintf(pattern, segment), get_namespace_oid("webhook", false));
}

/* Locked for writing. NULL: it is gone. */
static Relation
open_to_write(const char *pattern, int segment)
{
	Oid relid = of_segment(pattern, segment);

	return OidIsValid(relid) ? try_relation_open(relid, RowExclusiveLock) : NULL;
}

/* How large it is now, for what is to be summarized. */
static void
note_size(Relation relation, int segment)
{
	BlockNumber blocks =
		relation->rd_rel->relkind == RELKIND_RELATION ? RelationGetNumberOfBlocks(relation) : 0;

	if (summary.segment != segment || blocks < summary.next)
		summary.next = 0; /* another one, or it was emptied */
	summary.segment = segment;
	summary.blocks = blocks;
}

void
wh_store_attempts(WhDelivery *const *deliveries, int n)
{
	int current = wh_segment_at(timestamptz_to_time_t(GetCurrentTimestamp()));
	int n_attempted;
	WhDelivery **attempted = attempted_of(deliveries, n, &n_attempted);
	Relation log;
	Relation segment;

	if (n_attempted == 0)
		return;
	/* in the order in which everybody locks them, and before they are checked */
	log = open_to_write("attempt", current);
	segment = open_to_write("attempt_%d", current);
	wh_schema_check();
	if (log == NULL || segment == NULL || !is_as_made(log, segment) ||
		!copy_rows(segment, current, attempted, n_attempted))
		insert_rows(current, attempted, n_attempted);
	if (segment != NULL)
	{
		note_size(segment, current);
		relation_close(segment, NoLock);
	}
	if (log != NULL)
		relation_close(log, NoLock);
}

/*
 * Summaries
 */

/* The last page is still being filled: each row that came into a summarized range would write its filter again. */
bool
wh_store_summary_due(void)
{
	return summary.blocks > summary.next + summary.range;
}

/* The BRIN index by entity, whoever made it; InvalidOid: people drop indexes that they do not need. */
static Oid
index_by_entity(Relation segment)
{
	AttrNumber column = get_attnum(RelationGetRelid(segment), attempt_columns[ENTITY_ID].name);
	List *indexes = RelationGetIndexList(segment);
	Oid found = InvalidOid;
	ListCell *lc;

	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (!OidIsValid(found) && index->rd_rel->relam == BRIN_AM_OID && form->indkey.values[0] == column &&
			form->indisvalid && form->indisready)
		{
			found = RelationGetRelid(index);
			summary.range = BrinGetPagesPerRange(index);
		}
		index_close(index, NoLock);
	}
	list_free(indexes);
	return found;
}

static void
summarize(Relation segment)
{
	Oid index =
		segment && segment->rd_rel->relkind == RELKIND_RELATION ? index_by_entity(segment) : InvalidOid;

	if (!OidIsValid(index))
		summary.next = summary.blocks;
	else if (ConditionalLockRelationOid(index, ShareUpdateExclusiveLock))
		for (int i = 0; i < RANGES_AT_ONCE && wh_store_summary_due(); i++)
		{
			(void) DirectFunctionCall2(brin_summarize_range, ObjectIdGetDatum(index),
									   Int64GetDatum((int64) summary.next));
			summary.next += summary.range - summary.next % summary.range;
		}
}

/* Whoever has locked the table or the index against it, such as VACUUM, is not waited for: next time. */
void
wh_store_summarize(void)
{
	Oid relid = of_segment("attempt_%d", summary.segment);
	Relation segment = NULL;

	if (OidIsValid(relid))
	{
		if (!ConditionalLockRelationOid(relid, ShareUpdateExclusiveLock))
			return;
		segment = try_relation_open(relid, NoLock);
	}
	wh_schema_check();
	summarize(segment);
	if (segment != NULL)
		relation_close(segment, NoLock);
}
