/*
 * template_text.c
 *	  References to variables, which envelopes and texts share; and texts with
 *	  {name} in them.
 *
 * What is parsed goes into the template that is being compiled. Parsing stops at the
 * first error.
 */
#include "template_internal.h"

#include <stdio.h>

static bool
is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static const char *
skip_name(const char *p, const char *end)
{
	while (p < end && is_name(*p))
		p++;
	return p;
}

/* How many bytes of a name a reason quotes. */
static int
shown(const char *at, const char *end)
{
	return end - at > 40 ? 40 : (int) (end - at);
}

/* name, name.member, name.member.member ... */
static bool
parse_term(WhParser *ps, const char **p, const char *end, WhReference *ref)
{
	static const char *const places[] = {"an envelope", "a header"};
	WhTerm term;
	const char *at = *p;
	const char *stop = skip_name(at, end);

	term.variable = wh_variable_find(at, (size_t) (stop - at));
	if (stop == at)
		return wh_refuse(ps, at, "the name of a variable is missing%s",
						 ps->t->kind == WH_TEMPLATE_ENVELOPE ? "; $$ stands for a dollar sign" : "");
	if (term.variable == NULL)
		return wh_refuse(ps, at, "unknown variable \"%.*s\"", shown(at, stop), at);
	if (!(term.variable->kinds & 1u << ps->t->kind))
		return wh_refuse(ps, at, "the variable \"%s\" cannot be used in %s", term.variable->name,
						 places[ps->t->kind]);
	if (stop < end && *stop == '.' && term.variable->shape != WH_SHAPE_JSON)
		return wh_refuse(ps, stop, "the variable \"%s\" has no members", term.variable->name);
	if (term.variable->shape != WH_SHAPE_JSON)
		ref->all_json = false;

	*p = stop;
	while (*p < end && **p == '.')
	{
		const char *name = *p + 1;

		*p = skip_name(name, end);
		if (*p == name)
			return wh_refuse(ps, name, "the name of a member is missing");
	}
	/* stored without the dot before it */
	term.path.len = *p > stop ? (unsigned int) (*p - stop - 1) : 0;
	term.path.at = (unsigned int) ps->t->paths.len;
	wh_buffer_append(&ps->t->paths, stop + (*p > stop), term.path.len);
	wh_buffer_append(&ps->t->terms, &term, sizeof(term));
	ref->n_terms++;
	return true;
}

static bool
parse_conversion(WhParser *ps, const char **p, const char *end, WhReference *ref)
{
	static const struct
	{
		const char *name;
		WhConversion conversion;
		bool text; /* for texts; else for envelopes */
	} conversions[] = {{"number", WH_TO_NUMBER, false},
					   {"string", WH_TO_STRING, false},
					   {"bool", WH_TO_BOOL, false},
					   {"percent", WH_TO_PERCENT, true}};
	bool text = ps->t->kind != WH_TEMPLATE_ENVELOPE;
	const char *at = *p;

	*p = skip_name(at, end);
	for (size_t i = 0; i < sizeof(conversions) / sizeof(conversions[0]); i++)
	{
		const char *name = conversions[i].name;

		if (conversions[i].text == text && strlen(name) == (size_t) (*p - at) &&
			memcmp(name, at, (size_t) (*p - at)) == 0)
		{
			ref->conversion = conversions[i].conversion;
			return true;
		}
	}
	return wh_refuse(ps, at, "unknown conversion \"%.*s\"; use %s", shown(at, *p), at,
					 text ? "percent" : "number, string or bool");
}

bool
wh_parse_reference(WhParser *ps, const char *at, const char *end, WhReference *ref)
{
	const char *p = at;

	memset(ref, 0, sizeof(*ref));
	ref->all_json = true;
	ref->terms = (unsigned int) (ps->t->terms.len / sizeof(WhTerm));
	do
	{
		p += ref->n_terms > 0; /* past the '|' */
		if (ref->n_terms == WH_TERMS_MAX)
			return wh_refuse(ps, p, "more than %d alternatives", WH_TERMS_MAX);
		if (!parse_term(ps, &p, end, ref))
			return false;
	} while (p < end && *p == '|');
	if (p < end && *p == ':')
	{
		p++;
		if (!parse_conversion(ps, &p, end, ref))
			return false;
	}
	if (p < end && *p == '?')
	{
		ref->optional = true;
		p++;
	}
	if (p < end)
		return wh_refuse(ps, p, "unexpected character in a reference to a variable");
	return true;
}

/* Text with {name}; {{ and }} are braces. */
bool
wh_parse_text(WhParser *ps)
{
	while (ps->p < ps->end)
	{
		const char *at = ps->p++;
		const char *close;
		WhReference ref;

		if ((unsigned char) *at < 0x20 || *at == 0x7f)
			return wh_refuse(ps, at, "control character");
		else if (*at != '{' && *at != '}')
			wh_parser_text(ps, at, 1);
		else if (ps->p < ps->end && *ps->p == *at)
		{
			wh_parser_text(ps, at, 1);
			ps->p++;
		}
		else if (*at == '}')
			return wh_refuse(ps, at, "closing brace without an opening one; }} stands for a brace");
		else
		{
			close = memchr(ps->p, '}', (size_t) (ps->end - ps->p));
			if (close == NULL)
				return wh_refuse(ps, at, "opening brace without a closing one; {{ stands for a brace");
			if (!wh_parse_reference(ps, ps->p, close, &ref))
				return false;
			wh_parser_op(ps, WH_OP_VALUE, &ref);
			ps->p = close + 1;
		}
	}
	wh_parser_flush(ps);
	return true;
}
