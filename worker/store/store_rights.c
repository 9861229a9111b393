/*
 * store_rights.c
 *	  Whose rights the worker's statements have, and who else could put code of their
 *	  own into them.
 *
 * The worker is connected as the bootstrap superuser and never works as that
 * role. Between wh_tx_begin and wh_tx_commit everything runs as the owner of the
 * extension, in a security-restricted operation and with a nest level of settings
 * of its own, as logical replication applies changes. So a trigger, default,
 * check or index expression on a table of ours has at most the owner's rights,
 * cannot become another role, and leaves no settings, prepared statements,
 * cursors, temporary tables, deferred triggers or locks behind.
 *
 * Nobody else may have the owner's rights either. A role with the privilege
 * TRIGGER on a table can run code as whoever writes there, so a trigger that runs
 * somebody else's function counts as a problem. So do tables and functions of the
 * extension that were given away. While there is a problem, schema_check.c lets
 * no statement begin.
 *
 * Owns the user and the settings that are put back. After an error the server puts
 * both back, together with the transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "store_rights.h"

static Oid extension = InvalidOid; /* as this transaction found it */
static Oid owner = InvalidOid;
static char version[NAMEDATALEN];
static Oid user_before;
static int security_before;
static int settings_level;

/*
 * Whose rights
 */

/* One look-up for all three: this is done in every transaction. */
static void
find_extension(void)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("webhook"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	extension = owner = InvalidOid;
	version[0] = '\0';
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum name = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull);

		if (!isnull)
			text_to_cstring_buffer(DatumGetTextPP(name), version, sizeof(version));
		extension = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * DROP EXTENSION locks the extension before it drops anything, so it waits for the
 * end of this short transaction, or has ended before: our statements find all of
 * our tables, or no extension. If another extension with another owner was
 * created while we waited, its tables do not belong to the owner found here, and
 * nothing is run either.
 */
void
wh_rights_begin(void)
{
	find_extension();
	if (OidIsValid(extension))
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	GetUserIdAndSecContext(&user_before, &security_before);
	settings_level = NewGUCNestLevel();
	/* without an extension, nothing of it is run in this transaction, even if it is created now */
	SetUserIdAndSecContext(OidIsValid(owner) ? owner : user_before,
						   security_before | SECURITY_RESTRICTED_OPERATION);
}

void
wh_rights_end(void)
{
	AtEOXact_GUC(false, settings_level);
	SetUserIdAndSecContext(user_before, security_before);
	wh_rights_release();
}

void
wh_rights_release(void)
{
	/* advisory locks of the session: we take none, and somebody's would outlive the transaction */
	LockReleaseSession(USER_LOCKMETHOD);
}

Oid
wh_rights_owner(void)
{
	return owner;
}

const char *
wh_rights_version(void)
{
	return version;
}

/*
 * Whose code
 */

static const char *
role_name(Oid role)
{
	const char *name = GetUserNameFromId(role, true);

	return name ? quote_identifier(name) : "a role that is gone";
}

static bool
is_owners_function(Oid function, uint32 *hash)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool is = false;

	*hash = GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(function));
	if (HeapTupleIsValid(tuple))
	{
		is = ((Form_pg_proc) GETSTRUCT(tuple))->proowner == owner;
		ReleaseSysCache(tuple);
	}
	return is;
}

/* A function, or anything else that may contain code, that is not the owner's; InvalidOid: none. */
typedef struct Foreign
{
	Oid class;
	Oid object;
} Foreign;

/*
 * What a trigger calls, including its condition. Built-in functions leave no trace
 * in pg_depend and are harmless. An operator, a domain or a cast of a user is not
 * worth analysing: it counts as foreign.
 */
