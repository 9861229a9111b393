/*
 * template_unit.h
 *	  What the tests of templates share: values to render from, and rendering
 *	  a template that must compile. Included by test_template*.c.
 */
#ifndef TEMPLATE_UNIT_H
#define TEMPLATE_UNIT_H

#include "unit.h"

#include <stdlib.h>

#include "template.h"

#define TEMPLATE_LIMIT 100000

/* An event, and values around it whose texts a test may replace. */
typedef struct Sample
{
	WhEvent event;
	WhTemplateValues values;
} Sample;

/* 2024-09-05 15:00:50.001200 UTC, and an attempt 10 s later. */
#define SAMPLE_US INT64_C(1725548450001200)

static inline void
sample_init(Sample *s)
{
	memset(s, 0, sizeof(*s));
	s->event = (WhEvent){.refs = 1,
						 .id = 1534,
						 .xid = 77,
						 .created_us = SAMPLE_US,
						 .entity_id = "42",
						 .entity_type = "user",
						 .action_type = "new"};
	s->values = (WhTemplateValues){.event = &s->event,
								   .instance = "0123abcd",
								   .event_prefix = "evt_",
								   .transaction_prefix = "tx_",
								   .attempt = 1,
								   .attempt_us = SAMPLE_US + 10000000};
}

static inline void
sample_result(Sample *s, const char *json)
{
	s->event.result = json;
	s->event.result_len = json ? strlen(json) : 0;
}

static inline void
sample_previous(Sample *s, const char *json)
{
	s->event.previous = json;
	s->event.previous_len = json ? strlen(json) : 0;
}

static inline void
sample_params(Sample *s, const char *json)
{
	s->values.params = json;
	s->values.params_len = json ? strlen(json) : 0;
}

static inline WhTemplate *
compiled(WhTemplateKind kind, const char *text)
{
	WhTemplateError error;
	WhTemplate *t = wh_template_compile(kind, text, strlen(text), &error);

	if (t == NULL)
		fail_msg("%s\ndoes not compile: byte %zu: %s", text, error.at, error.why);
	return t;
}

/* Render and compare; `expected` NULL: the text is to be absent. */
static inline void
check_render(WhTemplateKind kind, const char *text, const Sample *s, const char *expected)
{
	WhTemplate *t = compiled(kind, text);
	WhBuffer out;
	WhRendered rendered;

	wh_buffer_init(&out, TEMPLATE_LIMIT);
	rendered = wh_template_render(t, &s->values, &out);
	if (rendered != (expected ? WH_RENDERED : WH_RENDER_ABSENT))
		fail_msg("%s\nrendered as %d", text, rendered);
	if (expected && (out.data ? strcmp(out.data, expected) != 0 : *expected != '\0'))
		fail_msg("%s\nis     %s\nnot    %s", text, out.data ? out.data : "", expected);
	if (expected)
		check_row(text, out.len == strlen(expected));
	wh_buffer_free(&out);
	wh_template_free(t);
}

#endif /* TEMPLATE_UNIT_H */
