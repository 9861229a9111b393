/*
 * find_event.c
 *	  webhook.event_id(), and finding rows by it as fast as by number.
 *
 * People look for the id that their receiver has: WHERE event_id = 'evt_...'. The column
 * is webhook.event_id(event_number), and an index on that would make every insert more
 * expensive. But the id ends with the number, so the condition determines the number:
 * event_id(n) = 'evt_0123abcd_42' is true only for n = 42. The planner cannot know that
 * about a function. So a hook adds "n = 42" to such a condition, and the planner can use
 * an index on n. The original condition stays: the index finds rows, the condition
 * decides.
 *
 * Only constants determine a number. A prepared statement's parameters are constants
 * while it has custom plans. The added condition compares numbers and so reveals nothing
 * about rows that a policy hides. It may therefore be evaluated before a policy.
 *
 * Runs in users' backends. The expression that calls webhook.event_id() keeps the
 * instance, while the snapshot is the same.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "find_event.h"

PG_FUNCTION_INFO_V1(webhook_event_id);

#define INSTANCE_LEN 8

static set_rel_pathlist_hook_type previous_set_rel_pathlist = NULL;

/*
 * The id of a number
 */

typedef struct Instance
{
	TransactionId xmin; /* of the snapshot under which it was read */
	TransactionId xmax;
	uint32 xcnt;
	CommandId curcid;
	bool known;
	char id[INSTANCE_LEN + 1]; /* "": there is none */
} Instance;

/* Read the instance of the newest row of webhook.identity, with no check of privileges. */
static void
read_instance(Snapshot snapshot, Instance *instance)
{
	Oid schema = get_namespace_oid("webhook", false);
	Relation table = table_open(get_relname_relid("identity", schema), AccessShareLock);
	AttrNumber id = get_attnum(RelationGetRelid(table), "instance");
	AttrNumber enabled_at = get_attnum(RelationGetRelid(table), "enabled_at");
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TimestampTz newest = DT_NOBEGIN;
	TableScanDesc scan;

	if (id <= 0 || enabled_at <= 0 || TupleDescAttr(RelationGetDescr(table), id - 1)->atttypid != TEXTOID ||
		TupleDescAttr(RelationGetDescr(table), enabled_at - 1)->atttypid != TIMESTAMPTZOID)
		ereport(ERROR, errcode(ERRCODE_UNDEFINED_COLUMN), errmsg("webhook.identity has unexpected columns"),
				errdetail("The table was altered."), errhint("Restore its original columns."));
	instance->id[0] = '\0';
	scan = wh_table_beginscan(table, snapshot);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull[2];
		Datum value = slot_getattr(slot, id, &isnull[0]);
		Datum at = slot_getattr(slot, enabled_at, &isnull[1]);

		if (isnull[0] || isnull[1] || DatumGetTimestampTz(at) < newest)
			continue;
		newest = DatumGetTimestampTz(at);
		text_to_cstring_buffer(DatumGetTextPP(value), instance->id, sizeof(instance->id));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(table, AccessShareLock);
	instance->xmin = snapshot->xmin;
	instance->xmax = snapshot->xmax;
	instance->xcnt = snapshot->xcnt;
	instance->curcid = snapshot->curcid;
	instance->known = true;
}

Datum
webhook_event_id(PG_FUNCTION_ARGS)
{
	Instance *instance = fcinfo->flinfo->fn_extra;
	Snapshot snapshot = GetActiveSnapshot();
	char id[sizeof("evt__") + INSTANCE_LEN + MAXINT8LEN];
	int len;

	if (instance == NULL)
		instance = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Instance));
	if (!instance->known || instance->xmin != snapshot->xmin || instance->xmax != snapshot->xmax ||
		instance->xcnt != snapshot->xcnt || instance->curcid != snapshot->curcid)
		read_instance(snapshot, instance);
	if (instance->id[0] == '\0')
		PG_RETURN_NULL();
	len = (int) strlen(instance->id);
	memcpy(id, "evt_", 4);
	memcpy(id + 4, instance->id, len);
	id[4 + len] = '_';
	len += 5;
	len += pg_lltoa(PG_GETARG_INT64(0), id + len);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(id, len));
}

/*
 * The number of an id
 */

/* The number at the end of an id; false: webhook.event_id() makes no such text. */
static bool
number_of(Datum id, int64 *number)
{
	const char *digits = strrchr(TextDatumGetCString(id), '_');
	char again[MAXINT8LEN + 1];

	if (digits == NULL)
		return false;
	*number = strtoll(digits + 1, NULL, 10);
	pg_lltoa(*number, again);
	return strcmp(again, digits + 1) == 0;
}

static Const *
number_const(const Const *id)
{
	int64 number = 0;
	bool known = !id->constisnull && number_of(id->constvalue, &number);

	return makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(number), !known, FLOAT8PASSBYVAL);
}