static Foreign
foreign_code(Oid trigger, WhRightsSeen *seen)
{
	Relation rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	Foreign found = {InvalidOid, InvalidOid};

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(TriggerRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(trigger));
	scan = systable_beginscan(rel, DependDependerIndexId, true, NULL, 2, keys);
	while (!OidIsValid(found.class) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend on = (Form_pg_depend) GETSTRUCT(tuple);
		uint32 hash;

		switch (on->refclassid)
		{
			case RelationRelationId:
			case TriggerRelationId:
			case ConstraintRelationId:
			case CollationRelationId:
				break;
			case ProcedureRelationId:
				if (is_owners_function(on->refobjid, &hash))
					wh_rights_see(seen, hash);
				else
					found = (Foreign){on->refclassid, on->refobjid};
				break;
			default:
				found = (Foreign){on->refclassid, on->refobjid};
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static char *
trigger_problem(Oid relid, HeapTuple tuple, WhRightsSeen *seen)
{
	Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);
	Foreign foreign;
	uint32 hash;

	if (trigger->tgenabled == TRIGGER_DISABLED || trigger->tgenabled == TRIGGER_FIRES_ON_REPLICA)
		return NULL;
	/* a foreign key's: it acts on the referencing table as the owner of that table */
	if (trigger->tgisinternal && trigger->tgfoid < FirstUnpinnedObjectId)
		return NULL;
	foreign = foreign_code(trigger->oid, seen);
	if (!OidIsValid(foreign.class) && !is_owners_function(trigger->tgfoid, &hash))
		foreign = (Foreign){ProcedureRelationId, trigger->tgfoid};
	if (!OidIsValid(foreign.class))
		return NULL;
	if (foreign.class != ProcedureRelationId)
		return psprintf(
			"the condition of trigger \"%s\" on webhook.%s may run code that %s, the owner of the "
			"extension, does not own: drop the trigger",
			NameStr(trigger->tgname), get_rel_name(relid), role_name(owner));
	return psprintf("trigger \"%s\" on webhook.%s runs function %s, which %s, the owner of the extension, "
					"does not own: drop the trigger, or change the function's owner",
					NameStr(trigger->tgname), get_rel_name(relid), get_func_name(foreign.object),
					role_name(owner));
}

static const char *
table_problem(Oid relid, WhRightsSeen *seen)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Relation rel;
	ScanKeyData key;
	SysScanDesc scan;
	Oid table_owner;
	char *problem = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL; /* a partition that is gone: its invalidation has come */
	table_owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (table_owner != owner)
		return psprintf("the table webhook.%s is owned by %s, the extension by %s: change one of the owners",
						get_rel_name(relid), role_name(table_owner), role_name(owner));

	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (problem == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
		problem = trigger_problem(relid, tuple, seen);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return problem;
}

/* Are the schemas the extension's, and are its functions the owner's? */
static const char *
members_problem(Oid schema, Oid internal, WhRightsSeen *seen)
{
	Relation rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool schema_seen = false;
	bool internal_seen = false;
	char *problem = NULL;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, 2, keys);
	while (problem == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend member = (Form_pg_depend) GETSTRUCT(tuple);
		uint32 hash;

		if (member->deptype != DEPENDENCY_EXTENSION)
			continue;
		if (member->classid == NamespaceRelationId)
		{
			schema_seen = schema_seen || member->objid == schema;
			internal_seen = internal_seen || member->objid == internal;
		}
		if (member->classid != ProcedureRelationId)
			continue;
		if (!is_owners_function(member->objid, &hash))
			problem = psprintf(
				"the function %s.%s is not owned by %s, the owner of the extension: change its owner",
				get_namespace_name(get_func_namespace(member->objid)), get_func_name(member->objid),
				role_name(owner));
		wh_rights_see(seen, hash);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (problem == NULL && !(schema_seen && internal_seen))
		problem = psprintf("the schema %s is not the one that belongs to the extension",
						   schema_seen ? "webhook_internal" : "webhook");
	return problem;
}

const char *
wh_rights_problem(Oid schema, Oid internal, const Oid *tables, int n, WhRightsSeen *seen)
{
	const char *problem;

	*seen = (WhRightsSeen){.n = 0};
	problem = members_problem(schema, internal, seen);
	for (int i = 0; i < n && problem == NULL; i++)
		problem = table_problem(tables[i], seen);
	return problem;
}

void
wh_rights_see(WhRightsSeen *seen, uint32 hash)
{
	if (seen->n < (int) lengthof(seen->hashes))
		seen->hashes[seen->n++] = hash;
	else
		seen->too_many = true;
}
