/*
 * sign.c
 *	  Signatures of requests: Standard Webhooks v1 (HMAC-SHA256) and v1a
 *	  (ed25519).
 *
 * Called by deliver.c once per request, so v1 must be cheap: the HMAC context
 * is made once and given a new key for each signature, because in OpenSSL 3 it
 * is the look-up of an algorithm, not the hashing, that costs. v1a is signed
 * for a few receivers only and is dear in itself; it keeps nothing.
 *
 * Ownership: keys belong to the caller; nothing here keeps a pointer to one.
 * The HMAC context holds a schedule of the key last used until the next key
 * replaces it or wh_key_wipe frees it. One thread, hence no lock.
 */
#include "sign.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "buffer.h"

#define SHA256_LEN 32
#define ED25519_SEED_LEN 32
#define ED25519_PUBLIC_LEN 32
#define ED25519_SIGNATURE_LEN 64

#define BASE64_LEN(n) (((n) + 2) / 3 * 4) /* characters for n bytes */
#define BASE64_MAX BASE64_LEN(64)         /* nothing here is longer than 64 bytes */
#define DECODED_MAX (BASE64_MAX / 4 * 3)  /* what that many characters may stand for */

#define STAMP_MAX 24 /* "." int64 "." and NUL */

static EVP_MAC_CTX *hmac_sha256; /* NULL until first used */

/*
 * Decode `len` characters into at most DECODED_MAX bytes; returns their
 * number, or -1 where the text is not base64. OpenSSL's decoder forgives
 * blanks, missing bits and misplaced padding; we do not, since two texts of
 * one secret are one too many. So what it read is written again, and must be
 * the same.
 */
static int
base64_decode(const char *text, size_t len, unsigned char out[DECODED_MAX])
{
	char again[BASE64_MAX + 1];
	int n;
	bool same;

	if (len == 0 || len % 4 != 0 || len > BASE64_MAX)
		return -1;
	n = EVP_DecodeBlock(out, (const unsigned char *) text, (int) len);
	if (n < 0)
		return -1;
	/* it counts padding as bytes */
	for (size_t i = len; i > len - 2 && text[i - 1] == '='; i--)
		n--;
	EVP_EncodeBlock((unsigned char *) again, out, n);
	same = strlen(again) == len && CRYPTO_memcmp(again, text, len) == 0;
	OPENSSL_cleanse(again, sizeof(again));
	return same ? n : -1;
}

/*
 * Decode `prefix` and base64 into a key of min to max bytes. The three reasons
 * for failure are the caller's: prefix, then base64, then length are looked at.
 */
static bool
key_decode(const char *text, const char *prefix, size_t min, size_t max, WhKey *key, const char **why,
		   const char *const reasons[3])
{
	unsigned char decoded[DECODED_MAX];
	const char *digits;
	size_t len;
	int n;

	key->len = 0;
	*why = NULL;
	if (strncmp(text, prefix, strlen(prefix)) != 0)
	{
		*why = reasons[0];
		return false;
	}
	digits = text + strlen(prefix);
	len = strlen(digits);
	n = base64_decode(digits, len, decoded);
	if (len > BASE64_MAX)
		*why = reasons[2];
	else if (n < 0)
		*why = reasons[1];
	else if ((size_t) n < min || (size_t) n > max)
		*why = reasons[2];
	else
	{
		memcpy(key->bytes, decoded, (size_t) n);
		key->len = (size_t) n;
	}
	OPENSSL_cleanse(decoded, sizeof(decoded));
	return *why == NULL;
}

bool
wh_secret_decode(const char *text, WhKey *key, const char **why)
{
	static const char *const reasons[3] = {"it does not begin with whsec_",
										   "what follows whsec_ is not valid base64",
										   "it does not hold 24 to 64 bytes"};

	return key_decode(text, "whsec_", WH_SECRET_BYTES_MIN, WH_SECRET_BYTES_MAX, key, why, reasons);
}

bool
wh_secret_encode(const unsigned char *bytes, size_t len, char *out, size_t out_size)
{
	static const char prefix[] = "whsec_";
	const size_t prefix_len = sizeof(prefix) - 1;

	if (out_size > 0)
		out[0] = '\0';
	if (len < WH_SECRET_BYTES_MIN || len > WH_SECRET_BYTES_MAX || out_size < sizeof(prefix) + BASE64_LEN(len))
		return false;
	memcpy(out, prefix, prefix_len);
	EVP_EncodeBlock((unsigned char *) out + prefix_len, bytes, (int) len);
	return true;
}

void
wh_key_wipe(WhKey *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
	EVP_MAC_CTX_free(hmac_sha256); /* scrubs what it frees */
	hmac_sha256 = NULL;
}

