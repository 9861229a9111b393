/*
 * seal.c
 *	  Secrets at rest: AES-256-GCM with a key that is kept outside the database.
 *
 * Owns nothing and keeps nothing: keys and secrets belong to the caller, and copies of
 * them are wiped before each return. Every seal has its own random nonce. A key seals
 * only a few secrets, so 96 random bits do not repeat.
 */
#include "seal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define PREFIX "sealed:"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define NONCE_LEN 12
#define TAG_LEN 16

#define KEY_BASE64_LEN ((WH_SEAL_KEY_LEN + 2) / 3 * 4)

#define ID_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/*
 * Key files
 */

/* The 32 bytes of a key; false: the text is anything else. */
static bool
decode_key(const char *text, size_t len, unsigned char key[WH_SEAL_KEY_LEN])
{
	unsigned char decoded[KEY_BASE64_LEN / 4 * 3];
	bool ok = len == KEY_BASE64_LEN && text[len - 1] == '=' && text[len - 2] != '=' &&
			  EVP_DecodeBlock(decoded, (const unsigned char *) text, (int) len) == sizeof(decoded);

	if (ok)
		memcpy(key, decoded, WH_SEAL_KEY_LEN);
	OPENSSL_cleanse(decoded, sizeof(decoded));
	return ok;
}

static const WhSealKey *
find_key(const WhKeyring *ring, const char *id, size_t len)
{
	for (int i = 0; i < ring->n; i++)
		if (strlen(ring->keys[i].id) == len && memcmp(ring->keys[i].id, id, len) == 0)
			return &ring->keys[i];
	return NULL;
}

/* Read one line, without its end. NULL, or what is wrong with it. */
static const char *
parse_line(const char *text, size_t len, WhKeyring *ring)
{
	WhSealKey *key = &ring->keys[ring->n];
	size_t id_len = strspn(text, ID_CHARACTERS);
	const char *digits;
	size_t blanks;

	if (id_len == 0 || id_len > WH_SEAL_ID_MAX)
		return "it does not begin with a key's id of 1 to 32 letters, digits, hyphens and underscores";
	blanks = strspn(text + id_len, " \t");
	if (id_len + blanks > len || blanks == 0)
		return "there is no blank between the key's id and the key";
	if (find_key(ring, text, id_len))
		return "the key's id is used twice";
	if (ring->n == WH_SEAL_KEYS_MAX)
		return "there are more than 8 keys";
	digits = text + id_len + blanks;
	if (!decode_key(digits, len - id_len - blanks, key->key))
		return "the key is not the base64 of 32 bytes";
	memcpy(key->id, text, id_len);
	key->id[id_len] = '\0';
	ring->n++;
	return NULL;
}

bool
wh_keyring_parse(const char *text, WhKeyring *ring, int *line, const char **why)
{
	memset(ring, 0, sizeof(*ring));
	*why = NULL;
	*line = 0;
	while (*text && *why == NULL)
	{
		size_t len = strcspn(text, "\n");
		size_t kept = len;

		(*line)++;
		while (kept > 0 && strchr(" \t\r", text[kept - 1]))
			kept--;
		if (kept > 0 && text[0] != '#')
			*why = parse_line(text, kept, ring);
		text += len + (text[len] == '\n');
	}
	if (*why == NULL && ring->n == 0)
		*why = "there is no key in it";
	if (*why)
		wh_keyring_wipe(ring);
	return *why == NULL;
}

void
wh_keyring_wipe(WhKeyring *ring)
{
	OPENSSL_cleanse(ring, sizeof(*ring));
	ring->n = 0;
}

/*
 * Sealing
 */

bool
wh_is_sealed(const char *text)
{
	return strncmp(text, PREFIX, PREFIX_LEN) == 0;
}

