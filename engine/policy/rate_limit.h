/*
 * rate_limit.h
 *	  How many requests per second a subscription may start. Pure: takes now as
 *	  an argument.
 *
 * Times are microseconds of the Unix epoch.
 *
 * The promise is exact: no second, wherever it begins, sees more than
 * `per_second` starts. Starts are spread evenly, because a burst is what the
 * limit is there to prevent. But the host wakes up late, now and then by
 * several milliseconds, and what it starts too late must not be lost; so a
 * start may be WH_RATE_SLACK_US early to make up for that, and the interval is
 * longer than 1/per_second by as much as the promise then needs: a fiftieth.
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

/* A limit of so many, 0: none. Where that is a change, one may start at once, and further ones at the new pace. */
extern void wh_rate_set(WhRate *r, int per_second, int64_t now_us);

/* One starts now. */
extern void wh_rate_take(WhRate *r, int64_t now_us);

/* When the next may start; 0: at once, whenever that is. */
extern int64_t wh_rate_next(const WhRate *r);

#endif /* WEBHOOK_RATE_LIMIT_H */
