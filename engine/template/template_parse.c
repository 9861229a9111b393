/*
 * template_parse.c
 *	  An envelope's JSON -> the ops of a template.
 *
 * A recursive descent over the JSON grammar, at most WH_TEMPLATE_DEPTH deep. Constant
 * text is copied to the pool without whitespace, and each reference becomes an op. The
 * keys of the open objects are on one stack; a duplicate key is found when its object
 * ends. Parsing stops at the first error.
 */
#include "template_internal.h"

#include <stdlib.h>

/* Does the object or array that is being written contain anything yet? */
typedef enum Filled
{
	NOTHING_YET,
	PERHAPS, /* depends on values */
	SOMETHING
} Filled;

typedef struct Container
{
	Filled filled;
	size_t keys;   /* where its keys begin on the stack */
	size_t spread; /* 1 + the index of its spread among the ops; 0: none */
} Container;

static bool parse_item(WhParser *ps, Container *in, const WhText *key);

static void
literal(WhParser *ps, const char *s)
{
	wh_parser_text(ps, s, strlen(s));
}

static void
skip_space(WhParser *ps)
{
	ps->p = wh_json_space(ps->p, ps->end);
}

static bool
at_char(const WhParser *ps, char c)
{
	return ps->p < ps->end && *ps->p == c;
}

/* Expect `c` after whitespace, and move past it and the whitespace that follows. */
static bool
expect(WhParser *ps, char c, const char *what)
{
	skip_space(ps);
	if (!at_char(ps, c))
		return wh_refuse(
			ps, ps->p, ps->p == ps->end ? "not JSON: %s expected at its end" : "not JSON: %s expected", what);
	ps->p++;
	skip_space(ps);
	return true;
}

/* The escape at ps->p; RFC 8259, section 7. */
static bool
parse_escape(WhParser *ps)
{
	const char *at = ps->p++;

	if (ps->p < ps->end && *ps->p != '\0' && strchr("\"\\/bfnrt", *ps->p) != NULL)
	{
		ps->p++;
		return true;
	}
	if (at_char(ps, 'u') && ps->end - ps->p >= 5)
	{
		for (int i = 1; i < 5; i++)
			if (ps->p[i] == '\0' || strchr("0123456789abcdefABCDEF", ps->p[i]) == NULL)
				return wh_refuse(ps, at, "not JSON: four hex digits expected after \\u");
		ps->p += 5;
		return true;
	}
	return wh_refuse(ps, at, "not JSON: unknown escape in a string");
}

/* The string at ps->p, which is a quote; `string` is the text between the quotes. */
static bool
parse_string(WhParser *ps, WhText *string)
{
	const char *at = ps->p++;

	while (ps->p < ps->end && *ps->p != '"')
	{
		if ((unsigned char) *ps->p < 0x20)
			return wh_refuse(ps, ps->p, "not JSON: control character in a string");
		if (*ps->p != '\\')
			ps->p++;
		else if (!parse_escape(ps))
			return false;
	}
	if (ps->p == ps->end)
		return wh_refuse(ps, at, "not JSON: unterminated string");
	*string = (WhText){at + 1, (size_t) (ps->p - at) - 1};
	ps->p++;
	return true;
}

/* Number, true, false or null. */
static bool
parse_word(WhParser *ps)
{
	const char *at = ps->p;
	size_t len;

	while (ps->p < ps->end && *ps->p != '\0' && strchr(",:{}[]\" \t\r\n", *ps->p) == NULL)
		ps->p++;
	len = (size_t) (ps->p - at);
	if (len == 0)
		return wh_refuse(ps, at, "not JSON: a value is missing");
	if (!((len == 4 && (memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0)) ||
		  (len == 5 && memcmp(at, "false", 5) == 0) || wh_json_is_number(at, len)))
		return wh_refuse(ps, at, "not JSON: neither a number nor true, false or null");
	wh_parser_text(ps, at, len);
	return true;
}

