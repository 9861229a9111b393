/*
 * compat.h
 *	  The differences between the PostgreSQL versions that the extension supports.
 *
 * Only this file mentions PG_VERSION_NUM. The rest is written for one version;
 * what a release renamed, moved or gave another argument is handled here.
 * Include it after postgres.h.
 *
 * Each branch has been compiled without a warning, with gcc 12 (15), 14 (17) and 16
 * (18, 19), and is tested by `make test-versions`; those of 16 only against its headers
 * (16.2), since Debian does not have it.
 */
#ifndef WEBHOOK_COMPAT_H
#define WEBHOOK_COMPAT_H

#include "postgres.h"

#include "catalog/pg_attribute.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "webhook needs PostgreSQL 15 or newer"
#endif

/* PostgreSQL 16 moved the macros for variable-length values out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* PostgreSQL 16 added onlySummarizing to ExecInsertIndexTuples; 19 merged its flags. */
#if PG_VERSION_NUM >= 190000
#define wh_insert_index_tuples(result_rel, slot, estate)                                                     \
	ExecInsertIndexTuples(result_rel, estate, 0, slot, NIL, NULL)
#elif PG_VERSION_NUM >= 160000
#define wh_insert_index_tuples(result_rel, slot, estate)                                                     \
	ExecInsertIndexTuples(result_rel, slot, estate, false, false, NULL, NIL, false)
#else
#define wh_insert_index_tuples(result_rel, slot, estate)                                                     \
	ExecInsertIndexTuples(result_rel, slot, estate, false, false, NULL, NIL)
#endif

/* PostgreSQL 19 takes hints about what a scan is for. */
#if PG_VERSION_NUM >= 190000
#define wh_table_beginscan(table, snapshot) table_beginscan((table), (snapshot), 0, NULL, SO_NONE)
#else
#define wh_table_beginscan(table, snapshot) table_beginscan((table), (snapshot), 0, NULL)
#endif

/* PostgreSQL 17 replaced a wait event set's memory context by a resource owner (NULL: none). */
#if PG_VERSION_NUM >= 170000
#define wh_create_wait_event_set(n) CreateWaitEventSet(NULL, (n))
#else
#define wh_create_wait_event_set(n) CreateWaitEventSet(TopMemoryContext, (n))
#endif

/* PostgreSQL 18 moved noreturn to the front of a declaration. */
#if PG_VERSION_NUM >= 180000
#define wh_noreturn pg_noreturn
#else
#define wh_noreturn pg_attribute_noreturn()
#endif

/* PostgreSQL 17 added transaction_timeout. */
#if PG_VERSION_NUM >= 170000
#define WH_FURTHER_TIMEOUTS {"transaction_timeout", "0"},
#define WH_ENDING_TIMEOUTS "transaction_timeout"
#else
#define WH_FURTHER_TIMEOUTS
#define WH_ENDING_TIMEOUTS NULL
#endif

/* PostgreSQL 16 keeps settings in a hash table, and makes an array of it on request. */
#if PG_VERSION_NUM >= 160000
#define wh_all_settings(n) get_guc_variables(n)
#else
#define wh_all_settings(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/* PostgreSQL 19 names a lock tranche when its number is assigned. */
#if PG_VERSION_NUM >= 190000
#define wh_new_tranche(name) LWLockNewTrancheId(name)
#define wh_name_tranche(id, name) ((void) 0)
#else
#define wh_new_tranche(name) LWLockNewTrancheId()
#define wh_name_tranche(id, name) LWLockRegisterTranche((id), (name))
#endif

/* PostgreSQL 18 added virtual generated columns; a trigger does not see their values. */
#ifdef ATTRIBUTE_GENERATED_VIRTUAL
#define wh_is_virtual(attribute) ((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define wh_is_virtual(attribute) false
#endif

/* PostgreSQL 17 lets the caller supply the JSON lexer's memory. unescape: decode strings. */
#if PG_VERSION_NUM >= 170000
#define wh_make_json_lex(json, len, encoding, unescape)                                                      \
	makeJsonLexContextCstringLen(NULL, (json), (len), (encoding), (unescape))
