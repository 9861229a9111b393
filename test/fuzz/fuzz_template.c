/*
 * fuzz_template.c
 *	  libFuzzer over templates: any template, rendered with any values.
 *
 * The input is text: seven lines with the event's result, previous, context,
 * the subscription's params, entity_id, entity_type and action, then the
 * template, which is compiled as an envelope and as a header. What
 * compiles and renders must be right by a checker that shares nothing with the
 * engine: a body is JSON, has no key twice that the values do not have twice
 * within themselves, and is the same on another attempt; a header has no
 * control characters. Values that are not JSON are rendered too, but only for
 * memory's sake. Ownership: each run frees what it makes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "template.h"
#include "must.h"

#define LIMIT 1000000
#define LINES 7

/* ---- a checker of JSON, RFC 8259 to the letter ---- */

typedef struct Key
{
	char *bytes; /* as it is meant, in UTF-8; malloc'd */
	size_t len;
	struct Key *next;
} Key;

typedef struct Check
{
	const char *p;
	const char *end;
	bool repeated;      /* a key stands twice in an object */
	bool root_repeated; /* and in the outermost one */
	int depth;
} Check;

static bool check_value(Check *c);

static void
check_space(Check *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\r' || *c->p == '\n'))
		c->p++;
}

static bool
check_char(Check *c, char wanted)
{
	if (c->p == c->end || *c->p != wanted)
		return false;
	c->p++;
	return true;
}

static bool
check_hex4(Check *c, unsigned int *unit)
{
	*unit = 0;
	for (int i = 0; i < 4; i++, c->p++)
	{
		if (c->p == c->end)
			return false;
		if (*c->p >= '0' && *c->p <= '9')
			*unit = *unit << 4 | (unsigned int) (*c->p - '0');
		else if ((*c->p | 32) >= 'a' && (*c->p | 32) <= 'f')
			*unit = *unit << 4 | (unsigned int) ((*c->p | 32) - 'a' + 10);
		else
			return false;
	}
	return true;
}

static size_t
encode(unsigned int c, char *out)
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (n == 1)
		out[0] = (char) c;
	for (size_t i = n; n > 1 && i-- > 1; c >>= 6)
		out[i] = (char) (0x80 | (c & 0x3f));
	if (n > 1)
		out[0] = (char) ((0xf00 >> n & 0xf0) | c);
	return n;
}

/* What follows \u, with its other half where there is one; half a surrogate pair alone is U+FFFD. */
static bool
check_unicode(Check *c, char *out, size_t *len)
{
	unsigned int unit;
	unsigned int low;

	if (!check_hex4(c, &unit))
		return false;
	if (unit >= 0xd800 && unit <= 0xdbff && c->end - c->p > 1 && c->p[0] == '\\' && c->p[1] == 'u')
	{
		const char *before = c->p;

		c->p += 2;
		if (!check_hex4(c, &low))
			return false;
		if (low >= 0xdc00 && low <= 0xdfff)
			unit = 0x10000 + ((unit & 0x3ff) << 10 | (low & 0x3ff));
		else
			c->p = before;
	}
	if (unit >= 0xd800 && unit <= 0xdfff)
		unit = 0xfffd;
	*len += encode(unit, out + *len);
	return true;
}

/* A string; `out` has room for as many bytes as are left. */
static bool
check_string(Check *c, char *out, size_t *len)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char meant[] = "\"\\/\b\f\n\r\t";

	*len = 0;
	if (!check_char(c, '"'))
		return false;
	while (c->p < c->end && *c->p != '"')
	{
		size_t i = 0;

		if ((unsigned char) *c->p < 0x20)
			return false;
		if (!check_char(c, '\\'))
		{
			out[(*len)++] = *c->p++;
			continue;
		}
		if (check_char(c, 'u'))
		{
			if (!check_unicode(c, out, len))
				return false;
			continue;
		}
		while (i < sizeof(escapes) - 1 && !check_char(c, escapes[i]))
			i++;
		if (i == sizeof(escapes) - 1)
			return false;
		out[(*len)++] = meant[i];
	}
	return check_char(c, '"');
}

static bool
check_digits(Check *c)
{
	const char *start = c->p;

	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
		c->p++;
	return c->p > start;
}

