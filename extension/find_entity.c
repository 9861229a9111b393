/*
 * find_entity.c
 *	  Finding the requests of an entity in webhook.log.
 *
 * Each segment of webhook.attempt has a BRIN index of entity_id: a Bloom filter for each
 * range of 16 pages. It costs the worker next to nothing, and leads to the few ranges in
 * which an entity can be. The planner does not see it so: it takes it that a BRIN index
 * leads to most of the table, unless the column's values go with the order of the rows,
 * which holds for a time and not for an entity. So the estimate of such an index is
 * corrected here: it finds as many ranges as there are rows, and the false positives.
 *
 * Runs in users' backends, when a query is planned: where the planner has just looked up
 * a table's indexes, before it makes any path. It changes costs and nothing else.
 */
#include "postgres.h"

#include <math.h>

#include "access/brin.h"
#include "access/brin_internal.h"
#include "access/genam.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/plancat.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/index_selfuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"

#include "compat.h"
#include "find_entity.h"

/* As 30_logs.sql makes them. */
#define FALSE_POSITIVES 0.003
#define TABLE_NAMES "attempt_"
#define COLUMN_NAME "entity_id"

static wh_relation_hook_type previous_relation_hook = NULL;

static double
pages_per_range(const IndexOptInfo *index)
{
	Relation relation = index_open(index->indexoid, NoLock); /* the planner has locked it */
	double pages = BrinGetPagesPerRange(relation);

	index_close(relation, NoLock);
	return pages;
}

static void
estimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
		 Selectivity *selectivity, double *correlation, double *pages)
{
	const RelOptInfo *rel = path->indexinfo->rel;
	double per_range = pages_per_range(path->indexinfo);
	double ranges = Max(1, ceil((double) rel->pages / per_range));
	double found;

	brincostestimate(root, path, loop_count, startup, total, selectivity, correlation, pages);
	found = rel->tuples * clauselist_selectivity(root, get_quals_from_indexclauses(path->indexclauses),
												 (int) rel->relid, JOIN_INNER, NULL);
	found = Min(ranges, found + FALSE_POSITIVES * ranges);
	/* a row for each page that is read: what is made of it is the number of pages, and they lie together */
	*selectivity = Min(*selectivity, found * per_range / Max(1, rel->tuples));
}

/*
 * Is this an index of Bloom filters of webhook.attempt_N.entity_id alone? Such filters
 * have equality only. The planner asks an index nothing under another collation.
 */
static bool
is_ours(Oid relid, const IndexOptInfo *index)
{
	const char *name;

	if (index->relam != BRIN_AM_OID || index->hypothetical || index->ncolumns != 1 ||
		index->indexkeys[0] <= 0 || get_rel_namespace(relid) != get_namespace_oid("webhook", true))
		return false;
	name = get_rel_name(relid);
	if (name == NULL || strncmp(name, TABLE_NAMES, strlen(TABLE_NAMES)) != 0)
		return false;
	name = get_attname(relid, (AttrNumber) index->indexkeys[0], true);
	return name != NULL && strcmp(name, COLUMN_NAME) == 0 &&
		   get_opfamily_proc(index->opfamily[0], index->opcintype[0], index->opcintype[0],
							 BRIN_PROCNUM_CONSISTENT) == F_BRIN_BLOOM_CONSISTENT;
}

static void
correct_estimates(WH_RELATION_PARAMETERS)
{
	ListCell *lc;

	if (previous_relation_hook)
		previous_relation_hook(WH_RELATION_ARGUMENTS);
	if (rel->rtekind != RTE_RELATION)
		return;
	foreach (lc, rel->indexlist)
	{
		IndexOptInfo *index = lfirst(lc);

		if (is_ours(planner_rt_fetch(rel->relid, root)->relid, index))
			index->amcostestimate = estimate;
	}
}

void
wh_find_entity_install(void)
{
	previous_relation_hook = wh_relation_hook;
	wh_relation_hook = correct_estimates;
}
