/*
 * retry.c
 *	  Outcome, attempt and time -> verdict.
 *
 * Only the table below says which outcomes there are, what each is called in
 * webhook.log, and whose fault it is. Owns nothing, keeps nothing and reads no clock:
 * the same arguments give the same verdict.
 */
#include "retry.h"

#define JITTER 0.1 /* spreads delays by this fraction to both sides, so that a herd disperses */

#define RETRY_AFTER_MAX_US (INT64_C(24) * 3600 * 1000000)

/*
 * kind, word, class, status (0: it is not the outcome of a single status).
 *
 * Transport errors and statuses that mean overload say something about the endpoint
 * and count for its breaker. A refused address, an oversized response and our own
 * failures do not: a probe would meet them again. 413, and a body too large to send,
 * can only happen again, so they end the delivery. A transform that takes too long
 * says nothing about the endpoint, but counts for the breaker all the same: it costs
 * the worker's time at each attempt. 410 (RFC 9110: gone, and likely to stay so)
 * disables the subscription. People may fix everything else, so it is tried again.
 */
#define OUTCOMES(ROW)                                                                                        \
	ROW(WH_OUT_DELIVERED, "delivered", WH_CLASS_DELIVERED, 0)                                                \
	ROW(WH_OUT_SKIPPED, "skipped", WH_CLASS_DELIVERED, 0)                                                    \
	ROW(WH_OUT_REJECTED, "rejected", WH_CLASS_RETRY, 0)                                                      \
	ROW(WH_OUT_REDIRECT, "redirect", WH_CLASS_RETRY, 0)                                                      \
	ROW(WH_OUT_BAD_REQUEST, "bad_request", WH_CLASS_RETRY, 400)                                              \
	ROW(WH_OUT_UNAUTHORIZED, "unauthorized", WH_CLASS_RETRY, 401)                                            \
	ROW(WH_OUT_FORBIDDEN, "forbidden", WH_CLASS_RETRY, 403)                                                  \
	ROW(WH_OUT_NOT_FOUND, "not_found", WH_CLASS_RETRY, 404)                                                  \
	ROW(WH_OUT_REQUEST_TIMEOUT, "request_timeout", WH_CLASS_ENDPOINT, 408)                                   \
	ROW(WH_OUT_CONFLICT, "conflict", WH_CLASS_RETRY, 409)                                                    \
	ROW(WH_OUT_GONE, "gone", WH_CLASS_DISABLE, 410)                                                          \
	ROW(WH_OUT_PAYLOAD_TOO_LARGE, "payload_too_large", WH_CLASS_GIVE_UP, 413)                                \
	ROW(WH_OUT_UNPROCESSABLE, "unprocessable", WH_CLASS_RETRY, 422)                                          \
	ROW(WH_OUT_TOO_MANY_REQUESTS, "too_many_requests", WH_CLASS_ENDPOINT, 429)                               \
	ROW(WH_OUT_CLIENT_ERROR, "client_error", WH_CLASS_RETRY, 0)                                              \
	ROW(WH_OUT_BAD_GATEWAY, "bad_gateway", WH_CLASS_ENDPOINT, 502)                                           \
	ROW(WH_OUT_UNAVAILABLE, "unavailable", WH_CLASS_ENDPOINT, 503)                                           \
	ROW(WH_OUT_GATEWAY_TIMEOUT, "gateway_timeout", WH_CLASS_ENDPOINT, 504)                                   \
	ROW(WH_OUT_SERVER_ERROR, "server_error", WH_CLASS_ENDPOINT, 0)                                           \
	ROW(WH_OUT_HTTP_ERROR, "http_error", WH_CLASS_RETRY, 0)                                                  \
	ROW(WH_OUT_REFUSED, "refused", WH_CLASS_ENDPOINT, 0)                                                     \
	ROW(WH_OUT_RESET, "reset", WH_CLASS_ENDPOINT, 0)                                                         \
	ROW(WH_OUT_DNS, "dns", WH_CLASS_ENDPOINT, 0)                                                             \
	ROW(WH_OUT_CONNECT_TIMEOUT, "connect_timeout", WH_CLASS_ENDPOINT, 0)                                     \
	ROW(WH_OUT_TIMEOUT, "timeout", WH_CLASS_ENDPOINT, 0)                                                     \
	ROW(WH_OUT_TLS_UNKNOWN_CA, "tls_unknown_ca", WH_CLASS_ENDPOINT, 0)                                       \
	ROW(WH_OUT_TLS_WRONG_HOST, "tls_wrong_host", WH_CLASS_ENDPOINT, 0)                                       \
	ROW(WH_OUT_TLS_EXPIRED, "tls_expired", WH_CLASS_ENDPOINT, 0)                                             \
	ROW(WH_OUT_TLS, "tls", WH_CLASS_ENDPOINT, 0)                                                             \
	ROW(WH_OUT_PROXY, "proxy", WH_CLASS_ENDPOINT, 407)                                                       \
	ROW(WH_OUT_OAUTH, "oauth", WH_CLASS_ENDPOINT, 0)                                                         \
	ROW(WH_OUT_ADDRESS, "address_refused", WH_CLASS_RETRY, 0)                                                \
	ROW(WH_OUT_RESPONSE_TOO_LARGE, "response_too_large", WH_CLASS_RETRY, 0)                                  \
	ROW(WH_OUT_BODY_TOO_LARGE, "body_too_large", WH_CLASS_GIVE_UP, 0)                                        \
	ROW(WH_OUT_TRANSFORM, "transform_failed", WH_CLASS_RETRY, 0)                                             \
	ROW(WH_OUT_TRANSFORM_TIMEOUT, "transform_timeout", WH_CLASS_ENDPOINT, 0)                                 \
	ROW(WH_OUT_INTERNAL, "internal", WH_CLASS_RETRY, 0)                                                      \
	ROW(WH_OUT_INTERRUPTED, "interrupted", WH_CLASS_RETRY, 0)                                                \
	ROW(WH_OUT_ABORTED, "aborted", WH_CLASS_ABORTED, 0)

