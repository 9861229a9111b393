/*
 * tx_guard.h
 *	  Steps that may fail.
 */
#ifndef WEBHOOK_TX_GUARD_H
#define WEBHOOK_TX_GUARD_H

#include "postgres.h"

/* What went wrong, for people: the message of an error without its detail. */
typedef struct WhFailure
{
	int code; /* its SQLSTATE */
	char message[256];
} WhFailure;

/*
 * Run `step`, which opens and commits its own transactions. False: it failed and
 * is rolled back, `failure` says why, and the caller decides what to do. If the
 * server wants the process to end, the error is raised again.
 */
extern bool wh_tx_try(void (*step)(void *), void *arg, WhFailure *failure);

/* Was it only a lock that was not available in time, or a deadlock? */
extern bool wh_code_is_lock(int code);
extern bool wh_failure_is_lock(const WhFailure *failure);

/*
 * The same for a step that nothing else depends on: an error is rolled back and
 * reported as a WARNING that `what` could not be done (read after the step, which
 * may have filled it in).
 */
extern bool wh_tx_try_or_warn(void (*step)(void *), void *arg, const char *what, const char *hint);

/*
 * Run `step` in a subtransaction of the open transaction. False: it failed.
 * `why`, in the current memory context and UTF-8, says so for people; `code` is
 * the SQLSTATE, or WH_TIME_EXCEEDED if a time limit that it had begun
 * (time_limit.h) cancelled it. Its limits of time and memory have then ended. If
 * somebody wants the process to stop, the error is raised again.
 */
extern bool wh_tx_guarded(void (*step)(void *), void *arg, int *code, const char **why);
#define WH_TIME_EXCEEDED ERRCODE_CONFIGURATION_LIMIT_EXCEEDED

#endif /* WEBHOOK_TX_GUARD_H */
