/*
 * sql_version.c
 *	  The versions of the extension that this library knows.
 *
 * Library and SQL objects are updated at different times: the library when the server
 * restarts, the objects of each database by ALTER EXTENSION. So the library runs with
 * every version that it knows, and with newer ones as with its own. What came after 1.0
 * says so where it is described: columns of the outbox in segment.c, what the worker
 * relies on in schema_check.c. Capture looks at the columns alone. The worker asks for
 * the version, in each transaction.
 *
 * Owns nothing that changes.
 */
#include "postgres.h"

#include "sql_version.h"

static const char *const names[] = {
	[WH_SQL_1_0] = "1.0",
	[WH_SQL_1_1] = "1.1",
};
StaticAssertDecl(lengthof(names) == WH_SQL_NEWER, "every version has a name");

WhSqlVersion
wh_sql_version(const char *name)
{
	int version = WH_SQL_1_0;

	while (version < WH_SQL_NEWER && strcmp(names[version], name) != 0)
		version++;
	return (WhSqlVersion) version;
}

char *
wh_sql_version_problem(const char *name)
{
	const char *own = names[WH_SQL_NEWER - 1];
	WhSqlVersion version = wh_sql_version(name);

	if (version == WH_SQL_NEWER)
		return psprintf("the extension is at version %.20s, which the library (%s) does not know: install "
						"that version's library and restart the server",
						name, own);
	if (strcmp(name, own) != 0)
		return psprintf("the extension is at version %s, the library at %s: run ALTER EXTENSION webhook "
						"UPDATE in this database",
						name, own);
	return NULL;
}
