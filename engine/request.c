/*
 * request.c
 *	  Makes a request of a delivery or a batch: body, signature and headers, as
 *	  the endpoint's profile requires.
 *
 * Used for each attempt. Owns nothing.
 */
#include "request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "request_auth.h"
#include "batch.h"
#include "token.h"

#define ID_MAX 80       /* longest prefix, instance, "_", number, NUL; or WH_BATCH_ID_MAX */
#define HEADER_MAX 8192 /* bytes of a header */
/*
 * From 1 MB on, libcurl asks the receiver before it sends a body, unless told not to. For
 * bodies well below that, it need not be told.
 */
#define ASKS_NEVER (64 * 1024)

/* The values for templates, of one delivery. */
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

/* Append the body of one event: what the transform has made, else what the template makes. */
static bool
append_event(const char *instance, const Endpoint *endpoint, const WhDelivery *d, WhBuffer *body)
{
	WhTemplateValues values;

	if (d->transformed == WH_TRANSFORMED)
		return wh_buffer_lend(body, d->body, d->body_len);
	values = values_of(instance, endpoint, d);
	return wh_template_render(d->batch == 0 ? endpoint->profile->envelope : endpoint->profile->batch_envelope,
							  &values, body) == WH_RENDERED;
}

/*
 * A body is about as large as its events, and as much as is lent of large ones need not be
 * copied. For a small body the difference does not matter.
 */
#define BESIDE_THE_EVENT 1024

static void
reserve(const WhDelivery *lead, WhBuffer *body)
{
	size_t bytes = 0;

	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		size_t size = d->transformed == WH_TRANSFORMED ? d->body_len : d->event->size;

		bytes += BESIDE_THE_EVENT + (size < WH_LENT_MIN ? size : 0);
	}
	if (bytes > WH_BUFFER_LARGE)
		wh_buffer_reserve(body, bytes);
}

/* Append the whole body: an event, or the array of a batch's events. */
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

/* Add a header of a name and a value. Without a name, there is no such header. */
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

/* Add the headers that the profile has templates for. */
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
		 (wh_buffer_total(&t->body) < ASKS_NEVER || wh_http_header(t, "Expect:")) &&
		 add_header(t, row->id_header, id) && add_header(t, row->timestamp_header, timestamp) &&
		 (*signature == '\0' || add_header(t, row->signature_header, signature)) &&
		 add_rendered(t, profile, &values);
	for (int i = 0; ok && i < sub->n_headers; i++)
		ok = wh_http_header(t, sub->headers[i]);
	return ok && wh_access_headers(sub, t) &&
		   (endpoint->token == NULL || endpoint->token->header == NULL ||
			wh_http_header(t, endpoint->token->header));
}

/* The request cannot be made: note why, and return false. */
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

	/*
	 * Any event of a batch may have a problem. A new batch is not made with such an
	 * event, but an event of an existing batch may have become too large since.
	 */
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
	message.pieces = &t->body;
	if (!wh_sign(&profile->signing, keys, n_keys, &message, signature, sizeof(signature)))
		return fails(t, WH_OUT_INTERNAL,
					 "the request could not be signed: the subscription has no valid secret");

	if (!wh_access_of(&endpoint->sub, t, &access))
		return false;
	if (!add_headers(t, instance, endpoint, d, id, signature))
		return fails(t, WH_OUT_INTERNAL, "out of memory, or a header is longer than %d bytes", HEADER_MAX);
	return wh_http_start(http, t, endpoint->sub.url, endpoint->sub.timeout_us, &access);
}
