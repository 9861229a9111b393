/*
 * sign_key.c
 *	  Secrets as text, and the keys they stand for.
 *
 * Used when subscriptions are read and from SQL, never for a request. Keys belong to
 * the caller. Everything else that is decoded is wiped.
 */
#include "sign_internal.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

int
wh_base64_decode(const char *text, size_t len, unsigned char out[WH_DECODED_MAX])
{
	char again[WH_BASE64_MAX + 1];
	int n;
	bool same;

	if (len == 0 || len % 4 != 0 || len > WH_BASE64_MAX)
		return -1;
	n = EVP_DecodeBlock(out, (const unsigned char *) text, (int) len);
	if (n < 0)
		return -1;
	/* OpenSSL counts padding as bytes */
	for (size_t i = len; i > len - 2 && text[i - 1] == '='; i--)
		n--;

	/*
	 * OpenSSL's decoder forgives blanks, missing bits and misplaced padding. We do
	 * not: a secret must have exactly one text. So what it read is written again
	 * and must be the same.
	 */
	EVP_EncodeBlock((unsigned char *) again, out, n);
	same = strlen(again) == len && CRYPTO_memcmp(again, text, len) == 0;
	OPENSSL_cleanse(again, sizeof(again));
	return same ? n : -1;
}

/* The form of a secret: a prefix, and so many bytes in base64; and the reasons if it differs. */
typedef struct Form
{
	const char *prefix;
	size_t min, max;
	const char *no_prefix, *no_base64, *no_length;
} Form;

static const Form form_whsec = {"whsec_",
								WH_SECRET_BYTES_MIN,
								WH_SECRET_BYTES_MAX,
								"it does not begin with whsec_",
								"the text after whsec_ is not valid base64",
								"it does not encode 24 to 64 bytes"};
static const Form form_whsk = {"whsk_",
							   WH_ED25519_SEED_LEN + WH_ED25519_PUBLIC_LEN,
							   WH_ED25519_SEED_LEN + WH_ED25519_PUBLIC_LEN,
							   "it does not begin with whsk_",
							   "the text after whsk_ is not valid base64",
							   "it does not encode 64 bytes"};
static const Form form_whpk = {"whpk_",
							   WH_ED25519_PUBLIC_LEN,
							   WH_ED25519_PUBLIC_LEN,
							   "it does not begin with whpk_",
							   "the text after whpk_ is not valid base64",
							   "it does not encode 32 bytes"};

/* Returns NULL, or a reason why the text does not have this form. */
static const char *
decode_form(const Form *form, const char *text, WhKey *key)
{
	unsigned char decoded[WH_DECODED_MAX];
	const char *why = NULL;
	const char *digits;
	size_t len;
	int n;

	if (strncmp(text, form->prefix, strlen(form->prefix)) != 0)
		return form->no_prefix;
	digits = text + strlen(form->prefix);
	len = strlen(digits);
	n = wh_base64_decode(digits, len, decoded);
	if (len > WH_BASE64_MAX)
		why = form->no_length;
	else if (n < 0)
		why = form->no_base64;
	else if ((size_t) n < form->min || (size_t) n > form->max)
		why = form->no_length;
	else
	{
		memcpy(key->bytes, decoded, (size_t) n);
		key->len = (size_t) n;
	}
	OPENSSL_cleanse(decoded, sizeof(decoded));
	return why;
}

static const char *
decode_raw(const char *text, WhKey *key)
{
	size_t len = strlen(text);

	if (len == 0)
		return "it is empty";
	if (len > WH_KEY_MAX)
		return "it is longer than 200 bytes";
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f)
			return "it contains a control character";
	memcpy(key->bytes, text, len);
	key->len = len;
	return NULL;
}
_Static_assert(WH_KEY_MAX == 200, "the reason above says how long a secret may be");

/* The public half of an ed25519 seed. */
static bool
public_half(const unsigned char seed[WH_ED25519_SEED_LEN], unsigned char public[WH_ED25519_PUBLIC_LEN])
{
	EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, WH_ED25519_SEED_LEN);
	size_t len = WH_ED25519_PUBLIC_LEN;
	bool ok = pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, public, &len) == 1;

	EVP_PKEY_free(pkey);
	return ok;
}

static const char *
decode_ed25519(const char *text, WhKey *key)
{
	unsigned char public[WH_ED25519_PUBLIC_LEN];
	const char *why = decode_form(&form_whsk, text, key);

	if (why != NULL)
		return why;
	/* with the wrong public half, nobody could verify what the secret signs */
	if (!public_half(key->bytes, public))
		return "OpenSSL does not accept it as an ed25519 key";
	if (CRYPTO_memcmp(public, key->bytes + WH_ED25519_SEED_LEN, sizeof(public)) != 0)
		return "its public key does not belong to its seed";
	return NULL;
}

bool
wh_secret_decode(const WhSigning *signing, const char *text, WhKey *key, const char **why)
{
	key->len = 0;
	if (signing->secret_encoding == WH_SECRET_RAW)
		*why = decode_raw(text, key);
	else if (signing->algorithm == WH_ALGORITHM_ED25519)
		*why = decode_ed25519(text, key);
	else
		*why = decode_form(&form_whsec, text, key);
	if (*why != NULL)
		OPENSSL_cleanse(key, sizeof(*key));
	return *why == NULL;
}

bool
wh_verifier_decode(const WhSigning *signing, const char *text, WhKey *key, const char **why)
{
	if (signing->algorithm != WH_ALGORITHM_ED25519 || strncmp(text, "whpk_", 5) != 0)
		return wh_secret_decode(signing, text, key, why);
	key->len = 0;
	*why = decode_form(&form_whpk, text, key);
	return *why == NULL;
}

static bool
encode_form(const Form *form, const unsigned char *bytes, size_t len, char *out, size_t out_size)
{
	size_t prefix_len = strlen(form->prefix);

	if (out_size > 0)
		out[0] = '\0';
	if (len < form->min || len > form->max || out_size <= prefix_len + WH_BASE64_LEN(len))
		return false;
	memcpy(out, form->prefix, prefix_len);
	EVP_EncodeBlock((unsigned char *) out + prefix_len, bytes, (int) len);
	return true;
}

bool
wh_secret_encode(const unsigned char *bytes, size_t len, char *out, size_t out_size)
{
	return encode_form(&form_whsec, bytes, len, out, out_size);
}

bool
wh_secret_encode_ed25519(const unsigned char seed[WH_ED25519_SEED_LEN], char *out, size_t out_size)
{
	unsigned char both[WH_ED25519_SEED_LEN + WH_ED25519_PUBLIC_LEN];
	bool ok;

	if (out_size > 0)
		out[0] = '\0';
	memcpy(both, seed, WH_ED25519_SEED_LEN);
	ok = public_half(seed, both + WH_ED25519_SEED_LEN) &&
		 encode_form(&form_whsk, both, sizeof(both), out, out_size);
	OPENSSL_cleanse(both, sizeof(both));
	return ok;
}

void
wh_key_wipe(WhKey *key)
{
	OPENSSL_cleanse(key, sizeof(*key));
	wh_digest_forget();
}
