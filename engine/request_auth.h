/*
 * request_auth.h
 *	  How an endpoint is got at: what its credentials add to a request.
 */
#ifndef WEBHOOK_REQUEST_AUTH_H
#define WEBHOOK_REQUEST_AUTH_H

#include "http.h"
#include "types.h"

/* The value of the credential of this kind; NULL: there is none. */
extern const char *wh_access_value(const WhSubscription *sub, const char *kind);

/*
 * What libcurl must know, pointing into the subscription; a proxy is told to
 * the transfer. False: a credential cannot be used, and its error says which.
 */
extern bool wh_access_of(const WhSubscription *sub, WhTransfer *t, WhHttpAccess *access);

/* Add the headers of the kinds basic, bearer and header:Name; false: no memory, or one is not usable. */
extern bool wh_access_headers(const WhSubscription *sub, WhTransfer *t);

#endif /* WEBHOOK_REQUEST_AUTH_H */
