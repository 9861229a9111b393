/*
 * store_subscriptions.c
 *	  The subscriptions: what the engine and the router need of each.
 *
 * The routes lie in the results' memory, and stay. What is only for the engine, which
 * copies it, lies in another one, which the caller frees then. Columns are found by
 * their names in the statement, so that adding one cannot shift the others.
 * store_profile.c reads the profile of each right after.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "secret_store.h"
#include "store.h"
#include "store_sizes.h"
#include "store_subscriptions.h"

/* A row of the statement, and the memory for what is read of it. */
typedef struct Row
{
	HeapTuple tuple;
	TupleDesc desc;
	MemoryContext context;
	WhKeys *keys;
} Row;

static Datum
column(const Row *row, const char *name, bool *isnull)
{
	int n = SPI_fnumber(row->desc, name);

	if (n <= 0)
		elog(ERROR, "the statement has no column \"%s\"", name);
	return SPI_getbinval(row->tuple, row->desc, n, isnull);
}

/* A text[] column as C strings, in UTF-8 or unconverted; -1 and NULL where it is null. */
static int
strings(const Row *row, const char *name, bool utf8, char ***out)
{
	Datum *elements;
	bool *nulls;
	bool isnull;
	Datum value = column(row, name, &isnull);
	int n;
	int n_strings = 0;

	*out = NULL;
	if (isnull)
		return -1;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	*out = MemoryContextAlloc(row->context, Max(1, n) * sizeof(char *));
	for (int i = 0; i < n; i++)
	{
		char *string;

		if (nulls[i])
			continue;
		string = TextDatumGetCString(elements[i]);
		(*out)[n_strings++] = MemoryContextStrdup(row->context, utf8 ? wh_to_utf8(string) : string);
		explicit_bzero(string, strlen(string)); /* it may be a secret */
		pfree(string);
	}
	return n_strings;
}

static char *
string(const Row *row, const char *name)
{
	bool isnull;
	Datum value = column(row, name, &isnull);

	return isnull ? NULL : MemoryContextStrdup(row->context, wh_to_utf8(TextDatumGetCString(value)));
}

static char *
string_or_empty(const Row *row, const char *name)
{
	char *text = string(row, name);

	return text ? text : MemoryContextStrdup(row->context, "");
}

/* The same, unconverted: the name of an object of the database. */
static char *
name(const Row *row, const char *column_name)
{
	bool isnull;
	Datum value = column(row, column_name, &isnull);

	return isnull ? NULL : MemoryContextStrdup(row->context, TextDatumGetCString(value));
}

