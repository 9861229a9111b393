/*
 * store_notices.h
 *	  What others are told of subscriptions in trouble.
 */
#ifndef WEBHOOK_STORE_NOTICES_H
#define WEBHOOK_STORE_NOTICES_H

#include "postgres.h"

/* Make an operational event of a change of this subscription, if somebody listens. `reason` may be NULL. */
extern void wh_store_announce(int64 subscription_id, const char *change, const char *reason);
/* Disable a subscription that is active. False: it was not. */
extern bool wh_store_disable(int64 subscription_id, const char *reason);
/* The subscriptions whose breaker was announced as open, and not yet as closed. */
extern void wh_store_breaker_notices(void (*each)(void *arg, int64 subscription_id), void *arg);

#endif /* WEBHOOK_STORE_NOTICES_H */
