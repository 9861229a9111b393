/*
 * store.c
 *	  The worker's transactions, and its configuration.
 *
 * Called by worker.c and worker_*.c. Plans are kept per process; configuration is read into
 * plain structs. Invalidation callbacks only raise a flag, which is looked at
 * inside the next transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "common/string.h"
#include "mb/pg_wchar.h"

#include "recovered.h"
#include "store.h"
#include "wake.h"

MemoryContext wh_tx_results = NULL;
const char *wh_tx_label = "";

static bool config_stale = true;
static uint32 generation_read = 0;
static Oid subscription_oid = InvalidOid;
static Oid outbox_oid = InvalidOid;
static void (*extension_gone)(WhPresence presence, const char *why) = NULL;

/*
 * Transactions
 */

/* Before any statement fails on it. Tables that are not as they were may be so again, and the step is tried then. */
static void
look_at_extension(void)
{
	const char *why;
	WhPresence presence = wh_store_find_extension(&why);

	if (presence == WH_BROKEN)
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("%s", why));
	if (presence != WH_PRESENT)
		extension_gone(presence, why);
}

void
wh_tx_begin(const char *label)
{
	wh_tx_results = CurrentMemoryContext;
	wh_tx_label = label;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, label);
	if (OidIsValid(outbox_oid) && wh_store_config_stale())
		look_at_extension();
}

void
wh_tx_commit(bool flush)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	/*
	 * With synchronous_commit = off an event is visible before it is durable.
	 * It must not be announced before a crash can no longer undo it. Our own
	 * commit record was inserted after those of all that our snapshot saw.
	 */
	if (flush && !XLogRecPtrIsInvalid(XactLastCommitEnd))
		XLogFlush(XactLastCommitEnd);
}

/* Replace every byte that is not part of a well-formed character of the encoding. */
static void
question_marks(char *text, int encoding)
{
	for (char *at = text; *at;)
	{
		int len = pg_encoding_mblen(encoding, at);

		if ((int) strnlen(at, len) == len && pg_encoding_verifymbchar(encoding, at, len) == len)
			at += len;
		else
			*at++ = '?';
	}
}

char *
wh_to_utf8(char *text)
{
	int encoding = GetDatabaseEncoding();
	int len = strlen(text);
	unsigned char *out;
	Oid proc;
	int done = 0;
	int filled = 0;

	if (encoding == PG_UTF8 || pg_is_ascii(text))
		return text;
	if (encoding == PG_SQL_ASCII)
	{
		/* nobody knows what it is; most often it is UTF-8 */
		question_marks(text, PG_UTF8);
		return text;
	}
	proc = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(proc))
	{
		for (char *c = text; *c; c++)
			if (IS_HIGHBIT_SET(*c))
				*c = '?';
		return text;
	}
	out = MemoryContextAllocHuge(CurrentMemoryContext, (Size) len * MAX_CONVERSION_GROWTH + 1);
	while (done < len)
	{
		done += pg_do_encoding_conversion_buf(
			proc, encoding, PG_UTF8, (unsigned char *) text + done, len - done, out + filled,
			(int) Min(INT_MAX, (Size) (len - done) * MAX_CONVERSION_GROWTH + 1), true);
		filled += strlen((char *) out + filled);
		if (done < len)
		{
			/* this character has no place in UTF-8 */
			done += Max(1, Min(pg_encoding_mblen(encoding, text + done), len - done));
			out[filled++] = '?';
			out[filled] = '\0';
		}
	}
	return (char *) out;
}

void
wh_plan_run(WhPlan *plan, Datum *values, const char *nulls, int expected)
{
	int rc;

	if (plan->plan == NULL)
	{
		SPIPlanPtr prepared = SPI_prepare(plan->sql, plan->n_args, plan->args);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", plan->sql, SPI_result_code_string(SPI_result));
		plan->plan = prepared;
	}
	rc = SPI_execute_plan(plan->plan, values, nulls, false, 0);
	wh_shape_check();
	if (rc != expected)
		elog(ERROR, "\"%s\" returned %s", plan->sql, SPI_result_code_string(rc));
}

/*
 * Is the extension here?
 */

static void
on_relcache_invalidation(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == subscription_oid || relid == outbox_oid)
		config_stale = true;
	wh_shape_changed(relid);
}

