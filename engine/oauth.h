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

/* It does, and so it waits; the first one asks, with this transfer, else that is released. */
extern void wh_oauth_wait(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t);

/* A private transfer has ended: there is a token, or none and what waited for it ends with that. */
extern void wh_oauth_answered(WhEngine *e, WhTransfer *t);

/* The same for one that was taken back unfinished. */
extern void wh_oauth_broken_off(WhEngine *e, WhTransfer *t);

/*
 * A response has come. True: it was the first 401 for a delivery sent with a
 * token, which is then not used any more; the delivery waits for another. Not
 * so where another has been of no use lately.
 */
extern bool wh_oauth_refused(WhEngine *e, WhDelivery *d, const WhTransfer *t);

/* One of those that wait which may be sent now, or has to ask; NULL: none. */
extern WhDelivery *wh_oauth_next(WhEngine *e);

/* When the next of them may be sent, later than now; INT64_MAX: no need to look. */
extern int64_t wh_oauth_due(const WhEngine *e);

/* Those of a subscription (0: of all) do not wait any more: they are back in the queue; tests are dropped. */
extern void wh_oauth_put_back(WhEngine *e, int64_t subscription_id);

#endif /* WEBHOOK_OAUTH_H */