/* 0 where it is null. */
static int64
number(const Row *row, const char *name)
{
	bool isnull;
	Datum value = column(row, name, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static bool
boolean(const Row *row, const char *name)
{
	bool isnull;
	Datum value = column(row, name, &isnull);

	return !isnull && DatumGetBool(value);
}

/* A bigint[] column, as Datums; returns how many. */
static int
numbers(const Row *row, const char *name, Datum **out)
{
	bool isnull;
	Datum value = column(row, name, &isnull);
	int n = 0;

	if (!isnull)
		deconstruct_array(DatumGetArrayTypeP(value), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, out, NULL,
						  &n);
	return n;
}

static void
read_schedule(const Row *row, WhRetryPolicy *policy)
{
	Datum *elements;
	int n = numbers(row, "retry_schedule", &elements);

	policy->n = Min(n, WH_SCHEDULE_MAX);
	for (int i = 0; i < policy->n; i++)
		policy->delay_us[i] = DatumGetInt64(elements[i]);
	policy->give_up_us = number(row, "give_up_after");
}

/* What a subscription wants of an event's content, in the database's encoding. */
static void
read_content(const Row *row, WhRoute *route)
{
	bool isnull;
	Datum filter = column(row, "filter", &isnull);

	route->n_changed = strings(row, "changed_columns", false, &route->changed);
	route->n_exclude_origins = strings(row, "exclude_origins", false, &route->exclude_origins);
	if (!isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(row->context);

		route->filter = PG_DETOAST_DATUM_COPY(filter);
		MemoryContextSwitchTo(old);
	}
}

static void
forget(char *secret)
{
	explicit_bzero(secret, strlen(secret));
	pfree(secret);
}

/* A stored secret or credential, opened; the stored form is wiped. NULL, with a warning, if it cannot be opened. */
static char *
open_stored(const Row *row, const WhSubscription *sub, const char *what, const char *owner, char *stored)
{
	const char *why;
	char *value = wh_secret_kept(row->keys, owner, stored, &why);
	char *copy = NULL;

	if (value)
	{
		copy = MemoryContextStrdup(row->context, wh_to_utf8(value));
		forget(value);
	}
	else
		ereport(WARNING, errcode(ERRCODE_CONFIG_FILE_ERROR),
				errmsg("webhook worker cannot use a %s of subscription \"%s\"", what, sub->name),
				errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
				errhint("Its deliveries wait. Fix the cause and reload, or set the %s again.", what));
	forget(stored);
	return copy;
}

/*
 * The secrets, opened. One that cannot be opened is left out. A delivery that would
 * be signed with it alone fails as "internal" and is retried by its schedule.
 */
static void
read_secrets(const Row *row, WhSubscription *sub)
{
	Row scratch = {row->tuple, row->desc, CurrentMemoryContext, row->keys};
	Datum *expires;
	char **stored;
	char **owners;
	int n = strings(&scratch, "secrets", false, &stored);

	strings(&scratch, "secret_owners", false, &owners);
	numbers(row, "secret_expires", &expires);
	for (int i = 0; i < n && sub->n_secrets < WH_SECRETS_MAX; i++)
	{
		char *secret = open_stored(row, sub, "secret", owners[i], stored[i]);

		if (secret)
		{
			sub->secrets[sub->n_secrets] = secret;
			sub->secret_expires_us[sub->n_secrets++] = DatumGetInt64(expires[i]);
		}
	}
}

/* The credentials, opened. One that cannot be opened has no value: then nothing is sent. */
static void
read_credentials(const Row *row, WhSubscription *sub)
{
	Row scratch = {row->tuple, row->desc, CurrentMemoryContext, row->keys};
	char **kinds;
	char **stored;
	char **owners;
	int n = strings(row, "credential_kinds", true, &kinds);

	strings(&scratch, "credential_values", false, &stored);
	strings(&scratch, "credential_owners", false, &owners);
	if (n > 0)
		sub->credentials = MemoryContextAllocZero(row->context, (Size) n * sizeof(WhCredential));
	for (int i = 0; i < n; i++)
		sub->credentials[sub->n_credentials++] = (WhCredential){
			.kind = kinds[i], .value = open_stored(row, sub, "credential", owners[i], stored[i])};
}

/* A column that a subscription needs and that is null or empty; NULL: there is none. */
static const char *
what_is_missing(const Row *row)
{
	static const char *const must_be[] = {"name",          "url",        "state",   "ordering",
										  "max_in_flight", "batch_size", "timeout", "give_up_after"};
	Datum *elements;
	bool isnull;

	for (int i = 0; i < (int) lengthof(must_be); i++)
	{
		(void) column(row, must_be[i], &isnull);
		if (isnull)
			return must_be[i];
	}
	return numbers(row, "retry_schedule", &elements) == 0 ? "retry_schedule" : NULL;
}

static bool
is(const Row *row, const char *name, const char *word)
{
	bool isnull;
	Datum value = column(row, name, &isnull);

	return !isnull && strcmp(TextDatumGetCString(value), word) == 0;
}

static WhOrdering
read_ordering(const Row *row)
{
	return is(row, "ordering", "none")     ? WH_ORDER_NONE
		   : is(row, "ordering", "strict") ? WH_ORDER_STRICT
										   : WH_ORDER_ENTITY;
}

/* What the engine needs, in the row's memory. */
static WhSubscription *
read_for_engine(const Row *row, const WhRoute *route)
{
	WhSubscription *sub = MemoryContextAllocZero(row->context, sizeof(WhSubscription));

	sub->id = route->id;
	sub->name = route->name;
	sub->url = string_or_empty(row, "url");
	sub->paused = route->paused;
	sub->ordering = read_ordering(row);
	sub->max_in_flight = route->max_in_flight;
	sub->rate_limit = (int) number(row, "rate_limit");
	sub->batch_size = (int) Max(1, number(row, "batch_size"));
	sub->timeout_us = number(row, "timeout");
	read_schedule(row, &sub->retry);
	read_secrets(row, sub);
	read_credentials(row, sub);
	sub->n_headers = Max(0, strings(row, "headers", true, &sub->headers));
	sub->transform = route->transform != NULL;
	return sub;
}

static WhRoute *
read_route(const Row *row)
{
	WhRoute *route = MemoryContextAllocZero(row->context, sizeof(WhRoute));
	const char *missing = what_is_missing(row);

	route->id = number(row, "id");
	route->name = string_or_empty(row, "name");
	/* its events are kept, in order, until somebody fixes it */
	route->left_out = boolean(row, "left_out");
	route->unmatched = boolean(row, "unmatched");
	route->paused = !is(row, "state", "active") || missing || route->left_out;
	route->max_in_flight = (int) Max(1, number(row, "max_in_flight"));
	if (missing && !route->left_out)
		ereport(
			WARNING, errcode(ERRCODE_DATA_CORRUPTED),
			errmsg("webhook subscription \"%s\" cannot be used", route->name),
			errdetail("Its column \"%s\" is null or empty. Its events are kept.", missing),
			errhint("Set the column. Restore the table's triggers and constraints, which refuse such rows."));
	route->active = !is(row, "state", "inactive");
	route->n_events = strings(row, "events", true, &route->events);
	route->tenant = string(row, "tenant");
	read_content(row, route);
	route->requested = boolean(row, "requested");
	route->transform = name(row, "transform");
	route->transform_owner = name(row, "transform_owner");
	return route;
}

/* A column, left out and not even looked at if the subscription is in the parameter. */
/* clang-format off */
#define UNLESS(parameter, column) \
	"CASE WHEN b.id = ANY (" parameter ") THEN NULL ELSE b." column " END AS " column
/* clang-format on */

List *
wh_store_subscriptions(const WhLeftOut *left, MemoryContext for_engine)
{
	/* expires_at: the last timestamps do not fit into int64 microseconds since the Unix epoch */
	/* coalesce: no element may be missing, whichever constraint somebody has dropped */
	/* requested: a subquery with a limit uses the index for each row, whatever the planner thinks */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT s.id, s.name, s.url, s.left_out, s.id = ANY ($2) AS unmatched, s.state,"
		"       s.ordering, s.max_in_flight::bigint, s.rate_limit::bigint, s.batch_size::bigint,"
		"       (extract(epoch FROM s.timeout) * 1000000)::bigint AS timeout,"
		"       (extract(epoch FROM s.give_up_after) * 1000000)::bigint AS give_up_after,"
		"       ARRAY(SELECT (extract(epoch FROM w) * 1000000)::bigint"
		"               FROM unnest(s.retry_schedule) WITH ORDINALITY u(w, n)"
		"              WHERE w IS NOT NULL ORDER BY n) AS retry_schedule,"
		"       ARRAY(SELECT h.key || ': ' || h.value"
		"               FROM jsonb_each_text(CASE WHEN jsonb_typeof(s.headers) = 'object'"
		"                                         THEN s.headers END) h) AS headers,"
		"       s.events, s.tenant, s.changed_columns, s.exclude_origins, s.filter,"
		"       s.transform, s.transform_owner::text,"
		"       k.secrets, k.secret_owners, k.secret_expires,"
		"       c.credential_kinds, c.credential_values, c.credential_owners,"
		"       coalesce((SELECT true FROM webhook.pending p"
		"                  WHERE p.subscription_id = s.id AND p.state = 'requested'"
		"                  LIMIT 1), false) AS requested"
		"  FROM (SELECT b.id, b.id = ANY ($1) AS left_out,"
		"               CASE WHEN b.id = ANY ($1) THEN left(b.name, 200) ELSE b.name END AS name,"
		"               b.state, b.max_in_flight, b.rate_limit, b.batch_size, b.timeout,"
		"               b.give_up_after, b.transform_owner, b.ordering, b.retry_schedule,"
		"               " UNLESS("$1", "url") ","
		"               " UNLESS("$1", "headers") ","
		"               " UNLESS("$1", "transform") ","
		"               " UNLESS("$2", "events") ","
		"               " UNLESS("$2", "tenant") ","
		"               " UNLESS("$2", "changed_columns") ","
		"               " UNLESS("$2", "exclude_origins") ","
		"               " UNLESS("$2", "filter")
		"          FROM webhook.subscription b) s"
		" CROSS JOIN LATERAL ("
		"       SELECT array_agg(coalesce(k.secret, '') ORDER BY k.id DESC) AS secrets,"
		"              array_agg(webhook_internal.secret_owner(k.subscription_id, k.id)"
		"                        ORDER BY k.id DESC) AS secret_owners,"
		"              array_agg(CASE WHEN isfinite(k.expires_at)"
		"                             THEN least(extract(epoch FROM k.expires_at) * 1000000,"
		"                                        9e18)::bigint"
		"                             ELSE 0 END ORDER BY k.id DESC) AS secret_expires"
		"         FROM webhook.secret k"
		"        WHERE k.subscription_id = s.id AND NOT s.left_out"
		"          AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())) k"
		" CROSS JOIN LATERAL ("
		"       SELECT array_agg(coalesce(c.kind, '') ORDER BY c.kind) AS credential_kinds,"
		"              array_agg(coalesce(c.value, '') ORDER BY c.kind) AS credential_values,"
		"              array_agg(webhook_internal.credential_owner(c.subscription_id, c.kind)"
		"                        ORDER BY c.kind) AS credential_owners"
		"         FROM webhook.credential c"
		"        WHERE c.subscription_id = s.id AND NOT s.left_out) c"
		" ORDER BY s.id",
		2,
		{INT8ARRAYOID, INT8ARRAYOID}};
	/* clang-format on */
	Datum values[2] = {left->sending, left->routing};
	List *routes = NIL;
	WhKeys *keys = wh_keys_new();
	MemoryContext one_row =
		AllocSetContextCreate(CurrentMemoryContext, "webhook subscription's row", ALLOCSET_DEFAULT_SIZES);

	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Row row = {SPI_tuptable->vals[i], SPI_tuptable->tupdesc, wh_tx_results, keys};
		MemoryContext old = MemoryContextSwitchTo(one_row);
		WhRoute *route = read_route(&row);

		row.context = for_engine;
		route->sub = read_for_engine(&row, route);
		MemoryContextSwitchTo(wh_tx_results);
		routes = lappend(routes, route);
		MemoryContextSwitchTo(old);
		MemoryContextReset(one_row);
	}
	MemoryContextDelete(one_row);
	wh_keys_free(keys);
	return routes;
}
