/*
 * store_profile.c
 *	  The profile of each subscription.
 *
 * Runs right after the subscriptions have been read, in the same transaction. The
 * results lie in the results' memory, as theirs do. If somebody changes the
 * configuration between the two statements, the worker is signalled and reads all
 * of it again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/memutils.h"

#include "compat.h"
#include "store.h"
#include "store_profile.h"
#include "store_sizes.h"
#include "store_subscriptions.h"

static int
by_name(const void *a, const void *b)
{
	return strcmp((*(const WhProfile *const *) a)->name, (*(const WhProfile *const *) b)->name);
}

/* All columns, in the order of the statement below. */
static WhProfile *
read_profile(HeapTuple row, TupleDesc desc, MemoryContext for_engine)
{
	MemoryContext old = MemoryContextSwitchTo(for_engine);
	WhProfile *p = palloc0(sizeof(WhProfile));
	const char **columns[] = {&p->name,
							  &p->envelope,
							  &p->batch_envelope,
							  &p->content_type,
							  &p->batch_content_type,
							  &p->headers,
							  &p->id_header,
							  &p->timestamp_header,
							  &p->event_prefix,
							  &p->transaction_prefix,
							  &p->algorithm,
							  &p->encoding,
							  &p->secret_encoding,
							  &p->signed_content,
							  &p->signature_header,
							  &p->signature_format,
							  &p->separator,
							  &p->failure,
							  &p->failure_fields};

	StaticAssertStmt(lengthof(columns) * sizeof(char *) == sizeof(WhProfile), "a column is missing");
	for (int i = 0; i < (int) lengthof(columns); i++)
		*columns[i] = wh_utf8_column(row, desc, i + 1);
	MemoryContextSwitchTo(old);
	return p;
}

/* All profiles except those that are too large, ordered by name. Each is read once, however many use it. */
static WhProfile **
read_profiles(const WhLeftOut *left, MemoryContext for_engine, int *n)
{
	/* lines are free of control characters: webhook_internal.check_profile refuses those */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT p.name, p.envelope::text, p.batch_envelope::text,"
		"       p.content_type, p.batch_content_type,"
		"       (SELECT string_agg(h.key || ': ' || h.value, e'\\n')"
		"          FROM jsonb_each_text(CASE WHEN jsonb_typeof(p.headers) = 'object'"
		"                                    THEN p.headers END) h),"
		"       p.id_header, p.timestamp_header, p.event_prefix, p.transaction_prefix,"
		"       p.signature_algorithm, p.signature_encoding, p.secret_encoding,"
		"       p.signed_content, p.signature_header, p.signature_format, p.signature_separator,"
		"       p.failure_match::text, array_to_string(p.failure_fields, e'\\n')"
		"  FROM webhook.profile p"
		" WHERE p.name <> ALL ($1)",
		1,
		{TEXTARRAYOID}};
	/* clang-format on */
	Datum value = left->profiles;
	WhProfile **profiles;

	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	profiles = palloc(Max(1, SPI_processed) * sizeof(WhProfile *));
	*n = (int) SPI_processed;
	for (int i = 0; i < *n; i++)
		profiles[i] = read_profile(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, for_engine);
	qsort(profiles, *n, sizeof(WhProfile *), by_name);
	return profiles;
}

static const WhProfile *
find_profile(WhProfile *const *profiles, int n, const char *name)
{
	WhProfile wanted = {.name = name};
	const WhProfile *key = &wanted;
	WhProfile *const *found = name ? bsearch(&key, profiles, n, sizeof(WhProfile *), by_name) : NULL;

	return found ? *found : NULL;
}

List *
wh_store_profiles(List *routes, const WhLeftOut *left, MemoryContext for_engine)
{
	/* its envelope is not JSON, a problem that each request reports */
	static const WhProfile no_profile = {.name = "", .envelope = "", .algorithm = "none"};
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT s.id,"
		"       CASE WHEN s.id = ANY ($1) THEN NULL ELSE s.params::text END,"
		"       CASE WHEN s.id = ANY ($1) THEN NULL ELSE s.profile END"
		"  FROM webhook.subscription s"
		" ORDER BY s.id",
		1,
		{INT8ARRAYOID}};
	/* clang-format on */
	Datum value = left->sending;
	int n_profiles;
	WhProfile **profiles = read_profiles(left, for_engine, &n_profiles);
	ListCell *lc;
	uint64 i = 0;

	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	/* both are ordered by id */
	foreach (lc, routes)
	{
		WhRoute *route = lfirst(lc);
		WhSubscription *sub = route->sub;
		int64 id = PG_INT64_MIN;
		char *name;
		MemoryContext old;

		for (; i < SPI_processed && id < sub->id; i++)
			id = wh_result_int8(i, 1);
		if (id != sub->id)
		{
			i -= id > sub->id; /* that one is for a later route */
			routes = foreach_delete_current(routes, lc);
			continue;
		}
		old = MemoryContextSwitchTo(for_engine);
		sub->params = wh_utf8_column(SPI_tuptable->vals[i - 1], SPI_tuptable->tupdesc, 2);
		MemoryContextSwitchTo(old);
		name = wh_utf8_column(SPI_tuptable->vals[i - 1], SPI_tuptable->tupdesc, 3);
		sub->profile = find_profile(profiles, n_profiles, name);
		if (sub->profile == NULL)
		{
			/* left out, or somebody has dropped the foreign key: nothing can be rendered, so its events are kept */
			sub->profile = &no_profile;
			if (!route->left_out)
				ereport(WARNING, errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("webhook subscription \"%s\" cannot be used", sub->name),
						errdetail("Its profile does not exist. Its events are kept."),
						errhint("Set another profile, or create the one it names."));
		}
	}
	return routes;
}
