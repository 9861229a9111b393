/*
 * outbox_id.h
 *	  The ids of events.
 */
#ifndef WEBHOOK_OUTBOX_ID_H
#define WEBHOOK_OUTBOX_ID_H

#include "postgres.h"

#include "utils/rel.h"

/*
 * The next value of the sequence, which the caller has opened and locked. Unlike
 * nextval(), this does not change lastval().
 */
extern int64 wh_next_outbox_id(Relation sequence);

#endif /* WEBHOOK_OUTBOX_ID_H */
