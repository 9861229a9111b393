/*
 * retry.h
 *	  Outcome, attempt and time -> verdict. Pure: takes now and randomness as
 *	  arguments.
 *
 * Called by deliver.c when a request has ended, and by store.c for the word in
 * the log. Times and delays are microseconds; times are of the Unix epoch.
 */
#ifndef WEBHOOK_RETRY_H
#define WEBHOOK_RETRY_H

#include "types.h"

/*
 * The outcome's one word in webhook.log; for WH_OUT_HTTP_ERROR as well
 * ("http_error"). A constant string, never NULL: a kind that is none of
 * WhOutcomeKind is told as "internal".
 */
extern const char *wh_outcome_word(WhOutcomeKind kind);

/*
 * Its class. `http_status` counts only for WH_OUT_HTTP_ERROR: 410 (RFC 9110:
 * gone, and expected to stay so) disables; 408, 429 and 5xx say that the
 * endpoint is in trouble; any other is about this event.
 */
extern WhClass wh_outcome_class(WhOutcomeKind kind, int http_status);

/*
 * What is to be done. `attempts` are the attempts made, this one included;
 * `first_us` when the first was made, `now_us` the time now; `rand` is uniform
 * in [0, 1): the delay is spread evenly over 90 % to 110 % of the schedule's.
 * When the next attempt would be later than give_up_us after the first: give
 * up instead. A verdict to disable carries a delay too, and never turns into
 * giving up: the delivery stays pending for the day the subscription is
 * resumed. Delivered and aborted carry none.
 */
extern WhVerdict wh_retry_verdict(const WhRetryPolicy *policy, WhOutcomeKind kind, int http_status,
								  int attempts, int64_t first_us, int64_t now_us, double rand);

/*
 * The schedule's wait after that many attempts, without jitter; the last
 * interval repeats. 0 only where the schedule says 0, or has no interval at
 * all.
 */
extern int64_t wh_retry_delay(const WhRetryPolicy *policy, int attempts);

#endif /* WEBHOOK_RETRY_H */
