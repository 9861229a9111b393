/*
 * database_ddl.c
 *	  The worker steps aside for commands that need exclusive use of its database.
 *
 * A connected worker would make DROP DATABASE, CREATE DATABASE ... TEMPLATE, ALTER
 * DATABASE ... RENAME and ... SET TABLESPACE fail, because the database is "being
 * accessed by other users". So if a role that may run such a command runs it, the
 * database's worker is asked to end first. When the transaction has ended, in whatever
 * way, the launcher starts the worker again, if the database still exists and may have a
 * worker.
 *
 * This is a ProcessUtility hook, installed only if the library is preloaded. It keeps
 * nothing; worker_slots_aside.c remembers which workers must stay away.
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/acl.h"

#include "database_ddl.h"
#include "compat.h"
#include "wake.h"
#include "worker_slots.h"

static ProcessUtility_hook_type previous_hook = NULL;

static const char *
option_value(List *options, const char *name)
{
	ListCell *lc;

	foreach (lc, options)
	{
		DefElem *option = lfirst(lc);

		if (strcmp(option->defname, name) == 0 && option->arg)
			return defGetString(option);
	}
	return NULL;
}

/* The name of the database that this command needs exclusive use of, or NULL. */
static const char *
database_needed(Node *command)
{
	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) command)->dbname;
		case T_CreatedbStmt:
			return option_value(((CreatedbStmt *) command)->options, "template");
		case T_AlterDatabaseStmt:
			/* it is moved; or it may have no worker from now on, which the launcher will find */
			if (option_value(((AlterDatabaseStmt *) command)->options, "tablespace") ||
				option_value(((AlterDatabaseStmt *) command)->options, "is_template") ||
				option_value(((AlterDatabaseStmt *) command)->options, "allow_connections"))
				return ((AlterDatabaseStmt *) command)->dbname;
			return NULL;
		case T_RenameStmt:
			if (((RenameStmt *) command)->renameType == OBJECT_DATABASE)
				return ((RenameStmt *) command)->subname;
			return NULL;
		default:
			return NULL;
	}
}

/* DROP EXTENSION: the worker must notice at once that there is nothing left to do. */
static bool
drops_extension(Node *command)
{
	return IsA(command, DropStmt) && ((DropStmt *) command)->removeType == OBJECT_EXTENSION;
}

static void
run_command(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
			ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
			QueryCompletion *completion)
{
	if (previous_hook)
		previous_hook(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, environment, dest, completion);
}

static void
step_aside_and_run(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
				   ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
				   QueryCompletion *completion)
{
	/* examine the command before it runs: one that ends its transaction (CALL) may free it */
	bool drops_ours = drops_extension(pstmt->utilityStmt);
	bool drops_database = IsA(pstmt->utilityStmt, DropdbStmt);
	const char *name = database_needed(pstmt->utilityStmt);
	Oid dboid = name ? get_database_oid(name, true) : InvalidOid;

	/* no worker ends for a command that will fail: without the right, or on our own database */
	if (OidIsValid(dboid) && dboid != MyDatabaseId && wh_owns_database(dboid))
		wh_worker_step_aside(dboid, drops_database);
	run_command(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	if (drops_ours)
		wh_config_changed_at_commit();
}

void
wh_database_ddl_install(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = step_aside_and_run;
}