void
wh_store_watch_config(void (*gone)(WhPresence presence, const char *why))
{
	extension_gone = gone;
	CacheRegisterRelcacheCallback(on_relcache_invalidation, (Datum) 0);
}

bool
wh_store_config_stale(void)
{
	AcceptInvalidationMessages();
	return wh_store_config_hint();
}

bool
wh_store_config_hint(void)
{
	return config_stale || wh_worker_generation() != generation_read;
}

void
wh_store_config_fresh(uint32 generation)
{
	config_stale = false;
	wh_store_parked_anywhere(); /* who changed it may have put rows there as well */
	generation_read = generation;
}

WhPresence
wh_store_find_extension(const char **why_not)
{
	Oid schema = get_namespace_oid("webhook", true);
	Oid outbox;

	*why_not = NULL;
	if (!OidIsValid(get_extension_oid("webhook", true)) || !OidIsValid(schema))
	{
		*why_not = "the extension is not installed in this database";
		return WH_ABSENT;
	}
	*why_not = wh_shape_problem(schema);
	if (*why_not)
		return WH_BROKEN;
	outbox = get_relname_relid("outbox", schema);
	if (OidIsValid(outbox_oid) && outbox != outbox_oid)
	{
		*why_not = "the extension was created anew";
		return WH_ANEW;
	}
	outbox_oid = outbox;
	subscription_oid = get_relname_relid("subscription", schema);
	return WH_PRESENT;
}

/*
 * Configuration
 */

/*
 * The cluster's timeline is not the one that was known: a standby was promoted,
 * or a backup was recovered. Either way it is written down, so that a restart
 * does not change the answer. NULL, or why this database may not deliver.
 */
static const char *
look_at_timeline(TimeLineID known)
{
	static WhPlan plan = {
		.sql = "UPDATE webhook.identity SET timeline = $1 WHERE timeline <> $1", 1, {INT4OID}};
	const char *why = wh_not_promoted_since(known);
	Datum timeline = Int32GetDatum(why ? 0 : (int32) wh_timeline());

	if (known != 0 && known != wh_timeline())
		wh_plan_run(&plan, &timeline, NULL, SPI_OK_UPDATE);
	return why;
}

bool
wh_store_identity(char instance[WH_INSTANCE_LEN + 1], const char **reason)
{
	static WhPlan plan = {.sql = "SELECT instance, system_identifier = $1 AND database_oid = $2, timeline"
								 " FROM webhook.identity ORDER BY enabled_at DESC, instance",
						  2,
						  {INT8OID, OIDOID}};
	Datum values[2] = {Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId)};
	const char *why = NULL;
	TimeLineID timeline = 0;
	uint64 rows;

	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	rows = SPI_processed;
	for (uint64 i = 0; i < rows; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		bool isnull;

		if (!DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull)))
			why = "this database is a copy of another";
		if (i == 0)
		{
			const char *name = SPI_getvalue(row, SPI_tuptable->tupdesc, 1);

			if (name == NULL || strlen(name) != WH_INSTANCE_LEN)
			{
				*reason = "webhook.identity has a row that is not as webhook.enable() makes it: call it";
				return false;
			}
			strlcpy(instance, name, WH_INSTANCE_LEN + 1);
			timeline = (TimeLineID) DatumGetInt32(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &isnull));
		}
	}
	if (rows > 0 && why == NULL)
		why = look_at_timeline(timeline);
	if (rows == 0)
		*reason = "delivery is not enabled in this database: call webhook.enable()";
	else if (why)
		*reason = MemoryContextStrdup(
			wh_tx_results,
			psprintf("%s: call webhook.enable() if this copy shall deliver in its own name, or "
					 "webhook.enable(moved => true) if it is the original, moved",
					 why));
	else
		*reason = NULL;
	return *reason == NULL;
}

/* A text[] column as C strings, in UTF-8 or as they are, in the upper context; -1 and NULL where the column is null. */
static int
string_array(Datum datum, bool isnull, bool utf8, MemoryContext context, char ***out)
{
	Datum *elements;
	bool *nulls;
	int n;
	int kept = 0;

	*out = NULL;
	if (isnull)
		return -1;
	deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	*out = MemoryContextAlloc(context, Max(1, n) * sizeof(char *));
	for (int i = 0; i < n; i++)
	{
		char *string;

		if (nulls[i])
			continue;
		string = TextDatumGetCString(elements[i]);
		(*out)[kept++] = MemoryContextStrdup(context, utf8 ? wh_to_utf8(string) : string);
	}
	return kept;
}