static bool
check_number(Check *c)
{
	check_char(c, '-');
	if (!check_char(c, '0') && !check_digits(c))
		return false;
	if (check_char(c, '.') && !check_digits(c))
		return false;
	if (check_char(c, 'e') || check_char(c, 'E'))
	{
		if (!check_char(c, '-'))
			check_char(c, '+');
		return check_digits(c);
	}
	return true;
}

/* Add a key to an object's; it may be there already. */
static Key *
add_key(Check *c, Key *keys, char *bytes, size_t len)
{
	Key *key = malloc(sizeof(*key));

	must(key != NULL);
	for (const Key *k = keys; k != NULL; k = k->next)
		if (k->len == len && memcmp(k->bytes, bytes, len) == 0)
		{
			c->repeated = true;
			c->root_repeated |= c->depth == 1;
		}
	*key = (Key){bytes, len, keys};
	return key;
}

static bool
check_members(Check *c, Key **keys)
{
	check_space(c);
	if (check_char(c, '}'))
		return true;
	do
	{
		char *bytes;
		size_t len;

		check_space(c);
		bytes = malloc((size_t) (c->end - c->p) + 1);
		must(bytes != NULL);
		if (!check_string(c, bytes, &len))
		{
			free(bytes);
			return false;
		}
		*keys = add_key(c, *keys, bytes, len);
		check_space(c);
		if (!check_char(c, ':') || !check_value(c))
			return false;
	} while (check_char(c, ','));
	return check_char(c, '}');
}

static bool
check_object(Check *c)
{
	Key *keys = NULL;
	bool ok = check_members(c, &keys);

	while (keys != NULL)
	{
		Key *next = keys->next;

		free(keys->bytes);
		free(keys);
		keys = next;
	}
	return ok;
}

static bool
check_array(Check *c)
{
	check_space(c);
	if (check_char(c, ']'))
		return true;
	do
	{
		if (!check_value(c))
			return false;
	} while (check_char(c, ','));
	return check_char(c, ']');
}

static bool
check_word(Check *c, const char *word)
{
	size_t len = strlen(word);

	if ((size_t) (c->end - c->p) < len || memcmp(c->p, word, len) != 0)
		return false;
	c->p += len;
	return true;
}

/* A value with whitespace around it. */
static bool
check_value(Check *c)
{
	bool ok;

	check_space(c);
	c->depth++;
	if (check_char(c, '{'))
		ok = check_object(c);
	else if (check_char(c, '['))
		ok = check_array(c);
	else if (c->p < c->end && *c->p == '"')
	{
		size_t len;
		char *bytes = malloc((size_t) (c->end - c->p) + 1);

		must(bytes != NULL);
		ok = check_string(c, bytes, &len);
		free(bytes);
	}
	else
		ok = check_word(c, "true") || check_word(c, "false") || check_word(c, "null") || check_number(c);
	c->depth--;
	check_space(c);
	return ok;
}

static bool
is_json(const char *text, size_t len, Check *c)
{
	*c = (Check){.p = text, .end = text + len};
	return check_value(c) && c->p == c->end;
}

/* ---- templates ---- */

/* The text of a template compiled as `kind`; NULL: it was refused, for a reason that makes sense. */
static WhTemplate *
compile(WhTemplateKind kind, const char *text, size_t len)
{
	WhTemplateError error;
	WhTemplate *t = wh_template_compile(kind, text, len, &error);

	if (t != NULL)
		return t;
	must(!error.no_memory && error.at <= len);
	must(error.why[0] != '\0' && strlen(error.why) < sizeof(error.why) - 1);
	for (const char *p = error.why; *p != '\0'; p++)
		must(*p >= ' ' && *p <= '~');
	return NULL;
}

/* Render, and again with a limit that just suffices and one that does not. */
static WhRendered
render(const WhTemplate *t, const WhTemplateValues *values, WhBuffer *out)
{
	WhRendered rendered;
	WhBuffer tight;

	wh_buffer_init(out, LIMIT);
	rendered = wh_template_render(t, values, out);
	must(out->len <= LIMIT && (rendered == WH_RENDER_FAILED) == out->failed);
	if (rendered != WH_RENDERED)
		must(out->len == 0);
	if (rendered != WH_RENDERED || out->len == 0)
		return rendered;
	wh_buffer_init(&tight, out->len - 1);
	must(wh_template_render(t, values, &tight) == WH_RENDER_FAILED && tight.len == 0);
	wh_buffer_free(&tight);
	return rendered;
}

