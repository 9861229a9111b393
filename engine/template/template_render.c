/*
 * template_render.c
 *	  Rendering a compiled template.
 *
 * One pass over the ops: constant text is appended as it is; values are fetched,
 * converted and appended. The template and the values are only read. A value that must
 * be composed is in a scratch buffer, which holds one value at a time and lives as long
 * as the call.
 */
#include "template_internal.h"

#include <stdlib.h>

/* The most bytes of a composed value: more than any captured event has. */
#define SCRATCH_MAX ((size_t) 1 << 30)

/* One call of wh_template_render. */
typedef struct Render
{
	const WhTemplate *t;
	const WhTemplateValues *values;
	WhBuffer *out;
	WhBuffer scratch; /* the current value, if it had to be composed */
	WhBuffer decoded; /* its text, if it had escapes */
	size_t given;     /* values written that were not null */
	int n_open;
	struct
	{
		size_t at; /* where its object begins in `out` */
		size_t given;
	} open[WH_TEMPLATE_DEPTH];
} Render;

static WhValue
json_constant(const char *word)
{
	return (WhValue){WH_VALUE_JSON, word, strlen(word)};
}

static bool
is_word(WhText text, const char *word)
{
	return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

static WhValue
convert(WhValue value, WhConversion conversion)
{
	static const WhValue none = {WH_VALUE_NULL, NULL, 0};
	WhText text;

	if (value.kind == WH_VALUE_NULL || conversion == WH_AS_IT_IS || conversion == WH_TO_PERCENT)
		return value;
	text = (WhText){value.at, value.len};
	if (value.kind == WH_VALUE_JSON)
		text = wh_json_trim(value.at, value.len);
	if (conversion == WH_TO_STRING)
		return value.kind == WH_VALUE_JSON && text.at[0] == '"' ? value
																: (WhValue){WH_VALUE_TEXT, text.at, text.len};

	if (value.kind == WH_VALUE_JSON)
		wh_json_inside_string(&text);
	if (conversion == WH_TO_NUMBER)
		return wh_json_is_number(text.at, text.len) ? (WhValue){WH_VALUE_JSON, text.at, text.len} : none;
	if (is_word(text, "true") || is_word(text, "t") || is_word(text, "1"))
		return json_constant("true");
	if (is_word(text, "false") || is_word(text, "f") || is_word(text, "0"))
		return json_constant("false");
	return none;
}

/* Follow a term's path into its variable's JSON. */
static WhValue
fetch(Render *r, const WhTerm *term)
{
	WhValue value = term->variable->get(r->values, &r->scratch);
	const char *name = r->t->paths.data + term->path.at;
	const char *end = name + term->path.len;

	while (name < end && value.kind != WH_VALUE_NULL)
	{
		const char *dot = memchr(name, '.', (size_t) (end - name));
		const char *stop = dot ? dot : end;

		value = wh_json_find(value, name, (size_t) (stop - name));
		name = stop + (dot != NULL);
	}
	return value;
}

/* The first alternative that is not null after its conversion. */
static WhValue
resolve(Render *r, const WhOp *op)
{
	const WhTerm *terms = (const WhTerm *) (const void *) r->t->terms.data + op->terms;
	WhValue value = {WH_VALUE_NULL, NULL, 0};

	for (unsigned int i = 0; i < op->n_terms && value.kind == WH_VALUE_NULL; i++)
	{
		value = convert(fetch(r, &terms[i]), op->conversion);
		if (r->scratch.failed)
			r->out->failed = true; /* the next value resets the scratch buffer */
	}
	return value;
}

/*
 * Append JSON: what lies in the event outlives the body and is lent. An event with a
 * problem may be counted with more bytes than it has.
 */
static void
put_raw(Render *r, const char *at, size_t len)
{
	const WhEvent *event = r->values->event;
	uintptr_t offset = (uintptr_t) at - (uintptr_t) event; /* huge, if it lies before it */

	if (event->problem == NULL && offset < event->size && len <= event->size - offset)
		wh_buffer_lend(r->out, at, len);
	else
		wh_buffer_append(r->out, at, len);
}

static void
put_json(Render *r, WhValue value)
{
	WhBuffer *out = r->out;

	if (value.kind == WH_VALUE_NULL)
		wh_buffer_append(out, "null", 4);
	else if (value.kind == WH_VALUE_JSON)
		put_raw(r, value.at, value.len);
	else
	{
		wh_buffer_append(out, "\"", 1);
		wh_json_escape(out, value.at, value.len);
		wh_buffer_append(out, "\"", 1);
	}
}

/* May a header contain this byte as it is? */
static bool
is_plain(unsigned char c, WhConversion conversion)
{
	if (conversion == WH_TO_PERCENT)
		return c > 0x20 && c < 0x7f && c != '"' && c != '%';
	return c >= 0x20 && c != 0x7f;
}

static void
put_percent(WhBuffer *out, WhText text, WhConversion conversion)
{
	static const char hex[] = "0123456789ABCDEF";
	const char *end = text.at + text.len;

	while (text.at < end)
	{
		const char *run = text.at;

		while (text.at < end && is_plain((unsigned char) *text.at, conversion))
			text.at++;
		wh_buffer_append(out, run, (size_t) (text.at - run));
		if (text.at < end)
		{
			unsigned char c = (unsigned char) *text.at++;
			char escape[3] = {'%', hex[c >> 4], hex[c & 0xf]};

			wh_buffer_append(out, escape, 3);
		}
	}
}

/* Append a value as text: a string without its quotes, other JSON as it is, null as nothing. */
static void
put_text(Render *r, WhValue value, WhConversion conversion)
{
	WhText text = {value.at, value.len};

	if (value.kind == WH_VALUE_NULL)
		return;
	if (value.kind == WH_VALUE_JSON)
	{
		text = wh_json_trim(value.at, value.len);
		if (wh_json_inside_string(&text) && text.len > 0 && memchr(text.at, '\\', text.len) != NULL)
		{
			wh_buffer_reset(&r->decoded);
			wh_json_unescape(&r->decoded, text.at, text.len);
			text = (WhText){r->decoded.data, r->decoded.len};
			if (r->decoded.failed)
				r->out->failed = true;
		}
	}
	if (text.len == 0)
		return;
	put_percent(r->out, text, conversion);
}

/* A comma, unless the object or array has just begun: no value ends in an opening bracket. */
static void
put_comma(WhBuffer *out)
{
	if (out->len > 0 && out->data[out->len - 1] != '{' && out->data[out->len - 1] != '[')
		wh_buffer_append(out, ",", 1);
}

/* By the meaning of keys, then by their place. */
static int
compare_members(const void *a, const void *b)
{
	const WhMember *x = a;
	const WhMember *y = b;
	int order = wh_json_compare(x->key, y->key);

	return order != 0 ? order : (x->key.at > y->key.at) - (x->key.at < y->key.at);
}

static int
compare_places(const void *a, const void *b)
{
	const WhMember *x = a;
	const WhMember *y = b;

	return (x->key.at > y->key.at) - (x->key.at < y->key.at);
}

/* Does the template's own object have this key? */
static bool
is_taken(const WhTemplate *t, const WhOp *op, WhText key)
{
	const WhPart *keys = (const WhPart *) (const void *) t->keys.data;
	unsigned int low = op->keys;
	unsigned int high = op->keys + op->n_keys;

	while (low < high)
	{
		unsigned int middle = (low + high) / 2;
		WhText own = {t->paths.data + keys[middle].at, keys[middle].len};
		int order = wh_json_compare(key, own);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

/* Keep the last of the members with the same key, in their order. Returns how many are left. */
static size_t
drop_repeated(WhMember *members, size_t n)
{
	size_t kept = 0;

	qsort(members, n, sizeof(*members), compare_members);
	for (size_t i = 0; i < n; i++)
		if (i + 1 == n || wh_json_compare(members[i].key, members[i + 1].key) != 0)
			members[kept++] = members[i];
	qsort(members, kept, sizeof(*members), compare_places);
	return kept;
}

/* Append the members of an object, without the template's own keys and without duplicates. */
static void
put_members(Render *r, const WhOp *op, WhValue value)
{
	WhBuffer list;
	WhMembers walk;
	WhMember member;
	const WhMember *members;
	size_t n = 0;

	if (value.kind != WH_VALUE_JSON || !wh_json_members(value.at, value.len, &walk))
		return;
	wh_buffer_init(&list, SIZE_MAX / 4);
	while (wh_json_next(&walk, &member))
		if (!is_taken(r->t, op, member.key))
			wh_buffer_append(&list, &member, sizeof(member));
	if (list.failed)
		r->out->failed = true;
	else if (list.len > 0)
		n = drop_repeated((WhMember *) (void *) list.data, list.len / sizeof(member));
	members = (const WhMember *) (const void *) list.data;
	for (size_t i = 0; i < n; i++)
	{
		put_comma(r->out);
		wh_buffer_append(r->out, members[i].key.at - 1, members[i].key.len + 2);
		wh_buffer_append(r->out, ":", 1);
		put_raw(r, members[i].value.at, members[i].value.len);
	}
	r->given += n;
	wh_buffer_free(&list);
}

/* An object that holds no value becomes null. */
static void
close_object(Render *r)
{
	r->n_open--;
	if (r->given == r->open[r->n_open].given && !r->out->failed)
	{
		wh_buffer_cut(r->out, r->open[r->n_open].at);
		wh_buffer_append(r->out, "null", 4);
	}
}

static WhRendered
run(Render *r)
{
	const WhTemplate *t = r->t;
	const WhOp *op = (const WhOp *) (const void *) t->ops.data;

	for (size_t n = t->ops.len / sizeof(WhOp); n > 0; n--, op++)
	{
		WhValue value = {WH_VALUE_NULL, NULL, 0};

		if (op->n_terms > 0)
			value = resolve(r, op);
		if (op->optional && value.kind == WH_VALUE_NULL)
		{
			if (t->kind != WH_TEMPLATE_ENVELOPE)
				return WH_RENDER_ABSENT;
			continue;
		}
		if (op->comma)
			put_comma(r->out);
		if (op->text.len > 0)
			wh_buffer_append(r->out, t->pool.data + op->text.at, op->text.len);
		switch (op->kind)
		{
			case WH_OP_TEXT:
				break;
			case WH_OP_VALUE:
				r->given += value.kind != WH_VALUE_NULL;
				if (t->kind == WH_TEMPLATE_ENVELOPE)
					put_json(r, value);
				else
					put_text(r, value, op->conversion);
				break;
			case WH_OP_SPREAD:
				put_members(r, op, value);
				break;
			case WH_OP_OPEN:
				r->open[r->n_open].at = r->out->len;
				r->open[r->n_open++].given = r->given;
				break;
			case WH_OP_CLOSE:
				close_object(r);
				break;
		}
	}
	return WH_RENDERED;
}

WhRendered
wh_template_render(const WhTemplate *t, const WhTemplateValues *values, WhBuffer *out)
{
	Render r = {.t = t, .values = values, .out = out};
	size_t start = out->len;
	WhRendered rendered;

	wh_buffer_init(&r.scratch, SCRATCH_MAX);
	wh_buffer_init(&r.decoded, SCRATCH_MAX);
	rendered = run(&r);
	if (out->failed)
		rendered = WH_RENDER_FAILED;
	/* half a body must not pass for a whole one */
	if (rendered != WH_RENDERED && out->data != NULL)
		wh_buffer_cut(out, start);
	wh_buffer_free(&r.scratch);
	wh_buffer_free(&r.decoded);
	return rendered;
}
