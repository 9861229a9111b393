/*
 * capture_source.c
 *	  What capture needs to know of a source, cached per trigger.
 *
 * An entry is built from the trigger's argument and the table's columns. It belongs to
 * this backend alone. Invalidation callbacks only mark it stale: those of the table, of
 * the topmost partitioned table above it (whose name is the entity type), and of any
 * cast, because a type may get or lose its cast to json. The next use builds a new entry
 * in its own memory context and puts it in place when it is complete. The old entry is
 * not freed but given to the transaction: it may still be in use, because a cast
 * function that changes a watched table may have led here.
 *
 * Triggers of several tables may watch a partition: its own, and those cloned from
 * tables above it. Then a row change makes one event, by the topmost table whose trigger
 * makes any (superiors; triggers with a condition, a column list or deferral do not take
 * part). And a column that one of these tables leaves out is left out by all of them
 * (leave_out_others).
 *
 * An invalid argument makes no events, and a WARNING once per entry. It is no error,
 * because one person made the trigger and another runs the statement.
 *
 * People change tables without thinking of webhooks. So a column that the argument
 * names and that does not exist is no error but a WARNING. The entry is made of the
 * other columns, and in doubt it tells too little: see resolve_captured().
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "capture_origin.h"
#include "capture_source.h"
#include "catalog/partition.h"
#include "catalog/pg_index.h"
#include "catalog/pg_trigger.h"
#include "compat.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

typedef struct SourceEntry
{
	Oid trigger; /* hash key */
	CaptureSource *source;
} SourceEntry;

/* The state while a source is built, in the caller's memory context. */
typedef struct SourceBuild
{
	CaptureSource *source;
	Relation relation;
	TupleDesc tupdesc;
	const Trigger *trigger;
	List *triggers; /* of CaptureTrigger: all that fire for these rows */
	bool quiet;     /* another build gives the warnings */
	CaptureOptions options;
	bool *captured; /* by attnum - 1 */
	bool *watched;
} SourceBuild;

static HTAB *sources = NULL;

/* Counts invalidations, so that a build notices one that arrives meanwhile. */
static uint64 invalidations = 0;

/*
 * Invalidation
 */

static void
mark_stale(Oid relid)
{
	HASH_SEQ_STATUS scan;
	SourceEntry *entry;

	invalidations++;
	hash_seq_init(&scan, sources);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!OidIsValid(relid) || entry->source->relation == relid || entry->source->root == relid)
			entry->source->stale = true;
	}
}

static void
relation_changed(Datum arg, Oid relid)
{
	mark_stale(relid);
}

static void
cast_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	mark_stale(InvalidOid);
}

static void
create_cache(void)
{
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(SourceEntry)};

	sources = hash_create("webhook sources", 32, &control, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(CASTSOURCETARGET, cast_changed, (Datum) 0);
}

/* The transaction may still use it, so it is freed when that ends. */
static void
discard(CaptureSource *source)
{
	MemoryContextSetParent(source->context, TopTransactionContext);
}

/*
 * Without this, entries of dropped triggers would stay forever. Those of other triggers
 * are built again when they are used.
 */
static void
discard_stale(void)
{
	HASH_SEQ_STATUS scan;
	SourceEntry *entry;

	hash_seq_init(&scan, sources);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!entry->source->stale)
			continue;
		discard(entry->source);
		(void) hash_search(sources, &entry->trigger, HASH_REMOVE, NULL);
	}
}

/*
 * Columns
 */

static AttrNumber
find_column(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return attribute->attnum;
	}
	return InvalidAttrNumber;
}

static void
warn_missing_column(const SourceBuild *build, const char *name, const char *key, const char *consequence)
{
	if (build->quiet)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of watched table \"%s\" does not exist", name,
					RelationGetRelationName(build->relation)),
			 errdetail("Trigger \"%s\" names it in \"%s\". %s", build->trigger->tgname, key, consequence),
			 errhint("Call webhook.watch() again with the current column names.")));
}

/*
 * The columns of the primary key, in its order, as a list of attribute numbers. This
 * does not use RelationGetPrimaryKeyIndex(): whether it returns deferrable keys depends
 * on the server's version, and any key will do here.
 */
