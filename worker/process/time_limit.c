/*
 * time_limit.c
 *	  A time limit for code that others have written: filters, transforms.
 *
 * When the time is over, the code is cancelled like a statement: at its next check
 * for interrupts. It cannot evade that by catching the error, because it is
 * cancelled again with each error, and every AGAIN_MS.
 *
 * Code that only computes gets processor time instead of elapsed time: on a busy
 * machine it is not to blame for how long it takes. Its use of the processor is
 * first looked at when that much time has elapsed, and counts from there. So it is
 * cancelled after using between one and two times what it may.
 *
 * Begin and end cost two looks at the time and usually no system call: the
 * server's timeouts leave a signal pending when the next one is due later, so there
 * is about one per time limit, however often it begins.
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

#define AGAIN_MS 100 /* how often it is cancelled again */
#define LOOK_MS 10   /* how often its use of the processor is looked at */

static void cancel_again(void *arg);

static TimeoutId timeout;
static volatile sig_atomic_t cancelled = 0; /* times since the limit began */
static bool begun = false;
static int64 cpu_ms = 0;  /* what it may use; 0: elapsed time counts */
static int64 used_ms = 0; /* by the process at the first look; 0: not looked at yet */
static ErrorContextCallback on_error = {.callback = cancel_again};

/* What this process has used; safe in a signal handler. */
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

/* At every error: code that catches our cancel gets the next one. */
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
	/* catching an error has removed it already */
	if (error_context_stack == &on_error)
		error_context_stack = on_error.previous;
	exceeded = cancelled > 0;
	cancelled = 0;
	/* the code may have returned just then; but a stop of the process stays wanted */
	if (exceeded && !ShutdownRequestPending)
		QueryCancelPending = false;
	return exceeded;
}
