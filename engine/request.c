/*
 * request.c
 *	  A delivery, or a batch of them, becomes a request: body, signature,
 *	  headers, as the endpoint's profile says.
 *
 * Part of the pipeline: called by engine.c for each attempt. Owns nothing.
 */
#include "request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "request_auth.h"
#include "batch.h"
#include "token.h"

#define ID_MAX 80       /* the longest prefix, instance, "_", number, with NUL; or WH_BATCH_ID_MAX */
#define HEADER_MAX 8192 /* bytes of a header */
/* From 1 MB on libcurl asks before it sends a body; a body well below that does not need to be told not to. */
#define ASKS_NEVER (64 * 1024)

/* What templates are filled from for one delivery. */
static WhTemplateValues
values_of(const char *instance, const Endpoint *endpoint, const WhDelivery *d)
{
	const WhSubscription *sub = &endpoint->sub;

	return (WhTemplateValues){.event = d->event,
							  .instance = instance,
							  .event_prefix = endpoint->profile->row.event_prefix,
							  .transaction_prefix = endpoint->profile->row.transaction_prefix,
							  .params = sub->params,
							  .params_len = sub->params ? strlen(sub->params) : 0,
							  .attempt = d->attempts,
							  .attempt_us = d->wall_us};
}

/* What is said of one event: what the transform has made, else what the template makes. */
static bool
append_event(const char *instance, const Endpoint *endpoint, const WhDelivery *d, WhBuffer *body)
{
	WhTemplateValues values;

	if (d->transformed == WH_TRANSFORMED)
		return wh_buffer_append(body, d->body, d->body_len);
	values = values_of(instance, endpoint, d);
	return wh_template_render(d->batch == 0 ? endpoint->profile->envelope : endpoint->profile->batch_envelope,
							  &values, body) == WH_RENDERED;
}

/* A body is about as large as what it is made of; of a small one it does not matter. */
#define BESIDE_THE_EVENT 1024

static void
reserve(const WhDelivery *lead, WhBuffer *body)
{
	size_t bytes = 0;

	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		bytes += BESIDE_THE_EVENT + (d->transformed == WH_TRANSFORMED ? d->body_len : d->event->size);
	if (bytes > WH_BUFFER_LARGE)
		wh_buffer_reserve(body, bytes);
}

/* The whole body: an event, or an array of those of a batch. */
static bool
append_body(const char *instance, const Endpoint *endpoint, const WhDelivery *lead, WhBuffer *body)
{
	const char *before = "[";

	reserve(lead, body);
	if (lead->batch == 0)
		return append_event(instance, endpoint, lead, body);
	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		if (d->transformed == WH_LEFT_OUT)
			continue;
		wh_buffer_puts(body, before);
		if (!append_event(instance, endpoint, d, body))
			return false;
		before = ",";
	}
	return wh_buffer_puts(body, "]");
}

/* A header line of two parts, the first of which may be missing: then there is no such header. */
static bool
add_header(WhTransfer *t, const char *name, const char *value)
{
	char line[WH_SIGNATURE_MAX + 512];
	size_t name_len;
	size_t value_len;

	if (name == NULL)
		return true;
	name_len = strlen(name);
	value_len = strlen(value);
	if (name_len + value_len + 3 > sizeof(line))
		return false;
	memcpy(line, name, name_len); /* snprintf takes ten times as long */
	memcpy(line + name_len, ": ", 2);
	memcpy(line + name_len + 2, value, value_len + 1);
	return wh_http_header(t, line);
}

/* The headers that the profile has templates for. */
static bool
add_rendered(WhTransfer *t, const Profile *profile, const WhTemplateValues *values)
{
	WhBuffer line;
	bool ok = true;

	wh_buffer_init(&line, HEADER_MAX);
	for (int i = 0; ok && i < profile->n_headers; i++)
	{
		WhRendered rendered;

		wh_buffer_reset(&line);
		rendered = wh_template_render(profile->headers[i], values, &line);
		if (rendered == WH_RENDERED)
			ok = wh_http_header(t, line.data);
		else if (rendered == WH_RENDER_FAILED)
			ok = false;
	}
	wh_buffer_free(&line);
	return ok;
}

