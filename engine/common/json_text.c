/*
 * json_text.c
 *	  Reading and writing JSON text, without making a tree of it.
 *
 * Owns nothing; see json_text.h.
 */
#include "json_text.h"

const char *
wh_json_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

WhText
wh_json_trim(const char *at, size_t len)
{
	const char *end = at + len;

	at = wh_json_space(at, end);
	while (end > at && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n' || end[-1] == '\r'))
		end--;
	return (WhText){at, (size_t) (end - at)};
}

bool
wh_json_inside_string(WhText *text)
{
	if (text->len < 2 || text->at[0] != '"')
		return false;
	text->at++;
	text->len -= 2;
	return true;
}

/* From an opening quote to the place after the closing one; NULL: there is none. */
static const char *
skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++)
	{
		if (*p == '"')
			return p + 1;
		if (*p == '\\' && ++p == end)
			break;
	}
	return NULL;
}

/* The place after the value that begins at p; NULL: it does not end. */
static const char *
skip_value(const char *p, const char *end)
{
	const char *start = p;
	size_t depth = 0;

	if (p < end && *p == '"')
		return skip_string(p, end);
	for (; p < end; p++)
	{
		if (*p == '"')
		{
			p = skip_string(p, end);
			if (p == NULL)
				return NULL;
			p--;
		}
		else if (*p == '{' || *p == '[')
			depth++;
		else if ((*p == '}' || *p == ']') && depth > 0)
		{
			if (--depth == 0)
				return p + 1;
		}
		else if (depth == 0 && strchr(",:}] \t\r\n", *p) != NULL)
			break;
	}
	return depth == 0 && p > start ? p : NULL;
}

/* Begin to iterate over an object's members; false: the text is no object. */
bool
wh_json_members(const char *at, size_t len, WhMembers *members)
{
	members->end = at + len;
	members->p = wh_json_space(at, members->end);
	if (members->p == members->end || *members->p != '{')
		return false;
	members->p++;
	return true;
}

bool
wh_json_next(WhMembers *members, WhMember *member)
{
	const char *end = members->end;
	const char *p = wh_json_space(members->p, end);
	const char *q;

	members->p = end; /* unless another member is found */
	if (p < end && *p == ',')
		p = wh_json_space(p + 1, end);
	if (p == end || *p != '"' || (q = skip_string(p, end)) == NULL)
		return false;
	member->key = (WhText){p + 1, (size_t) (q - p) - 2};
	p = wh_json_space(q, end);
	if (p == end || *p != ':')
		return false;
	p = wh_json_space(p + 1, end);
	if ((q = skip_value(p, end)) == NULL)
		return false;
	member->value = (WhText){p, (size_t) (q - p)};
	members->p = q;
	return true;
}

/* JSON text as a value. The kind of null is WH_VALUE_NULL, and so is that of a missing text. */
WhValue
wh_json_value(const char *at, size_t len)
{
	const char *p;

	if (at == NULL)
		return (WhValue){WH_VALUE_NULL, NULL, 0};
	p = wh_json_space(at, at + len);
	if (p == at + len || (at + len - p >= 4 && memcmp(p, "null", 4) == 0))
		return (WhValue){WH_VALUE_NULL, NULL, 0};
	return (WhValue){WH_VALUE_JSON, at, len};
}

/* The member of this name; of several, the last one, as in jsonb. */
WhValue
wh_json_find(WhValue object, const char *key, size_t len)
{
	WhValue found = {WH_VALUE_NULL, NULL, 0};
	WhText wanted = {key, len};
	WhMembers members;
	WhMember member;

	if (object.kind != WH_VALUE_JSON || !wh_json_members(object.at, object.len, &members))
		return found;
	while (wh_json_next(&members, &member))
		if (wh_json_compare(member.key, wanted) == 0)
			found = wh_json_value(member.value.at, member.value.len);
	return found;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The code unit of \uXXXX at p, or -1. */
static int
code_unit(const char *p, const char *end)
{
	int unit = 0;

	if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		int digit = hex_digit(p[i]);

		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	return unit;
}

static size_t
utf8(unsigned int c, char out[4])
{
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xc0 | c >> 6);
		out[1] = (char) (0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xe0 | c >> 12);
		out[1] = (char) (0x80 | (c >> 6 & 0x3f));
		out[2] = (char) (0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | c >> 18);
	out[1] = (char) (0x80 | (c >> 12 & 0x3f));
	out[2] = (char) (0x80 | (c >> 6 & 0x3f));
	out[3] = (char) (0x80 | (c & 0x3f));
	return 4;
}

