/*
 * timeline.h
 *	  Is this cluster a promoted standby, or recovered from a backup?
 */
#ifndef WEBHOOK_TIMELINE_H
#define WEBHOOK_TIMELINE_H

#include "postgres.h"

#include "access/xlogdefs.h"

/* In the postmaster, before recovery: note as what the server starts. */
extern void wh_note_recovery(void);

/* While the server is in recovery: what it is, and when it will deliver, for people. */
extern const char *wh_recovering(void);

/* The timeline that this cluster writes. */
extern TimeLineID wh_timeline(void);

/*
 * How the cluster came from timeline `from` to the one it writes. NULL: by the
 * promotion of standbys alone, so it goes on with what the old primary did;
 * else why not, for people (constant or palloc'd).
 */
extern const char *wh_not_promoted_since(TimeLineID from);

#endif /* WEBHOOK_TIMELINE_H */
