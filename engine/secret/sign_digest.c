/*
 * sign_digest.c
 *	  The arithmetic of signatures: HMAC, SHA-1 and ed25519 over what is signed.
 *
 * Nearly every request needs an HMAC, so it must be cheap. In OpenSSL 3 the look-up of
 * an algorithm costs more than the hashing. So the context of a digest is made once,
 * and gets a new key for each signature. ed25519 is for few receivers and expensive
 * in itself; it keeps nothing.
 *
 * Ownership: keys belong to the caller; nothing here keeps a pointer to one. An HMAC
 * context holds a schedule of the key last used, until the next key replaces it or
 * wh_digest_forget frees it. There is one thread, hence no lock.
 */
#include "sign_internal.h"

#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "buffer.h"

static EVP_MAC_CTX *hmac_sha256; /* NULL until first used */
static EVP_MAC_CTX *hmac_sha1;

void
wh_digest_forget(void)
{
	EVP_MAC_CTX_free(hmac_sha256); /* scrubs what it frees */
	EVP_MAC_CTX_free(hmac_sha1);
	hmac_sha256 = hmac_sha1 = NULL;
}

/* The context of a digest, kept in `kept`; NULL: OpenSSL has none. */
static EVP_MAC_CTX *
hmac_context(EVP_MAC_CTX **kept, const char *name)
{
	EVP_MAC *mac;
	EVP_MAC_CTX *made;
	char digest[8];
	OSSL_PARAM params[2];

	if (*kept != NULL)
		return *kept;
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (mac == NULL)
		return NULL;
	made = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac); /* the context has its own reference */
	snprintf(digest, sizeof(digest), "%s", name);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
	params[1] = OSSL_PARAM_construct_end();
	if (made == NULL || !EVP_MAC_CTX_set_params(made, params))
	{
		EVP_MAC_CTX_free(made);
		return NULL;
	}
	*kept = made;
	return made;
}

size_t
wh_stamp(int64_t timestamp, char out[WH_STAMP_MAX])
{
	uint64_t left = timestamp < 0 ? -(uint64_t) timestamp : (uint64_t) timestamp;
	char digits[WH_STAMP_MAX];
	size_t n = 0;
	size_t len = 0;

	do
		digits[n++] = (char) ('0' + left % 10);
	while ((left /= 10) > 0);
	if (timestamp < 0)
		out[len++] = '-';
	while (n > 0)
		out[len++] = digits[--n];
	out[len] = '\0';
	return len;
}

/* What is signed, piece by piece. */
typedef struct Pieces
{
	const char *rest; /* of the content's text */
	const WhMessage *message;
	size_t part; /* of the body, if that is in pieces */
	char stamp[WH_STAMP_MAX];
	size_t stamp_len;
} Pieces;

static Pieces
pieces_of(const WhSigning *signing, const WhMessage *message)
{
	Pieces p = {.rest = signing->content, .message = message};

	p.stamp_len = wh_stamp(message->timestamp, p.stamp);
	return p;
}

/* The next piece, or false at the end. */
static bool
next_piece(Pieces *p, const char **bytes, size_t *len)
{
	size_t taken;

	if (*p->rest == '\0')
		return false;
	if ((taken = wh_variable(p->rest, "body")) > 0 && p->message->pieces)
	{
		if (wh_buffer_piece(p->message->pieces, p->part++, bytes, len))
			return true;
		p->part = 0;
		p->rest += taken;
		return next_piece(p, bytes, len);
	}
	if (taken > 0)
	{
		*bytes = p->message->body ? p->message->body : "";
		*len = p->message->body_len;
	}
	else if ((taken = wh_variable(p->rest, "id")) > 0)
	{
		*bytes = p->message->id;
		*len = strlen(*bytes);
	}
	else if ((taken = wh_variable(p->rest, "timestamp")) > 0)
	{
		*bytes = p->stamp;
		*len = p->stamp_len;
	}
	else
	{
		*bytes = p->rest;
		*len = taken = strcspn(p->rest, "{");
		if (taken == 0) /* not from wh_signing_parse */
			return false;
	}
	p->rest += taken;
	return true;
}

