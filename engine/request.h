/*
 * request.h
 *	  Makes a request of a delivery or a batch: body, signature and headers, as
 *	  the endpoint's profile requires.
 */
#ifndef WEBHOOK_REQUEST_H
#define WEBHOOK_REQUEST_H

#include "endpoint.h"
#include "http.h"

/*
 * Renders, signs and sends a delivery and the rest of its batch. False: the transfer has
 * the reason, and the caller releases it.
 */
extern bool wh_request_start(WhHttp *http, WhTransfer *t, const char *instance, const Endpoint *endpoint,
							 const WhDelivery *d);

#endif /* WEBHOOK_REQUEST_H */