/* Decode the escape at *p, and move past it. Half a surrogate pair becomes U+FFFD. */
static size_t
decode_escape(const char **p, const char *end, char out[4])
{
	static const char letters[] = "bfnrt";
	static const char meant[] = "\b\f\n\r\t";
	int unit = code_unit(*p, end);
	const char *letter;

	if (unit >= 0)
	{
		int low = unit >= 0xd800 && unit < 0xdc00 ? code_unit(*p + 6, end) : -1;

		*p += 6;
		if (low >= 0xdc00 && low < 0xe000)
		{
			*p += 6;
			return utf8(0x10000 + ((unsigned int) (unit - 0xd800) << 10) + (unsigned int) (low - 0xdc00),
						out);
		}
		return utf8(unit >= 0xd800 && unit < 0xe000 ? 0xfffd : (unsigned int) unit, out);
	}
	*p += 1;
	if (*p == end)
		return 0;
	letter = memchr(letters, **p, sizeof(letters) - 1);
	out[0] = letter ? meant[letter - letters] : **p;
	*p += 1;
	return 1;
}

/* Reads a string byte by byte, decoded. */
typedef struct Cursor
{
	const char *p;
	const char *end;
	char held[4]; /* bytes of an escape that are not read yet */
	size_t n;
	size_t i;
} Cursor;

static int
cursor_next(Cursor *c)
{
	while (c->i == c->n)
	{
		if (c->p == c->end)
			return -1;
		if (*c->p != '\\')
			return (unsigned char) *c->p++;
		c->n = decode_escape(&c->p, c->end, c->held);
		c->i = 0;
	}
	return (unsigned char) c->held[c->i++];
}

/* Compare two strings by their decoded bytes, however they are escaped. */
int
wh_json_compare(WhText a, WhText b)
{
	Cursor x = {.p = a.at, .end = a.at + a.len};
	Cursor y = {.p = b.at, .end = b.at + b.len};
	int c;
	int d;

	if (memchr(a.at, '\\', a.len) == NULL && memchr(b.at, '\\', b.len) == NULL)
	{
		int order = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);

		return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
	}
	do
	{
		c = cursor_next(&x);
		d = cursor_next(&y);
	} while (c == d && c >= 0);
	return c - d;
}

static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* Is it a number of RFC 8259, section 6, with nothing around it? */
bool
wh_json_is_number(const char *at, size_t len)
{
	const char *p = at;
	const char *end = at + len;
	const char *digits;

	if (p < end && *p == '-')
		p++;
	digits = p;
	p = skip_digits(p, end);
	if (p == digits || (*digits == '0' && p > digits + 1))
		return false;
	if (p < end && *p == '.')
	{
		digits = ++p;
		p = skip_digits(p, end);
		if (p == digits)
			return false;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		digits = p;
		p = skip_digits(p, end);
		if (p == digits)
			return false;
	}
	return p == end;
}

static inline bool
must_escape(unsigned char c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

/* Append text, escaped for the inside of a JSON string (RFC 8259, section 7). */
void
wh_json_escape(WhBuffer *b, const char *at, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const char *end = at + len;

	while (at < end)
	{
		const char *run = at;

		while (at < end && !must_escape((unsigned char) *at))
			at++;
		if (at > run)
			wh_buffer_append(b, run, (size_t) (at - run));
		if (at < end)
		{
			unsigned char c = (unsigned char) *at++;
			char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 0xf]};

			if (c == '"' || c == '\\')
			{
				escape[1] = (char) c;
				wh_buffer_append(b, escape, 2);
			}
			else
				wh_buffer_append(b, escape, 6);
		}
	}
}

/* Append a decoded string; `at` is the text between its quotes. */
void
wh_json_unescape(WhBuffer *b, const char *at, size_t len)
{
	const char *end = at + len;

	while (at < end)
	{
		const char *escape = memchr(at, '\\', (size_t) (end - at));
		const char *stop = escape ? escape : end;
		char bytes[4];

		if (stop > at)
			wh_buffer_append(b, at, (size_t) (stop - at));
		at = stop;
		if (escape)
			wh_buffer_append(b, bytes, decode_escape(&at, end, bytes));
	}
}