/* Encrypt into nonce, ciphertext, tag. */
static bool
encrypt(const WhSealKey *key, const char *owner, const char *secret, size_t len, unsigned char *box)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	unsigned char *out = box + NONCE_LEN;
	int n;
	bool ok = ctx && RAND_bytes(box, NONCE_LEN) == 1 &&
			  EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key->key, box, NULL) == 1 &&
			  EVP_EncryptUpdate(ctx, NULL, &n, (const unsigned char *) owner, (int) strlen(owner)) == 1 &&
			  EVP_EncryptUpdate(ctx, out, &n, (const unsigned char *) secret, (int) len) == 1 &&
			  EVP_EncryptFinal_ex(ctx, out + n, &n) == 1 &&
			  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + len) == 1;

	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

bool
wh_seal(const WhKeyring *ring, const char *owner, const char *secret, char *out, size_t size)
{
	size_t len = strlen(secret);
	size_t box_len = NONCE_LEN + len + TAG_LEN;
	size_t id_len;
	unsigned char *box;
	bool ok;

	if (ring->n == 0 || len > WH_SEAL_PLAIN_MAX || size < WH_SEALED_SIZE(len))
		return false;
	if ((box = malloc(box_len)) == NULL)
		return false;
	ok = encrypt(&ring->keys[0], owner, secret, len, box);
	if (ok)
	{
		id_len = strlen(ring->keys[0].id);
		memcpy(out, PREFIX, PREFIX_LEN);
		memcpy(out + PREFIX_LEN, ring->keys[0].id, id_len);
		out[PREFIX_LEN + id_len] = ':';
		EVP_EncodeBlock((unsigned char *) out + PREFIX_LEN + id_len + 1, box, (int) box_len);
	}
	free(box);
	return ok;
}

/* Decrypt a box into `len` bytes. False: it is damaged or not this owner's. */
static bool
decrypt(const WhSealKey *key, const char *owner, const unsigned char *box, size_t len, char *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	unsigned char tag[TAG_LEN];
	int n;
	bool ok;

	memcpy(tag, box + NONCE_LEN + len, TAG_LEN);
	ok = ctx && EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), key->key, box, NULL) == 1 &&
		 EVP_DecryptUpdate(ctx, NULL, &n, (const unsigned char *) owner, (int) strlen(owner)) == 1 &&
		 EVP_DecryptUpdate(ctx, (unsigned char *) out, &n, box + NONCE_LEN, (int) len) == 1 &&
		 EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 &&
		 EVP_DecryptFinal_ex(ctx, (unsigned char *) out + n, &n) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/*
 * How many bytes base64 text of this length encodes; -1: it cannot be base64. Counted
 * here, because OpenSSL counts padding as bytes.
 */
static long
decoded_len(const char *base64, size_t len)
{
	long n = (long) (len / 4 * 3);

	if (len == 0 || len % 4 != 0 || len > WH_SEALED_SIZE(WH_SEAL_PLAIN_MAX))
		return -1;
	return n - (base64[len - 1] == '=') - (base64[len - 2] == '=');
}

WhUnsealed
wh_unseal(const WhKeyring *ring, const char *owner, const char *sealed, char *out, size_t size)
{
	const char *id = sealed + PREFIX_LEN;
	const char *base64;
	const WhSealKey *key;
	unsigned char *box;
	size_t base64_len;
	long box_len;
	WhUnsealed result = WH_UNSEAL_DAMAGED;

	if (!wh_is_sealed(sealed) || (base64 = strchr(id, ':')) == NULL)
		return WH_UNSEAL_DAMAGED;
	if ((key = find_key(ring, id, (size_t) (base64 - id))) == NULL)
		return WH_UNSEAL_NO_KEY;
	base64_len = strlen(++base64);
	box_len = decoded_len(base64, base64_len);
	if (box_len < NONCE_LEN + TAG_LEN)
		return WH_UNSEAL_DAMAGED;
	if (size < (size_t) box_len || (box = malloc(base64_len / 4 * 3)) == NULL)
		return WH_UNSEAL_NO_MEMORY;
	if (EVP_DecodeBlock(box, (const unsigned char *) base64, (int) base64_len) >= box_len)
	{
		size_t len = (size_t) box_len - NONCE_LEN - TAG_LEN;

		if (decrypt(key, owner, box, len, out))
		{
			out[len] = '\0';
			result = WH_UNSEALED;
		}
		else
			OPENSSL_cleanse(out, len);
	}
	free(box);
	return result;
}
