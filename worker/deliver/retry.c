/*
 * retry.c
 *	  Outcome, attempt and time -> verdict.
 *
 * Called by deliver.c for every request that ended, and by store.c when it
 * writes the attempt's row. The table below is the one place that says what
 * kinds of outcome there are, what each is called in webhook.log and whose
 * fault it is. Owns nothing, keeps nothing, and knows no clock: the same
 * arguments give the same verdict.
 */
#include "retry.h"

#define JITTER 0.1 /* a delay is spread this far to both sides, so that a herd disperses */

/*
 * kind, word, class. The class of an HTTP error is that of most statuses; see
 * http_error_class for the others. Errors of transport say something about the
 * endpoint and count for its breaker; a refused address, an oversized response
 * and our own failures do not, for a probe would meet them again.
 */
#define OUTCOMES(ROW)                                                                                        \
	ROW(WH_OUT_DELIVERED, "delivered", WH_CLASS_DELIVERED)                                                   \
	ROW(WH_OUT_HTTP_ERROR, "http_error", WH_CLASS_RETRY)                                                     \
	ROW(WH_OUT_REFUSED, "refused", WH_CLASS_ENDPOINT)                                                        \
	ROW(WH_OUT_RESET, "reset", WH_CLASS_ENDPOINT)                                                            \
	ROW(WH_OUT_DNS, "dns", WH_CLASS_ENDPOINT)                                                                \
	ROW(WH_OUT_CONNECT_TIMEOUT, "connect_timeout", WH_CLASS_ENDPOINT)                                        \
	ROW(WH_OUT_TIMEOUT, "timeout", WH_CLASS_ENDPOINT)                                                        \
	ROW(WH_OUT_TLS, "tls", WH_CLASS_ENDPOINT)                                                                \
	ROW(WH_OUT_ADDRESS, "address_refused", WH_CLASS_RETRY)                                                   \
	ROW(WH_OUT_TOO_LARGE, "too_large", WH_CLASS_RETRY)                                                       \
	ROW(WH_OUT_INTERNAL, "internal", WH_CLASS_RETRY)                                                         \
	ROW(WH_OUT_LOST, "lost", WH_CLASS_RETRY)                                                                 \
	ROW(WH_OUT_ABORTED, "aborted", WH_CLASS_ABORTED)

typedef struct OutcomeRow
{
	WhOutcomeKind kind;
	const char *word;
	WhClass class;
} OutcomeRow;

#define AS_ROW(kind, word, class) [kind] = {kind, word, class},
#define AS_BIT(kind, word, class) | (1UL << (kind))
#define AS_ONE(kind, word, class) +1

static const OutcomeRow outcomes[WH_OUT_COUNT] = {OUTCOMES(AS_ROW)};

/* as many rows as kinds, and every kind among them */
_Static_assert((0 OUTCOMES(AS_ONE)) == WH_OUT_COUNT, "an outcome has no row, or two");
_Static_assert((0 OUTCOMES(AS_BIT)) == (1UL << WH_OUT_COUNT) - 1, "an outcome has no row");

static const OutcomeRow *
outcome_row(WhOutcomeKind kind)
{
	if ((unsigned int) kind >= WH_OUT_COUNT)
		kind = WH_OUT_INTERNAL;
	return &outcomes[kind];
}

const char *
wh_outcome_word(WhOutcomeKind kind)
{
	return outcome_row(kind)->word;
}

/* The statuses that say more than "not this event, not now". */
static WhClass
http_error_class(int status, WhClass otherwise)
{
	if (status == 410)
		return WH_CLASS_DISABLE;
	if (status == 408 || status == 429 || (status >= 500 && status <= 599))
		return WH_CLASS_ENDPOINT;
	return otherwise;
}

WhClass
wh_outcome_class(WhOutcomeKind kind, int http_status)
{
	const OutcomeRow *row = outcome_row(kind);

	if (row->kind == WH_OUT_HTTP_ERROR)
		return http_error_class(http_status, row->class);
	return row->class;
}

int64_t
wh_retry_delay(const WhRetryPolicy *policy, int attempts)
{
	int n = policy->n < WH_SCHEDULE_MAX ? policy->n : WH_SCHEDULE_MAX;

	if (n < 1)
		return 0;
	if (attempts < 1)
		attempts = 1;
	return policy->delay_us[attempts < n ? attempts - 1 : n - 1];
}

/* Spread a delay; one too long for the type stays as long as the type allows. */
static int64_t
jittered(int64_t delay_us, double rand)
{
	double spread = (double) delay_us * (1.0 - JITTER + 2.0 * JITTER * rand);

	if (spread <= 0.0)
		return 0;
	/* INT64_MAX as a double is 2^63, one more than fits */
	return spread >= (double) INT64_MAX ? INT64_MAX : (int64_t) spread;
}

WhVerdict
wh_retry_verdict(const WhRetryPolicy *policy, WhOutcomeKind kind, int http_status, int attempts,
				 int64_t first_us, int64_t now_us, double rand)
{
	WhVerdict verdict = {wh_outcome_class(kind, http_status), 0};
	/* a clock set back must not make an attempt older than it is, nor younger than new */
	int64_t elapsed = now_us > first_us ? now_us - first_us : 0;

	if (verdict.class == WH_CLASS_DELIVERED || verdict.class == WH_CLASS_ABORTED)
		return verdict;

	verdict.delay_us = jittered(wh_retry_delay(policy, attempts), rand);
	if (verdict.class == WH_CLASS_DISABLE)
		return verdict;

	/* written as a difference, since a sum could overflow */
	if (verdict.delay_us > policy->give_up_us - elapsed)
	{
		verdict.class = WH_CLASS_GIVE_UP;
		verdict.delay_us = 0;
	}
	return verdict;
}
