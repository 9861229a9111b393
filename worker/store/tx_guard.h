/*
 * tx_guard.h
 *	  Steps that may fail.
 */
#ifndef WEBHOOK_TX_GUARD_H
#define WEBHOOK_TX_GUARD_H

#include "postgres.h"

/* What went wrong, for people: the message of an error, without its detail. */
typedef struct WhFailure
{
	int code; /* its SQLSTATE */
	char message[256];
} WhFailure;

/*
 * Run `step` (which opens and commits its own transactions). False where it
 * failed: it is rolled back, `failure` says why, and the caller decides what to
 * do about it. Where the server wants the process to end, that goes on.
 */
extern bool wh_tx_try(void (*step)(void *), void *arg, WhFailure *failure);

/* Was it only that a lock could not be had in time, or that a deadlock was broken? */
extern bool wh_failure_is_lock(const WhFailure *failure);

/*
 * The same for a step that others can do without: whatever goes wrong is
 * rolled back and reported as a WARNING that says `what` could not be done
 * (looked at after the step, which may have filled it in).
 */
extern bool wh_tx_try_or_warn(void (*step)(void *), void *arg, const char *what, const char *hint);

/*
 * Run `step` in a subtransaction of the open transaction, in which it writes
 * nothing. False where it failed: `why`, in the current memory context and
 * UTF-8, says so for people, and `code` is the SQLSTATE, or WH_TIME_EXCEEDED
 * where a time limit that it had begun (time_limit.h) cancelled it. Its limits, of
 * memory too, have ended then. Where somebody wants the process to stop, that goes on.
 */
extern bool wh_tx_guarded(void (*step)(void *), void *arg, int *code, const char **why);
#define WH_TIME_EXCEEDED ERRCODE_CONFIGURATION_LIMIT_EXCEEDED

#endif /* WEBHOOK_TX_GUARD_H */