/* Short pieces are joined first: a call into OpenSSL costs more than hashing a short piece. */
static size_t
hmac(EVP_MAC_CTX *ctx, const WhKey *key, Pieces *p, unsigned char out[WH_DIGEST_MAX])
{
	unsigned char head[128];
	size_t used = 0;
	const char *bytes;
	size_t len;
	size_t n = 0;

	if (ctx == NULL || !EVP_MAC_init(ctx, key->bytes, key->len, NULL))
		return 0;
	while (next_piece(p, &bytes, &len))
	{
		if (len <= sizeof(head) - used)
		{
			memcpy(head + used, bytes, len);
			used += len;
			continue;
		}
		if ((used > 0 && !EVP_MAC_update(ctx, head, used)) ||
			!EVP_MAC_update(ctx, (const unsigned char *) bytes, len))
			return 0;
		used = 0;
	}
	if (used > 0 && !EVP_MAC_update(ctx, head, used))
		return 0;
	return EVP_MAC_final(ctx, out, &n, WH_DIGEST_MAX) ? n : 0;
}

/* Not an HMAC, and weaker than one: what Xsolla's receivers expect. */
static size_t
sha1_with_secret(const WhKey *key, Pieces *p, unsigned char out[WH_DIGEST_MAX])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const char *bytes;
	size_t len;
	unsigned int n = 0;
	bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha1(), NULL);

	while (ok && next_piece(p, &bytes, &len))
		ok = EVP_DigestUpdate(ctx, bytes, len);
	ok = ok && EVP_DigestUpdate(ctx, key->bytes, key->len) && EVP_DigestFinal_ex(ctx, out, &n);
	EVP_MD_CTX_free(ctx); /* scrubs what it frees */
	return ok ? n : 0;
}

/* ed25519 reads what is signed twice and needs it in one piece. */
static bool
in_one_piece(const WhSigning *signing, const WhMessage *message, WhBuffer *out)
{
	Pieces p = pieces_of(signing, message);
	Pieces again = p;
	const char *bytes;
	size_t len;
	size_t total = 0;

	while (next_piece(&p, &bytes, &len))
		total += len;
	wh_buffer_init(out, total);
	while (next_piece(&again, &bytes, &len))
		wh_buffer_append(out, bytes, len);
	return !out->failed;
}

static size_t
ed25519_sign(const WhSigning *signing, const WhKey *key, const WhMessage *message,
			 unsigned char out[WH_DIGEST_MAX])
{
	EVP_PKEY *pkey = NULL;
	EVP_MD_CTX *ctx = NULL;
	WhBuffer content;
	size_t n = WH_DIGEST_MAX;
	bool ok;

	ok = in_one_piece(signing, message, &content);
	if (ok && key->len == WH_ED25519_SEED_LEN + WH_ED25519_PUBLIC_LEN)
		pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->bytes, WH_ED25519_SEED_LEN);
	if (pkey != NULL)
		ctx = EVP_MD_CTX_new();
	ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		 EVP_DigestSign(ctx, out, &n, (const unsigned char *) content.data, content.len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	wh_buffer_free(&content);
	return ok ? n : 0;
}

bool
wh_ed25519_verify(const WhSigning *signing, const WhKey *key, const WhMessage *message,
				  const unsigned char signature[WH_DIGEST_MAX])
{
	/* a public key is only the public half; a secret key ends with it */
	const size_t both = WH_ED25519_SEED_LEN + WH_ED25519_PUBLIC_LEN;
	const unsigned char *public = key->len == both ? key->bytes + WH_ED25519_SEED_LEN : key->bytes;
	EVP_PKEY *pkey = NULL;
	EVP_MD_CTX *ctx = NULL;
	WhBuffer content;
	bool ok;

	ok = in_one_piece(signing, message, &content);
	if (ok && (key->len == WH_ED25519_PUBLIC_LEN || key->len == both))
		pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, WH_ED25519_PUBLIC_LEN);
	if (pkey != NULL)
		ctx = EVP_MD_CTX_new();
	ok = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		 EVP_DigestVerify(ctx, signature, WH_DIGEST_MAX, (const unsigned char *) content.data, content.len) ==
			 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	wh_buffer_free(&content);
	return ok;
}

size_t
wh_digest(const WhSigning *signing, const WhKey *key, const WhMessage *message,
		  unsigned char out[WH_DIGEST_MAX])
{
	Pieces p = pieces_of(signing, message);

	if (key->len == 0 || key->len > WH_KEY_MAX)
		return 0;
	switch (signing->algorithm)
	{
		case WH_ALGORITHM_HMAC_SHA256:
			return hmac(hmac_context(&hmac_sha256, "SHA256"), key, &p, out);
		case WH_ALGORITHM_HMAC_SHA1:
			return hmac(hmac_context(&hmac_sha1, "SHA1"), key, &p, out);
		case WH_ALGORITHM_SHA1:
			return sha1_with_secret(key, &p, out);
		case WH_ALGORITHM_ED25519:
			return ed25519_sign(signing, key, message, out);
		case WH_ALGORITHM_NONE:
			break;
	}
	return 0;
}
