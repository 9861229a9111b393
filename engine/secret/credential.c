/*
 * credential.c
 *	  What an endpoint may need besides a signature: the kinds of credentials, and
 *	  what a valid one is.
 *
 * Owns nothing and keeps nothing. Besides the files of signatures and sealing, only
 * this one uses OpenSSL: OpenSSL alone can tell whether a text is a certificate, and
 * whether a key belongs to it. Its own messages are discarded, because they may quote
 * anything.
 */
#include "credential.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#define HEADER "header:"
#define HTTP "http://"

#define NAME_CHARACTERS                                                                                      \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+.^_`|~-" /* RFC 9110, 5.6.2 */

WhCredentialKind
wh_credential_kind(const char *kind)
{
	static const struct
	{
		const char *word;
		WhCredentialKind kind;
	} words[] = {
		{"basic", WH_CREDENTIAL_BASIC},
		{"bearer", WH_CREDENTIAL_BEARER},
		{"client_certificate", WH_CREDENTIAL_CERTIFICATE},
		{"client_key", WH_CREDENTIAL_KEY},
		{"ca", WH_CREDENTIAL_CA},
		{"proxy", WH_CREDENTIAL_PROXY},
		{"oauth2", WH_CREDENTIAL_OAUTH2},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(kind, words[i].word) == 0)
			return words[i].kind;
	if (strncmp(kind, HEADER, strlen(HEADER)) == 0)
		return WH_CREDENTIAL_HEADER;
	return WH_CREDENTIAL_UNKNOWN;
}

/*
 * Text
 */

/* Is each byte at least `first`, and none DEL? */
static bool
all_from(const char *text, size_t len, unsigned char first)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) text[i] < first || text[i] == 0x7f)
			return false;
	return true;
}

static const char *
header_wrong(const char *name, const char *value)
{
	size_t len = strlen(name);

	if (len == 0 || len > 100 || strspn(name, NAME_CHARACTERS) != len)
		return "the text after header: is not a header name of up to 100 letters, digits and hyphens";
	/* libcurl would leave out a header whose value is only blanks */
	if (strspn(value, " ") == strlen(value) || strlen(value) > 8000 || !all_from(value, strlen(value), ' '))
		return "the header value must have 1 to 8000 bytes without control characters, not all of them "
			   "blanks";
	return NULL;
}

/* The parts of a proxy's URL; they point into it. */
typedef struct ProxyParts
{
	const char *user; /* "user:password", escaped; NULL: none */
	size_t user_len;
	const char *host; /* and port */
	size_t host_len;
} ProxyParts;

static int
hex(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int) (at - digits) : -1;
}

/*
 * Decode "user:password" of a URL into `out`, of at least its length + 1. False: it
 * cannot be sent.
 */
static bool
decode_user(const char *text, size_t len, char *out)
{
	size_t colon = (size_t) ((const char *) memchr(text, ':', len) - text);
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
	{
		bool escaped = text[i] == '%';

		if (escaped && (i + 2 >= len || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0))
			return false;
		out[n] = escaped ? (char) (hex(text[i + 1]) * 16 + hex(text[i + 2])) : text[i];
		if (escaped && out[n] == ':' && i < colon)
			return false;
		i += escaped ? 2 : 0;
		if (!all_from(&out[n++], 1, ' '))
			return false;
	}
	out[n] = '\0';
	return true;
}

static bool
is_port(const char *digits, size_t len)
{
	unsigned port = 0;

	if (len == 0 || len > 5)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (digits[i] < '0' || digits[i] > '9')
			return false;
		port = port * 10 + (unsigned) (digits[i] - '0');
	}
	return port >= 1 && port <= 65535;
}

/* Find the parts of "http://[user:password@]host:port[/]". NULL, or what is wrong with it. */
static const char *
proxy_wrong(const char *value, ProxyParts *parts)
{
	const char *authority = value + strlen(HTTP);
	const char *at;
	const char *end;
	char user[WH_PROXY_MAX];
	bool sane;

	if (strncmp(value, HTTP, strlen(HTTP)) != 0)
		return "a proxy must be http://host:port or http://user:password@host:port";
	end = authority + strcspn(authority, "/?#");
	if (*end != '\0' && strcmp(end, "/") != 0)
		return "a proxy must not have a path";
	if ((size_t) (end - authority) >= WH_PROXY_MAX - sizeof(HTTP) ||
		!all_from(authority, (size_t) (end - authority), '!'))
		return "a proxy must have at most 500 bytes, and no blanks or control characters";
	at = memchr(authority, '@', (size_t) (end - authority));
	if (at && (memchr(authority, ':', (size_t) (at - authority)) == NULL ||
			   memchr(at + 1, '@', (size_t) (end - at - 1))))
		return "the part before @ must be user:password; write an @ in them as %40";
	*parts = (ProxyParts){.user = at ? authority : NULL,
						  .user_len = at ? (size_t) (at - authority) : 0,
						  .host = at ? at + 1 : authority};
	parts->host_len = (size_t) (end - parts->host);
	if (at)
	{
		sane = decode_user(parts->user, parts->user_len, user);
		OPENSSL_cleanse(user, sizeof(user));
		if (!sane)
			return "in the user and password of a proxy, % is written %25; they must not contain control "
				   "characters, nor the user a colon";
	}
	/* the port is required: proxies have no agreed default */
	at = memchr(parts->host, ']', parts->host_len);
	at = at ? at + 1 : memchr(parts->host, ':', parts->host_len);
	if (at == NULL || at == parts->host || at >= end || *at != ':' ||
		!is_port(at + 1, (size_t) (end - at - 1)) || memchr(parts->host, '%', parts->host_len))
		return "a proxy needs a host and a port";
	return NULL;
}

