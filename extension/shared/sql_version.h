/*
 * sql_version.h
 *	  The versions of the extension that this library knows.
 */
#ifndef WEBHOOK_SQL_VERSION_H
#define WEBHOOK_SQL_VERSION_H

/* Oldest first, so that "installed >= WH_SQL_1_1" asks whether something of 1.1 is there. */
typedef enum WhSqlVersion
{
	WH_SQL_1_0,
	WH_SQL_1_1,  /* response_headers; what the console and its API call */
	WH_SQL_NEWER /* not known: has all that this library knows, and more */
} WhSqlVersion;

/* The version with this name in pg_extension.extversion. */
extern WhSqlVersion wh_sql_version(const char *name);

/*
 * NULL, or how that version differs from the library's own and what to do about it,
 * allocated. `name`: as pg_extension has it.
 */
extern char *wh_sql_version_problem(const char *name);

#endif /* WEBHOOK_SQL_VERSION_H */
