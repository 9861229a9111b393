/*
 * test_sign.c
 *	  Secrets and signatures: the vectors of Standard Webhooks (A and B for v1,
 *	  D for v1a), everything near them that must not pass, and OpenSSL running
 *	  out of memory.
 */
#include "unit.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "sign.h"

#define SECRET_A "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECRET_B "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
#define SECRET_D                                                                                             \
	"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
#define PUBLIC_D "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="

#define SIGNATURE_A "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define SIGNATURE_D                                                                                          \
	"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="

#define ID_A "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define BODY_A "{\"test\": 2432232314}"
#define STAMP_A 1614265330

typedef bool (*Decoder)(const char *text, WhKey *key, const char **why);
typedef bool (*Signer)(const WhKey *keys, int n_keys, const char *id, int64_t timestamp, const char *body,
					   size_t body_len, char *out, size_t out_size);
typedef bool (*Verifier)(const WhKey *key, const char *id, int64_t timestamp, const char *body,
						 size_t body_len, const char *header);

/* The published vectors. */
static const struct
{
	const char *name;
	Decoder decode;
	Decoder decode_verifier;
	Signer sign;
	Verifier verify;
	const char *secret, *verifier, *id;
	int64_t timestamp;
	const char *body, *signature;
} vectors[] = {
	{"A", wh_secret_decode, wh_secret_decode, wh_sign_v1, wh_verify_v1, SECRET_A, SECRET_A, ID_A, STAMP_A,
	 BODY_A, SIGNATURE_A},
	{"B", wh_secret_decode, wh_secret_decode, wh_sign_v1, wh_verify_v1, SECRET_B, SECRET_B,
	 "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553,
	 "{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
	 "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="},
	{"D", wh_secret_decode_v1a, wh_public_decode_v1a, wh_sign_v1a, wh_verify_v1a, SECRET_D, PUBLIC_D, ID_A,
	 STAMP_A, BODY_A, SIGNATURE_D},
};

static WhKey
key_of(Decoder decode, const char *text)
{
	WhKey key;
	const char *why;

	if (!decode(text, &key, &why))
		fail_msg("%s: %s", text, why);
	assert_null(why);
	return key;
}

static void
test_vectors(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		WhKey key = key_of(vectors[i].decode, vectors[i].secret);
		WhKey verifier = key_of(vectors[i].decode_verifier, vectors[i].verifier);
		size_t body_len = strlen(vectors[i].body);
		char out[WH_SIGNATURE_V1A_MAX];

		assert_true(vectors[i].sign(&key, 1, vectors[i].id, vectors[i].timestamp, vectors[i].body, body_len,
									out, sizeof(out)));
		assert_string_equal(out, vectors[i].signature);
		check_row(vectors[i].name, vectors[i].verify(&verifier, vectors[i].id, vectors[i].timestamp,
													 vectors[i].body, body_len, out));
		/* who can sign can verify */
		check_row(vectors[i].name, vectors[i].verify(&key, vectors[i].id, vectors[i].timestamp,
													 vectors[i].body, body_len, out));
	}
}

