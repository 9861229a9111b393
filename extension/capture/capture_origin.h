/*
 * capture_origin.h
 *	  The capture triggers of a partition, and the tables they were made for.
 */
#ifndef WEBHOOK_CAPTURE_ORIGIN_H
#define WEBHOOK_CAPTURE_ORIGIN_H

#include "postgres.h"

#include "commands/trigger.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

/* A capture trigger that fires for a relation's rows. */
typedef struct CaptureTrigger
{
	const Trigger *trigger;
	int level; /* of the table it was made for: 0 the relation, 1 its parent, and so on; below 0: a partition */
} CaptureTrigger;

/*
 * All triggers of the relation that call the same function, and, where it is
 * partitioned, those made for its partitions: a list of CaptureTrigger in the
 * current memory context, copied from the relcache.
 */
extern List *wh_capture_triggers(Relation relation, Oid function);

/* Has it no condition, column list or time of its own? Then it fires for each row, at once. */
extern bool wh_is_plain_trigger(const Trigger *trigger);

/* Does a plain trigger of this type (pg_trigger.tgtype) and state (tgenabled) fire for the event, in this session? */
extern bool wh_plain_trigger_fires(int16 type, char enabled, TriggerEvent event);

#endif /* WEBHOOK_CAPTURE_ORIGIN_H */
