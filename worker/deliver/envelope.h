/*
 * envelope.h
 *	  Event and profile -> the body of a request.
 *
 * Called by deliver.c once per attempt: the bytes made here are the bytes that
 * are signed and sent. JSON is that of RFC 8259; text is UTF-8 and passes
 * through unchanged but for what JSON must have escaped.
 */
#ifndef WEBHOOK_ENVELOPE_H
#define WEBHOOK_ENVELOPE_H

#include "buffer.h"
#include "types.h"

#define WH_EVENT_ID_MAX 48 /* "evt_" instance "_" id, with NUL */

/*
 * Write the event's id as receivers see it: evt_<instance>_<id>. `instance`
 * is WH_INSTANCE_LEN hex digits. The same event has the same id on every
 * attempt; it has no ".", which Standard Webhooks reserves.
 */
extern void wh_event_id(const char *instance, int64_t id, char out[WH_EVENT_ID_MAX]);

/*
 * Append the body of the profile "entity": entity_id (a string, or null),
 * entity_type, action_type, result. `result` is left out where the event has
 * none. The JSON of result is copied byte for byte as captured. Returns false
 * where the body would pass its limit or there is no memory; the body is then
 * as long as it was, and marked failed.
 */
extern bool wh_envelope_entity(const WhEvent *event, WhBuffer *body);

/*
 * The same as an element of a batch: with event_id, as of wh_event_id, before
 * all others, since the header webhook-id is that of the batch.
 */
extern bool wh_envelope_entity_of_batch(const WhEvent *event, const char *event_id, WhBuffer *body);

#endif /* WEBHOOK_ENVELOPE_H */
