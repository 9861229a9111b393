/*
 * deliver_request.c
 *	  A delivery, or a batch of them, becomes a request: envelopes, signature,
 *	  headers.
 *
 * Part of the pipeline: called by deliver.c for each attempt. Owns nothing.
 */
#include "deliver_request.h"

#include <inttypes.h>
#include <stdio.h>

#include "deliver_batch.h"
#include "envelope.h"
#include "sign.h"

/* Append one event as its receiver wants it. */
static bool
append_event(const char *instance, const WhDelivery *d, bool of_batch, WhBuffer *body)
{
	char id[WH_EVENT_ID_MAX];

	if (!of_batch)
		return wh_envelope_entity(d->event, body);
	wh_event_id(instance, d->event->id, id);
	return wh_envelope_entity_of_batch(d->event, id, body);
}

/* The whole body: an event, or an array of those of a batch. */
static bool
append_body(const char *instance, const WhDelivery *lead, WhBuffer *body)
{
	if (lead->batch == 0)
		return append_event(instance, lead, false, body);
	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		wh_buffer_puts(body, d == lead ? "[" : ",");
		if (!append_event(instance, d, true, body))
			return false;
	}
	return wh_buffer_puts(body, "]");
}

bool
wh_request_start(WhHttp *http, WhTransfer *t, const char *instance, const Endpoint *endpoint,
				 const WhDelivery *d)
{
	const WhSubscription *sub = &endpoint->sub;
	char id[WH_EVENT_ID_MAX > WH_BATCH_ID_MAX ? WH_EVENT_ID_MAX : WH_BATCH_ID_MAX];
	char signature[WH_SIGNATURE_MAX];
	char line[WH_SIGNATURE_MAX + 64];
	int64_t timestamp = d->started_us / 1000000;
	const WhKey *keys[WH_SECRETS_MAX];
	int n_keys = wh_endpoint_keys(endpoint, d->started_us, keys);
	bool ok;

	if (d->event->size > WH_BODY_MAX)
	{
		t->kind = WH_OUT_BODY_TOO_LARGE;
		snprintf(t->error, sizeof(t->error), "the event is larger than %d bytes", WH_BODY_MAX);
		return false;
	}
	t->kind = WH_OUT_INTERNAL;
	snprintf(t->error, sizeof(t->error), "out of memory, or the body is larger than %d bytes", WH_BODY_MAX);
	if (!append_body(instance, d, &t->body))
		return false;

	if (d->batch == 0)
		wh_event_id(instance, d->event->id, id);
	else
		wh_batch_id(instance, d, id);
	snprintf(t->error, sizeof(t->error),
			 "the request could not be signed: the subscription has no usable secret");
	if (!wh_sign(&wh_signing_standard, keys, n_keys, &(WhMessage){id, timestamp, t->body.data, t->body.len},
				 signature, sizeof(signature)))
		return false;

	snprintf(t->error, sizeof(t->error), "out of memory");
	ok = wh_http_header(t, "Content-Type: application/json");
	ok = ok && wh_http_header(t, "Expect:"); /* no extra round trip for a large body */
	snprintf(line, sizeof(line), "webhook-id: %s", id);
	ok = ok && wh_http_header(t, line);
	snprintf(line, sizeof(line), "webhook-timestamp: %" PRId64, timestamp);
	ok = ok && wh_http_header(t, line);
	snprintf(line, sizeof(line), "webhook-signature: %s", signature);
	ok = ok && wh_http_header(t, line);
	for (int i = 0; ok && i < sub->n_headers; i++)
		ok = wh_http_header(t, sub->headers[i]);
	return ok && wh_http_start(http, t, sub->url, sub->timeout_us);
}
