/*
 * retry.h
 *	  Outcome, attempt and time -> verdict. Pure: the time now and randomness are
 *	  arguments.
 *
 * Times and delays are in microseconds. Times count from the Unix epoch.
 */
#ifndef WEBHOOK_RETRY_H
#define WEBHOOK_RETRY_H

#include "types.h"

/* The outcome of a response with this status. */
extern WhOutcomeKind wh_outcome_of_status(int http_status);

/*
 * The outcome's one word in webhook.log, a constant string; and its class. A value
 * that is no WhOutcomeKind counts as "internal".
 */
extern const char *wh_outcome_word(WhOutcomeKind kind);
extern WhClass wh_outcome_class(WhOutcomeKind kind);
extern bool wh_outcome_may_ask(WhOutcomeKind kind); /* is its Retry-After obeyed? */

/*
 * What to do next. `attempts` is the number of attempts made, this one included.
 * `first_us` is when the first was made. `rand` is uniform in [0, 1): it spreads the
 * delay evenly over 90 % to 110 % of the schedule's.
 *
 * No attempt is planned later than give_up_us after the first: the last one is made
 * then, and when it fails the verdict is to give up. A verdict to disable has a delay as well and never becomes giving up:
 * the delivery stays pending until the subscription is resumed. Delivered, given up
 * and aborted have no delay.
 *
 * `retry_after_us` is what the response asked for; negative: nothing. It counts only
 * for outcomes that wh_outcome_may_ask (429 and 503). It can only delay the next
 * attempt, by a day at most, and never past the moment of giving up: a receiver that
 * asks us to wait does not ask us to drop the event.
 */
extern WhVerdict wh_retry_verdict(const WhRetryPolicy *policy, WhOutcomeKind kind, int attempts,
								  int64_t first_us, int64_t now_us, int64_t retry_after_us, double rand);

/*
 * What the header Retry-After asks for (RFC 9110, 10.2.3): seconds, or a date in any
 * of HTTP's three forms (5.6.7). Returns microseconds from now, 0 for a date in the
 * past, -1 if it is neither.
 */
extern int64_t wh_retry_after(const char *value, int64_t now_us);

/*
 * The schedule's delay after that many attempts, without jitter. The last interval
 * repeats. 0 only if the schedule says 0 or has no interval at all.
 */
extern int64_t wh_retry_delay(const WhRetryPolicy *policy, int attempts);

#endif /* WEBHOOK_RETRY_H */
