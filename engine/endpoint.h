/*
 * endpoint.h
 *	  A subscription as the engine holds it: a copy of its row, its keys, its
 *	  lanes and its counters.
 */
#ifndef WEBHOOK_ENDPOINT_H
#define WEBHOOK_ENDPOINT_H

#include "breaker.h"
#include "profile.h"
#include "rate_limit.h"
#include "types.h"

struct Token;

/* One of its secrets, decoded. */
typedef struct EndpointKey
{
	WhKey key;
	int64_t expires_us; /* 0: never */
} EndpointKey;

typedef struct Endpoint
{
	WhSubscription sub; /* deep copy, except the secrets and the profile */
	Profile *profile;   /* held */
	int n_keys;
	EndpointKey *keys;   /* the newest first; owned */
	struct Token *token; /* its token, with a reference; NULL: none, or it has new credentials */
	int index;           /* in the engine's array */
	WhBreaker breaker;
	WhRate rate;
	bool to_probe; /* a row of it must be taken as a probe */
	bool to_hurry; /* it has recovered: its retries must be made due */
	int64_t delivered;
	int64_t failed;
	int64_t last_success_us;
	int64_t last_failure_us;
	const char *last_error;
} Endpoint;

/* Copies everything except the secrets and the profile. Out of memory: false, and an empty copy. */
extern bool wh_endpoint_copy(WhSubscription *to, const WhSubscription *from);
extern void wh_endpoint_free_copy(WhSubscription *copy);

/* Has anything changed that may have made it fail: its URL, its credentials, its pause? */
extern bool wh_endpoint_repaired(const WhSubscription *was, const WhSubscription *is);

/* Memory for the keys of a subscription, however few; NULL: out of memory. */
extern EndpointKey *wh_endpoint_key_room(const WhSubscription *from);

/* Frees all three, unused. Always returns false, for a caller that is out of memory. */
extern bool wh_endpoint_discard(WhSubscription *copy, Profile *profile, EndpointKey *room);

/*
 * Replaces its configuration by `copy` and the profile, and its keys by the secrets of
 * `from`, which go into `room`; it then owns all three. Secrets that cannot be decoded as the profile
 * requires are left out; without any, requests fail as "internal" and are
 * retried. True: it has a key that it did not have before.
 */
extern bool wh_endpoint_set(Endpoint *endpoint, WhSubscription *copy, Profile *profile, EndpointKey *room,
							const WhSubscription *from);
extern void wh_endpoint_free(Endpoint *endpoint);

/*
 * The keys that sign at this time, newest first; returns how many. A secret
 * expires on time, whether or not the configuration has been read again since.
 */
extern int wh_endpoint_keys(const Endpoint *endpoint, int64_t now_us, const WhKey *live[WH_SECRETS_MAX]);

/*
 * The lane of a delivery: 64-bit FNV-1a over whatever must be sent one after
 * another. webhook.pending stores it, so it must not change between versions.
 * Two entities that share a lane by chance wait for each other, no more.
 */
extern uint64_t wh_endpoint_lane(const Endpoint *endpoint, const WhEvent *event);

/* Appends it to a growing array, and records its index; false: out of memory. */
extern bool wh_endpoints_add(Endpoint ***list, int *n, int *cap, Endpoint *endpoint);

/* Its counters. */
extern void wh_endpoint_counts(const Endpoint *endpoint, WhCounts *out);

/* Counts a request of it that has ended. */
extern void wh_endpoint_count(Endpoint *endpoint, const WhDelivery *d, int64_t now_us);

#endif /* WEBHOOK_ENDPOINT_H */
