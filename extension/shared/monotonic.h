/*
 * monotonic.h
 *	  A monotonic clock, for all waits.
 *
 * It is the same in all processes of this machine; only differences have a
 * meaning. If the system supports it, the clock runs on while the machine sleeps,
 * so that what became due meanwhile is due at once.
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

/* Microseconds; never 0. It has the type of a time, so that the same functions work with it. */
static inline TimestampTz
wh_monotonic(void)
{
	struct timespec t;

	(void) clock_gettime(WH_MONOTONIC_CLOCK, &t);
	return (TimestampTz) t.tv_sec * USECS_PER_SEC + t.tv_nsec / 1000 + 1;
}

#endif /* WEBHOOK_MONOTONIC_H */
