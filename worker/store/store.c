/*
 * store.c
 *	  The worker's transactions, the helpers of its statements, and whether the
 *	  extension and the identity are what they were.
 *
 * Plans are kept per process. Invalidation callbacks only raise a flag, which is
 * looked at inside the next transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
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

#include "timeline.h"
#include "schema_check.h"
#include "store.h"
#include "store_rights.h"
#include "worker_slots.h"

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

/* Before any statement fails on it. Altered tables may be restored, so the step fails and is tried again. */
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
	wh_rights_begin();
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
	wh_rights_end();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	/*
	 * With synchronous_commit = off an event is visible before it is durable. It
	 * must not be sent while a crash can still undo it. Our own commit record
	 * comes after those of everything that our snapshot saw.
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
wh_only_ascii(char *text)
{
	for (char *c = text; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return text;
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
		/* the encoding is unknown; most often it is UTF-8 */
		question_marks(text, PG_UTF8);
		return text;
	}
	proc = FindDefaultConversionProc(encoding, PG_UTF8);
	if (!OidIsValid(proc))
		return wh_only_ascii(text);
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

char *
wh_from_utf8(const char *utf8)
{
	if (utf8 == NULL || GetDatabaseEncoding() == PG_UTF8)
		return unconstify(char *, utf8);
	return pg_any_to_server(utf8, strlen(utf8), PG_UTF8);
}

void
wh_clip(char *to, int size, const char *from)
{
	int len = from ? pg_mbcliplen(from, (int) strlen(from), size - 1) : 0;

	memcpy(to, from ? from : "", len);
	to[len] = '\0';
}

/*
 * Statements
 */

static SPIPlanPtr
prepared(WhPlan *plan)
{
	if (plan->plan == NULL)
	{
		SPIPlanPtr fresh = SPI_prepare(plan->sql, plan->n_args, plan->args);

		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", plan->sql, SPI_result_code_string(SPI_result));
		plan->plan = fresh;
	}
	return plan->plan;
}

void
wh_plan_run(WhPlan *plan, Datum *values, const char *nulls, int expected)
{
	int rc = SPI_execute_plan(prepared(plan), values, nulls, false, 0);

	wh_schema_check();
	if (rc != expected)
		elog(ERROR, "\"%s\" returned %s", plan->sql, SPI_result_code_string(rc));
}

Portal
wh_plan_open(WhPlan *plan, Datum *values)
{
	Portal portal = SPI_cursor_open(NULL, prepared(plan), values, NULL, true);

	wh_schema_check();
	return portal;
}

char *
wh_utf8_column(HeapTuple row, TupleDesc desc, int column)
{
	char *text = SPI_getvalue(row, desc, column);

	return text ? wh_to_utf8(text) : NULL;
}

Datum
wh_int8_array(const int64 *values, int n)
{
	Datum *elements = palloc(Max(1, n) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(values[i]);
	return PointerGetDatum(
		construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * Is the extension here?
 */

static void
on_relcache_invalidation(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == subscription_oid || relid == outbox_oid)
		config_stale = true;
	wh_schema_changed(relid);
}

void
wh_store_watch_config(void (*gone)(WhPresence presence, const char *why))
{
	extension_gone = gone;
	CacheRegisterRelcacheCallback(on_relcache_invalidation, (Datum) 0);
	wh_schema_guard();
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
wh_store_config_reread(void)
{
	config_stale = true;
}

void
wh_store_config_fresh(uint32 generation)
{
	config_stale = false;
	generation_read = generation;
}

WhPresence
wh_store_find_extension(const char **why_not)
{
	Oid schema = get_namespace_oid("webhook", true);
	const char *problem;
	Oid outbox;

	*why_not = NULL;
	if (!OidIsValid(wh_rights_owner()) || !OidIsValid(schema))
	{
		*why_not = "the extension is not installed in this database";
		return WH_ABSENT;
	}
	problem = wh_schema_problem(schema);
	if (problem)
	{
		*why_not = MemoryContextStrdup(wh_tx_results, problem);
		return WH_BROKEN;
	}
	outbox = get_relname_relid("outbox", schema);
	if (OidIsValid(outbox_oid) && outbox != outbox_oid)
	{
		*why_not = "the extension was dropped and created again";
		return WH_RECREATED;
	}
	outbox_oid = outbox;
	subscription_oid = get_relname_relid("subscription", schema);
	return WH_PRESENT;
}

/*
 * Configuration
 */

/*
 * If the cluster's timeline is not the known one, a standby was promoted or a
 * backup was recovered. Either way it is recorded, so that a restart does not
 * change the answer. NULL, or why this database may not deliver.
 */
static const char *
look_at_timeline(TimeLineID known)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.identity SET timeline = $1 WHERE timeline <> $1",
		1,
		{INT4OID}};
	/* clang-format on */
	const char *why = wh_not_promoted_since(known);
	Datum timeline = Int32GetDatum(why ? 0 : (int32) wh_timeline());

	if (known != 0 && known != wh_timeline())
		wh_plan_run(&plan, &timeline, NULL, SPI_OK_UPDATE);
	return why;
}

bool
wh_store_identity(char instance[WH_INSTANCE_LEN + 1], const char **reason)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT instance, system_identifier = $1 AND database_oid = $2, timeline"
		"  FROM webhook.identity"
		" ORDER BY enabled_at DESC, instance",
		2,
		{INT8OID, OIDOID}};
	/* clang-format on */
	Datum values[2] = {Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId)};
	const char *why = NULL;
	TimeLineID timeline = 0;
	uint64 rows;

	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	rows = SPI_processed;
	for (uint64 i = 0; i < rows; i++)
	{
		bool isnull;

		if (!DatumGetBool(wh_result(i, 2, &isnull)))
			why = "this database is a copy of another";
		if (i == 0)
		{
			const char *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);

			if (name == NULL || strlen(name) != WH_INSTANCE_LEN)
			{
				*reason = "webhook.identity has an invalid row: call webhook.enable_delivery()";
				return false;
			}
			strlcpy(instance, name, WH_INSTANCE_LEN + 1);
			timeline = (TimeLineID) DatumGetInt32(wh_result(i, 3, &isnull));
		}
	}
	if (rows > 0 && why == NULL)
		why = look_at_timeline(timeline);
	if (rows == 0)
		*reason = "delivery is not enabled in this database: call webhook.enable_delivery()";
	else if (why)
		*reason = MemoryContextStrdup(
			wh_tx_results,
			psprintf(
				"%s: call webhook.enable_delivery() to deliver from this copy as a database of its own, or "
				"webhook.enable_delivery(moved => true) if it is the original, moved",
				why));
	else
		*reason = NULL;
	return *reason == NULL;
}
