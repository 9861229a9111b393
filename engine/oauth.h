/*
 * oauth.h
 *	  OAuth 2 client credentials (RFC 6749, section 4.4): the deliveries
 *	  that wait for a token.
 */
#ifndef WEBHOOK_OAUTH_H
#define WEBHOOK_OAUTH_H

#include "pipeline_core.h"

/* Does a delivery to it have to wait for a token? */
extern bool wh_oauth_must_wait(const Endpoint *endpoint, int64_t now_us);

/* It waits. The first one requests the token with this transfer; for others it is released. */
extern void wh_oauth_wait(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t);

/* A token request has ended: there is a token, or whatever waited for it ends with the error. */
extern void wh_oauth_answered(WhEngine *e, WhTransfer *t);

/* A token request was aborted. */
extern void wh_oauth_broken_off(WhEngine *e, WhTransfer *t);

/*
 * A response has arrived. True: it is the first 401 for a delivery sent with a
 * token. That token is then no longer used, and the delivery waits for another,
 * unless a new token did not help recently.
 */
extern bool wh_oauth_refused(WhEngine *e, WhDelivery *d, const WhTransfer *t);

/* A waiting delivery that may be sent now, or must request a token; NULL: none. */
extern WhDelivery *wh_oauth_next(WhEngine *e);

/* When the next of them may be sent, later than now; INT64_MAX: no need to look. */
extern int64_t wh_oauth_due(const WhEngine *e);

/* Puts the waiting deliveries of a subscription (0: of all) back into the queue; drops tests. */
extern void wh_oauth_put_back(WhEngine *e, int64_t subscription_id);

#endif /* WEBHOOK_OAUTH_H */
