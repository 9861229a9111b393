/*
 * profile.c
 *	  A profile as the engine holds it: its templates compiled, once for all
 *	  the subscriptions that use it.
 *
 * A profile is identified by its whole row. Subscriptions with equal rows share one; a
 * changed row makes a new one; and the old one is freed with its last subscription. So
 * nothing has to announce that a profile has changed.
 */
#include "profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "response_rule.h"

#define N_TEXTS (sizeof(WhProfile) / sizeof(char *))

static const char **
texts(const WhProfile *row)
{
	return (const char **) (void *) row;
}

static bool
equal_rows(const WhProfile *a, const WhProfile *b)
{
	const char **x = texts(a);
	const char **y = texts(b);

	for (size_t i = 0; i < N_TEXTS; i++)
		if (x[i] == NULL || y[i] == NULL ? x[i] != y[i] : strcmp(x[i], y[i]) != 0)
			return false;
	return true;
}

static bool
copy_row(WhProfile *to, const WhProfile *from)
{
	for (size_t i = 0; i < N_TEXTS; i++)
		if (texts(from)[i] && (texts(to)[i] = strdup(texts(from)[i])) == NULL)
			return false;
	return true;
}

static void
free_profile(Profile *p)
{
	wh_template_free(p->envelope);
	wh_template_free(p->batch_envelope);
	for (int i = 0; i < p->n_headers; i++)
		wh_template_free(p->headers[i]);
	for (size_t i = 0; i < N_TEXTS; i++)
		free((char *) texts(&p->row)[i]);
	free(p);
}

static void
note_problem(Profile *p, const char *what, const char *why)
{
	if (p->problem[0] == '\0')
		snprintf(p->problem, sizeof(p->problem), "invalid profile: its %s: %s", what, why);
}

/* An invalid template is a problem that requests will report. False: out of memory. */
static bool
compile(Profile *p, WhTemplateKind kind, const char *what, const char *text, size_t len, WhTemplate **out)
{
	WhTemplateError error;

	*out = wh_template_compile(kind, text, len, &error);
	if (*out == NULL && !error.no_memory)
		note_problem(p, what, error.why);
	return *out != NULL || !error.no_memory;
}

static bool
compile_all(Profile *p)
{
	const WhProfile *row = &p->row;
	const char *batch = row->batch_envelope ? row->batch_envelope : row->envelope;
	const char *line = row->headers ? row->headers : "";
	const char *why;

	if (row->envelope == NULL || row->content_type == NULL || row->event_prefix == NULL ||
		row->transaction_prefix == NULL || row->algorithm == NULL)
	{
		note_problem(p, "row", "a required column is null");
		return true;
	}
	if (!compile(p, WH_TEMPLATE_ENVELOPE, "envelope", row->envelope, strlen(row->envelope), &p->envelope) ||
		!compile(p, WH_TEMPLATE_ENVELOPE, "batch_envelope", batch, strlen(batch), &p->batch_envelope))
		return false;
	while (*line != '\0')
	{
		size_t len = strcspn(line, "\n");

		if (p->n_headers == WH_HEADERS_MAX)
		{
			note_problem(p, "headers", "too many");
			break;
		}
		if (!compile(p, WH_TEMPLATE_HEADER, "headers", line, len, &p->headers[p->n_headers++]))
			return false;
		line += len + (line[len] != '\0');
	}
	if (!wh_signing_parse(row->algorithm, row->encoding, row->secret_encoding, row->signed_content,
						  row->signature_format, row->separator, &p->signing, &why))
		note_problem(p, "signature", why);
	return true;
}

Profile *
wh_profile_hold(Profile **list, const WhProfile *row)
{
	Profile *p = *list;

	while (p && !equal_rows(&p->row, row))
		p = p->next;
	if (p == NULL)
	{
		p = calloc(1, sizeof(Profile));
		if (p == NULL)
			return NULL;
		if (!copy_row(&p->row, row) || !compile_all(p))
		{
			free_profile(p);
			return NULL;
		}
		p->list = list;
		p->next = *list;
		*list = p;
	}
	p->refs++;
	return p;
}

void
wh_profile_let_go(Profile *profile)
{
	Profile **at;

	if (profile == NULL || --profile->refs > 0)
		return;
	for (at = profile->list; *at != profile; at = &(*at)->next)
		;
	*at = profile->next;
	free_profile(profile);
}

void
wh_profile_judge(const Profile *profile, WhTransfer *t)
{
	const WhProfile *row = &profile->row;

	if (row->failure == NULL || t->kind != WH_OUT_DELIVERED || t->response == NULL ||
		!wh_answer_matches(row->failure, t->response))
		return;
	t->kind = WH_OUT_REJECTED;
	t->error[0] = '\0';
	if (row->failure_fields)
		wh_answer_text(row->failure_fields, t->response, t->error, sizeof(t->error));
	if (t->error[0] == '\0')
		snprintf(t->error, sizeof(t->error), "the endpoint answered with status %d and reported a failure",
				 t->http_status);
}
