/*
 * sign.h
 *	  Signatures of requests: how to make one, how to check one, and secrets as
 *	  text. A profile's columns describe what the signature looks like.
 *
 * All of it runs in one thread, because keyed contexts are kept between calls.
 *
 * sign.c has the header's text; sign_digest.c the arithmetic (HMAC of RFC 2104, SHA of
 * FIPS 180-4, ed25519 of RFC 8032); sign_key.c the secrets. Base64 is that of RFC 4648,
 * section 4, padded, and accepted only as we would write it. Hex is in lower case.
 *
 * No reason that these functions return quotes any part of a secret.
 */
#ifndef WEBHOOK_SIGN_H
#define WEBHOOK_SIGN_H

#include "buffer.h"
#include "types.h"

#define WH_SIGNATURE_FORMAT_MAX 128 /* bytes of a format */
#define WH_SEPARATOR_MAX 8          /* bytes of a separator */
#define WH_SIGNATURE_MAX 1024       /* a header's value with WH_SECRETS_MAX signatures, with NUL */

#define WH_SECRET_TEXT_MAX 128 /* a secret that we write, with NUL */
#define WH_SECRET_BYTES_MIN 24 /* bytes of a whsec_ secret, decoded */
#define WH_SECRET_BYTES_MAX 64
#define WH_ED25519_SEED_LEN 32
#define WH_ED25519_PUBLIC_LEN 32

typedef enum WhAlgorithm
{
	WH_ALGORITHM_NONE, /* no signature */
	WH_ALGORITHM_HMAC_SHA256,
	WH_ALGORITHM_HMAC_SHA1,
	WH_ALGORITHM_SHA1,   /* of the content followed by the secret (Xsolla's) */
	WH_ALGORITHM_ED25519 /* receivers hold only the public half */
} WhAlgorithm;

typedef enum WhEncoding
{
	WH_ENCODING_HEX,
	WH_ENCODING_BASE64
} WhEncoding;

typedef enum WhSecretEncoding
{
	WH_SECRET_RAW,  /* the key is the secret's whole text */
	WH_SECRET_WHSEC /* base64 after whsec_; with ed25519 after whsk_, or whpk_ (the public half) */
} WhSecretEncoding;

/*
 * How requests are signed: the signature columns of a row of webhook.profile. The
 * strings are the caller's and must outlive the struct.
 *
 * `content` is what is signed: text with {id}, {timestamp} and {body}. `format` is the
 * header's value: text with {signature} and perhaps {timestamp}. With a separator, the
 * format is a list, and its entry with {signature} is repeated for each key. So
 * "t={timestamp},v1={signature}" with "," becomes "t=...,v1=...,v1=...". Without a
 * separator, the header has room for a single signature.
 */
typedef struct WhSigning
{
	WhAlgorithm algorithm;
	WhEncoding encoding;
	WhSecretEncoding secret_encoding;
	const char *content;
	const char *format;
	const char *separator; /* "": the header holds one signature */
} WhSigning;

/* What is signed. */
typedef struct WhMessage
{
	const char *id;
	int64_t timestamp; /* Unix seconds */
	const char *body;  /* may be NULL where body_len is 0 */
	size_t body_len;
	const WhBuffer *pieces; /* not NULL: the body is this */
} WhMessage;

/* Standard Webhooks 1.0.0, v1: HMAC-SHA256 of id.timestamp.body in the header webhook-signature. */
extern const WhSigning wh_signing_standard;

/*
 * Read the columns, which are all text; a separator of NULL counts as "". False: they
 * describe no way to sign, `why` is a constant string that says so, and the algorithm
 * is 'none'. With algorithm 'none' the others are ignored and may be NULL.
 */
extern bool wh_signing_parse(const char *algorithm, const char *encoding, const char *secret_encoding,
							 const char *content, const char *format, const char *separator,
							 WhSigning *signing, const char **why);

/*
 * The value of the signature header. Keys are in order, the newest first. If the
 * header has room for only one signature, the *oldest* key makes it. While secrets
 * overlap, some receivers do not have the new one yet. They must not refuse
 * everything, or the overlap would be useless to them.
 *
 * False, with an empty `out`: there is no key, a key is not as wh_secret_decode makes
 * them, OpenSSL or memory fails, or `out` is too small (WH_SIGNATURE_MAX is enough).
 * With algorithm 'none' it returns true and an empty `out`.
 */
extern bool wh_sign(const WhSigning *signing, const WhKey *const *keys, int n_keys, const WhMessage *message,
					char *out, size_t out_size);

/*
 * True if any signature in the header's value is right. Entries that the format does
 * not know are skipped. The time it takes depends on lengths and on what was sent,
 * never on how close a wrong signature was.
 */
extern bool wh_verify(const WhSigning *signing, const WhKey *key, const WhMessage *message,
					  const char *header);

/*
 * Does the format hold the timestamp? And the timestamp in this header's value; false:
 * it holds none, or several.
 */
extern bool wh_signature_has_timestamp(const WhSigning *signing);
extern bool wh_signature_timestamp(const WhSigning *signing, const char *header, int64_t *timestamp);

/* Read Unix seconds exactly as we write them: digits, no sign, no blank, no leading zero. */
extern bool wh_timestamp_parse(const char *text, size_t len, int64_t *timestamp);

/*
 * Decode a secret for signing; or for verifying, where a public key whpk_ is enough.
 * False: it does not have the required form, `why` is a constant string that quotes no
 * part of it, and the key is empty.
 */
extern bool wh_secret_decode(const WhSigning *signing, const char *text, WhKey *key, const char **why);
extern bool wh_verifier_decode(const WhSigning *signing, const char *text, WhKey *key, const char **why);

/*
 * Write whsec_ and the base64 of `len` random bytes (24 to 64); or whsk_ and the base64
 * of a seed and its public half. The caller supplies the random bytes. False, with an
 * empty `out`: the length is out of range, OpenSSL fails, or `out` is too small.
 * WH_SECRET_TEXT_MAX is always enough.
 */
extern bool wh_secret_encode(const unsigned char *bytes, size_t len, char *out, size_t out_size);
extern bool wh_secret_encode_ed25519(const unsigned char seed[WH_ED25519_SEED_LEN], char *out,
									 size_t out_size);

/*
 * Overwrite a key, and what OpenSSL keeps of the keys last used, so that neither stays
 * in freed memory.
 */
extern void wh_key_wipe(WhKey *key);

#endif /* WEBHOOK_SIGN_H */
