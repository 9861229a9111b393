/*
 * rate_limit.h
 *	  How many requests per second a subscription may start. Pure: the time is an
 *	  argument.
 *
 * Times are microseconds of the Unix epoch.
 *
 * The promise is exact: no second, wherever it begins, has more than `per_second`
 * starts. Starts are spread evenly, because the limit is there to prevent bursts.
 * But the host sometimes wakes up several milliseconds late, and must not lose
 * starts by that. So a start may be WH_RATE_SLACK_US early to make up for it, and
 * the interval is longer than 1/per_second by what the promise then needs: a
 * fiftieth.
 */
#ifndef WEBHOOK_RATE_LIMIT_H
#define WEBHOOK_RATE_LIMIT_H

#include "types.h"

#define WH_RATE_SLACK_US 20000

typedef struct WhRate
{
	int per_second;      /* all zero: no limit */
	int64_t due_ns;      /* when the next start would be due, were they spread evenly */
	int64_t interval_ns; /* the interval between two */
} WhRate;

/* Sets the limit; 0: none. Then one request may start at once, and others at the new rate. */
extern void wh_rate_set(WhRate *r, int per_second, int64_t now_us);

/* One starts now. */
extern void wh_rate_take(WhRate *r, int64_t now_us);

/* When the next may start; 0: at any time. */
extern int64_t wh_rate_next(const WhRate *r);

#endif /* WEBHOOK_RATE_LIMIT_H */
