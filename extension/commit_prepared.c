/*
 * commit_prepared.c
 *	  COMMIT PREPARED wakes this database's worker.
 *
 * What a transaction has captured is forgotten when it is prepared: another session may
 * commit it, days later, and no commit callback runs for it then. So each COMMIT PREPARED
 * wakes the worker, whatever the transaction has done. If there is nothing to read, that
 * costs one look. The worker does not depend on it: a session may not have this library
 * (worker_prepared.c).
 *
 * This is a ProcessUtility hook. It keeps nothing.
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "tcop/utility.h"

#include "commit_prepared.h"
#include "wake.h"

static ProcessUtility_hook_type previous_hook = NULL;

static void
run_and_wake(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
			 ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
			 QueryCompletion *completion)
{
	Node *command = pstmt->utilityStmt;
	/* examine the command before it runs: one that ends its transaction (CALL) may free it */
	bool commits =
		IsA(command, TransactionStmt) && ((TransactionStmt *) command)->kind == TRANS_STMT_COMMIT_PREPARED;

	if (previous_hook)
		previous_hook(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	/* now everybody sees what was committed */
	if (commits)
		wh_wake_now();
}

void
wh_commit_prepared_install(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = run_and_wake;
}
