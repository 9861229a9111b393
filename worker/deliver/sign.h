/*
 * sign.h
 *	  Signatures of requests. The only engine file with OpenSSL beneath it.
 *
 * Called by deliver.c for every request and deliver_endpoint.c when a
 * subscription's secrets are read, and by api.c (webhook.check_secret,
 * webhook.generate_secret). All of it runs in one thread: a keyed context is
 * kept between calls.
 *
 * Two schemes of Standard Webhooks 1.0.0, over the same bytes, which are
 * id "." timestamp "." body: v1 is HMAC-SHA256 (RFC 2104, FIPS 180-4) with a
 * shared secret, v1a is ed25519 (RFC 8032), whose receivers hold only the
 * public half. Base64 is that of RFC 4648, section 4, padded, and accepted
 * only as it would be written.
 *
 * No reason given by these functions quotes any part of a secret.
 */
#ifndef WEBHOOK_SIGN_H
#define WEBHOOK_SIGN_H

#include "types.h"

/* All entries of a webhook-signature header, with NUL: v1, and v1a. */
#define WH_SIGNATURE_MAX (WH_SECRETS_MAX * 64)
#define WH_SIGNATURE_V1A_MAX (WH_SECRETS_MAX * 96)

#define WH_SECRET_TEXT_MAX 128 /* a secret as text, with NUL */
#define WH_SECRET_BYTES_MIN 24 /* bytes of a v1 secret, decoded */
#define WH_SECRET_BYTES_MAX 64

/*
 * Decode a Standard Webhooks secret: whsec_ and the base64 of 24 to 64 bytes.
 * Returns false and a reason (a constant string that quotes no part of the
 * secret) where it is anything else; the key is then empty.
 */
extern bool wh_secret_decode(const char *text, WhKey *key, const char **why);

/*
 * Write whsec_ and the base64 of `len` random bytes (24 to 64); the caller
 * brings them. Returns false, with an empty `out`, where the length is another
 * or `out` is too small; WH_SECRET_TEXT_MAX is always enough.
 */
extern bool wh_secret_encode(const unsigned char *bytes, size_t len, char *out, size_t out_size);

/* Overwrite a key, and what OpenSSL keeps of the last one used, so that neither is left in freed memory. */
extern void wh_key_wipe(WhKey *key);

/*
 * The value of the header webhook-signature (Standard Webhooks 1.0.0): one
 * "v1,<base64 of HMAC-SHA256>" per key, joined by a space, over
 * id "." timestamp "." body. `timestamp` in Unix seconds. Returns false where
 * there is no key, one is not of 24 to 64 bytes, OpenSSL fails or `out` is too
 * small (WH_SIGNATURE_MAX is enough for WH_SECRETS_MAX keys); `out` is then
 * empty.
 */
extern bool wh_sign_v1(const WhKey *keys, int n_keys, const char *id, int64_t timestamp, const char *body,
					   size_t body_len, char *out, size_t out_size);

/* True if any entry of `header` is a right v1 signature by `key`; in constant time per entry. */
extern bool wh_verify_v1(const WhKey *key, const char *id, int64_t timestamp, const char *body,
						 size_t body_len, const char *header);

/*
 * Decode a secret of scheme v1a: whsk_ and the base64 of 64 bytes, the seed
 * and the public half that follows from it (checked). The key can sign and
 * verify. Errors as of wh_secret_decode.
 */
extern bool wh_secret_decode_v1a(const char *text, WhKey *key, const char **why);

/* Decode a public key of scheme v1a: whpk_ and the base64 of 32 bytes. It can only verify. */
extern bool wh_public_decode_v1a(const char *text, WhKey *key, const char **why);

/*
 * As wh_sign_v1, one "v1a,<base64 of the ed25519 signature>" per key. Fails
 * also where a key is not one of wh_secret_decode_v1a, and without memory: the
 * signed bytes are copied together for each call. WH_SIGNATURE_V1A_MAX is
 * enough for WH_SECRETS_MAX keys.
 */
extern bool wh_sign_v1a(const WhKey *keys, int n_keys, const char *id, int64_t timestamp, const char *body,
						size_t body_len, char *out, size_t out_size);

/* True if any entry of `header` is a right v1a signature; `key` is a public key or a secret one. */
extern bool wh_verify_v1a(const WhKey *key, const char *id, int64_t timestamp, const char *body,
						  size_t body_len, const char *header);

#endif /* WEBHOOK_SIGN_H */
