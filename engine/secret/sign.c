/*
 * sign.c
 *	  The header that carries signatures: written and read as a profile's
 *	  format says.
 *
 * It keeps nothing between calls and allocates nothing. Formats are short texts; to
 * read one each time costs far less than the digest.
 */
#include "sign_internal.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

const WhSigning wh_signing_standard = {.algorithm = WH_ALGORITHM_HMAC_SHA256,
									   .encoding = WH_ENCODING_BASE64,
									   .secret_encoding = WH_SECRET_WHSEC,
									   .content = "{id}.{timestamp}.{body}",
									   .format = "v1,{signature}",
									   .separator = " "};

/*
 * Entries: the parts between separators, of a format or of a header
 */

typedef struct Entry
{
	const char *text;
	size_t len;
} Entry;

/* The next entry that is not empty; false at the end. */
static bool
next_entry(const char **rest, const char *separator, Entry *entry)
{
	size_t separator_len = strlen(separator);

	while (**rest != '\0')
	{
		const char *end = separator_len > 0 ? strstr(*rest, separator) : NULL;

		entry->text = *rest;
		entry->len = end ? (size_t) (end - *rest) : strlen(*rest);
		*rest += entry->len + (end ? separator_len : 0);
		if (entry->len > 0)
			return true;
	}
	return false;
}

/* Where this variable is in a format's entry; -1: nowhere. */
static int
find_variable(const Entry *entry, const char *name)
{
	const char *end = entry->text + entry->len;
	const char *c = entry->text;

	while (c < end && (c = memchr(c, '{', (size_t) (end - c))) != NULL)
	{
		size_t len = wh_variable(c, name);

		if (len > 0 && len <= (size_t) (end - c))
			return (int) (c - entry->text);
		c++;
	}
	return -1;
}

/*
 * Does a header's entry match the format's entry that holds the variable? Then `value`
 * is the text in the variable's place.
 */
static bool
match_entry(const Entry *format, const char *name, const Entry *entry, Entry *value)
{
	int at = find_variable(format, name);
	size_t before;
	size_t after;

	if (at < 0)
		return false;
	before = (size_t) at;
	after = format->len - before - strlen(name) - 2;
	if (entry->len <= before + after || memcmp(entry->text, format->text, before) != 0 ||
		memcmp(entry->text + entry->len - after, format->text + format->len - after, after) != 0)
		return false;
	value->text = entry->text + before;
	value->len = entry->len - before - after;
	return true;
}

/* The format's entry that holds the variable; there is at most one. */
static bool
format_entry(const WhSigning *signing, const char *name, Entry *found)
{
	const char *rest = signing->format;

	while (next_entry(&rest, signing->separator, found))
		if (find_variable(found, name) >= 0)
			return true;
	return false;
}

/*
 * Reading the description
 */

/* Does every brace belong to one of these variables? `counts`: how often each occurs. */
static bool
variables_known(const char *text, const char *const *names, int *counts, int n)
{
	memset(counts, 0, (size_t) n * sizeof(int));
	while (*text)
	{
		size_t taken = 0;

		for (int i = 0; i < n && taken == 0; i++)
			if ((taken = wh_variable(text, names[i])) > 0)
				counts[i]++;
		if (taken == 0 && (*text == '{' || *text == '}'))
			return false;
		text += taken > 0 ? taken : 1;
	}
	return true;
}

/* Is there nothing except what a header may hold: visible ASCII and blanks? */
static bool
is_printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