/* The one HMAC context, or NULL where OpenSSL has none to give. */
static EVP_MAC_CTX *
hmac_context(void)
{
	EVP_MAC *mac;
	EVP_MAC_CTX *made;
	char digest[] = "SHA256";
	OSSL_PARAM params[2];

	if (hmac_sha256 != NULL)
		return hmac_sha256;
	mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	if (mac == NULL)
		return NULL;
	made = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac); /* the context has its own reference */
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
	params[1] = OSSL_PARAM_construct_end();
	if (made == NULL || !EVP_MAC_CTX_set_params(made, params))
	{
		EVP_MAC_CTX_free(made);
		return NULL;
	}
	hmac_sha256 = made;
	return made;
}

/* The part of the signed bytes between id and body; returns its length. */
static size_t
format_stamp(int64_t timestamp, char out[STAMP_MAX])
{
	return (size_t) snprintf(out, STAMP_MAX, ".%" PRId64 ".", timestamp);
}

static bool
hmac_message(const WhKey *key, const char *id, int64_t timestamp, const char *body, size_t body_len,
			 unsigned char out[SHA256_LEN])
{
	EVP_MAC_CTX *ctx = hmac_context();
	char stamp[STAMP_MAX];
	size_t stamp_len = format_stamp(timestamp, stamp);
	size_t n = 0;

	if (ctx == NULL || key->len < WH_SECRET_BYTES_MIN || key->len > WH_SECRET_BYTES_MAX)
		return false;
	return EVP_MAC_init(ctx, key->bytes, key->len, NULL) &&
		   EVP_MAC_update(ctx, (const unsigned char *) id, strlen(id)) &&
		   EVP_MAC_update(ctx, (const unsigned char *) stamp, stamp_len) &&
		   EVP_MAC_update(ctx, (const unsigned char *) body, body_len) &&
		   EVP_MAC_final(ctx, out, &n, SHA256_LEN) && n == SHA256_LEN;
}

/* Append one entry, version "," base64, to the header being built in `out`; false where it does not fit. */
static bool
append_entry(char *out, size_t out_size, size_t *used, const char *version, const unsigned char *raw,
			 size_t raw_len)
{
	size_t version_len = strlen(version);
	size_t blank = *used > 0 ? 1 : 0;
	size_t need = blank + version_len + 1 + BASE64_LEN(raw_len);

	if (out_size - *used <= need) /* one more for the NUL */
		return false;
	if (blank)
		out[(*used)++] = ' ';
	memcpy(out + *used, version, version_len);
	*used += version_len;
	out[(*used)++] = ',';
	*used += (size_t) EVP_EncodeBlock((unsigned char *) out + *used, raw, (int) raw_len);
	return true;
}

bool
wh_sign_v1(const WhKey *keys, int n_keys, const char *id, int64_t timestamp, const char *body,
		   size_t body_len, char *out, size_t out_size)
{
	unsigned char digest[SHA256_LEN];
	size_t used = 0;
	bool ok = n_keys > 0;

	for (int i = 0; ok && i < n_keys; i++)
		ok = hmac_message(&keys[i], id, timestamp, body, body_len, digest) &&
			 append_entry(out, out_size, &used, "v1", digest, sizeof(digest));
	if (!ok && out_size > 0)
		out[0] = '\0';
	return ok;
}

/* The next blank-separated entry of a signature header, and its length; NULL at the end. */
static const char *
next_entry(const char **cursor, size_t *len)
{
	const char *entry = *cursor + strspn(*cursor, " ");

	*len = strcspn(entry, " ");
	*cursor = entry + *len;
	return *len > 0 ? entry : NULL;
}

bool
wh_verify_v1(const WhKey *key, const char *id, int64_t timestamp, const char *body, size_t body_len,
			 const char *header)
{
	char right[WH_SIGNATURE_MAX];
	const char *entry;
	size_t right_len;
	size_t len;
	bool found = false;

	if (!wh_sign_v1(key, 1, id, timestamp, body, body_len, right, sizeof(right)))
		return false;
	/* compared as text: base64 has one spelling, and the length is no secret */
	right_len = strlen(right);
	while ((entry = next_entry(&header, &len)) != NULL)
		if (len == right_len && CRYPTO_memcmp(entry, right, len) == 0)
			found = true;
	OPENSSL_cleanse(right, sizeof(right));
	return found;
}