static List *
primary_key(Relation relation)
{
	List *key = NIL;
	List *indexes = RelationGetIndexList(relation);
	ListCell *cell;

	foreach (cell, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisprimary)
		{
			for (int i = 0; i < index->indnkeyatts; i++)
				key = lappend_int(key, index->indkey.values[i]);
		}
		ReleaseSysCache(tuple);
		if (key != NIL)
			break;
	}
	list_free(indexes);
	return key;
}

/* The columns that id_columns names; NIL: one of them does not exist, or it names none. */
static List *
named_key(const SourceBuild *build)
{
	List *key = NIL;
	ListCell *cell;

	foreach (cell, build->options.id_columns)
	{
		AttrNumber attnum = find_column(build->tupdesc, lfirst(cell));

		if (attnum == InvalidAttrNumber)
		{
			warn_missing_column(build, lfirst(cell), "id_columns",
								"The primary key, if there is one, identifies the entity instead.");
			return NIL;
		}
		key = lappend_int(key, attnum);
	}
	return key;
}

static void
resolve_keys(SourceBuild *build)
{
	CaptureSource *source = build->source;
	List *key = named_key(build);
	ListCell *cell;

	if (key == NIL)
		key = primary_key(build->relation);
	source->keys = MemoryContextAllocZero(source->context, sizeof(KeyColumn) * Max(list_length(key), 1));
	foreach (cell, key)
	{
		wh_key_init(&source->keys[source->nkeys++], build->tupdesc, lfirst_int(cell), source->context);
		build->watched[lfirst_int(cell) - 1] = true;
	}
}

static void
resolve_tenant(SourceBuild *build)
{
	CaptureSource *source = build->source;
	AttrNumber attnum;

	if (build->options.tenant == NULL)
		return;
	attnum = find_column(build->tupdesc, build->options.tenant);
	if (attnum == InvalidAttrNumber)
	{
		warn_missing_column(build, build->options.tenant, "tenant", "Events have no tenant.");
		return;
	}
	source->tenant = MemoryContextAlloc(source->context, sizeof(KeyColumn));
	wh_key_init(source->tenant, build->tupdesc, attnum, source->context);
	build->watched[attnum - 1] = true;
}

/* All columns, or only those that are named. */
static void
include_columns(SourceBuild *build)
{
	ListCell *cell;

	for (int i = 0; i < build->tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(build->tupdesc, i);

		build->captured[i] =
			!build->options.only_columns && !attribute->attisdropped && !wh_is_virtual(attribute);
	}
	foreach (cell, build->options.columns)
	{
		AttrNumber attnum = find_column(build->tupdesc, lfirst(cell));

		if (attnum == InvalidAttrNumber)
			warn_missing_column(build, lfirst(cell), "columns", "It is left out.");
		else if (!wh_is_virtual(TupleDescAttr(build->tupdesc, attnum - 1)))
			build->captured[attnum - 1] = true;
	}
}

/* Returns false if a column that must be left out does not exist by its name. */
static bool
exclude_columns(SourceBuild *build)
{
	bool found_all = true;
	ListCell *cell;

	foreach (cell, build->options.exclude_columns)
	{
		AttrNumber attnum = find_column(build->tupdesc, lfirst(cell));

		if (attnum != InvalidAttrNumber)
			build->captured[attnum - 1] = false;
		else
		{
			warn_missing_column(build, lfirst(cell), "exclude_columns",
								"It may have been renamed, so events contain only the key columns.");
			found_all = false;
		}
	}
	return found_all;
}

static int
level_of(const Trigger *trigger, List *triggers)
{
	ListCell *cell;

	foreach (cell, triggers)
	{
		const CaptureTrigger *found = lfirst(cell);

		if (found->trigger->tgoid == trigger->tgoid)
			return found->level;
	}
	return 0;
}

/*
 * Leave out what the triggers of other tables, above and below, leave out of these
 * rows. Returns false if that is unknown.
 */
