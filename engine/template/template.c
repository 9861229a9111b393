/*
 * template.c
 *	  Compiling a template, and freeing it.
 *
 * The grammar is in template_parse.c and template_text.c. This file has what both write
 * to: constant text waits in the pool until an op takes it. That memory has run out is
 * noticed once, at the end.
 */
#include "template_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* More than any template of WH_TEMPLATE_MAX bytes can compile to. */
#define COMPILED_MAX ((size_t) 64 * WH_TEMPLATE_MAX)

bool
wh_refuse(WhParser *ps, const char *at, const char *why, ...)
{
	va_list args;

	ps->error->at = (size_t) (at - ps->start);
	va_start(args, why);
	vsnprintf(ps->error->why, sizeof(ps->error->why), why, args);
	va_end(args);
	return false;
}

void
wh_parser_text(WhParser *ps, const char *at, size_t len)
{
	wh_buffer_append(&ps->t->pool, at, len);
}

/* Make an op that begins with the text that waits. */
void
wh_parser_op(WhParser *ps, WhOpKind kind, const WhReference *ref)
{
	WhTemplate *t = ps->t;
	WhOp op = {.kind = kind, .comma = ps->pending_comma};

	op.text.at = (unsigned int) ps->pending;
	op.text.len = (unsigned int) (t->pool.len - ps->pending);
	ps->pending = t->pool.len;
	ps->pending_comma = false;
	if (ref != NULL)
	{
		op.conversion = ref->conversion;
		op.optional = ref->optional;
		op.terms = ref->terms;
		op.n_terms = ref->n_terms;
	}
	wh_buffer_append(&t->ops, &op, sizeof(op));
}

void
wh_parser_flush(WhParser *ps)
{
	if (ps->t->pool.len > ps->pending)
		wh_parser_op(ps, WH_OP_TEXT, NULL);
}

static bool
out_of_memory(const WhTemplate *t)
{
	return t->pool.failed || t->ops.failed || t->paths.failed || t->terms.failed || t->keys.failed;
}

static bool
compile(WhParser *ps)
{
	bool ok;

	if (ps->end - ps->start > WH_TEMPLATE_MAX)
		return wh_refuse(ps, ps->start + WH_TEMPLATE_MAX, "longer than %d bytes", WH_TEMPLATE_MAX);
	ok = ps->t->kind == WH_TEMPLATE_ENVELOPE ? wh_parse_envelope(ps) : wh_parse_text(ps);
	if (out_of_memory(ps->t) || ps->keys.failed)
	{
		ps->error->no_memory = true;
		return wh_refuse(ps, ps->start, "out of memory");
	}
	return ok;
}

WhTemplate *
wh_template_compile(WhTemplateKind kind, const char *text, size_t len, WhTemplateError *error)
{
	WhTemplate *t = calloc(1, sizeof(*t));
	WhParser ps = {.start = text, .p = text, .end = text + len, .t = t, .error = error};
	bool ok;

	memset(error, 0, sizeof(*error));
	if (t == NULL)
	{
		error->no_memory = true;
		wh_refuse(&ps, text, "out of memory");
		return NULL;
	}
	t->kind = kind;
	wh_buffer_init(&t->pool, COMPILED_MAX);
	wh_buffer_init(&t->ops, COMPILED_MAX);
	wh_buffer_init(&t->paths, COMPILED_MAX);
	wh_buffer_init(&t->terms, COMPILED_MAX);
	wh_buffer_init(&t->keys, COMPILED_MAX);
	wh_buffer_init(&ps.keys, COMPILED_MAX);
	ok = compile(&ps);
	wh_buffer_free(&ps.keys);
	if (!ok)
	{
		wh_template_free(t);
		return NULL;
	}
	return t;
}

void
wh_template_free(WhTemplate *t)
{
	if (t == NULL)
		return;
	wh_buffer_free(&t->pool);
	wh_buffer_free(&t->ops);
	wh_buffer_free(&t->paths);
	wh_buffer_free(&t->terms);
	wh_buffer_free(&t->keys);
	free(t);
}