bool
wh_secret_decode_v1a(const char *text, WhKey *key, const char **why)
{
	static const char *const reasons[3] = {"it does not begin with whsk_",
										   "what follows whsk_ is not valid base64",
										   "it does not hold 64 bytes"};
	const size_t len = ED25519_SEED_LEN + ED25519_PUBLIC_LEN;
	unsigned char public[ED25519_PUBLIC_LEN];
	size_t public_len = sizeof(public);
	EVP_PKEY *pkey;

	if (!key_decode(text, "whsk_", len, len, key, why, reasons))
		return false;
	/* a secret beside the wrong public half would sign what nobody can verify */
	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->bytes, ED25519_SEED_LEN);
	if (pkey == NULL || !EVP_PKEY_get_raw_public_key(pkey, public, &public_len))
		*why = "OpenSSL does not take it as an ed25519 key";
	else if (CRYPTO_memcmp(public, key->bytes + ED25519_SEED_LEN, sizeof(public)) != 0)
		*why = "its public half does not belong to its secret half";
	EVP_PKEY_free(pkey);
	if (*why != NULL)
		OPENSSL_cleanse(key, sizeof(*key));
	return *why == NULL;
}

bool
wh_public_decode_v1a(const char *text, WhKey *key, const char **why)
{
	static const char *const reasons[3] = {"it does not begin with whpk_",
										   "what follows whpk_ is not valid base64",
										   "it does not hold 32 bytes"};

	return key_decode(text, "whpk_", ED25519_PUBLIC_LEN, ED25519_PUBLIC_LEN, key, why, reasons);
}

/* Put the signed bytes together: ed25519 reads its message twice and wants it in one piece. */
static bool
build_message(WhBuffer *message, const char *id, int64_t timestamp, const char *body, size_t body_len)
{
	char stamp[STAMP_MAX];
	size_t stamp_len = format_stamp(timestamp, stamp);

	wh_buffer_init(message, strlen(id) + stamp_len + body_len);
	wh_buffer_puts(message, id);
	wh_buffer_append(message, stamp, stamp_len);
	if (body_len > 0)
		wh_buffer_append(message, body, body_len);
	return !message->failed;
}

static bool
ed25519_sign(const WhKey *key, const WhBuffer *message, unsigned char out[ED25519_SIGNATURE_LEN])
{
	EVP_PKEY *pkey;
	EVP_MD_CTX *ctx;
	size_t n = ED25519_SIGNATURE_LEN;
	bool ok;

	if (key->len != ED25519_SEED_LEN + ED25519_PUBLIC_LEN)
		return false;
	pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->bytes, ED25519_SEED_LEN);
	ctx = EVP_MD_CTX_new();
	ok = pkey != NULL && ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		 EVP_DigestSign(ctx, out, &n, (const unsigned char *) message->data, message->len) == 1 &&
		 n == ED25519_SIGNATURE_LEN;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	return ok;
}

bool
wh_sign_v1a(const WhKey *keys, int n_keys, const char *id, int64_t timestamp, const char *body,
			size_t body_len, char *out, size_t out_size)
{
	unsigned char signature[ED25519_SIGNATURE_LEN];
	WhBuffer message;
	size_t used = 0;
	bool ok = build_message(&message, id, timestamp, body, body_len) && n_keys > 0;

	for (int i = 0; ok && i < n_keys; i++)
		ok = ed25519_sign(&keys[i], &message, signature) &&
			 append_entry(out, out_size, &used, "v1a", signature, sizeof(signature));
	wh_buffer_free(&message);
	if (!ok && out_size > 0)
		out[0] = '\0';
	return ok;
}

/* Is this entry, "v1a," and base64, a signature of the message by `pkey`? */
static bool
ed25519_verify(EVP_PKEY *pkey, const WhBuffer *message, const char *entry, size_t len)
{
	unsigned char signature[DECODED_MAX];
	EVP_MD_CTX *ctx;
	bool ok;

	if (len < 4 || memcmp(entry, "v1a,", 4) != 0 ||
		base64_decode(entry + 4, len - 4, signature) != ED25519_SIGNATURE_LEN)
		return false;
	ctx = EVP_MD_CTX_new();
	ok = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
		 EVP_DigestVerify(ctx, signature, ED25519_SIGNATURE_LEN, (const unsigned char *) message->data,
						  message->len) == 1;
	EVP_MD_CTX_free(ctx);
	return ok;
}

bool
wh_verify_v1a(const WhKey *key, const char *id, int64_t timestamp, const char *body, size_t body_len,
			  const char *header)
{
	/* the public half is all of a public key, and the end of a secret one */
	const unsigned char *public = key->len > ED25519_PUBLIC_LEN ? key->bytes + ED25519_SEED_LEN : key->bytes;
	WhBuffer message;
	EVP_PKEY *pkey;
	const char *entry;
	size_t len;
	bool found = false;

	if (key->len != ED25519_PUBLIC_LEN && key->len != ED25519_SEED_LEN + ED25519_PUBLIC_LEN)
		return false;
	pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public, ED25519_PUBLIC_LEN);
	if (build_message(&message, id, timestamp, body, body_len) && pkey != NULL)
		while (!found && (entry = next_entry(&header, &len)) != NULL)
			found = ed25519_verify(pkey, &message, entry, len);
	EVP_PKEY_free(pkey);
	wh_buffer_free(&message);
	return found;
}
