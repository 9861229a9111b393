/*
 * store_prepared.c
 *	  Prepared transactions of this database.
 *
 * Keeps nothing.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"

#include "compat.h"
#include "store.h"
#include "store_prepared.h"

bool
wh_store_any_prepared(void)
{
	static WhPlan plan = {
		.sql = "SELECT FROM pg_catalog.pg_prepared_xact() p WHERE p.dbid = $1 LIMIT 1", 1, {OIDOID}};
	Datum values[1] = {ObjectIdGetDatum(MyDatabaseId)};

	/* to everybody, unless somebody has revoked it: then there may be some */
	if (wh_function_execute(F_PG_PREPARED_XACT) != ACLCHECK_OK)
		return true;
	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	return SPI_processed > 0;
}
