/*
 * breaker.h
 *	  Is the endpoint of a subscription worth trying? Pure: takes now and
 *	  randomness as arguments.
 *
 * Times are microseconds of the Unix epoch.
 */
#ifndef WEBHOOK_BREAKER_H
#define WEBHOOK_BREAKER_H

#include "types.h"

#define WH_BREAKER_FAILURES 10                    /* in a row: it opens */
#define WH_BREAKER_WAIT_US (INT64_C(5) * 1000000) /* until the first probe; doubles with each that fails */
#define WH_BREAKER_WAIT_MAX_US (INT64_C(600) * 1000000) /* but for what Retry-After asks for */
#define WH_BREAKER_ASKED_MAX_US (INT64_C(86400) * 1000000)

typedef struct WhBreaker
{
	WhBreakerState state; /* all zero: closed */
	int failures;         /* while closed: those in a row */
	int probes;           /* that have failed since it opened */
	int64_t probe_at_us;  /* while open: when the next one is due */
	int64_t asked_at_us;  /* the latest time that Retry-After asked for, since it was well or probed */
} WhBreaker;

/*
 * A request has ended with this class; `probe`: it was the one let through
 * while the breaker was open. `asked_us`: what Retry-After asked for, negative
 * where it did not. True where the state has changed.
 *
 * An endpoint that answers at all is well, whatever it thinks of this event.
 * While open, only the probe counts: the requests that were under way when it
 * opened are old news, but for what they ask for.
 */
extern bool wh_breaker_ended(WhBreaker *b, WhClass class, bool probe, int64_t now_us, int64_t asked_us,
							 double rand);

/* May a probe be made now? And: it has been started, open -> half-open. */
extern bool wh_breaker_probe_due(const WhBreaker *b, int64_t now_us);
extern void wh_breaker_probe(WhBreaker *b);

/* The probe came to nothing, and tells nothing: half-open -> open, and the next one is due. */
extern void wh_breaker_probe_unsent(WhBreaker *b, int64_t now_us);

/* Somebody has changed what may have been wrong: closed, as if new. True where it was not. */
extern bool wh_breaker_reset(WhBreaker *b);

#endif /* WEBHOOK_BREAKER_H */