static void
check_envelope(const char *text, size_t len, const WhTemplateValues *values, bool values_repeat)
{
	WhTemplate *t = compile(WH_TEMPLATE_ENVELOPE, text, len);
	WhTemplateValues later = *values;
	const char *first = text;
	WhBuffer body;
	WhBuffer again;
	Check c;

	if (t == NULL)
		return;
	must(is_json(text, len, &c)); /* a template is JSON itself */
	while (*first == ' ' || *first == '\t' || *first == '\r' || *first == '\n')
		first++;
	if (render(t, values, &body) == WH_RENDERED)
	{
		must(is_json(body.data, body.len, &c));
		must(values_repeat || !c.repeated);
		must(*first != '{' || !c.root_repeated);
		later.attempt = 9;
		later.attempt_us += 1000000;
		must(render(t, &later, &again) == WH_RENDERED);
		must(again.len == body.len && memcmp(again.data, body.data, body.len) == 0);
		wh_buffer_free(&again);
	}
	wh_buffer_free(&body);
	wh_template_free(t);
}

static void
check_header(const char *text, size_t len, const WhTemplateValues *values)
{
	WhTemplate *t = compile(WH_TEMPLATE_HEADER, text, len);
	WhBuffer out;

	if (t == NULL)
		return;
	if (render(t, values, &out) == WH_RENDERED)
		for (size_t i = 0; i < out.len; i++)
			must((unsigned char) out.data[i] >= 0x20 && out.data[i] != 0x7f);
	wh_buffer_free(&out);
	wh_template_free(t);
}

/* Rendering what is no JSON must not read or write where it should not. */
static void
render_blindly(const char *text, size_t len, const WhTemplateValues *values)
{
	for (WhTemplateKind kind = 0; kind < WH_TEMPLATE_KINDS; kind++)
	{
		WhTemplate *t = compile(kind, text, len);
		WhBuffer out;

		wh_buffer_init(&out, LIMIT);
		if (t != NULL && wh_template_render(t, values, &out) == WH_RENDERED)
			must(out.len <= LIMIT);
		wh_buffer_free(&out);
		wh_template_free(t);
	}
}

/* Keep a value if it is JSON. */
static const char *
sift(const char *value, bool *repeat)
{
	Check c;

	if (value == NULL || !is_json(value, strlen(value), &c))
		return NULL;
	*repeat |= c.repeated;
	return value;
}

static size_t
length(const char *s)
{
	return s ? strlen(s) : 0;
}

/* Cut off the next line; an empty one is NULL. The rest is where *p then points. */
static const char *
next_line(char **p)
{
	char *line = *p;
	size_t len = strcspn(line, "\n");

	*p = line + len + (line[len] == '\n');
	line[len] = '\0';
	return len > 0 ? line : NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *input = malloc(size + 1);
	const char *lines[LINES];
	char *text = input;
	char *template;
	size_t len;
	bool repeat = false;
	WhEvent event = {.refs = 1, .id = 42, .xid = 7, .created_us = INT64_C(1725548450000000)};
	WhTemplateValues values = {.event = &event,
							   .instance = "0123abcd",
							   .event_prefix = "evt_",
							   .transaction_prefix = "tx_",
							   .attempt = 1,
							   .attempt_us = INT64_C(1725548460000000)};

	must(input != NULL);
	if (size > 0)
		memcpy(input, data, size);
	input[size] = '\0';
	for (int i = 0; i < LINES; i++)
		lines[i] = next_line(&text);
	/* a copy of its own, so that the sanitizer sees where it ends */
	len = size - (size_t) (text - input);
	template = malloc(len > 0 ? len : 1);
	must(template != NULL);
	if (len > 0)
		memcpy(template, text, len);

	event.entity_id = lines[4];
	event.entity_type = lines[5];
	event.action_type = lines[6];
	event.result = lines[0];
	event.previous = lines[1];
	event.context = lines[2];
	values.params = lines[3];
	event.result_len = length(event.result);
	event.previous_len = length(event.previous);
	values.params_len = length(values.params);
	render_blindly(template, len, &values);

	event.result = sift(lines[0], &repeat);
	event.previous = sift(lines[1], &repeat);
	event.context = sift(lines[2], &repeat);
	values.params = sift(lines[3], &repeat);
	event.result_len = length(event.result);
	event.previous_len = length(event.previous);
	values.params_len = length(values.params);
	check_envelope(template, len, &values, repeat);
	check_header(template, len, &values);

	free(template);
	free(input);
	return 0;
}
