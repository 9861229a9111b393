/*
 * timeline.c
 *	  Is this cluster a promoted standby, or recovered from a backup?
 *
 * Both write a new timeline. A promoted standby continues as the primary: it delivers. A
 * cluster recovered from a backup, as a staging system or to an earlier point in time,
 * must be suspended until somebody confirms that it is the one to deliver. PostgreSQL
 * distinguishes them by two files in the data directory (standby.signal,
 * recovery.signal), and removes these when recovery has ended. So we look at them when
 * the library is loaded into the postmaster, and every process inherits the answer.
 * After another restart only the timeline's history is left. It says whether recovery
 * had a target.
 *
 * Keeps only the answer.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "fmgr.h"
#include "storage/fd.h"

#include "timeline.h"

PG_FUNCTION_INFO_V1(webhook_timeline);

/* PostgreSQL writes this to a history file for a promotion or a recovery to the archive's end. */
#define NO_TARGET "no recovery target specified"

typedef enum Started
{
	AS_PRIMARY, /* or wh_note_recovery was not called */
	AS_STANDBY,
	FROM_BACKUP
} Started;

static Started started = AS_PRIMARY;

void
wh_note_recovery(void)
{
	struct stat st;

	/* if both exist, it is a standby, as for PostgreSQL */
	if (stat("standby.signal", &st) == 0)
		started = AS_STANDBY;
	else if (stat("recovery.signal", &st) == 0)
		started = FROM_BACKUP;
}

const char *
wh_recovering(void)
{
	switch (started)
	{
		case AS_STANDBY:
			return "this server is a standby: delivery begins when it is promoted";
		case FROM_BACKUP:
			return "this server is being recovered from a backup: when that has ended, nothing is delivered "
				   "until webhook.enable_delivery() is called";
		case AS_PRIMARY:
			break;
	}
	return "this server is in recovery: delivery begins when that has ended";
}

TimeLineID
wh_timeline(void)
{
	return GetWALInsertionTimeLine();
}

Datum
webhook_timeline(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) wh_timeline());
}

/*
 * Did every switch from `from` on happen without a recovery target? A line of the history
 * has the parent timeline, an LSN and the reason.
 */
static const char *
look_at_history(TimeLineID from, TimeLineID to)
{
	char path[MAXPGPATH];
	char line[1024];
	const char *why = NULL;
	bool any = false;
	FILE *file;

	TLHistoryFilePath(path, to);
	if ((file = AllocateFile(path, "r")) == NULL)
		return psprintf("this cluster's timeline is %u and not %u, and there is no history of how that came",
						to, from);
	while (fgets(line, sizeof(line), file) && why == NULL)
	{
		unsigned int parent;

		if (sscanf(line, "%u", &parent) != 1 || parent < from)
			continue;
		any = true;
		if (strstr(line, NO_TARGET) == NULL)
			why = psprintf("this cluster was recovered to a point in time (timeline %u)", to);
	}
	FreeFile(file);
	if (why == NULL && !any)
		why = psprintf("this cluster's timeline is %u, which does not descend from timeline %u", to, from);
	return why;
}

const char *
wh_not_promoted_since(TimeLineID from)
{
	TimeLineID to = wh_timeline();

	if (to == from)
		return NULL;
	if (from == 0)
		return "this cluster was recovered from a backup";
	if (to > from && started == FROM_BACKUP)
		return "this cluster was recovered from a backup";
	return look_at_history(from, to);
}
