/*
 * unread.h
 *	  Committed events that the worker has not read yet, for who looks at the status.
 */
#ifndef WEBHOOK_UNREAD_H
#define WEBHOOK_UNREAD_H

#include "postgres.h"

#include "datatype/timestamp.h"

#define WH_UNREAD_MAX 10000 /* events that are counted */

typedef struct WhUnread
{
	int64 events;       /* WH_UNREAD_MAX: so many or more */
	TimestampTz oldest; /* when the oldest was captured; meaningless without events */
} WhUnread;

/*
 * As the current snapshot shows it. `read_to`: read up to there, as the worker
 * says; 0: there is none to ask. False where it is unknown: somebody holds a
 * lock for which a look at the status is no reason to wait, or an index is gone.
 */
extern bool wh_unread(int64 read_to, WhUnread *out);

#endif /* WEBHOOK_UNREAD_H */
