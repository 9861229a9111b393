/*
 * event.c
 *	  Making and freeing events and deliveries.
 *
 * Only this file knows their layout in memory: an event is a single allocation, with its
 * strings after the struct. Its deliveries share it through a reference count. The store
 * makes events; the engine and the worker release them. One thread, no locking.
 */
#include "types.h"

#include <stdlib.h>
#include <string.h>

/* A string's place after the struct, with its NUL already written. */
static char *
place(char **at, size_t len)
{
	char *string = *at;

	string[len] = '\0';
	*at += len + 1;
	return string;
}

/* The same for JSON, behind its head. */
static char *
place_json(char **at, size_t len)
{
	*at += WH_JSON_HEAD + (size_t) (-(uintptr_t) *at % WH_JSON_HEAD);
	return place(at, len);
}

static const char *
copy(char **at, const char *string)
{
	return string ? strcpy(place(at, strlen(string)), string) : NULL;
}

WhEvent *
wh_event_begin(const WhEvent *from, size_t result_len, size_t previous_len, size_t context_len)
{
	const char *strings[] = {from->entity_id, from->entity_type, from->action_type, from->tenant,
							 from->problem};
	size_t json[] = {result_len, previous_len, context_len};
	size_t size = sizeof(WhEvent);
	WhEvent *event;
	char *at;

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		size += strings[i] ? strlen(strings[i]) + 1 : 0;
	for (size_t i = 0; i < sizeof(json) / sizeof(json[0]); i++)
		size += json[i] ? 2 * WH_JSON_HEAD + json[i] : 0; /* with the gap before the head, and the NUL */
	if ((event = malloc(size)) == NULL)
		return NULL;

	*event = *from;
	event->refs = 1;
	event->size = size;
	at = (char *) (event + 1);
	event->entity_id = copy(&at, from->entity_id);
	event->entity_type = copy(&at, from->entity_type);
	event->action_type = copy(&at, from->action_type);
	event->tenant = copy(&at, from->tenant);
	event->problem = copy(&at, from->problem);
	event->context = context_len ? place_json(&at, context_len) : NULL;
	event->result = result_len ? place_json(&at, result_len) : NULL;
	event->result_len = result_len;
	event->previous = previous_len ? place_json(&at, previous_len) : NULL;
	event->previous_len = previous_len;
	return event;
}

WhEvent *
wh_event_make(const WhEvent *from)
{
	size_t result_len = from->result ? from->result_len : 0;
	size_t previous_len = from->previous ? from->previous_len : 0;
	size_t context_len = from->context ? strlen(from->context) : 0;
	WhEvent *event = wh_event_begin(from, result_len, previous_len, context_len);

	if (event == NULL)
		return NULL;
	if (result_len)
		memcpy((char *) event->result, from->result, result_len);
	if (previous_len)
		memcpy((char *) event->previous, from->previous, previous_len);
	if (context_len)
		memcpy((char *) event->context, from->context, context_len);
	return event;
}

void
wh_event_release(WhEvent *event)
{
	if (event && --event->refs == 0)
		free(event);
}

bool
wh_delivery_set_error(WhDelivery *d, const char *text, size_t len)
{
	free(d->error);
	d->error = len > 0 ? strndup(text, len) : NULL;
	return len == 0 || d->error != NULL;
}

static size_t bodies = 0; /* bytes of all bodies that deliveries hold */

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
	free(d->headers);
	free(d->error);
	free(d);
}