/* The index of a word in a list; -1: it is not there. */
static int
word(const char *text, const char *const *words, int n)
{
	for (int i = 0; text != NULL && i < n; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return -1;
}

static const char *
check_content(const char *content)
{
	static const char *const names[] = {"id", "timestamp", "body"};
	int counts[3];

	if (content == NULL || !variables_known(content, names, counts, 3))
		return "the signed_content may contain {id}, {timestamp} and {body} and no other braces";
	if (counts[2] == 0)
		return "the signed_content does not contain {body}";
	return NULL;
}

static const char *
check_format(const WhSigning *signing)
{
	static const char *const names[] = {"timestamp", "signature"};
	int counts[2];
	Entry entry;

	if (signing->format == NULL || !variables_known(signing->format, names, counts, 2))
		return "the signature_format may contain {timestamp} and {signature} and no other braces";
	if (counts[1] != 1 || counts[0] > 1)
		return "the signature_format must contain {signature} once, and {timestamp} at most once";
	if (strlen(signing->format) > WH_SIGNATURE_FORMAT_MAX || strlen(signing->separator) > WH_SEPARATOR_MAX)
		return "the signature_format is longer than 128 bytes, or signature_separator is longer than 8";
	if (!is_printable(signing->format) || !is_printable(signing->separator))
		return "the signature_format and signature_separator may contain only printable ASCII characters";
	if (strpbrk(signing->separator, "{}") != NULL)
		return "the signature_separator contains a brace";
	if ((counts[0] > 0 && !format_entry(signing, "timestamp", &entry)) ||
		!format_entry(signing, "signature", &entry))
		return "the signature_separator is within a variable of signature_format";
	if (find_variable(&entry, "timestamp") >= 0)
		return "{timestamp} and {signature} must be separated by signature_separator";
	return NULL;
}

bool
wh_signing_parse(const char *algorithm, const char *encoding, const char *secret_encoding,
				 const char *content, const char *format, const char *separator, WhSigning *signing,
				 const char **why)
{
	/* in the order of the enums */
	static const char *const algorithms[] = {"none", "hmac-sha256", "hmac-sha1", "sha1", "ed25519"};
	static const char *const encodings[] = {"hex", "base64"};
	static const char *const secret_encodings[] = {"raw", "whsec"};
	int a = word(algorithm, algorithms, 5);
	int e = word(encoding, encodings, 2);
	int s = word(secret_encoding, secret_encodings, 2);

	*why = NULL;
	memset(signing, 0, sizeof(*signing));
	signing->content = signing->format = signing->separator = "";
	if (a == WH_ALGORITHM_NONE)
		return true;

	signing->content = content;
	signing->format = format;
	signing->separator = separator ? separator : "";
	if (a < 0)
		*why = "the signature_algorithm must be hmac-sha256, hmac-sha1, sha1, ed25519 or none";
	else if (e < 0)
		*why = "the signature_encoding must be hex or base64";
	else if (s < 0)
		*why = "the secret_encoding must be raw or whsec";
	else if (a == WH_ALGORITHM_ED25519 && s == WH_SECRET_RAW)
		*why = "the secret_encoding must be whsec for ed25519";
	else if ((*why = check_content(content)) == NULL)
		*why = check_format(signing);
	if (*why != NULL)
		return false;
	signing->algorithm = (WhAlgorithm) a;
	signing->encoding = (WhEncoding) e;
	signing->secret_encoding = (WhSecretEncoding) s;
	return true;
}

/*
 * Signing
 */

/* The signature as text; returns its length, 0: it could not be made. */
static size_t
sign_once(const WhSigning *signing, const WhKey *key, const WhMessage *message, char out[WH_ENCODED_MAX + 1])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char raw[WH_DIGEST_MAX];
	size_t n = wh_digest(signing, key, message, raw);

	out[0] = '\0';
	if (n == 0)
		return 0;
	if (signing->encoding == WH_ENCODING_BASE64)
		return (size_t) EVP_EncodeBlock((unsigned char *) out, raw, (int) n);
	for (size_t i = 0; i < n; i++)
	{
		out[2 * i] = digits[raw[i] >> 4];
		out[2 * i + 1] = digits[raw[i] & 15];
	}
	out[2 * n] = '\0';
	return 2 * n;
}

/* Text with a limited size. */
typedef struct Text
{
	char *at;
	size_t used;
	size_t size; /* with the NUL */
	bool failed;
} Text;

static void
append(Text *text, const char *bytes, size_t len)
{
	if (text->failed || len >= text->size - text->used)
	{
		text->failed = true;
		return;
	}
	memcpy(text->at + text->used, bytes, len);
	text->used += len;
}

/* Append an entry of the format, with values for its variables. */
static void
append_entry(Text *text, const WhSigning *signing, const Entry *format, int64_t timestamp,
			 const char *signature)
{
	const char *end = format->text + format->len;
	char stamp[WH_STAMP_MAX];

	if (text->used > 0)
		append(text, signing->separator, strlen(signing->separator));
	for (const char *c = format->text; c < end;)
	{
		size_t taken;

		if ((taken = wh_variable(c, "signature")) > 0)
			append(text, signature, strlen(signature));
		else if ((taken = wh_variable(c, "timestamp")) > 0)
			append(text, stamp, wh_stamp(timestamp, stamp));
		else
		{
			const char *brace = memchr(c, '{', (size_t) (end - c));

			taken = (size_t) ((brace ? brace : end) - c);
			append(text, c, taken);
		}
		c += taken;
	}
}

