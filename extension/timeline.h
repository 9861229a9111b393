/*
 * timeline.h
 *	  Is this cluster a promoted standby, or recovered from a backup?
 */
#ifndef WEBHOOK_TIMELINE_H
#define WEBHOOK_TIMELINE_H

#include "postgres.h"

#include "access/xlogdefs.h"

/* In the postmaster, before recovery: note whether it starts as a primary, standby or backup. */
extern void wh_note_recovery(void);

/* While the server is in recovery: what it is, and when it will deliver; for people. */
extern const char *wh_recovering(void);

/* The timeline that this cluster writes. */
extern TimeLineID wh_timeline(void);

/*
 * How did the cluster get from timeline `from` to the one it writes? NULL: only by
 * promotions of standbys, so it continues the work of the old primary. Else why not, for
 * people (constant or palloc'd).
 */
extern const char *wh_not_promoted_since(TimeLineID from);

#endif /* WEBHOOK_TIMELINE_H */