static bool
leave_out_others(SourceBuild *build)
{
	const int level = level_of(build->trigger, build->triggers);
	bool found_all = true;
	ListCell *cell;

	foreach (cell, build->triggers)
	{
		const CaptureTrigger *found = lfirst(cell);
		SourceBuild other = {
			.relation = build->relation, .tupdesc = build->tupdesc, .trigger = found->trigger, .quiet = true};

		if (found->level == level)
			continue;
		wh_parse_capture_options(&other.options, other.trigger->tgnargs,
								 other.trigger->tgnargs > 0 ? other.trigger->tgargs[0] : NULL,
								 build->source->entity_type);
		if (other.options.problem != NULL)
		{
			found_all = false;
			continue;
		}
		other.captured = palloc0(sizeof(bool) * Max(build->tupdesc->natts, 1));
		include_columns(&other);
		found_all &= exclude_columns(&other);
		for (int i = 0; i < build->tupdesc->natts; i++)
			build->captured[i] &= other.captured[i];
	}
	return found_all;
}

/*
 * Which columns events hold, and which columns count as a change. If an excluded column
 * cannot be found, any of the others may be the one that must not leak. Events then
 * hold only the key, but a change of any column that would have been captured still
 * makes an event.
 */
static void
resolve_captured(SourceBuild *build)
{
	bool found_all;

	include_columns(build);
	found_all = exclude_columns(build);
	found_all &= leave_out_others(build);
	for (int i = 0; i < build->tupdesc->natts; i++)
	{
		bool is_key = false;

		build->watched[i] |= build->captured[i];
		for (int k = 0; k < build->source->nkeys; k++)
			is_key |= build->source->keys[k].column.attnum == i + 1;
		if (!found_all && !is_key)
			build->captured[i] = false;
	}
}

static WatchedColumn
watched_column(TupleDesc tupdesc, int i)
{
	Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
	WatchedColumn column = {attribute->attnum, attribute->attlen, attribute->attbyval};

	return column;
}

static void
store_columns(SourceBuild *build)
{
	CaptureSource *source = build->source;
	int natts = Max(build->tupdesc->natts, 1);

	source->columns = MemoryContextAllocZero(source->context, sizeof(JsonColumn) * natts);
	source->captured_images = MemoryContextAllocZero(source->context, sizeof(WatchedColumn) * natts);
	source->watched = MemoryContextAllocZero(source->context, sizeof(WatchedColumn) * natts);
	for (int i = 0; i < build->tupdesc->natts; i++)
	{
		if (build->captured[i])
		{
			source->captured_images[source->ncolumns] = watched_column(build->tupdesc, i);
			wh_json_column_init(&source->columns[source->ncolumns++], build->tupdesc, i + 1, source->context);
		}
		if (build->watched[i])
		{
			source->watched[source->nwatched++] = watched_column(build->tupdesc, i);
			source->last_attribute = i + 1;
		}
	}
}

/*
 * Building a source
 */

static Oid
topmost_ancestor(Relation relation)
{
	List *ancestors;

	if (!relation->rd_rel->relispartition)
		return RelationGetRelid(relation);
	ancestors = get_partition_ancestors(RelationGetRelid(relation));
	return ancestors == NIL ? RelationGetRelid(relation) : llast_oid(ancestors);
}

/* Without "action_types" in the argument, whatever fires the trigger makes an event. */
static int
actions_of_trigger(const Trigger *trigger)
{
	return (TRIGGER_FOR_INSERT(trigger->tgtype) ? CAPTURE_NEW : 0) |
		   (TRIGGER_FOR_UPDATE(trigger->tgtype) ? CAPTURE_UPDATE : 0) |
		   (TRIGGER_FOR_DELETE(trigger->tgtype) ? CAPTURE_DELETE : 0);
}

static void
describe_source(SourceBuild *build)
{
	CaptureSource *source = build->source;
	const CaptureOptions *options = &build->options;
	const int natts = Max(build->tupdesc->natts, 1);

	source->entity_type = MemoryContextStrdup(source->context, options->entity_type);
	source->action_types = options->only_actions ? options->action_types : actions_of_trigger(build->trigger);
	source->previous = options->previous;
	source->size_hint = 256;
	build->captured = palloc0(sizeof(bool) * natts);
	build->watched = palloc0(sizeof(bool) * natts);
	resolve_keys(build);
	resolve_tenant(build);
	resolve_captured(build);
	store_columns(build);
	MemoryContextCopyAndSetIdentifier(source->context, source->entity_type);
}

