/*
 * stop.c
 *	  SIGTERM, even during something that takes long.
 *
 * Whoever stops the server, drops the database or terminates the worker sends
 * SIGTERM and waits. Between two steps the loop notices that and stops in order.
 * Within a step (a filter, a lock, a user's trigger on our tables, the reading of
 * a large event) the step is cancelled like a statement, and again with each
 * error, so that code which catches the first error cannot go on. It is rolled
 * back like any step that fails, nothing is counted for it, and the loop stops.
 *
 * Owns the handler of SIGTERM. The server's flag ShutdownRequestPending still says
 * whether somebody wants the process to end.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"

#include "stop.h"

static void cancel_again(void *arg);

static volatile sig_atomic_t may_cancel = false;
static bool noticed = false;
static ErrorContextCallback on_error = {.callback = cancel_again};

static void
cancel(void)
{
	if (may_cancel && ShutdownRequestPending && !noticed)
		InterruptPending = QueryCancelPending = true;
}

/* At every error in a step: code that catches our cancel gets the next one. */
static void
cancel_again(void *arg)
{
	cancel();
}

static void
on_sigterm(SIGNAL_ARGS)
{
	int save_errno = errno;

	ShutdownRequestPending = true;
	cancel();
	SetLatch(MyLatch);
	errno = save_errno;
}

void
wh_stop_set_up(void)
{
	pqsignal(SIGTERM, on_sigterm);
}

void
wh_stop_may_cancel(void)
{
	on_error.previous = error_context_stack;
	error_context_stack = &on_error;
	may_cancel = true;
	cancel(); /* the signal may have come a moment ago */
}

void
wh_stop_may_not_cancel(void)
{
	may_cancel = false;
	if (error_context_stack == &on_error)
		error_context_stack = on_error.previous;
	if (ShutdownRequestPending)
		QueryCancelPending = false; /* the cancel may have come too late */
}

void
wh_stop_noticed(void)
{
	noticed = true;
}