/* Any one bit flipped in body, signature or key, or another id or time: no. */
static void
test_flipped(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		WhKey key = key_of(vectors[i].decode_verifier, vectors[i].verifier);
		Verifier verify = vectors[i].verify;
		size_t body_len = strlen(vectors[i].body);
		size_t header_len = strlen(vectors[i].signature);
		char *body = strdup(vectors[i].body);
		char *header = strdup(vectors[i].signature);
		const char *id = vectors[i].id;
		int64_t stamp = vectors[i].timestamp;

		check_row(vectors[i].name, verify(&key, id, stamp, body, body_len, header));
		check_row(vectors[i].name, !verify(&key, id, stamp + 1, body, body_len, header));
		check_row(vectors[i].name, !verify(&key, id, -stamp, body, body_len, header));
		check_row(vectors[i].name, !verify(&key, id + 1, stamp, body, body_len, header));
		check_row(vectors[i].name, !verify(&key, id, stamp, body, body_len - 1, header));
		for (size_t bit = 0; bit < body_len * 8; bit++)
		{
			body[bit / 8] = (char) (body[bit / 8] ^ (1 << bit % 8));
			check_row(vectors[i].name, !verify(&key, id, stamp, body, body_len, header));
			body[bit / 8] = (char) (body[bit / 8] ^ (1 << bit % 8));
		}
		for (size_t bit = 0; bit < header_len * 8; bit++)
		{
			header[bit / 8] = (char) (header[bit / 8] ^ (1 << bit % 8));
			check_row(vectors[i].name, !verify(&key, id, stamp, body, body_len, header));
			header[bit / 8] = (char) (header[bit / 8] ^ (1 << bit % 8));
		}
		for (size_t bit = 0; bit < key.len * 8; bit++)
		{
			key.bytes[bit / 8] = (unsigned char) (key.bytes[bit / 8] ^ (1 << bit % 8));
			check_row(vectors[i].name, !verify(&key, id, stamp, body, body_len, header));
			key.bytes[bit / 8] = (unsigned char) (key.bytes[bit / 8] ^ (1 << bit % 8));
		}
		check_row(vectors[i].name, verify(&key, id, stamp, body, body_len, header));
		free(body);
		free(header);
	}
}

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
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=", 0, "it does not hold 24 to 64 bytes"}, /* 23 */
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 24, NULL},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA==", 25, NULL},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk=", 26, NULL},
		{"whsec_" BYTES_63, 63, NULL},
		{"whsec_" BYTES_63 "P", 0, "what follows whsec_ is not valid base64"}, /* not a multiple of 4 */
		{"whsec_" BYTES_63 "Pw==", 64, NULL},
		{"whsec_" BYTES_63 "P0A=", 0, "it does not hold 24 to 64 bytes"}, /* 65 */
		{"whsec_" BYTES_63 "P0BB", 0, "it does not hold 24 to 64 bytes"}, /* 66 */
		{"whsec_" BYTES_63 "P0BBQkM=", 0, "it does not hold 24 to 64 bytes"},
		{"", 0, "it does not begin with whsec_"},
		{"whsec", 0, "it does not begin with whsec_"},
		{"WHSEC_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
		{" whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
		{"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
		{"whsec_", 0, "what follows whsec_ is not valid base64"},
		{"whsec_====", 0, "what follows whsec_ is not valid base64"},
		/* 25 bytes: padding missing, short, too much, in the wrong place */
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA=", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXG===", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX====", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA=A", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AA==AwQFBgcICQoLDA0ODxAREhMUFRYXGBka", 0, "what follows whsec_ is not valid base64"},
		/* bits behind the last byte that are not zero */
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGB==", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBl=", 0, "what follows whsec_ is not valid base64"},
		/* strangers, at either end and between */
		{"whsec_ AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX\n", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBk\n", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O xAREhMUFRYXGBka", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O-xAREhMUFRYXGBka", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O_xAREhMUFRYXGBka", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0O\xffxAREhMUFRYXGBka", 0, "what follows whsec_ is not valid base64"},
		{"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX----", 0, "what follows whsec_ is not valid base64"},
		{"whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 0, "it does not begin with whsec_"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhKey key;
		const char *why;
		char again[WH_SECRET_TEXT_MAX];

		check_row(rows[i].text, wh_secret_decode(rows[i].text, &key, &why) == (rows[i].len > 0));
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
test_secrets_v1a(void **state)
{
	static const struct
	{
		Decoder decode;
		const char *text;
		const char *why;
	} rows[] = {
		{wh_secret_decode_v1a, SECRET_A, "it does not begin with whsk_"},
		{wh_secret_decode_v1a, PUBLIC_D, "it does not begin with whsk_"},
		{wh_secret_decode_v1a,
		 "whsk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", "it does not hold 64 bytes"},
		{wh_secret_decode_v1a, "whsk_1SiA", "it does not hold 64 bytes"},
		{wh_secret_decode_v1a, "whsk_1SiA?", "what follows whsk_ is not valid base64"},
		/* one letter of the public half is another */
		{wh_secret_decode_v1a,
		 "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6KvA==",
		 "its public half does not belong to its secret half"},
		{wh_public_decode_v1a, SECRET_D, "it does not begin with whpk_"},
		{wh_public_decode_v1a, "whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "it does not hold 32 bytes"},
		{wh_public_decode_v1a, "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4",
		 "what follows whpk_ is not valid base64"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhKey key;
		const char *why;

		check_row(rows[i].text, !rows[i].decode(rows[i].text, &key, &why));
		assert_string_equal(why, rows[i].why);
		check_row(rows[i].text, key.len == 0);
	}
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
			WhKey key = key_of(wh_secret_decode, out);
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

/* Several keys, as in the overlap of a rotation; receivers hold any one of them. */
static void
test_many_keys(void **state)
{
	WhKey v1[WH_SECRETS_MAX], v1a[WH_SECRETS_MAX];
	char out[WH_SIGNATURE_MAX], out_a[WH_SIGNATURE_V1A_MAX];
	WhKey stranger = key_of(wh_secret_decode, "whsec_" BYTES_63 "Pw==");

	(void) state;
	for (int i = 0; i < WH_SECRETS_MAX; i++)
	{
		v1[i] = key_of(wh_secret_decode, SECRET_A);
		v1[i].bytes[0] = (unsigned char) (v1[i].bytes[0] + i);
		v1a[i] = key_of(wh_secret_decode_v1a, SECRET_D);
	}
	assert_true(wh_sign_v1(v1, WH_SECRETS_MAX, ID_A, STAMP_A, BODY_A, strlen(BODY_A), out, sizeof(out)));
	assert_int_equal(strlen(out), WH_SECRETS_MAX * 48 - 1);
	assert_memory_equal(out, SIGNATURE_A " v1,", 51);
	for (int i = 0; i < WH_SECRETS_MAX; i++)
		assert_true(wh_verify_v1(&v1[i], ID_A, STAMP_A, BODY_A, strlen(BODY_A), out));
	assert_false(wh_verify_v1(&stranger, ID_A, STAMP_A, BODY_A, strlen(BODY_A), out));

	assert_true(
		wh_sign_v1a(v1a, WH_SECRETS_MAX, ID_A, STAMP_A, BODY_A, strlen(BODY_A), out_a, sizeof(out_a)));
	assert_int_equal(strlen(out_a), WH_SECRETS_MAX * 93 - 1);
	assert_true(wh_verify_v1a(&v1a[0], ID_A, STAMP_A, BODY_A, strlen(BODY_A), out_a));
}

/* Room for two entries, byte by byte: all or nothing. */
static void
test_small_out(void **state)
{
	WhKey keys[2] = {key_of(wh_secret_decode, SECRET_A), key_of(wh_secret_decode, SECRET_B)};

	(void) state;
	for (size_t size = 0; size <= 97; size++)
	{
		char *out = malloc(size + 1);

		memset(out, 'x', size + 1);
		assert_int_equal(wh_sign_v1(keys, 2, ID_A, STAMP_A, BODY_A, strlen(BODY_A), out, size), size >= 96);
		assert_int_equal(out[size], 'x');
		if (size > 0)
			assert_int_equal(strlen(out), size >= 96 ? 95 : 0);
		free(out);
	}
}

/* Keys that never were decoded. */
static void
test_bad_keys(void **state)
{
	static const size_t lengths[] = {0, 1, 23, 65, 1000};
	WhKey good = key_of(wh_secret_decode, SECRET_A);
	char out[WH_SIGNATURE_V1A_MAX] = "x";

	(void) state;
	assert_false(wh_sign_v1(&good, 0, ID_A, STAMP_A, BODY_A, 1, out, sizeof(out)));
	assert_string_equal(out, "");
	assert_false(wh_sign_v1a(&good, 0, ID_A, STAMP_A, BODY_A, 1, out, sizeof(out)));
	for (size_t i = 0; i < lengthof(lengths); i++)
	{
		WhKey keys[2] = {good, good};

		keys[1].len = lengths[i];
		strcpy(out, "x");
		assert_false(wh_sign_v1(keys, 2, ID_A, STAMP_A, BODY_A, 1, out, sizeof(out)));
		assert_string_equal(out, "");
		assert_false(wh_sign_v1a(&keys[1], 1, ID_A, STAMP_A, BODY_A, 1, out, sizeof(out)));
		assert_false(wh_verify_v1(&keys[1], ID_A, STAMP_A, BODY_A, strlen(BODY_A), SIGNATURE_A));
		assert_false(wh_verify_v1a(&keys[1], ID_A, STAMP_A, BODY_A, strlen(BODY_A), SIGNATURE_D));
	}
	/* a public key verifies, and signs nothing */
	good = key_of(wh_public_decode_v1a, PUBLIC_D);
	assert_false(wh_sign_v1a(&good, 1, ID_A, STAMP_A, BODY_A, 1, out, sizeof(out)));
}

static void
test_headers(void **state)
{
	static const struct
	{
		const char *header;
		bool v1, v1a; /* right for keys A and D? */
	} rows[] = {
		{SIGNATURE_A, true, false},
		{SIGNATURE_D, false, true},
		{SIGNATURE_A " " SIGNATURE_D, true, true},
		{SIGNATURE_D " " SIGNATURE_A, true, true},
		{"v2,what SHA3, " SIGNATURE_D "  " SIGNATURE_A " v1,", true, true},
		{"v1,AAAA " SIGNATURE_A, true, false},
		{"v1a,AAAA v1a, " SIGNATURE_D, false, true},
		{" " SIGNATURE_A " ", true, false},
		{"", false, false},
		{"   ", false, false},
		{"v1", false, false},
		{"v1,", false, false},
		{"v1a,", false, false},
		{"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", false, false},
		{"V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", false, false},
		{"v1=g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", false, false},
		{"v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", false, false},
		{"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", false, false},
		{"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=", false, false}, /* same bytes, other bits behind */
		{SIGNATURE_A "," SIGNATURE_A, false, false},
		{SIGNATURE_A "\t" SIGNATURE_A, false, false},
	};
	WhKey a = key_of(wh_secret_decode, SECRET_A);
	WhKey d = key_of(wh_public_decode_v1a, PUBLIC_D);

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		check_row(rows[i].header,
				  wh_verify_v1(&a, ID_A, STAMP_A, BODY_A, strlen(BODY_A), rows[i].header) == rows[i].v1);
		check_row(rows[i].header,
				  wh_verify_v1a(&d, ID_A, STAMP_A, BODY_A, strlen(BODY_A), rows[i].header) == rows[i].v1a);
	}
}

/* Bodies of any length and content, the empty one too, and times of any size. */
static void
test_bodies(void **state)
{
	static const size_t lengths[] = {0, 1, 31, 32, 33, 55, 56, 63, 64, 65, 4096, 100000};
	static const int64_t stamps[] = {0, -1, 1, INT64_MAX, INT64_MIN};
	WhKey key = key_of(wh_secret_decode, SECRET_B);
	WhKey ed = key_of(wh_secret_decode_v1a, SECRET_D);
	char *body = malloc(100000);
	char out[WH_SIGNATURE_V1A_MAX];

	(void) state;
	for (int i = 0; i < 100000; i++)
		body[i] = (char) (i * 31);
	for (size_t i = 0; i < lengthof(lengths); i++)
	{
		assert_true(wh_sign_v1(&key, 1, "x", 1, body, lengths[i], out, sizeof(out)));
		assert_true(wh_verify_v1(&key, "x", 1, body, lengths[i], out));
		assert_true(wh_sign_v1a(&ed, 1, "x", 1, body, lengths[i], out, sizeof(out)));
		assert_true(wh_verify_v1a(&ed, "x", 1, body, lengths[i], out));
	}
	for (size_t i = 0; i < lengthof(stamps); i++)
	{
		assert_true(wh_sign_v1(&key, 1, "x", stamps[i], NULL, 0, out, sizeof(out)));
		assert_true(wh_verify_v1(&key, "x", stamps[i], "", 0, out));
	}
	free(body);
}

static void
test_wipe(void **state)
{
	static const WhKey zero;
	WhKey key = key_of(wh_secret_decode, SECRET_A);
	char out[WH_SIGNATURE_MAX];

	(void) state;
	wh_key_wipe(&key);
	assert_memory_equal(&key, &zero, sizeof(key));
	wh_key_wipe(&key);
	/* and signing goes on with other keys */
	key = key_of(wh_secret_decode, SECRET_A);
	assert_true(wh_sign_v1(&key, 1, ID_A, STAMP_A, BODY_A, strlen(BODY_A), out, sizeof(out)));
	assert_string_equal(out, SIGNATURE_A);
}

/* With OpenSSL's n-th allocation failing, and ours: a right signature or none. */
static void
test_no_memory(void **state)
{
	WhKey key = key_of(wh_secret_decode, SECRET_A);
	WhKey ed = key_of(wh_secret_decode_v1a, SECRET_D);
	char out[WH_SIGNATURE_V1A_MAX];
	int failures = 0;

	(void) state;
	for (size_t i = 0; i < 4; i++)
	{
		bool done = false;

		for (long n = 1; !done; n++)
		{
			const char *right = i < 2 ? SIGNATURE_A : SIGNATURE_D;
			bool ok;

			wh_key_wipe(&(WhKey){.len = 0}); /* so that the context is made anew */
			strcpy(out, "x");
			fail_malloc_at(n);
			if (i == 0)
				ok = wh_sign_v1(&key, 1, ID_A, STAMP_A, BODY_A, strlen(BODY_A), out, sizeof(out));
			else if (i == 1)
				ok = wh_verify_v1(&key, ID_A, STAMP_A, BODY_A, strlen(BODY_A), right);
			else if (i == 2)
				ok = wh_sign_v1a(&ed, 1, ID_A, STAMP_A, BODY_A, strlen(BODY_A), out, sizeof(out));
			else
				ok = wh_verify_v1a(&ed, ID_A, STAMP_A, BODY_A, strlen(BODY_A), right);
			done = !malloc_has_failed();
			failures += !ok;
			assert_true(ok || !done);
			if (i % 2 == 0)
				assert_string_equal(out, ok ? right : "");
		}
	}
	assert_true(failures > 8);
}

/* Decoding a v1a secret asks OpenSSL for its public half: a whole key or an empty one, and a reason. */
static void
test_decode_no_memory(void **state)
{
	bool done = false;

	(void) state;
	for (long n = 1; !done; n++)
	{
		WhKey key;
		const char *why;
		bool ok;

		fail_malloc_at(n);
		ok = wh_secret_decode_v1a(SECRET_D, &key, &why);
		done = !malloc_has_failed();
		assert_true(ok || !done);
		assert_int_equal(key.len, ok ? 64 : 0);
		assert_int_equal(why == NULL, ok);
	}
}

/* OpenSSL's allocations go through the ones that can be made to fail. */
static void *
openssl_malloc(size_t size, const char *file, int line)
{
	(void) file;
	(void) line;
	return malloc(size);
}

static void *
openssl_realloc(void *old, size_t size, const char *file, int line)
{
	(void) file;
	(void) line;
	return realloc(old, size);
}

static void
openssl_free(void *old, const char *file, int line)
{
	(void) file;
	(void) line;
	free(old);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_secrets_v1a),
		cmocka_unit_test(test_encode),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_small_out),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_decode_no_memory),
	};

	if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free))
		return 1;
	return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