bool
wh_proxy_bare(const char *value, char *out, size_t size)
{
	ProxyParts parts;

	return proxy_wrong(value, &parts) == NULL &&
		   snprintf(out, size, HTTP "%.*s", (int) parts.host_len, parts.host) < (int) size;
}

bool
wh_credential_basic(const char *user_password, WhBuffer *out)
{
	size_t len = strlen(user_password);
	unsigned char *encoded = len <= WH_CREDENTIAL_MAX ? malloc((len + 2) / 3 * 4 + 1) : NULL;
	int n;
	bool ok;

	if (encoded == NULL)
		return false;
	n = EVP_EncodeBlock(encoded, (const unsigned char *) user_password, (int) len);
	ok = wh_buffer_puts(out, "Authorization: Basic ") && wh_buffer_append(out, encoded, (size_t) n);
	OPENSSL_cleanse(encoded, (len + 2) / 3 * 4 + 1);
	free(encoded);
	return ok;
}

bool
wh_proxy_authorization(const char *value, WhBuffer *out)
{
	ProxyParts parts;
	char user[WH_PROXY_MAX];
	bool ok;

	if (proxy_wrong(value, &parts))
		return false;
	if (parts.user == NULL)
		return true;
	ok = decode_user(parts.user, parts.user_len, user) && wh_buffer_puts(out, "Proxy-") &&
		 wh_credential_basic(user, out);
	OPENSSL_cleanse(user, sizeof(user));
	return ok;
}

/*
 * Certificates and keys
 */

/* Without this, OpenSSL would ask for a password at the terminal. */
static int
no_password(char *buffer, int size, int writing, void *arg)
{
	(void) buffer;
	(void) size;
	(void) writing;
	(void) arg;
	return -1;
}

static EVP_PKEY *
read_key(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	return key;
}

/* The first certificate of the text; NULL: there is none, or one of them is damaged. */
static X509 *
read_certificates(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *first = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
	X509 *another = first;

	while (another)
	{
		another = PEM_read_bio_X509(bio, NULL, no_password, NULL);
		X509_free(another);
	}
	/* reading must have stopped at the end, not at something unreadable */
	if (first && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
	{
		X509_free(first);
		first = NULL;
	}
	BIO_free(bio);
	ERR_clear_error();
	return first;
}

static const char *
certificates_wrong(const char *pem)
{
	X509 *first = read_certificates(pem);

	X509_free(first);
	return first ? NULL : "it does not consist of certificates in PEM, or one of them is damaged";
}

static const char *
key_wrong(const char *pem)
{
	EVP_PKEY *key;

	if (strstr(pem, "ENCRYPTED"))
		return "the key is encrypted; use one without a passphrase, and webhook.key_file to seal it";
	key = read_key(pem);
	EVP_PKEY_free(key);
	return key ? NULL : "it is not a private key in PEM, or it is damaged";
}

const char *
wh_credential_pair_wrong(const char *certificate, const char *key)
{
	X509 *cert = read_certificates(certificate);
	EVP_PKEY *private = read_key(key);
	bool match = cert && private && X509_check_private_key(cert, private) == 1;

	X509_free(cert);
	EVP_PKEY_free(private);
	ERR_clear_error();
	return match ? NULL : "the private key is not that of the first certificate of client_certificate";
}

const char *
wh_credential_wrong(const char *kind, const char *value)
{
	ProxyParts parts;
	size_t len = strlen(value);

	if (len == 0 || len > WH_CREDENTIAL_MAX)
		return "it must have 1 to 61440 bytes";
	switch (wh_credential_kind(kind))
	{
		case WH_CREDENTIAL_BASIC:
			if (value[0] == ':' || strchr(value, ':') == NULL || len > 4000 || !all_from(value, len, ' '))
				return "it must be user:password, at most 4000 bytes without control characters";
			return NULL;
		case WH_CREDENTIAL_BEARER:
			for (size_t i = 0; i < len; i++)
				if (value[i] < '!' || value[i] > '~')
					return "a token must consist of visible ASCII characters";
			return len > 8000 ? "a token must have at most 8000 bytes" : NULL;
		case WH_CREDENTIAL_HEADER:
			return header_wrong(kind + strlen(HEADER), value);
		case WH_CREDENTIAL_CERTIFICATE:
		case WH_CREDENTIAL_CA:
			return certificates_wrong(value);
		case WH_CREDENTIAL_KEY:
			return key_wrong(value);
		case WH_CREDENTIAL_PROXY:
			return proxy_wrong(value, &parts);
		case WH_CREDENTIAL_OAUTH2:
			return NULL;
		case WH_CREDENTIAL_UNKNOWN:
			break;
	}
	return "there is no credential of this kind";
}
