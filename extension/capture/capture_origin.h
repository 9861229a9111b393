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
	int level; /* of the table it was made for: 0 this one, 1 its parent, ...; -1 a partition */
} CaptureTrigger;

/*
 * All triggers of the relation that call this function; and, if the relation is
 * partitioned, those that were made for its partitions. A list of CaptureTrigger in
 * the current memory context, copied from the relcache.
 */
extern List *wh_capture_triggers(Relation relation, Oid function);

/* Has it no condition, no column list and no deferral? Then it fires for each row, at once. */
extern bool wh_is_plain_trigger(const Trigger *trigger);

/*
 * Does a plain trigger of this type (pg_trigger.tgtype) and state (tgenabled) fire for
 * the event, in this session?
 */
extern bool wh_plain_trigger_fires(int16 type, char enabled, TriggerEvent event);

#endif /* WEBHOOK_CAPTURE_ORIGIN_H */
