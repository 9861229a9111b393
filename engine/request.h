/*
 * request.h
 *	  A delivery, or a batch of them, becomes a request: body, signature,
 *	  headers, as the endpoint's profile says.
 */
#ifndef WEBHOOK_REQUEST_H
#define WEBHOOK_REQUEST_H

#include "endpoint.h"
#include "http.h"

/* Render, sign and send a delivery and its others. False: the transfer holds the reason, and is the caller's to release. */
extern bool wh_request_start(WhHttp *http, WhTransfer *t, const char *instance, const Endpoint *endpoint,
							 const WhDelivery *d);

#endif /* WEBHOOK_REQUEST_H */
