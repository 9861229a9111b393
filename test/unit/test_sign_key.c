/*
 * test_sign_key.c
 *	  Secrets as text: what is one of its form and what is not, with the reason,
 *	  which quotes no part of it; writing them; and OpenSSL out of memory.
 */
#include "unit.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "sign.h"
#include "sign_vectors.h"

#define BYTES_63 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+"

static void
test_secrets(void **state)
{
	static const struct
	{
		const char *text;
		size_t len; /* 0: refused */
		const char *why;
	} rows[] = {
		{SECRET_A, 24, NULL},
		{SECRET_B, 24, NULL},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=", 0, "it does not encode 24 to 64 bytes"}, /* 23 */
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 24, NULL},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA==", 25, NULL},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk=", 26, NULL},
		{"whsec_" BYTES_63, 63, NULL},
		{"whsec_" BYTES_63 "P", 0, "the text after whsec_ is not valid base64"}, /* not a multiple of 4 */
		{"whsec_" BYTES_63 "Pw==", 64, NULL},
		{"whsec_" BYTES_63 "P0A=", 0, "it does not encode 24 to 64 bytes"}, /* 65 */
		{"whsec_" BYTES_63 "P0BB", 0, "it does not encode 24 to 64 bytes"}, /* 66 */
		{"whsec_" BYTES_63 "P0BBQkM=", 0, "it does not encode 24 to 64 bytes"},
		{"", 0, "it does not begin with whsec_"},
		{"whsec", 0, "it does not begin with whsec_"},
		{"WHSEC_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
		{" whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
		{"whsec_", 0, "the text after whsec_ is not valid base64"},
		{"whsec_====", 0, "the text after whsec_ is not valid base64"},
		/* 25 bytes: padding missing, short, too much, in the wrong place */
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA=", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXG===", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX====", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA=A", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AA==AwQFBgcICQoLDA0ODxAREhMUFRYXGBka", 0, "the text after whsec_ is not valid base64"},
		/* bits behind the last byte that are not zero */
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGB==", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBl=", 0, "the text after whsec_ is not valid base64"},
		/* strangers, at either end and between */
		{"whsec_ AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk\n", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O xAREhMUFRYXGBka", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O-xAREhMUFRYXGBka", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O_xAREhMUFRYXGBka", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O\xffxAREhMUFRYXGBka", 0, "the text after whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX----", 0, "the text after whsec_ is not valid base64"},
		{"whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhKey key;
		const char *why;
		char again[WH_SECRET_TEXT_MAX];

		check_row(rows[i].text,
				  wh_secret_decode(&wh_signing_standard, rows[i].text, &key, &why) == (rows[i].len > 0));
		check_row(rows[i].text, key.len == rows[i].len);
		if (rows[i].why != NULL)
			assert_string_equal(why, rows[i].why);
		else
		{
			check_row(rows[i].text, why == NULL);
			assert_true(wh_secret_encode(key.bytes, key.len, again, sizeof(again)));
			assert_string_equal(again, rows[i].text);
		}
	}
}

