/*
 * request_auth.h
 *	  Authentication: what an endpoint's credentials add to a request.
 */
#ifndef WEBHOOK_REQUEST_AUTH_H
#define WEBHOOK_REQUEST_AUTH_H

#include "http.h"
#include "types.h"

/* The value of the credential of this kind; NULL: there is none. */
extern const char *wh_access_value(const WhSubscription *sub, const char *kind);

/*
 * Fills in what libcurl needs, pointing into the subscription, and sets the
 * transfer's proxy. False: a credential is invalid; the transfer's error says
 * which.
 */
extern bool wh_access_of(const WhSubscription *sub, WhTransfer *t, WhHttpAccess *access);

/* Adds the headers of basic, bearer and header:Name. False: out of memory, or one is invalid. */
extern bool wh_access_headers(const WhSubscription *sub, WhTransfer *t);

#endif /* WEBHOOK_REQUEST_AUTH_H */