/* Begin the next item of an object or array: the comma, if one is needed, and the key. */
static void
begin_item(WhParser *ps, const Container *in, const WhText *key)
{
	if (in->filled == SOMETHING)
		literal(ps, ",");
	else if (in->filled == PERHAPS)
	{
		wh_parser_flush(ps);
		ps->pending_comma = true;
	}
	if (key != NULL)
	{
		literal(ps, "\"");
		wh_parser_text(ps, key->at, key->len);
		literal(ps, "\":");
	}
}

/* The value is a string that begins with a single "$". */
static bool
parse_variable(WhParser *ps, Container *in, const WhText *key, const WhText *string)
{
	WhReference ref;

	if (!wh_parse_reference(ps, string->at + 1, string->at + string->len, &ref))
		return false;
	if (ref.optional && in == NULL)
		return wh_refuse(ps, string->at, "the whole envelope cannot be optional");
	if (ref.optional)
		wh_parser_flush(ps);
	if (in != NULL)
		begin_item(ps, in, key);
	wh_parser_op(ps, WH_OP_VALUE, &ref);
	if (in != NULL && !ref.optional)
		in->filled = SOMETHING;
	else if (in != NULL && in->filled == NOTHING_YET)
		in->filled = PERHAPS;
	return true;
}

/* "...": "$name" */
static bool
parse_spread(WhParser *ps, Container *in)
{
	const char *at = ps->p;
	WhText string;
	WhReference ref;

	if (in->spread != 0)
		return wh_refuse(ps, at, "a second spread in one object");
	if (!at_char(ps, '"'))
		return wh_refuse(ps, at, "a spread needs a variable: \"...\": \"$name\"");
	if (!parse_string(ps, &string))
		return false;
	if (string.len < 2 || string.at[0] != '$' || string.at[1] == '$')
		return wh_refuse(ps, at, "a spread needs a variable: \"...\": \"$name\"");
	if (!wh_parse_reference(ps, string.at + 1, string.at + string.len, &ref))
		return false;
	if (!ref.all_json || ref.conversion != WH_AS_IT_IS)
		return wh_refuse(ps, string.at, "only an object can be spread, and this is never one");
	wh_parser_flush(ps);
	wh_parser_op(ps, WH_OP_SPREAD, &ref);
	in->spread = ps->t->ops.len / sizeof(WhOp);
	if (in->filled == NOTHING_YET)
		in->filled = PERHAPS;
	return true;
}

static bool
parse_member(WhParser *ps, Container *in)
{
	WhText key;

	skip_space(ps);
	if (!at_char(ps, '"'))
		return wh_refuse(ps, ps->p, "not JSON: a key in quotes expected");
	if (!parse_string(ps, &key) || !expect(ps, ':', "a colon"))
		return false;
	if (key.len == 3 && memcmp(key.at, "...", 3) == 0)
		return parse_spread(ps, in);
	if (key.len == 1 && key.at[0] == '?')
		return wh_refuse(ps, key.at, "\"?\" must be the first member of its object");
	wh_buffer_append(&ps->keys, &key, sizeof(key));
	return parse_item(ps, in, &key);
}

