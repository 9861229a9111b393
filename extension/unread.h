/*
 * unread.h
 *	  Committed events that the worker has not read yet, for the status.
 */
#ifndef WEBHOOK_UNREAD_H
#define WEBHOOK_UNREAD_H

#include "postgres.h"

#include "datatype/timestamp.h"

#define WH_UNREAD_MAX 10000 /* no more events are counted */

typedef struct WhUnread
{
	int64 events;       /* WH_UNREAD_MAX: that many or more */
	TimestampTz oldest; /* when the oldest was captured; undefined without events */
} WhUnread;

/*
 * Count them under the current snapshot. `read_to`: the worker has read up to there, as
 * it reports; 0: unknown. False: the count is unknown, because somebody holds a lock (a
 * look at the status does not wait for one) or an index is missing.
 */
extern bool wh_unread(int64 read_to, WhUnread *out);

#endif /* WEBHOOK_UNREAD_H */
