/*
 * breaker.h
 *	  Whether the endpoint of a subscription is worth trying. Pure: time and
 *	  randomness are arguments.
 *
 * Times are microseconds of the Unix epoch.
 */
#ifndef WEBHOOK_BREAKER_H
#define WEBHOOK_BREAKER_H

#include "types.h"

#define WH_BREAKER_FAILURES 10                          /* in a row: it opens */
#define WH_BREAKER_WAIT_US (INT64_C(5) * 1000000)       /* before a probe; a failed one doubles it */
#define WH_BREAKER_WAIT_MAX_US (INT64_C(600) * 1000000) /* except what Retry-After asks for */
#define WH_BREAKER_ASKED_MAX_US (INT64_C(86400) * 1000000)

typedef struct WhBreaker
{
	WhBreakerState state; /* all zero: closed */
	int failures;         /* while closed: those in a row */
	int probes;           /* that have failed since it opened */
	int64_t probe_at_us;  /* while open: when the next one is due */
	int64_t asked_at_us;  /* the latest that Retry-After asked for since a success or probe */
} WhBreaker;

/*
 * A request has ended with this class. `probe`: it was the one sent while the
 * breaker was open. `asked_us`: what Retry-After asked for; negative: nothing.
 * True: the state has changed.
 *
 * An endpoint that answers at all works, whatever it thinks of this event. While
 * the breaker is open only the probe counts: requests that were in flight when it
 * opened say nothing new, except what they ask for by Retry-After.
 */
extern bool wh_breaker_ended(WhBreaker *b, WhClass class, bool probe, int64_t now_us, int64_t asked_us,
							 double rand);

/* Is a probe due? And: it has been started, open -> half-open. */
extern bool wh_breaker_probe_due(const WhBreaker *b, int64_t now_us);
extern void wh_breaker_probe(WhBreaker *b);

/* The probe was not sent and says nothing: half-open -> open, and the next one is due. */
extern void wh_breaker_probe_unsent(WhBreaker *b, int64_t now_us);

/*
 * The configuration has changed in a way that may have fixed the endpoint: close it, as if
 * new. True: it was not closed.
 */
extern bool wh_breaker_reset(WhBreaker *b);

#endif /* WEBHOOK_BREAKER_H */
