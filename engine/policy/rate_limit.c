/*
 * rate_limit.c
 *	  How many requests per second a subscription may start: a token bucket, kept
 *	  as the time when the next start is due.
 *
 * Owns nothing and reads no clock.
 *
 * Why the promise of rate_limit.h holds: with an interval I and a slack S, n starts
 * within less than a second require (n - 1) I < 1 s + S. With I = (1 s + S) / r, that
 * is n - 1 < r. The interval is in nanoseconds, rounded up, so that this holds for
 * every rate.
 */
#include "rate_limit.h"

#define NS_PER_US 1000
#define SLACK_NS ((int64_t) WH_RATE_SLACK_US * NS_PER_US)
#define SECOND_NS INT64_C(1000000000)

void
wh_rate_set(WhRate *r, int per_second, int64_t now_us)
{
	if (r->per_second == per_second)
		return;
	r->per_second = per_second;
	r->interval_ns = per_second > 0 ? (SECOND_NS + SLACK_NS + per_second - 1) / per_second : 0;
	r->due_ns = now_us * NS_PER_US + SLACK_NS; /* no slack has been saved up yet */
}

void
wh_rate_take(WhRate *r, int64_t now_us)
{
	int64_t now_ns = now_us * NS_PER_US;

	if (r->per_second == 0)
		return;
	/* unused starts are lost; and a clock that was set back must not keep us waiting */
	if (r->due_ns < now_ns || r->due_ns > now_ns + SLACK_NS + r->interval_ns)
		r->due_ns = now_ns;
	r->due_ns += r->interval_ns;
}

int64_t
wh_rate_next(const WhRate *r)
{
	return r->per_second == 0 ? 0 : (r->due_ns - SLACK_NS + NS_PER_US - 1) / NS_PER_US;
}