/*
 * Read the argument. If it has no entity type, that is the name of the table, or of the
 * topmost table that it is a partition of.
 */
static void
read_argument(SourceBuild *build)
{
	CaptureSource *source = build->source;
	const Trigger *trigger = build->trigger;
	const char *table_name = NULL;

	source->trigger = trigger->tgoid;
	source->relation = RelationGetRelid(build->relation);
	source->root = topmost_ancestor(build->relation);
	if (source->root != source->relation)
		table_name = get_rel_name(source->root);
	if (table_name == NULL)
		table_name = RelationGetRelationName(build->relation);
	wh_parse_capture_options(&build->options, trigger->tgnargs,
							 trigger->tgnargs > 0 ? trigger->tgargs[0] : NULL, table_name);
	if (build->options.problem == NULL)
		return;
	source->unusable = true;
	if (build->quiet)
		return;
	ereport(
		WARNING,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("changes of table \"%s\" make no events", RelationGetRelationName(build->relation)),
		 errdetail("The argument of its trigger \"%s\" is invalid: %s.", trigger->tgname,
				   build->options.problem),
		 errhint("Create the trigger with webhook.watch(). webhook.source shows the problems of triggers.")));
}

static CaptureSource *
build_one(Relation relation, const Trigger *trigger, List *triggers, MemoryContext parent, bool quiet)
{
	MemoryContext context = AllocSetContextCreate(parent, "webhook capture source", ALLOCSET_SMALL_SIZES);
	SourceBuild build = {.relation = relation,
						 .tupdesc = RelationGetDescr(relation),
						 .trigger = trigger,
						 .triggers = triggers,
						 .quiet = quiet};

	build.source = MemoryContextAllocZero(context, sizeof(CaptureSource));
	build.source->context = context;
	read_argument(&build);
	if (!build.source->unusable)
		describe_source(&build);
	return build.source;
}

/* Add the triggers that take precedence over this one: those of all tables above. */
static void
add_superiors(CaptureSource *source, Relation relation, const Trigger *trigger, List *triggers)
{
	const int level = level_of(trigger, triggers);
	ListCell *cell;

	if (!wh_is_plain_trigger(trigger))
		return;
	foreach (cell, triggers)
	{
		const CaptureTrigger *found = lfirst(cell);
		CaptureSuperior *superior;

		if (found->level <= level || !wh_is_plain_trigger(found->trigger))
			continue;
		if (source->superiors == NULL)
			source->superiors =
				MemoryContextAllocZero(source->context, sizeof(CaptureSuperior) * list_length(triggers));
		superior = &source->superiors[source->nsuperiors++];
		superior->source = build_one(relation, found->trigger, triggers, source->context, true);
		superior->type = found->trigger->tgtype;
		superior->enabled = found->trigger->tgenabled;
	}
}

static CaptureSource *
build_source(Relation relation, const Trigger *trigger)
{
	uint64 invalidations_before = invalidations;
	List *triggers = TRIGGER_FOR_ROW(trigger->tgtype) ? wh_capture_triggers(relation, trigger->tgfoid) : NIL;
	CaptureSource *source = build_one(relation, trigger, triggers, CurrentMemoryContext, false);

	if (!source->unusable)
		add_superiors(source, relation, trigger, triggers);
	/* partitions may change what they leave out, unnoticed by this table: always build again */
	source->stale =
		invalidations != invalidations_before || relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	return source;
}

CaptureSource *
wh_capture_source(Relation relation, const Trigger *trigger)
{
	SourceEntry *entry;
	CaptureSource *source;
	Oid key = trigger->tgoid;
	bool found;

	if (sources == NULL)
		create_cache();
	entry = hash_search(sources, &key, HASH_FIND, NULL);
	if (entry != NULL && !entry->source->stale && entry->source->relation == RelationGetRelid(relation))
		return entry->source;

	source = build_source(relation, trigger);

	/* From here until the entry is made, nothing is looked up and only memory can fail. */
	discard_stale();
	entry = hash_search(sources, &key, HASH_ENTER, &found);
	if (found)
		discard(entry->source);
	entry->source = source;
	MemoryContextSetParent(source->context, CacheMemoryContext);
	return source;
}