/* By the meaning of keys, then by their place. */
static int
compare_keys(const void *a, const void *b)
{
	const WhText *x = a;
	const WhText *y = b;
	int order = wh_json_compare(*x, *y);

	return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

/* An object ends: it may have no duplicate key, and its spread gets the list of its keys. */
static bool
end_keys(WhParser *ps, const Container *in)
{
	WhText *keys;
	size_t n;

	if (ps->keys.failed || ps->keys.len == in->keys)
		return true;
	keys = (WhText *) (void *) (ps->keys.data + in->keys);
	n = (ps->keys.len - in->keys) / sizeof(WhText);
	qsort(keys, n, sizeof(WhText), compare_keys);
	for (size_t i = 1; i < n; i++)
		if (wh_json_compare(keys[i - 1], keys[i]) == 0)
			return wh_refuse(ps, keys[i].at, "duplicate key in an object");
	if (in->spread != 0 && !ps->t->ops.failed)
	{
		WhOp *op = (WhOp *) (void *) ps->t->ops.data + in->spread - 1;

		op->keys = (unsigned int) (ps->t->keys.len / sizeof(WhPart));
		op->n_keys = (unsigned int) n;
		for (size_t i = 0; i < n; i++)
		{
			WhPart part = {(unsigned int) ps->t->paths.len, (unsigned int) keys[i].len};

			wh_buffer_append(&ps->t->paths, keys[i].at, keys[i].len);
			wh_buffer_append(&ps->t->keys, &part, sizeof(part));
		}
	}
	ps->keys.len = in->keys;
	return true;
}

/* Is the member at ps->p "?": null? If so, moves past it and its comma. */
static bool
parse_question(WhParser *ps, bool *null_when_empty)
{
	*null_when_empty = ps->end - ps->p >= 3 && memcmp(ps->p, "\"?\"", 3) == 0;
	if (!*null_when_empty)
		return true;
	ps->p += 3;
	if (!expect(ps, ':', "a colon"))
		return false;
	if (ps->end - ps->p < 4 || memcmp(ps->p, "null", 4) != 0)
		return wh_refuse(ps, ps->p, "\"?\" can only be null");
	ps->p += 4;
	return expect(ps, ',', "another member");
}

static bool
parse_object(WhParser *ps)
{
	Container in = {.keys = ps->keys.len};
	bool null_when_empty;

	ps->p++;
	skip_space(ps);
	if (!parse_question(ps, &null_when_empty))
		return false;
	if (null_when_empty)
		wh_parser_op(ps, WH_OP_OPEN, NULL);
	literal(ps, "{");
	if (null_when_empty || !at_char(ps, '}'))
	{
		for (;;)
		{
			if (!parse_member(ps, &in))
				return false;
			skip_space(ps);
			if (!at_char(ps, ','))
				break;
			ps->p++;
		}
	}
	if (!expect(ps, '}', "a comma or closing brace") || !end_keys(ps, &in))
		return false;
	literal(ps, "}");
	if (null_when_empty)
		wh_parser_op(ps, WH_OP_CLOSE, NULL);
	return true;
}

static bool
parse_array(WhParser *ps)
{
	Container in = {.filled = NOTHING_YET};

	ps->p++;
	literal(ps, "[");
	skip_space(ps);
	while (!at_char(ps, ']'))
	{
		if (!parse_item(ps, &in, NULL))
			return false;
		skip_space(ps);
		if (!at_char(ps, ','))
			break;
		ps->p++;
		skip_space(ps);
		if (at_char(ps, ']'))
			return wh_refuse(ps, ps->p, "not JSON: a value is missing");
	}
	literal(ps, "]");
	return expect(ps, ']', "a comma or closing bracket");
}

/* A value: of an object under its key, of an array, or the whole envelope. */
static bool
parse_item(WhParser *ps, Container *in, const WhText *key)
{
	WhText string;
	bool ok;

	skip_space(ps);
	if (at_char(ps, '"'))
	{
		if (!parse_string(ps, &string))
			return false;
		if (string.len > 0 && string.at[0] == '$' && !(string.len > 1 && string.at[1] == '$'))
			return parse_variable(ps, in, key, &string);
		if (in != NULL)
			begin_item(ps, in, key);
		if (string.len > 0 && string.at[0] == '$')
			string = (WhText){string.at + 1, string.len - 1};
		literal(ps, "\"");
		wh_parser_text(ps, string.at, string.len);
		literal(ps, "\"");
		ok = true;
	}
	else
	{
		if (in != NULL)
			begin_item(ps, in, key);
		if (!at_char(ps, '{') && !at_char(ps, '['))
			ok = parse_word(ps);
		else if (ps->depth == WH_TEMPLATE_DEPTH)
			ok = wh_refuse(ps, ps->p, "objects and arrays are nested more than %d deep", WH_TEMPLATE_DEPTH);
		else
		{
			ps->depth++;
			ok = at_char(ps, '{') ? parse_object(ps) : parse_array(ps);
			ps->depth--;
		}
	}
	if (in != NULL)
		in->filled = SOMETHING;
	return ok;
}

bool
wh_parse_envelope(WhParser *ps)
{
	if (!parse_item(ps, NULL, NULL))
		return false;
	skip_space(ps);
	if (ps->p < ps->end)
		return wh_refuse(ps, ps->p, "not JSON: unexpected text after the end");
	wh_parser_flush(ps);
	return true;
}