static char *
string_column(HeapTuple row, TupleDesc desc, int column, MemoryContext context)
{
	char *text = SPI_getvalue(row, desc, column);

	if (text == NULL)
		return NULL;
	return MemoryContextStrdup(context, wh_to_utf8(text));
}

static int64
int_column(HeapTuple row, TupleDesc desc, int column)
{
	bool isnull;

	return DatumGetInt64(SPI_getbinval(row, desc, column, &isnull));
}

static void
read_schedule(Datum datum, WhRetryPolicy *policy)
{
	Datum *elements;
	int n;

	deconstruct_array(DatumGetArrayTypeP(datum), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
					  NULL, &n);
	policy->n = Min(n, WH_SCHEDULE_MAX);
	for (int i = 0; i < policy->n; i++)
		policy->delay_us[i] = DatumGetInt64(elements[i]);
}

/* What a subscription asks for of an event's content: the columns changed, exclude_origins and filter from `at` on. */
static void
read_content(WhRoute *route, HeapTuple row, TupleDesc desc, int at, MemoryContext context)
{
	bool isnull;
	Datum value = SPI_getbinval(row, desc, at, &isnull);

	route->n_changed = string_array(value, isnull, false, context, &route->changed);
	value = SPI_getbinval(row, desc, at + 1, &isnull);
	route->n_exclude_origins = string_array(value, isnull, false, context, &route->exclude_origins);
	value = SPI_getbinval(row, desc, at + 2, &isnull);
	if (!isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		route->filter = PG_DETOAST_DATUM_COPY(value);
		MemoryContextSwitchTo(old);
	}
}

/* A column without which a subscription cannot be used, and which has nothing in it; NULL: there is none. */
static const char *
what_is_missing(HeapTuple row, TupleDesc desc)
{
	static const struct
	{
		int at;
		const char *name;
	} must_be[] = {{2, "name"},          {3, "url"},     {4, "state"},         {6, "ordering"},
				   {7, "max_in_flight"}, {8, "timeout"}, {9, "give_up_after"}, {10, "retry_schedule"},
				   {18, "batch_size"}};

	for (int i = 0; i < (int) lengthof(must_be); i++)
	{
		bool isnull;
		Datum value = SPI_getbinval(row, desc, must_be[i].at, &isnull);

		if (isnull || (must_be[i].at == 10 && ARR_NDIM(DatumGetArrayTypeP(value)) == 0))
			return must_be[i].name;
	}
	return NULL;
}

