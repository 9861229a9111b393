/*
 * text.c
 *	  Text in and out: JSON strings, percent-encoding, random tokens, comparing.
 *
 * Nearly all JSON is the server's, in both directions: this program hands bodies on and
 * answers back as they are. It writes the few objects of its own errors and sessions, and
 * reads the one body that the server must not see as a statement's parameter: a login's.
 */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

/* Bytes of the UTF-8 character at `s`, which ends with a NUL; 0: it is none. */
static size_t
utf8_length(const unsigned char *s)
{
	static const unsigned int least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
	unsigned int c;

	if (n <= 1)
		return n;
	c = s[0] & (0x7Fu >> n);
	for (size_t i = 1; i < n; i++)
	{
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3Fu);
	}
	return c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000) ? 0 : n;
}

bool
text_json(WhBuffer *out, const char *text)
{
	const unsigned char *s = (const unsigned char *) text;

	if (text == NULL)
		return wh_buffer_puts(out, "null");
	wh_buffer_puts(out, "\"");
	while (*s)
	{
		size_t n = utf8_length(s);
		char escaped[8];

		if (n == 0)
		{
			wh_buffer_puts(out, "\xEF\xBF\xBD");
			n = 1;
		}
		/* with < and > escaped, it cannot end a script whatever it is pasted into */
		else if (*s < 0x20 || *s == '"' || *s == '\\' || *s == '<' || *s == '>' || *s == 0x7F)
		{
			snprintf(escaped, sizeof(escaped), "\\u%04x", *s);
			wh_buffer_puts(out, escaped);
		}
		else
			wh_buffer_append(out, s, n);
		s += n;
	}
	return wh_buffer_puts(out, "\"");
}

bool
text_json_pair(WhBuffer *out, const char *key, const char *text)
{
	if (out->len > 0 && out->data[out->len - 1] != '{')
		wh_buffer_puts(out, ", ");
	text_json(out, key);
	wh_buffer_puts(out, ": ");
	return text_json(out, text);
}

/*
 * Reading
 */

typedef struct Reader
{
	const char *at;
	const char *end;
} Reader;

static void
blanks(Reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool
take(Reader *r, const char *literal)
{
	size_t n = strlen(literal);

	blanks(r);
	if ((size_t) (r->end - r->at) < n || memcmp(r->at, literal, n) != 0)
		return false;
	r->at += n;
	return true;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
		   : c >= 'a' && c <= 'f' ? c - 'a' + 10
		   : c >= 'A' && c <= 'F' ? c - 'A' + 10
								  : -1;
}

/* The four digits of \uXXXX; -1: they are none. */
static int
hex_four(Reader *r)
{
	int value = 0;

	if (r->end - r->at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int digit = hex_digit(*r->at++);

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

static size_t
put_utf8(char *out, unsigned int c)
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (n == 1)
		out[0] = (char) c;
	for (size_t i = n - 1; n > 1 && i > 0; i--)
	{
		out[i] = (char) (0x80 | (c & 0x3F));
		c >>= 6;
	}
	if (n > 1)
		out[0] = (char) ((0xF00u >> n & 0xF0) | c);
	return n;
}

/* One escape after its backslash, as UTF-8. False: it is none, or a NUL. */
static bool
escape(Reader *r, char *out, size_t *n)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *known;
	int c;
	int low;

	if (r->at == r->end)
		return false;
	known = *r->at ? strchr(from, *r->at) : NULL;
	if (known)
	{
		r->at++;
		out[(*n)++] = to[known - from];
		return true;
	}
	if (*r->at++ != 'u' || (c = hex_four(r)) <= 0 || (c >= 0xDC00 && c < 0xE000))
		return false;
	if (c >= 0xD800 && c < 0xDC00)
	{
		if (r->end - r->at < 6 || r->at[0] != '\\' || r->at[1] != 'u')
			return false;
		r->at += 2;
		low = hex_four(r);
		if (low < 0xDC00 || low > 0xDFFF)
			return false;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
	}
	*n += put_utf8(out + *n, (unsigned int) c);
	return true;
}

/* A string, malloc'd; NULL: it is none. Never longer than it is written. */
static char *
string(Reader *r)
{
	size_t n = 0;
	char *out;

	if (!take(r, "\""))
		return NULL;
	out = malloc((size_t) (r->end - r->at) + 1);
	while (out && r->at < r->end)
	{
		char c = *r->at++;

		if (c == '"')
		{
			out[n] = '\0';
			return out;
		}
		if (c == '\\' ? !escape(r, out, &n) : (unsigned char) c < 0x20)
			break;
		if (c != '\\')
			out[n++] = c;
	}
	if (out)
		out[n] = '\0';
	text_forget(out);
	return NULL;
}

static bool
member(Reader *r, const char *const *keys, char **values, bool *seen, int n)
{
	char *key = string(r);
	int i = 0;

	if (key == NULL)
		return false;
	while (i < n && strcmp(key, keys[i]) != 0)
		i++;
	free(key);
	if (i == n || seen[i] || !take(r, ":"))
		return false;
	seen[i] = true;
	return take(r, "null") || (values[i] = string(r)) != NULL;
}

bool
text_read_object(const char *json, size_t len, const char *const *keys, char **values, int n)
{
	Reader r = {.at = json, .end = json + len};
	bool seen[8] = {false};

	for (int i = 0; i < n; i++)
		values[i] = NULL;
	if (n > 8 || !take(&r, "{"))
		return false;
	if (!take(&r, "}"))
	{
		do
			if (!member(&r, keys, values, seen, n))
				goto malformed;
		while (take(&r, ","));
		if (!take(&r, "}"))
			goto malformed;
	}
	blanks(&r);
	if (r.at == r.end)
		return true;
malformed:
	for (int i = 0; i < n; i++)
	{
		text_forget(values[i]);
		values[i] = NULL;
	}
	return false;
}

bool
text_unescape(char *text, bool plus)
{
	char *to = text;

	for (const char *s = text; *s; s++)
	{
		int c = (unsigned char) *s;

		if (c == '%')
		{
			int high = hex_digit(s[1]);
			int low = high < 0 ? -1 : hex_digit(s[2]);

			if (low < 0)
				return false;
			c = high * 16 + low;
			s += 2;
		}
		else if (c == '+' && plus)
			c = ' ';
		if (c < 0x20 || c == 0x7F)
			return false;
		*to++ = (char) c;
	}
	*to = '\0';
	return true;
}

bool
text_token(char out[TOKEN_TEXT])
{
	unsigned char bytes[TOKEN_BYTES];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes))
		return false;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
	explicit_bzero(bytes, sizeof(bytes));
	return true;
}

bool
text_same(const char *a, const char *b)
{
	size_t n = strlen(a);
	unsigned int differs = 0;

	if (strlen(b) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		differs |= (unsigned int) (a[i] ^ b[i]);
	return differs == 0;
}

void
text_forget(char *text)
{
	if (text)
	{
		explicit_bzero(text, strlen(text));
		free(text);
	}
}

static void
log_printable(const char *text)
{
	size_t len = strlen(text);

	while (len > 0 && text[len - 1] == '\n')
		len--;
	for (size_t i = 0; i < len; i++)
		fputc((unsigned char) text[i] < ' ' || text[i] == '\177' ? ' ' : text[i], stderr);
}

void
text_log(const char *from, const char *what, const char *text)
{
	fputs("pgwebhook: ", stderr);
	if (from)
	{
		log_printable(from);
		fputs(": ", stderr);
	}
	fprintf(stderr, "%s: ", what);
	log_printable(text);
	fputc('\n', stderr);
}
