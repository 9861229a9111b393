/*
 * store_notices.c
 *	  What others are told of subscriptions in trouble: operational events, and
 *	  webhook_internal.breaker_notice, which remembers what was announced.
 *
 * webhook_internal.announce() writes both, and looks whether anybody listens.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "store.h"
#include "store_notices.h"

void
wh_store_announce(int64 subscription_id, const char *change, const char *reason)
{
	/* the types of its arguments are exact, so that no other function of this name can match */
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT webhook_internal.announce($1, $2, $3, NULL::bigint)",
		3,
		{INT8OID, TEXTOID, TEXTOID}};
	/* clang-format on */
	Datum values[3] = {Int64GetDatum(subscription_id), CStringGetTextDatum(change),
					   reason ? CStringGetTextDatum(reason) : (Datum) 0};

	wh_plan_run(&plan, values, reason ? "   " : "  n", SPI_OK_SELECT);
}

bool
wh_store_disable(int64 subscription_id, const char *reason)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.subscription"
		"   SET state = 'disabled', state_reason = $2"
		" WHERE id = $1 AND state = 'active'",
		2,
		{INT8OID, TEXTOID}};
	/* clang-format on */
	Datum values[2] = {Int64GetDatum(subscription_id), CStringGetTextDatum(reason)};

	wh_plan_run(&plan, values, NULL, SPI_OK_UPDATE);
	return SPI_processed > 0;
}

void
wh_store_breaker_notices(void (*each)(void *arg, int64 subscription_id), void *arg)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT n.subscription_id::bigint"
		"  FROM webhook_internal.breaker_notice n",
		0};
	/* clang-format on */
	uint64 n;

	wh_plan_run(&plan, NULL, NULL, SPI_OK_SELECT);
	n = SPI_processed;
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;
		Datum id = wh_result(i, 1, &isnull);

		if (!isnull)
			each(arg, DatumGetInt64(id));
	}
}
