/*
 * capture_origin.c
 *	  The capture triggers of a partition, and the tables they were made for.
 *
 * PostgreSQL clones a partitioned table's row triggers to each partition, level by
 * level. A partition that is watched itself has its own trigger in addition. From what
 * is found here, capture_source.c decides which of them makes the event of a row, and
 * which columns all of them leave out.
 *
 * Nothing is kept: results are in the caller's memory context.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "capture_origin.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "utils/fmgroids.h"

/* The trigger that it was cloned from; and its own table. False: it was not cloned. */
static bool
find_parent(Relation pg_trigger, Oid trigger, Oid *parent, Oid *table)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(pg_trigger, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	*parent = InvalidOid;
	if (HeapTupleIsValid(tuple))
	{
		*parent = ((Form_pg_trigger) GETSTRUCT(tuple))->tgparentid;
		*table = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
	}
	systable_endscan(scan);
	return OidIsValid(*parent);
}

/* How many levels above the relation the trigger was made. */
static int
level_of(const Trigger *trigger)
{
	Relation pg_trigger;
	Oid oid = trigger->tgoid;
	Oid parent;
	Oid table;
	int level = 0;

	if (!trigger->tgisclone)
		return 0;
	pg_trigger = table_open(TriggerRelationId, AccessShareLock);
	while (find_parent(pg_trigger, oid, &parent, &table))
	{
		oid = parent;
		level++;
	}
	table_close(pg_trigger, AccessShareLock);
	return level;
}

/* Add a relation's triggers: all of them, or of a partition only those made for it. */
static List *
add_triggers(List *list, Relation relation, Oid function, bool is_partition)
{
	TriggerDesc *triggers = CopyTriggerDesc(relation->trigdesc);

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		CaptureTrigger *found;

		if (trigger->tgfoid != function || (is_partition && trigger->tgisclone))
			continue;
		found = palloc(sizeof(*found));
		found->trigger = trigger;
		found->level = is_partition ? -1 : level_of(trigger);
		list = lappend(list, found);
	}
	return list;
}

List *
wh_capture_triggers(Relation relation, Oid function)
{
	List *list = add_triggers(NIL, relation, function, false);
	List *partitions;
	ListCell *cell;

	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return list;
	partitions = find_all_inheritors(RelationGetRelid(relation), AccessShareLock, NULL);
	foreach (cell, partitions)
	{
		Relation partition;

		if (lfirst_oid(cell) == RelationGetRelid(relation))
			continue;
		partition = relation_open(lfirst_oid(cell), NoLock);
		list = add_triggers(list, partition, function, true);
		relation_close(partition, NoLock);
	}
	return list;
}

bool
wh_is_plain_trigger(const Trigger *trigger)
{
	return TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
		   trigger->tgqual == NULL && trigger->tgnattr == 0 && !OidIsValid(trigger->tgconstraint);
}

bool
wh_plain_trigger_fires(int16 type, char enabled, TriggerEvent event)
{
	const bool replica = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;

	if (enabled == TRIGGER_DISABLED ||
		enabled == (replica ? TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA))
		return false;
	return TRIGGER_FIRED_BY_INSERT(event)   ? TRIGGER_FOR_INSERT(type)
		   : TRIGGER_FIRED_BY_DELETE(event) ? TRIGGER_FOR_DELETE(type)
											: TRIGGER_FOR_UPDATE(type);
}
