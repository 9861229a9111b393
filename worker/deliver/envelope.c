/*
 * envelope.c
 *	  Event and profile -> the body of a request.
 *
 * Called by deliver.c for every attempt. The body is written straight into the
 * buffer of the request: constant pieces and runs of plain text are appended
 * as they are, and only what JSON must escape is touched. Owns nothing: the
 * event is read, the buffer is the caller's.
 */
#include "envelope.h"

#include <inttypes.h>
#include <stdio.h>

/* Append a constant piece, whose length the compiler knows. */
#define APPEND_LITERAL(b, s) wh_buffer_append((b), (s), sizeof(s) - 1)

void
wh_event_id(const char *instance, int64_t id, char out[WH_EVENT_ID_MAX])
{
	snprintf(out, WH_EVENT_ID_MAX, "evt_%.*s_%" PRId64, WH_INSTANCE_LEN, instance, id);
}

static inline bool
must_escape(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

/* Append the escape of one character that may not stand in a JSON string (RFC 8259, section 7). */
static void
append_escape(WhBuffer *b, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 0xf]};

	if (c == '"')
		APPEND_LITERAL(b, "\\\"");
	else if (c == '\\')
		APPEND_LITERAL(b, "\\\\");
	else
		wh_buffer_append(b, escape, sizeof(escape));
}

/* Append text as a JSON string, or null for NULL. Failure is seen in the buffer. */
static void
append_string(WhBuffer *b, const char *s)
{
	if (s == NULL)
	{
		APPEND_LITERAL(b, "null");
		return;
	}
	APPEND_LITERAL(b, "\"");
	for (;;)
	{
		const char *run = s;

		/* the final NUL is below 0x20, so it ends a run too */
		while (!must_escape((unsigned char) *s))
			s++;
		if (s > run)
			wh_buffer_append(b, run, (size_t) (s - run));
		if (*s == '\0')
			break;
		append_escape(b, (unsigned char) *s++);
	}
	APPEND_LITERAL(b, "\"");
}

/* `event_id`: NULL where it is told by a header. */
static bool
append_entity(const WhEvent *event, const char *event_id, WhBuffer *body)
{
	size_t start = body->len;

	APPEND_LITERAL(body, "{");
	if (event_id)
	{
		APPEND_LITERAL(body, "\"event_id\":");
		append_string(body, event_id);
		APPEND_LITERAL(body, ",");
	}
	APPEND_LITERAL(body, "\"entity_id\":");
	append_string(body, event->entity_id);
	APPEND_LITERAL(body, ",\"entity_type\":");
	append_string(body, event->entity_type);
	APPEND_LITERAL(body, ",\"action_type\":");
	append_string(body, event->action);
	if (event->result != NULL && event->result_len > 0)
	{
		APPEND_LITERAL(body, ",\"result\":");
		wh_buffer_append(body, event->result, event->result_len);
	}
	APPEND_LITERAL(body, "}");

	/* half a body must not be taken for a whole one */
	if (body->failed && body->data != NULL)
	{
		body->len = start;
		body->data[start] = '\0';
	}
	return !body->failed;
}

bool
wh_envelope_entity(const WhEvent *event, WhBuffer *body)
{
	return append_entity(event, NULL, body);
}

bool
wh_envelope_entity_of_batch(const WhEvent *event, const char *event_id, WhBuffer *body)
{
	return append_entity(event, event_id, body);
}
