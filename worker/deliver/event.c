/*
 * event.c
 *	  Making and freeing events and deliveries.
 *
 * The one place that knows how they lie in memory: an event is a single
 * allocation with its strings behind it, shared by its deliveries through a
 * count of references. Called by the store, which reads events, and by the
 * engine and the worker, which let them go. One thread, no locking.
 */
#include "types.h"

#include <stdlib.h>
#include <string.h>

static char *
copy_bytes(char **to, const char *bytes, size_t len)
{
	char *at = *to;

	memcpy(at, bytes, len);
	at[len] = '\0';
	*to += len + 1;
	return at;
}

WhEvent *
wh_event_make(const WhEvent *from)
{
	const char *strings[] = {from->entity_id, from->entity_type, from->action, from->tenant, from->context};
	size_t size = sizeof(WhEvent);
	WhEvent *event;
	char *at;

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		size += strings[i] ? strlen(strings[i]) + 1 : 0;
	size += from->result ? from->result_len + 1 : 0;
	size += from->previous ? from->previous_len + 1 : 0;
	if ((event = malloc(size)) == NULL)
		return NULL;

	*event = *from;
	event->refs = 1;
	event->size = size;
	at = (char *) (event + 1);
#define COPY(field, len)                                                                                     \
	if (from->field)                                                                                         \
	event->field = copy_bytes(&at, from->field, (len))
	COPY(entity_id, strlen(from->entity_id));
	COPY(entity_type, strlen(from->entity_type));
	COPY(action, strlen(from->action));
	COPY(tenant, strlen(from->tenant));
	COPY(context, strlen(from->context));
	COPY(result, from->result_len);
	COPY(previous, from->previous_len);
#undef COPY
	return event;
}

void
wh_event_release(WhEvent *event)
{
	if (event && --event->refs == 0)
		free(event);
}

static size_t bodies = 0; /* bytes of those that deliveries hold */

void
wh_delivery_set_body(WhDelivery *d, char *body, size_t len)
{
	bodies -= d->body_len;
	free(d->body);
	d->body = body;
	d->body_len = len;
	bodies += len;
}

size_t
wh_bodies_held(void)
{
	return bodies;
}

void
wh_delivery_free(WhDelivery *d)
{
	if (d == NULL)
		return;
	wh_event_release(d->event);
	wh_delivery_set_body(d, NULL, 0);
	free(d->response);
	free(d);
}
