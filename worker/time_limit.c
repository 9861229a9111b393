/*
 * time_limit.c
 *	  A clock for code that somebody else has written: filters, transforms.
 *
 * When the time is over, the code is cancelled as a statement is: at its next
 * look for interrupts. It cannot evade that by catching the error, because it
 * is cancelled again with each error, and every AGAIN_MS.
 *
 * To begin and to end costs two looks at the time and no system call as a rule:
 * the server's timeouts leave a signal on its way where the next one is due
 * later, so there is about one per time limit, however often it begins.
 *
 * Owns its timeout. One limit at a time: they do not nest.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "time_limit.h"

#define AGAIN_MS 100 /* it is told again that often that its time is over */

static void tell_again(void *arg);

static TimeoutId timeout;
static volatile sig_atomic_t told = 0; /* how often since the beginning that its time is over */
static bool begun = false;
static ErrorContextCallback on_error = {.callback = tell_again};

/* What the server calls in its signal handler. */
static void
time_is_over(void)
{
	told = told + 1;
	InterruptPending = QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Called for every error: whoever catches the one that we raised is told again. */
static void
tell_again(void *arg)
{
	if (told > 0)
		InterruptPending = QueryCancelPending = true;
}

void
wh_time_limit_set_up(void)
{
	timeout = RegisterTimeout(USER_TIMEOUT, time_is_over);
}

void
wh_time_limit_begin(int ms)
{
	Assert(!begun);
	begun = true;
	told = 0;
	on_error.previous = error_context_stack;
	error_context_stack = &on_error;
	enable_timeout_every(timeout, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms), AGAIN_MS);
}

bool
wh_time_limit_end(void)
{
	bool exceeded;

	if (!begun)
		return false;
	begun = false;
	disable_timeout(timeout, false);
	/* whoever has caught an error has taken it off already */
	if (error_context_stack == &on_error)
		error_context_stack = on_error.previous;
	exceeded = told > 0;
	told = 0;
	/* it may have returned in that very moment; but who wants the process to end still does */
	if (exceeded && !ShutdownRequestPending)
		QueryCancelPending = false;
	return exceeded;
}
