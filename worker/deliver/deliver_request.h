/*
 * deliver_request.h
 *	  A delivery, or a batch of them, becomes a request: body, signature,
 *	  headers, as the endpoint's profile says.
 *
 * Called by deliver.c only.
 */
#ifndef WEBHOOK_DELIVER_REQUEST_H
#define WEBHOOK_DELIVER_REQUEST_H

#include "deliver_endpoint.h"
#include "http.h"

/* Render, sign and send a delivery and its others. False: the transfer holds the reason, and is the caller's to release. */
extern bool wh_request_start(WhHttp *http, WhTransfer *t, const char *instance, const Endpoint *endpoint,
							 const WhDelivery *d);

#endif /* WEBHOOK_DELIVER_REQUEST_H */