#else
#define wh_make_json_lex(json, len, encoding, unescape)                                                      \
	makeJsonLexContextCstringLen(unconstify(char *, (json)), (int) (len), (encoding), (unescape))
#endif

/* Since PostgreSQL 16 the JSON parser's callbacks may stop it. */
#if PG_VERSION_NUM >= 160000
#define WhJsonResult JsonParseErrorType
#define WH_JSON_GO_ON JSON_SUCCESS
#else
#define WhJsonResult void
#define WH_JSON_GO_ON
#endif

/* PostgreSQL 16 merged the functions that check who owns an object. */
#if PG_VERSION_NUM >= 160000
#define wh_owns_database(dboid) object_ownercheck(DatabaseRelationId, (dboid), GetUserId())
#else
#define wh_owns_database(dboid) pg_database_ownercheck((dboid), GetUserId())
#endif

/* And those that check privileges. */
#if PG_VERSION_NUM >= 160000
#define wh_schema_usage(schema) object_aclcheck(NamespaceRelationId, (schema), GetUserId(), ACL_USAGE)
#define wh_function_execute(function)                                                                        \
	object_aclcheck(ProcedureRelationId, (function), GetUserId(), ACL_EXECUTE)
#else
#define wh_schema_usage(schema) pg_namespace_aclcheck((schema), GetUserId(), ACL_USAGE)
#define wh_function_execute(function) pg_proc_aclcheck((function), GetUserId(), ACL_EXECUTE)
#endif

/* PostgreSQL 17 renamed the shared variables of transaction ids. */
#if PG_VERSION_NUM >= 170000
#define wh_transam_variables TransamVariables
#else
#define wh_transam_variables ShmemVariableCache
#endif

/* Since PostgreSQL 19 a row type made by hand must be finished before its first use. */
#if PG_VERSION_NUM >= 190000
#define wh_row_is_described(row) TupleDescFinalize(row)
#else
#define wh_row_is_described(row) ((void) 0)
#endif

/* Since PostgreSQL 17 extensions name what they wait for: pg_stat_activity.wait_event. */
static inline uint32
wh_wait_event(uint32 *known, const char *name)
{
	/* asked for once in a process: it takes a lock */
	if (*known == 0)
#if PG_VERSION_NUM >= 170000
		*known = WaitEventExtensionNew(name);
#else
		*known = PG_WAIT_EXTENSION;
#endif
	return *known;
}

/*
 * Since PostgreSQL 19 the server ends a worker that is in the way of CREATE, ALTER or
 * DROP DATABASE. database_ddl.c is still needed: it keeps the launcher from starting
 * another one meanwhile, and does so for commands that the server allows with workers.
 */
#if PG_VERSION_NUM >= 190000
#define WH_INTERRUPTIBLE BGWORKER_INTERRUPTIBLE
#else
#define WH_INTERRUPTIBLE 0
#endif

/* PostgreSQL 19 passes EXPLAIN's options to planners. */
#if PG_VERSION_NUM >= 190000
#define WH_PLANNER_PARAMETERS                                                                                \
	Query *parse, const char *query, int options, ParamListInfo params, struct ExplainState *es
#define WH_PLANNER_ARGUMENTS(options) parse, query, (options), params, es
#else
#define WH_PLANNER_PARAMETERS Query *parse, const char *query, int options, ParamListInfo params
#define WH_PLANNER_ARGUMENTS(options) parse, query, (options), params
#endif

/* PostgreSQL 19 replaced the hook after the look-up of a relation's indexes. */
#if PG_VERSION_NUM >= 190000
#define wh_relation_hook build_simple_rel_hook
#define wh_relation_hook_type build_simple_rel_hook_type
#define WH_RELATION_PARAMETERS PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte
#define WH_RELATION_ARGUMENTS root, rel, rte
#else
#define wh_relation_hook get_relation_info_hook
#define wh_relation_hook_type get_relation_info_hook_type
#define WH_RELATION_PARAMETERS PlannerInfo *root, Oid relid, bool inhparent, RelOptInfo *rel
#define WH_RELATION_ARGUMENTS root, relid, inhparent, rel
#endif

#endif /* WEBHOOK_COMPAT_H */
