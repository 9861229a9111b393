/*
 * database_ddl.c
 *	  The worker steps aside for commands that need its database to themselves.
 *
 * A connected worker would make DROP DATABASE, CREATE DATABASE ... TEMPLATE,
 * ALTER DATABASE ... RENAME and ... SET TABLESPACE fail because the database
 * is "being accessed by other users". So before such a command, given by
 * somebody who may give it, the database's worker is asked to end; when the
 * transaction has ended, however it does, the launcher starts it again, if the
 * database is still there and is one that may have a worker.
 *
 * A ProcessUtility hook, installed only when the library is preloaded. It
 * keeps nothing; the slots in wake.c remember who is to stay away.
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

/* The name of the database that this command needs to itself, or NULL. */
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
			/* to move it; and what makes it one that has no worker, as the launcher then finds */
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

/* DROP EXTENSION: the worker is to notice at once that there is nothing left to do. */
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
	/* all that is asked of the command is asked now: one that ends its transaction (CALL) may take it along */
	bool drops_ours = drops_extension(pstmt->utilityStmt);
	bool drops_database = IsA(pstmt->utilityStmt, DropdbStmt);
	const char *name = database_needed(pstmt->utilityStmt);
	Oid dboid = name ? get_database_oid(name, true) : InvalidOid;

	/* who may not give the command disturbs nobody; nor does one on our own database, which will fail */
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
