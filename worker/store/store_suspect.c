/*
 * store_suspect.c
 *	  What is recorded of events that may end the worker.
 *
 * Rows of webhook.checkpoint that are no checkpoints: see suspect.c. A "read"
 * checkpoint written after such a row says that its step was survived.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/xid8.h"

#include "store.h"
#include "store_read.h"
#include "store_suspect.h"

/* Is there a row of this kind with no "read" checkpoint after it? */
static bool
not_survived(const char *kind)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT coalesce((SELECT max(c.id) FROM webhook.checkpoint c WHERE c.kind = $1)"
		"         > coalesce((SELECT max(c.id) FROM webhook.checkpoint c WHERE c.kind = 'read'), 0),"
		"       false)",
		1,
		{TEXTOID}};
	/* clang-format on */
	Datum value = CStringGetTextDatum(kind);
	bool isnull;

	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	return DatumGetBool(wh_result(0, 1, &isnull));
}

/* The newest first. */
static WhPair *
pairs_of(const char *kind, int *n)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT c.hi, coalesce((c.within ->> 'subscription')::bigint, 0)"
		"  FROM webhook.checkpoint c"
		" WHERE c.kind = $1"
		" ORDER BY c.id DESC",
		1,
		{TEXTOID}};
	/* clang-format on */
	Datum value = CStringGetTextDatum(kind);

	wh_plan_run(&plan, &value, NULL, SPI_OK_SELECT);
	return wh_result_pairs(n);
}

WhSuspects
wh_store_suspects(void)
{
	WhSuspects s = {0};
	int n;

	if (not_survived("matching"))
		s.matching = wh_store_checkpoint("matching");
	if (not_survived("suspect"))
	{
		WhPair *newest = pairs_of("suspect", &n);

		s.suspect = newest[0];
	}
	s.killed = pairs_of("killed", &s.n_killed);
	return s;
}

void
wh_store_note_suspect(const char *kind, WhPair pair, const WhPosition *position)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi, within)"
		" VALUES ($1, $2, $3::pg_snapshot, $4, $5, jsonb_build_object('subscription', $6))",
		6,
		{INT8OID, TEXTOID, TEXTOID, XID8OID, INT8OID, INT8OID}};
	/* clang-format on */
	Datum values[6] = {Int64GetDatum(wh_store_checkpoint_id()), CStringGetTextDatum(kind),
					   CStringGetTextDatum(position->snapshot), FullTransactionIdGetDatum(position->next_xid),
					   Int64GetDatum(pair.event_number),        Int64GetDatum(pair.subscription_id)};

	wh_plan_run(&plan, values, NULL, SPI_OK_INSERT);
}
