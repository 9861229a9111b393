/*
 * worker_version.c
 *	  Is the extension in this database at the version of this library?
 *
 * The worker works with what is there (sql_version.c). It says so in the log when it
 * starts and when the version changes, and in webhook.worker as long as it is so.
 *
 * Owns the text.
 */
#include "postgres.h"

#include "sql_version.h"
#include "store_rights.h"
#include "worker_slots.h"
#include "worker.h"

static char seen[NAMEDATALEN];
static char problem[WH_REASON_MAX]; /* "": none */

const char *
wh_version_problem(void)
{
	const char *version = wh_rights_version();
	char *text;

	if (strcmp(seen, version) == 0)
		return problem[0] ? problem : NULL;
	strlcpy(seen, version, sizeof(seen));
	text = version[0] ? wh_sql_version_problem(version) : NULL;
	strlcpy(problem, text ? text : "", sizeof(problem));
	if (text == NULL)
		return NULL;
	ereport(LOG, errmsg("webhook worker continues with another version: %s", text));
	pfree(text);
	return problem;
}