static Const *
numbers_const(const Const *ids)
{
	Datum *elements;
	bool *nulls;
	int n;
	int n_numbers = 0;

	deconstruct_array(DatumGetArrayTypeP(ids->constvalue), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int64 number;

		if (!nulls[i] && number_of(elements[i], &number))
			elements[n_numbers++] = Int64GetDatum(number);
	}
	return makeConst(INT8ARRAYOID, -1, InvalidOid, -1,
					 PointerGetDatum(construct_array(elements, n_numbers, INT8OID, sizeof(int64),
													 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)),
					 false, false);
}

/*
 * Planning
 */

/* If this is webhook.event_id(n) of a column of that relation: n. Else NULL. */
static Var *
numbered(Node *node, Index relid)
{
	FuncExpr *call = (FuncExpr *) node;
	Var *n;
	Oid schema;

	if (!IsA(node, FuncExpr) || call->funcid < FirstNormalObjectId || call->funcresulttype != TEXTOID ||
		list_length(call->args) != 1 || !IsA(linitial(call->args), Var))
		return NULL;
	n = linitial(call->args);
	schema = get_namespace_oid("webhook", true);
	if (n->varno != (int) relid || n->vartype != INT8OID || n->varlevelsup != 0 || !OidIsValid(schema) ||
		get_func_namespace(call->funcid) != schema || strcmp(get_func_name(call->funcid), "event_id") != 0)
		return NULL;
	return n;
}

static Oid
int8_equals(void)
{
	return get_opfamily_member(INTEGER_BTREE_FAM_OID, INT8OID, INT8OID, BTEqualStrategyNumber);
}

static bool
is_const(Node *node, Oid type)
{
	return IsA(node, Const) && ((Const *) node)->consttype == type;
}

/*
 * The condition on n that follows from event_id(n) = 'evt_...' or = ANY ('{evt_...}');
 * NULL: none.
 */
static Expr *
implied(Expr *clause, Index relid)
{
	Var *n;

	if (IsA(clause, OpExpr) && ((OpExpr *) clause)->opno == TextEqualOperator)
	{
		Node *left = linitial(((OpExpr *) clause)->args);
		Node *right = lsecond(((OpExpr *) clause)->args);
		Node *id = is_const(left, TEXTOID) ? left : right;
		OpExpr *equal;

		n = numbered(id == left ? right : left, relid);
		if (n == NULL || !is_const(id, TEXTOID))
			return NULL;
		equal = (OpExpr *) make_opclause(int8_equals(), BOOLOID, false, copyObject((Expr *) n),
										 (Expr *) number_const((Const *) id), InvalidOid, InvalidOid);
		equal->opfuncid = F_INT8EQ;
		return (Expr *) equal;
	}
	if (IsA(clause, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) clause)->opno == TextEqualOperator &&
		((ScalarArrayOpExpr *) clause)->useOr)
	{
		Node *ids = lsecond(((ScalarArrayOpExpr *) clause)->args);
		ScalarArrayOpExpr *any;

		n = numbered(linitial(((ScalarArrayOpExpr *) clause)->args), relid);
		if (n == NULL || !is_const(ids, TEXTARRAYOID) || ((Const *) ids)->constisnull)
			return NULL;
		any = makeNode(ScalarArrayOpExpr);
		any->opno = int8_equals();
		any->opfuncid = F_INT8EQ;
		any->useOr = true;
		any->args = list_make2(copyObject(n), numbers_const((Const *) ids));
		any->location = -1;
		return (Expr *) any;
	}
	return NULL;
}

static void
add_by_number(PlannerInfo *root, RelOptInfo *rel)
{
	List *added = NIL;
	ListCell *lc;

	foreach (lc, rel->baserestrictinfo)
	{
		RestrictInfo *given = lfirst(lc);
		Expr *clause = implied(given->clause, rel->relid);
		RestrictInfo *more;

		if (clause == NULL)
			continue;
		more = make_simple_restrictinfo(root, clause);
		/* it follows from the given condition, and a comparison of numbers leaks nothing */
		more->security_level = given->security_level;
		more->leakproof = true;
		added = lappend(added, more);
	}
	if (added == NIL)
		return;
	rel->baserestrictinfo = list_concat(rel->baserestrictinfo, added);
	create_index_paths(root, rel);
}

/* These are paths as the server makes them. So they come before what others make of those. */
static void
find_by_number(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	if (rte->rtekind == RTE_RELATION && !rte->inh && rel->indexlist != NIL && !IS_DUMMY_REL(rel))
		add_by_number(root, rel);
	if (previous_set_rel_pathlist)
		previous_set_rel_pathlist(root, rel, rti, rte);
}

void
wh_find_event_install(void)
{
	previous_set_rel_pathlist = set_rel_pathlist_hook;
	set_rel_pathlist_hook = find_by_number;
}