typedef struct OutcomeRow
{
	const char *word;
	WhClass class;
	int status;
} OutcomeRow;

#define AS_ROW(kind, word, class, status) [kind] = {word, class, status},
#define AS_BIT(kind, word, class, status) | (UINT64_C(1) << (kind))
#define AS_ONE(kind, word, class, status) +1

static const OutcomeRow outcomes[WH_OUT_COUNT] = {OUTCOMES(AS_ROW)};

/* there are as many rows as kinds, and each kind is among them */
_Static_assert((0 OUTCOMES(AS_ONE)) == WH_OUT_COUNT, "an outcome has no row, or two");
_Static_assert((0 OUTCOMES(AS_BIT)) == (UINT64_C(1) << WH_OUT_COUNT) - 1, "an outcome has no row");

WhOutcomeKind
wh_outcome_of_status(int http_status)
{
	for (int kind = 0; kind < WH_OUT_COUNT; kind++)
		if (outcomes[kind].status != 0 && outcomes[kind].status == http_status)
			return (WhOutcomeKind) kind;
	switch (http_status / 100)
	{
		case 2:
			return WH_OUT_DELIVERED;
		case 3:
			return WH_OUT_REDIRECT;
		case 4:
			return WH_OUT_CLIENT_ERROR;
		case 5:
			return WH_OUT_SERVER_ERROR;
		default:
			return WH_OUT_HTTP_ERROR;
	}
}

static const OutcomeRow *
outcome_row(WhOutcomeKind kind)
{
	return &outcomes[(unsigned int) kind < WH_OUT_COUNT ? kind : WH_OUT_INTERNAL];
}

const char *
wh_outcome_word(WhOutcomeKind kind)
{
	return outcome_row(kind)->word;
}

WhClass
wh_outcome_class(WhOutcomeKind kind)
{
	return outcome_row(kind)->class;
}

bool
wh_outcome_may_ask(WhOutcomeKind kind)
{
	return kind == WH_OUT_TOO_MANY_REQUESTS || kind == WH_OUT_UNAVAILABLE;
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

/* Spread a delay; it is at most as long as the type allows. */
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
wh_retry_verdict(const WhRetryPolicy *policy, WhOutcomeKind kind, int attempts, int64_t first_us,
				 int64_t now_us, int64_t retry_after_us, double rand)
{
	WhVerdict verdict = {wh_outcome_class(kind), 0};
	/* not negative, even if the clock was set back */
	int64_t elapsed = now_us > first_us ? now_us - first_us : 0;
	int64_t left = policy->give_up_us - elapsed; /* a difference, because a sum could overflow */

	if (verdict.class == WH_CLASS_DELIVERED || verdict.class == WH_CLASS_ABORTED ||
		verdict.class == WH_CLASS_GIVE_UP)
		return verdict;

	verdict.delay_us = jittered(wh_retry_delay(policy, attempts), rand);
	if (verdict.class == WH_CLASS_DISABLE)
		return verdict;

	if (verdict.delay_us > left)
	{
		/* the last attempt is made when that time ends: with long waits much of it would go unused */
		if (left <= 0)
			verdict.class = WH_CLASS_GIVE_UP;
		verdict.delay_us = left > 0 ? left : 0;
		return verdict;
	}
	if (wh_outcome_may_ask(kind))
	{
		int64_t asked = retry_after_us < RETRY_AFTER_MAX_US ? retry_after_us : RETRY_AFTER_MAX_US;

		if (asked > left)
			asked = left;
		if (asked > verdict.delay_us)
			verdict.delay_us = asked;
	}
	return verdict;
}