static bool
add_headers(WhTransfer *t, const char *instance, const Endpoint *endpoint, const WhDelivery *d,
			const char *id, const char *signature)
{
	const Profile *profile = endpoint->profile;
	const WhProfile *row = &profile->row;
	const WhSubscription *sub = &endpoint->sub;
	bool batch = d->batch != 0 && row->batch_content_type != NULL;
	WhTemplateValues values = values_of(instance, endpoint, d);
	char timestamp[32];
	bool ok;

	snprintf(timestamp, sizeof(timestamp), "%" PRId64, d->wall_us / 1000000);
	ok = add_header(t, "Content-Type", batch ? row->batch_content_type : row->content_type) &&
		 /* no extra round trip for a large body */
		 (t->body.len < ASKS_NEVER || wh_http_header(t, "Expect:")) && add_header(t, row->id_header, id) &&
		 add_header(t, row->timestamp_header, timestamp) &&
		 (*signature == '\0' || add_header(t, row->signature_header, signature)) &&
		 add_rendered(t, profile, &values);
	for (int i = 0; ok && i < sub->n_headers; i++)
		ok = wh_http_header(t, sub->headers[i]);
	return ok && wh_access_headers(sub, t) &&
		   (endpoint->token == NULL || endpoint->token->header == NULL ||
			wh_http_header(t, endpoint->token->header));
}

/* It could not be made, and why. */
static bool __attribute__((format(printf, 3, 4)))
fails(WhTransfer *t, WhOutcomeKind kind, const char *why, ...)
{
	va_list args;

	t->kind = kind;
	va_start(args, why);
	vsnprintf(t->error, sizeof(t->error), why, args);
	va_end(args);
	return false;
}

bool
wh_request_start(WhHttp *http, WhTransfer *t, const char *instance, const Endpoint *endpoint,
				 const WhDelivery *d)
{
	const Profile *profile = endpoint->profile;
	char id[ID_MAX];
	char signature[WH_SIGNATURE_MAX];
	const WhKey *keys[WH_SECRETS_MAX];
	int n_keys = wh_endpoint_keys(endpoint, d->wall_us, keys);
	WhMessage message = {.id = id, .timestamp = d->wall_us / 1000000};
	WhHttpAccess access;

	/* of a batch, another's too: such an event makes none, but it may have become too large for one that there is */
	for (const WhDelivery *each = d; each; each = wh_batch_next(d, each))
		if (each->event->problem)
			return fails(t, WH_OUT_BODY_TOO_LARGE, "%s", each->event->problem);
	if (d->event->size > t->body.limit)
		return fails(t, WH_OUT_BODY_TOO_LARGE, "the event is larger than %zu bytes", t->body.limit);
	if (profile->problem[0] != '\0')
		return fails(t, WH_OUT_INTERNAL, "%s", profile->problem);
	if (!append_body(instance, endpoint, d, &t->body))
		return t->body.full
				   ? fails(t, WH_OUT_BODY_TOO_LARGE, "the body is larger than %zu bytes", t->body.limit)
				   : fails(t, WH_OUT_INTERNAL, "out of memory");

	if (d->batch == 0)
		snprintf(id, sizeof(id), "%s%.*s_%" PRId64, profile->row.event_prefix, WH_INSTANCE_LEN, instance,
				 d->event->id);
	else
		wh_batch_id(instance, d, id);
	message.body = t->body.data;
	message.body_len = t->body.len;
	if (!wh_sign(&profile->signing, keys, n_keys, &message, signature, sizeof(signature)))
		return fails(t, WH_OUT_INTERNAL,
					 "the request could not be signed: the subscription has no valid secret");

	if (!wh_access_of(&endpoint->sub, t, &access))
		return false;
	if (!add_headers(t, instance, endpoint, d, id, signature))
		return fails(t, WH_OUT_INTERNAL, "out of memory, or a header is longer than %d bytes", HEADER_MAX);
	return wh_http_start(http, t, endpoint->sub.url, endpoint->sub.timeout_us, &access);
}