bool
wh_sign(const WhSigning *signing, const WhKey *const *keys, int n_keys, const WhMessage *message, char *out,
		size_t out_size)
{
	Text text = {.at = out, .size = out_size, .failed = out_size == 0};
	char signature[WH_ENCODED_MAX + 1];
	const char *rest = signing->format;
	Entry entry;

	if (!text.failed)
		out[0] = '\0';
	if (signing->algorithm == WH_ALGORITHM_NONE)
		return !text.failed;
	if (n_keys <= 0)
		return false;
	while (!text.failed && next_entry(&rest, signing->separator, &entry))
	{
		/* if there is room for one signature, the oldest key makes it */
		int first = signing->separator[0] != '\0' ? 0 : n_keys - 1;
		int last = n_keys - 1;

		if (find_variable(&entry, "signature") < 0)
			append_entry(&text, signing, &entry, message->timestamp, "");
		else
			for (int i = first; i <= last && !text.failed; i++)
			{
				text.failed = sign_once(signing, keys[i], message, signature) == 0;
				append_entry(&text, signing, &entry, message->timestamp, signature);
			}
	}
	if (out_size > 0)
		out[text.failed ? 0 : text.used] = '\0';
	return !text.failed;
}

/*
 * Verifying
 */

bool
wh_timestamp_parse(const char *text, size_t len, int64_t *timestamp)
{
	int64_t value = 0;

	/* 18 digits always fit */
	if (len == 0 || len > 18 || (text[0] == '0' && len > 1))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (text[i] - '0');
	}
	*timestamp = value;
	return true;
}

bool
wh_signature_has_timestamp(const WhSigning *signing)
{
	Entry entry;

	return format_entry(signing, "timestamp", &entry);
}

bool
wh_signature_timestamp(const WhSigning *signing, const char *header, int64_t *timestamp)
{
	Entry format;
	Entry entry;
	Entry value;
	int found = 0;

	if (!format_entry(signing, "timestamp", &format))
		return false;
	while (next_entry(&header, signing->separator, &entry))
		if (match_entry(&format, "timestamp", &entry, &value))
		{
			if (!wh_timestamp_parse(value.text, value.len, timestamp))
				return false;
			found++;
		}
	return found == 1; /* with several, it would be unknown which one is signed */
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* An ed25519 signature's 64 bytes from its text. */
static bool
decode_signature(const WhSigning *signing, const Entry *value, unsigned char raw[WH_DECODED_MAX])
{
	if (signing->encoding == WH_ENCODING_BASE64)
		return wh_base64_decode(value->text, value->len, raw) == WH_DIGEST_MAX;
	if (value->len != 2 * WH_DIGEST_MAX)
		return false;
	for (size_t i = 0; i < WH_DIGEST_MAX; i++)
	{
		int high = hex_digit(value->text[2 * i]);
		int low = hex_digit(value->text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		raw[i] = (unsigned char) (high << 4 | low);
	}
	return true;
}

bool
wh_verify(const WhSigning *signing, const WhKey *key, const WhMessage *message, const char *header)
{
	char right[WH_ENCODED_MAX + 1] = "";
	size_t right_len = 0;
	Entry format;
	Entry entry;
	Entry value;
	bool found = false;
	bool public = signing->algorithm == WH_ALGORITHM_ED25519;

	if (signing->algorithm == WH_ALGORITHM_NONE || !format_entry(signing, "signature", &format))
		return false;
	if (!public && (right_len = sign_once(signing, key, message, right)) == 0)
		return false;
	while (next_entry(&header, signing->separator, &entry))
	{
		unsigned char raw[WH_DECODED_MAX];

		if (!match_entry(&format, "signature", &entry, &value))
			continue;
		if (public)
			found = found ||
					(decode_signature(signing, &value, raw) && wh_ed25519_verify(signing, key, message, raw));
		/* compared as text: a signature has one spelling, and its length is no secret */
		else
			found |= value.len == right_len && CRYPTO_memcmp(value.text, right, right_len) == 0;
	}
	OPENSSL_cleanse(right, sizeof(right));
	return found;
}
