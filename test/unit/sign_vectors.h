/*
 * sign_vectors.h
 *	  Published examples of signatures, one or more per scheme, and what the
 *	  tests of sign do with them. The HMACs and SHA-1s can be had from
 *	  `openssl dgst` as well.
 */
#ifndef SIGN_VECTORS_H
#define SIGN_VECTORS_H

#include <stdlib.h>

#include "sign.h"
#include "unit.h"

#define SECRET_A "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECRET_B "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
#define SECRET_D                                                                                             \
	"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
#define PUBLIC_D "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="

#define SIGNATURE_A "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define SIGNATURE_D                                                                                          \
	"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

#define MESSAGE(id, timestamp, body)                                                                         \
	{                                                                                                        \
		id, timestamp, body, sizeof(body) - 1, NULL                                                          \
	}

static const WhMessage message_a =
	MESSAGE("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}");

static const WhSigning signing_d = {WH_ALGORITHM_ED25519,      WH_ENCODING_BASE64, WH_SECRET_WHSEC,
									"{id}.{timestamp}.{body}", "v1a,{signature}",  " "};
static const WhSigning signing_github = {
	WH_ALGORITHM_HMAC_SHA256, WH_ENCODING_HEX, WH_SECRET_RAW, "{body}", "sha256={signature}", ""};
static const WhSigning signing_github_sha1 = {
	WH_ALGORITHM_HMAC_SHA1, WH_ENCODING_HEX, WH_SECRET_RAW, "{body}", "sha1={signature}", ""};
static const WhSigning signing_stripe = {WH_ALGORITHM_HMAC_SHA256,
										 WH_ENCODING_HEX,
										 WH_SECRET_RAW,
										 "{timestamp}.{body}",
										 "t={timestamp},v1={signature}",
										 ","};
static const WhSigning signing_xsolla = {WH_ALGORITHM_SHA1, WH_ENCODING_HEX,         WH_SECRET_RAW,
										 "{body}",          "Signature {signature}", ""};
static const WhSigning signing_aghanim = {WH_ALGORITHM_HMAC_SHA256, WH_ENCODING_HEX, WH_SECRET_RAW,
										  "{timestamp}.{body}",     "{signature}",   ""};

typedef struct Vector
{
	const char *name;
	const WhSigning *signing;
	const char *secret, *verifier;
	WhMessage message;
	const char *header;
} Vector;

static const Vector vectors[] = {
	{"Standard Webhooks A", &wh_signing_standard, SECRET_A, SECRET_A,
	 MESSAGE("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}"), SIGNATURE_A},
	{"Standard Webhooks B", &wh_signing_standard, SECRET_B, SECRET_B,
	 MESSAGE("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553,
			 "{\"email\":\"test@example.com\",\"username\":\"test_user\"}"),
	 "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="},
	{"Standard Webhooks D", &signing_d, SECRET_D, PUBLIC_D,
	 MESSAGE("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}"), SIGNATURE_D},
	{"Xsolla", &signing_xsolla, "mysecret", "mysecret", MESSAGE("", 0, "{\"event_type\":\"registration\"}"),
	 "Signature 36c437024ce26d21dcda017b4f912ef775873fa7"},
	{"Aghanim", &signing_aghanim, "mysecret", "mysecret",
	 MESSAGE("", 1725548450, "{\"event_type\":\"player.update\"}"),
	 "ed2452d87f833eab6036f3f1113edf25cecbcf5c68c3c22db90cf877a9accbe8"},
	{"GitHub", &signing_github, "It's a Secret to Everybody", "It's a Secret to Everybody",
	 MESSAGE("", 0, "Hello, World!"),
	 "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
	/* printf 'Hello, World!' | openssl dgst -sha1 -hmac "It's a Secret to Everybody" */
	{"GitHub, SHA-1", &signing_github_sha1, "It's a Secret to Everybody", "It's a Secret to Everybody",
	 MESSAGE("", 0, "Hello, World!"), "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"},
	{"Stripe", &signing_stripe, "whsec_test_secret", "whsec_test_secret",
	 MESSAGE("", 1700000000, "{\"id\":\"evt_test_webhook\",\"object\":\"event\"}"),
	 "t=1700000000,v1=d95c6b7477fbd7e9f90b1b0ef5f9c7ac25abca5382460e0d988c2b2a5b71b990"},
};

static inline WhKey
key_of(const WhSigning *signing, const char *text)
{
	WhKey key;
	const char *why;

	if (!wh_verifier_decode(signing, text, &key, &why))
		fail_msg("%s: %s", text, why);
	assert_null(why);
	return key;
}

/* The header's value with one key; overwritten by the next call. */
static inline const char *
signature_of(const WhSigning *signing, const WhKey *key, const WhMessage *message)
{
	static char out[WH_SIGNATURE_MAX];

	assert_true(wh_sign(signing, &key, 1, message, out, sizeof(out)));
	return out;
}

/* OpenSSL's allocations go through the ones that can be made to fail. */
static inline void *
openssl_malloc(size_t size, const char *file, int line)
{
	(void) file;
	(void) line;
	return malloc(size);
}

static inline void *
openssl_realloc(void *old, size_t size, const char *file, int line)
{
	(void) file;
	(void) line;
	return realloc(old, size);
}

static inline void
openssl_free(void *old, const char *file, int line)
{
	(void) file;
	(void) line;
	free(old);
}

#endif /* SIGN_VECTORS_H */
