/*
 * time_limit.c
 *	  A clock for code that somebody else has written: filters, transforms.
 *
 * When the time is over, the code is cancelled as a statement is: at its next
 * look for interrupts. It cannot evade that by catching the error, because it
 * is cancelled again with each error, and every AGAIN_MS.
 *
 * What only computes is given time of the processor, not of the clock: on a machine that
 * is busy with other things it is not its fault how long it takes. What it has used is
 * looked at when so much has passed by the clock, and counts from there: so it is cancelled when
 * it has used as much as it may, or up to twice as much.
 *
 * To begin and to end costs two looks at the time and no system call as a rule:
 * the server's timeouts leave a signal on its way where the next one is due
 * later, so there is about one per time limit, however often it begins.
 *
 * Owns its timeout. One limit at a time: they do not nest.
 */
#include "postgres.h"

#include <time.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "time_limit.h"

#define AGAIN_MS 100 /* it is told again that often that its time is over */
#define LOOK_MS 10   /* and looked at that often how much it has used */

static void cancel_again(void *arg);

static TimeoutId timeout;
static volatile sig_atomic_t cancelled = 0; /* how often since the beginning that its time is over */
static bool begun = false;
static int64 cpu_ms = 0;  /* what it may use; 0: it is the clock that counts */
static int64 used_ms = 0; /* the process, when it was looked at first; 0: not yet */
static ErrorContextCallback on_error = {.callback = cancel_again};

/* What this process has used; may be called in a signal handler. */
static int64
used_now_ms(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (int64) used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

/* What the server calls in its signal handler. */
static void
time_is_over(void)
{
	if (cpu_ms > 0)
	{
		int64 now = used_now_ms();

		if (used_ms == 0)
			used_ms = Max(1, now);
		if (now - used_ms < cpu_ms)
			return;
	}
	cancelled = cancelled + 1;
	InterruptPending = QueryCancelPending = true;
	SetLatch(MyLatch);
}

/* Called for every error: whoever catches the one that we raised is told again. */
static void
cancel_again(void *arg)
{
	if (cancelled > 0)
		InterruptPending = QueryCancelPending = true;
}

void
wh_time_limit_set_up(void)
{
	timeout = RegisterTimeout(USER_TIMEOUT, time_is_over);
}

static void
begin(int ms, int every_ms)
{
	Assert(!begun);
	begun = true;
	cancelled = 0;
	on_error.previous = error_context_stack;
	error_context_stack = &on_error;
	enable_timeout_every(timeout, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms), every_ms);
}

void
wh_time_limit_begin(int ms)
{
	cpu_ms = 0;
	begin(ms, AGAIN_MS);
}

void
wh_time_limit_begin_cpu(int ms)
{
	cpu_ms = ms;
	used_ms = 0;
	begin(ms, LOOK_MS);
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
	exceeded = cancelled > 0;
	cancelled = 0;
	/* it may have returned in that very moment; but who wants the process to end still does */
	if (exceeded && !ShutdownRequestPending)
		QueryCancelPending = false;
	return exceeded;
}
