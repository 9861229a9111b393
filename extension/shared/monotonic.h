/*
 * monotonic.h
 *	  A clock that nobody sets: for whatever waits.
 *
 * The same in all processes of this machine, and meaningless but in
 * differences. Where the system has it, the clock goes on while the machine
 * sleeps, so that what was due meanwhile is due at once.
 */
#ifndef WEBHOOK_MONOTONIC_H
#define WEBHOOK_MONOTONIC_H

#include "postgres.h"

#include <time.h>

#include "datatype/timestamp.h"

#ifdef CLOCK_BOOTTIME
#define WH_MONOTONIC_CLOCK CLOCK_BOOTTIME
#else
#define WH_MONOTONIC_CLOCK CLOCK_MONOTONIC
#endif

/* Microseconds. Of the type of a time, so that it is reckoned with as with one; never 0. */
static inline TimestampTz
wh_monotonic(void)
{
	struct timespec t;

	(void) clock_gettime(WH_MONOTONIC_CLOCK, &t);
	return (TimestampTz) t.tv_sec * USECS_PER_SEC + t.tv_nsec / 1000 + 1;
}

#endif /* WEBHOOK_MONOTONIC_H */