static void
test_secrets_ed25519(void **state)
{
	static const struct
	{
		bool (*decode)(const WhSigning *signing, const char *text, WhKey *key, const char **why);
		const char *text;
		const char *why;
	} rows[] = {
		{wh_secret_decode, SECRET_A, "it does not begin with whsk_"},
		{wh_secret_decode, PUBLIC_D, "it does not begin with whsk_"},
		{wh_secret_decode,
		 "whsk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "it does not encode 64 bytes"},
		{wh_secret_decode, "whsk_1SiA", "it does not encode 64 bytes"},
		{wh_secret_decode, "whsk_1SiA?", "the text after whsk_ is not valid base64"},
		/* one letter of the public half is another */
		{wh_secret_decode,
		 "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6KvA==",
		 "its public key does not belong to its seed"},
		{wh_verifier_decode, SECRET_A, "it does not begin with whsk_"},
		{wh_verifier_decode, "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "it does not encode 32 bytes"},
		{wh_verifier_decode, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4",
		 "the text after whpk_ is not valid base64"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhKey key;
		const char *why;

		check_row(rows[i].text, !rows[i].decode(&signing_d, rows[i].text, &key, &why));
		assert_string_equal(why, rows[i].why);
		check_row(rows[i].text, key.len == 0);
	}
}

/* A raw secret is any text without control characters; not a letter of it is changed. */
static void
test_secrets_raw(void **state)
{
	char longest[WH_KEY_MAX + 2];
	static const struct
	{
		const char *text;
		const char *why; /* NULL: accepted */
	} rows[] = {
		{"mysecret", NULL},
		{"It's a Secret to Everybody", NULL},
		{"whsec_test_secret", NULL},
		{" blanks at both ends ", NULL},
		{"\xc3\xa9", NULL}, /* beyond ASCII */
		{"x", NULL},
		{"", "it is empty"},
		{"my\tsecret", "it contains a control character"},
		{"mysecret\n", "it contains a control character"},
		{"\x7f", "it contains a control character"},
		{"my\x1bsecret", "it contains a control character"},
	};
	WhKey key;
	const char *why;

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		check_row(rows[i].text,
				  wh_secret_decode(&signing_xsolla, rows[i].text, &key, &why) == (rows[i].why == NULL));
		if (rows[i].why)
			assert_string_equal(why, rows[i].why);
		check_row(rows[i].text, key.len == (rows[i].why ? 0 : strlen(rows[i].text)));
		check_row(rows[i].text, memcmp(key.bytes, rows[i].text, key.len) == 0);
	}
	memset(longest, 'x', sizeof(longest));
	longest[WH_KEY_MAX] = '\0';
	assert_true(wh_secret_decode(&signing_xsolla, longest, &key, &why));
	assert_int_equal(key.len, 200);
	longest[WH_KEY_MAX] = 'x';
	longest[WH_KEY_MAX + 1] = '\0';
	assert_false(wh_secret_decode(&signing_xsolla, longest, &key, &why));
	assert_string_equal(why, "it is longer than 200 bytes");
	assert_int_equal(key.len, 0);
}

/* Whatever is wrong with a secret, no four letters of it are in the reason. */
static void
test_reasons_quote_nothing(void **state)
{
	static const WhSigning *const signings[] = {&wh_signing_standard, &signing_xsolla, &signing_d};
	static const char *const texts[] = {
		"mysecret\n", "whsec_mysecret", "whsk_mysecret", "whpk_mysecret",
		"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6KvA=="};

	(void) state;
	for (size_t s = 0; s < lengthof(signings); s++)
		for (size_t i = 0; i < lengthof(texts); i++)
		{
			WhKey key;
			const char *why;
			/* behind the prefix, which a reason may name */
			const char *secret = strchr(texts[i], '_') ? strchr(texts[i], '_') + 1 : texts[i];

			if (wh_verifier_decode(signings[s], texts[i], &key, &why))
				continue;
			for (size_t at = 0; at + 4 <= strlen(secret); at++)
			{
				char part[5] = {0};

				memcpy(part, secret + at, 4);
				check_row(texts[i], strstr(why, part) == NULL);
			}
		}
}

/* The published key pair, made from its seed. */
static void
test_encode_ed25519(void **state)
{
	WhKey key = key_of(&signing_d, SECRET_D);
	char out[WH_SECRET_TEXT_MAX];
	size_t need = strlen(SECRET_D) + 1;

	(void) state;
	assert_true(wh_secret_encode_ed25519(key.bytes, out, sizeof(out)));
	assert_string_equal(out, SECRET_D);
	assert_true(wh_secret_encode_ed25519(key.bytes, out, need));
	assert_false(wh_secret_encode_ed25519(key.bytes, out, need - 1));
	assert_string_equal(out, "");
	assert_false(wh_secret_encode_ed25519(key.bytes, out, 0));
}

static void
test_encode(void **state)
{
	unsigned char bytes[80];
	char out[WH_SECRET_TEXT_MAX];

	(void) state;
	memset(bytes, 0xa5, sizeof(bytes));
	for (size_t len = 0; len <= sizeof(bytes); len++)
	{
		bool right = len >= 24 && len <= 64;

		memset(out, 'x', sizeof(out));
		assert_int_equal(wh_secret_encode(bytes, len, out, sizeof(out)), right);
		if (right)
		{
			WhKey key = key_of(&wh_signing_standard, out);
			size_t need = strlen(out) + 1;

			assert_int_equal(key.len, len);
			assert_memory_equal(key.bytes, bytes, len);
			assert_true(wh_secret_encode(bytes, len, out, need));
			assert_false(wh_secret_encode(bytes, len, out, need - 1));
			assert_false(wh_secret_encode(bytes, len, out, 0));
		}
		assert_string_equal(out, "");
	}
}

static void
test_wipe(void **state)
{
	static const WhKey zero;
	WhKey key = key_of(&wh_signing_standard, SECRET_A);

	(void) state;
	wh_key_wipe(&key);
	assert_memory_equal(&key, &zero, sizeof(key));
	wh_key_wipe(&key);
	/* and signing goes on with other keys */
	key = key_of(&wh_signing_standard, SECRET_A);
	assert_string_equal(signature_of(&wh_signing_standard, &key, &message_a), SIGNATURE_A);
}

/* Decoding an ed25519 secret asks OpenSSL for its public half: a whole key or an empty one, and a reason. */
static void
test_decode_no_memory(void **state)
{
	bool done = false;
	int failures = 0;

	(void) state;
	for (long n = 1; !done; n++)
	{
		WhKey key;
		const char *why;
		bool ok;

		fail_malloc_at(n);
		ok = wh_secret_decode(&signing_d, SECRET_D, &key, &why);
		done = !malloc_has_failed();
		failures += !ok;
		assert_true(ok || !done);
		assert_int_equal(key.len, ok ? 64 : 0);
		assert_int_equal(why == NULL, ok);
	}
	assert_true(failures > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secrets),     cmocka_unit_test(test_secrets_ed25519),
		cmocka_unit_test(test_secrets_raw), cmocka_unit_test(test_reasons_quote_nothing),
		cmocka_unit_test(test_encode),      cmocka_unit_test(test_encode_ed25519),
		cmocka_unit_test(test_wipe),        cmocka_unit_test(test_decode_no_memory),
	};

	if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free))
		return 1;
	return cmocka_run_group_tests_name("sign_key", tests, NULL, NULL);
}
