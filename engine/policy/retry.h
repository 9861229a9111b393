/*
 * retry.h
 *	  Outcome, attempt and time -> verdict. Pure: takes now and randomness as
 *	  arguments.
 *
 * Times and delays are microseconds; times are of the Unix epoch.
 */
#ifndef WEBHOOK_RETRY_H
#define WEBHOOK_RETRY_H

#include "types.h"

/* What a response with this status is. */
extern WhOutcomeKind wh_outcome_of_status(int http_status);

/*
 * The outcome's one word in webhook.log, a constant string, and its class. A
 * kind that is none of WhOutcomeKind is told as "internal".
 */
extern const char *wh_outcome_word(WhOutcomeKind kind);
extern WhClass wh_outcome_class(WhOutcomeKind kind);
extern bool wh_outcome_may_ask(WhOutcomeKind kind); /* is its Retry-After obeyed? */

/*
 * What is to be done. `attempts` are the attempts made, this one included;
 * `first_us` when the first was made, `now_us` the time now; `rand` is uniform
 * in [0, 1): the delay is spread evenly over 90 % to 110 % of the schedule's.
 * When the next attempt would be later than give_up_us after the first: give
 * up instead. A verdict to disable carries a delay too, and never turns into
 * giving up: the delivery stays pending for the day the subscription is
 * resumed. Delivered, given up and aborted carry none.
 *
 * `retry_after_us` is what the response asked for, negative where it asked for
 * nothing. It counts with 429 and 503 only, and can only put the next attempt
 * off: by a day at most, and not beyond the moment of giving up, for nobody
 * who asks us to wait means that we should forget.
 */
extern WhVerdict wh_retry_verdict(const WhRetryPolicy *policy, WhOutcomeKind kind, int attempts,
								  int64_t first_us, int64_t now_us, int64_t retry_after_us, double rand);

/*
 * What the header Retry-After asks for (RFC 9110, 10.2.3): seconds, or a date
 * in any of HTTP's three forms (5.6.7). Microseconds from now on, 0 for a date
 * that is past; -1 where it is neither.
 */
extern int64_t wh_retry_after(const char *value, int64_t now_us);

/*
 * The schedule's wait after that many attempts, without jitter; the last
 * interval repeats. 0 only where the schedule says 0, or has no interval at
 * all.
 */
extern int64_t wh_retry_delay(const WhRetryPolicy *policy, int attempts);

#endif /* WEBHOOK_RETRY_H */