static WhRoute *
read_route(HeapTuple row, TupleDesc desc, MemoryContext context)
{
	WhRoute *route = MemoryContextAllocZero(context, sizeof(WhRoute));
	WhSubscription *sub = &route->sub;
	char *ordering = SPI_getvalue(row, desc, 6);
	const char *missing = what_is_missing(row, desc);
	char **secrets;
	Datum *expires;
	bool isnull;
	Datum value;
	int n;

	sub->id = int_column(row, desc, 1);
	sub->name = string_column(row, desc, 2, context);
	sub->url = string_column(row, desc, 3, context);
	if (sub->name == NULL)
		sub->name = MemoryContextStrdup(context, "");
	if (sub->url == NULL)
		sub->url = MemoryContextStrdup(context, "");
	if (ordering == NULL)
		ordering = "entity";
	/* what is for it is kept, in order, until somebody has put it right */
	sub->paused = !DatumGetBool(SPI_getbinval(row, desc, 4, &isnull)) || missing;
	if (missing)
		ereport(
			WARNING, errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("webhook subscription \"%s\" cannot be used", sub->name),
			errdetail("Its column \"%s\" has no value, or an empty one. What is for it is kept.", missing),
			errhint("Give the column a value; the table's own triggers and constraints refuse such rows."));
	route->active = DatumGetBool(SPI_getbinval(row, desc, 5, &isnull));
	sub->ordering = strcmp(ordering, "none") == 0     ? WH_ORDER_NONE
					: strcmp(ordering, "strict") == 0 ? WH_ORDER_STRICT
													  : WH_ORDER_ENTITY;
	sub->max_in_flight = (int) Max(1, int_column(row, desc, 7));
	sub->timeout_us = int_column(row, desc, 8);
	sub->retry.give_up_us = int_column(row, desc, 9);
	read_schedule(SPI_getbinval(row, desc, 10, &isnull), &sub->retry);
	value = SPI_getbinval(row, desc, 11, &isnull);
	n = string_array(value, isnull, true, context, &secrets);
	sub->n_secrets = Max(0, Min(n, WH_SECRETS_MAX));
	if (sub->n_secrets > 0)
	{
		memcpy(sub->secrets, secrets, sub->n_secrets * sizeof(char *));
		value = SPI_getbinval(row, desc, 16, &isnull);
		deconstruct_array(DatumGetArrayTypeP(value), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &expires,
						  NULL, &n);
		for (int i = 0; i < sub->n_secrets; i++)
			sub->secret_expires_us[i] = DatumGetInt64(expires[i]);
	}
	value = SPI_getbinval(row, desc, 12, &isnull);
	sub->n_headers = Max(0, string_array(value, isnull, true, context, &sub->headers));
	value = SPI_getbinval(row, desc, 13, &isnull);
	route->n_entity_types = string_array(value, isnull, true, context, &route->entity_types);
	value = SPI_getbinval(row, desc, 14, &isnull);
	route->n_actions = string_array(value, isnull, true, context, &route->actions);
	route->tenant = string_column(row, desc, 15, context);
	sub->rate_limit = (int) int_column(row, desc, 17);
	sub->batch_size = (int) Max(1, int_column(row, desc, 18));
	read_content(route, row, desc, 19, context);
	route->asked = DatumGetBool(SPI_getbinval(row, desc, 22, &isnull));
	return route;
}

/* As for expires_at: the last timestamps there are do not fit into int64 microseconds of the Unix epoch. */
List *
wh_store_subscriptions(void)
{
	static WhPlan plan = {
		.sql = "SELECT s.id, s.name, s.url, s.active AND s.state = 'live', s.active, s.ordering, "
			   "s.max_in_flight::bigint,"
			   " (extract(epoch FROM s.timeout) * 1000000)::bigint,"
			   " (extract(epoch FROM s.give_up_after) * 1000000)::bigint,"
			   " ARRAY(SELECT (extract(epoch FROM w) * 1000000)::bigint FROM unnest(s.retry_schedule) WITH "
			   "ORDINALITY u(w, n)"
			   " WHERE w IS NOT NULL ORDER BY n),"
			   " k.secrets,"
			   " ARRAY(SELECT h.key || ': ' || h.value FROM jsonb_each_text("
			   "CASE WHEN jsonb_typeof(s.headers) = 'object' THEN s.headers END) h),"
			   " s.entity_types, s.actions, s.tenant, k.expires, coalesce(s.rate_limit, 0)::bigint, "
			   "s.batch_size::bigint, s.changed, s.exclude_origins, s.filter,"
			   /* a subquery with a limit: looked up by index for each, whatever the planner thinks */
			   " coalesce((SELECT true FROM webhook.pending p WHERE p.subscription_id = s.id AND p.state = "
			   "'asked' LIMIT 1), false)"
			   " FROM webhook.subscription s"
			   " CROSS JOIN LATERAL (SELECT array_agg(k.secret ORDER BY k.id DESC) AS secrets,"
			   " array_agg(CASE WHEN isfinite(k.expires_at)"
			   " THEN least(extract(epoch FROM k.expires_at) * 1000000, 9e18)::bigint ELSE 0 END"
			   " ORDER BY k.id DESC) AS expires"
			   " FROM webhook.secret k WHERE k.subscription_id = s.id"
			   " AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())) k"
			   " ORDER BY s.id",
		0};
	MemoryContext context = wh_tx_results;
	List *routes = NIL;

	wh_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old;
		WhRoute *route = read_route(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, context);

		old = MemoryContextSwitchTo(context);
		routes = lappend(routes, route);
		MemoryContextSwitchTo(old);
	}
	return routes;
}
