/*
 * test_sign.c
 *	  Signatures: the published examples of every scheme, everything near them
 *	  that must not pass, several keys in one header, and memory running out.
 */
#include "unit.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "sign.h"
#include "sign_vectors.h"

static void
test_vectors(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		const Vector *v = &vectors[i];
		WhKey key = key_of(v->signing, v->secret);
		WhKey verifier = key_of(v->signing, v->verifier);
		const char *header = signature_of(v->signing, &key, &v->message);

		assert_string_equal(header, v->header);
		check_row(v->name, wh_verify(v->signing, &verifier, &v->message, header));
		/* who can sign can verify */
		check_row(v->name, wh_verify(v->signing, &key, &v->message, header));
	}
}

/* Which digit of the header is part of a signature, not of its timestamp, which is looked at elsewhere? */
static bool
in_timestamp(const Vector *v, size_t at)
{
	return wh_signature_has_timestamp(v->signing) && at < strcspn(v->header, ",");
}

/* Is each bit flipped refused? */
static void
check_bits(const Vector *v, const WhKey *key, const WhMessage *message, const char *header, void *bytes,
		   size_t len)
{
	unsigned char *b = bytes;

	for (size_t bit = 0; bit < len * 8; bit++)
	{
		if (bytes == header && in_timestamp(v, bit / 8))
			continue;
		b[bit / 8] = (unsigned char) (b[bit / 8] ^ (1 << bit % 8));
		if (wh_verify(v->signing, key, message, header))
			fail_msg("%s: accepted with bit %zu of %zu bytes flipped", v->name, bit, len);
		b[bit / 8] = (unsigned char) (b[bit / 8] ^ (1 << bit % 8));
	}
	check_row(v->name, wh_verify(v->signing, key, message, header));
}

/* Any one bit flipped in body, signature, id or key, or another time: no. */
static void
test_flipped(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		const Vector *v = &vectors[i];
		WhKey key = key_of(v->signing, v->verifier);
		WhMessage m = v->message;
		WhMessage other = v->message;
		char *body = strdup(m.body);
		char *id = strdup(m.id);
		char *header = strdup(v->header);

		m.body = body;
		m.id = id;
		check_bits(v, &key, &m, header, body, m.body_len);
		check_bits(v, &key, &m, header, header, strlen(header));
		check_bits(v, &key, &m, header, id, strlen(id));
		check_bits(v, &key, &m, header, key.bytes, key.len);
		if (strstr(v->signing->content, "{timestamp}"))
		{
			other.timestamp++;
			check_row(v->name, !wh_verify(v->signing, &key, &other, header));
			other.timestamp = -v->message.timestamp;
			check_row(v->name, !wh_verify(v->signing, &key, &other, header));
		}
		other = v->message;
		other.body_len--;
		check_row(v->name, !wh_verify(v->signing, &key, &other, header));
		free(body);
		free(id);
		free(header);
	}
}

/* No scheme's signature is another's. */
static void
test_other_schemes(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(vectors); i++)
		for (size_t j = 0; j < lengthof(vectors); j++)
		{
			const char *why;
			WhKey key;

			if (vectors[i].signing == vectors[j].signing ||
				!wh_verifier_decode(vectors[j].signing, vectors[i].verifier, &key, &why))
				continue;
			check_row(vectors[i].name,
					  !wh_verify(vectors[j].signing, &key, &vectors[i].message, vectors[i].header));
		}
}

/* Four keys of a scheme, the first of them the vector's. */
static void
many_keys(const Vector *v, WhKey keys[WH_SECRETS_MAX], const WhKey *pointers[WH_SECRETS_MAX])
{
	for (int i = 0; i < WH_SECRETS_MAX; i++)
	{
		keys[i] = key_of(v->signing, v->secret);
		/* a seed of ed25519 may be any bytes, but its public half would not fit; so let that be one key */
		if (v->signing->algorithm != WH_ALGORITHM_ED25519)
			keys[i].bytes[0] = (unsigned char) (keys[i].bytes[0] ^ i);
		pointers[i] = &keys[i];
	}
}

/* In the overlap of a rotation each receiver holds one of several secrets. */
static void
test_many_keys(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		const Vector *v = &vectors[i];
		bool list = v->signing->separator[0] != '\0';
		WhKey keys[WH_SECRETS_MAX];
		const WhKey *pointers[WH_SECRETS_MAX];
		char out[WH_SIGNATURE_MAX];

		many_keys(v, keys, pointers);
		assert_true(wh_sign(v->signing, pointers, WH_SECRETS_MAX, &v->message, out, sizeof(out)));
		/* a list begins with the newest; a header for one is signed with the oldest, and none but it */
		for (int k = 0; k < WH_SECRETS_MAX; k++)
			check_row(v->name,
					  wh_verify(v->signing, &keys[k], &v->message, out) == (list || k == WH_SECRETS_MAX - 1));
		if (list)
			assert_memory_equal(out, v->header, strlen(v->header));
		else
			assert_int_equal(strlen(out), strlen(v->header));
		keys[0].bytes[keys[0].len - 1] ^= 1;
		check_row(v->name, !wh_verify(v->signing, &keys[0], &v->message, out));
	}
}

/* Written out: where the separator stands, and what is repeated. */
static void
test_lists(void **state)
{
	const Vector *stripe = &vectors[lengthof(vectors) - 1];
	WhKey keys[2] = {key_of(&signing_stripe, stripe->secret), key_of(&signing_stripe, "mysecret")};
	WhKey standard[2] = {key_of(&wh_signing_standard, SECRET_A), key_of(&wh_signing_standard, SECRET_B)};
	const WhKey *pointers[2] = {&keys[0], &keys[1]};
	char expected[2 * WH_SIGNATURE_MAX];
	char out[WH_SIGNATURE_MAX];

	(void) state;
	assert_true(wh_sign(&signing_stripe, pointers, 2, &stripe->message, out, sizeof(out)));
	snprintf(expected, sizeof(expected), "%s,%s", stripe->header,
			 strchr(signature_of(&signing_stripe, &keys[1], &stripe->message), ',') + 1);
	assert_string_equal(out, expected);

	pointers[0] = &standard[0];
	pointers[1] = &standard[1];
	assert_true(wh_sign(&wh_signing_standard, pointers, 2, &message_a, out, sizeof(out)));
	snprintf(expected, sizeof(expected), "%s %s", SIGNATURE_A,
			 signature_of(&wh_signing_standard, &standard[1], &message_a));
	assert_string_equal(out, expected);
}

/* Room for two entries, byte by byte: all or nothing. */
static void
test_small_out(void **state)
{
	WhKey keys[2] = {key_of(&wh_signing_standard, SECRET_A), key_of(&wh_signing_standard, SECRET_B)};
	const WhKey *pointers[2] = {&keys[0], &keys[1]};

	(void) state;
	for (size_t size = 0; size <= 97; size++)
	{
		char *out = malloc(size + 1);

		memset(out, 'x', size + 1);
		assert_int_equal(wh_sign(&wh_signing_standard, pointers, 2, &message_a, out, size), size >= 96);
		assert_int_equal(out[size], 'x');
		if (size > 0)
			assert_int_equal(strlen(out), size >= 96 ? 95 : 0);
		free(out);
	}
}

/* Keys that never were decoded, none at all, and no algorithm. */
static void
test_bad_keys(void **state)
{
	static const WhSigning none = {.content = "", .format = "", .separator = ""};
	char out[WH_SIGNATURE_MAX];

	(void) state;
	for (size_t i = 0; i < lengthof(vectors); i++)
	{
		const Vector *v = &vectors[i];
		WhKey key = key_of(v->signing, v->secret);
		const WhKey *pointers[2] = {&key, &key};
		static const size_t lengths[] = {0, WH_KEY_MAX + 1, 100000};

		strcpy(out, "x");
		check_row(v->name, !wh_sign(v->signing, pointers, 0, &v->message, out, sizeof(out)));
		assert_string_equal(out, "");
		for (size_t l = 0; l < lengthof(lengths); l++)
		{
			key.len = lengths[l];
			strcpy(out, "x");
			check_row(v->name, !wh_sign(v->signing, pointers, 2, &v->message, out, sizeof(out)));
			assert_string_equal(out, "");
			check_row(v->name, !wh_verify(v->signing, &key, &v->message, v->header));
		}
		strcpy(out, "x");
		assert_true(wh_sign(&none, pointers, 2, &v->message, out, sizeof(out)));
		assert_string_equal(out, "");
		check_row(v->name, !wh_verify(&none, &key, &v->message, v->header));
		check_row(v->name, !wh_verify(&none, &key, &v->message, ""));
	}
	{
		/* a public key verifies, and signs nothing */
		WhKey public = key_of(&signing_d, PUBLIC_D);
		const WhKey *pointer = &public;

		assert_false(wh_sign(&signing_d, &pointer, 1, &message_a, out, sizeof(out)));
	}
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
	WhKey a = key_of(&wh_signing_standard, SECRET_A);
	WhKey d = key_of(&signing_d, PUBLIC_D);

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		check_row(rows[i].header,
				  wh_verify(&wh_signing_standard, &a, &message_a, rows[i].header) == rows[i].v1);
		check_row(rows[i].header, wh_verify(&signing_d, &d, &message_a, rows[i].header) == rows[i].v1a);
	}
}

/* ed25519 in hex, which no receiver known asks for, but a profile of one's own may. */
static void
test_ed25519_hex(void **state)
{
	WhSigning signing = signing_d;
	WhKey key = key_of(&signing_d, SECRET_D);
	char *header;

	(void) state;
	signing.encoding = WH_ENCODING_HEX;
	header = strdup(signature_of(&signing, &key, &message_a));
	assert_int_equal(strlen(header), 4 + 128);
	assert_true(wh_verify(&signing, &key, &message_a, header));
	for (size_t at = 4; at < 132; at++)
	{
		char was = header[at];

		header[at] = was == '0' ? '1' : '0';
		assert_false(wh_verify(&signing, &key, &message_a, header));
		header[at] = 'g';
		assert_false(wh_verify(&signing, &key, &message_a, header));
		header[at] = was;
	}
	header[131] = '\0';
	assert_false(wh_verify(&signing, &key, &message_a, header));
	free(header);
}

/* A body in pieces is signed as the same body in one. */
static void
check_pieces(const Vector *v, const WhKey *key, const WhMessage *m)
{
	WhMessage in_pieces = {m->id, m->timestamp, NULL, 0, NULL};
	WhBuffer body;
	size_t third = m->body_len / 3;

	wh_buffer_init(&body, 100000);
	body.lends = true;
	assert_true(wh_buffer_append(&body, m->body, third));
	assert_true(wh_buffer_lend(&body, m->body + third, m->body_len - third));
	assert_int_equal(body.n_lent, m->body_len - third >= WH_LENT_MIN);
	in_pieces.pieces = &body;
	check_row(v->name, wh_verify(v->signing, key, m, signature_of(v->signing, key, &in_pieces)));
	wh_buffer_free(&body);
}

/* Bodies of any length and content, the empty one too, ids longer than any buffer, and times of any size. */
static void
test_bodies(void **state)
{
	static const size_t lengths[] = {0, 1, 31, 32, 33, 55, 56, 63, 64, 65, 127, 128, 129, 4096, 100000};
	static const int64_t stamps[] = {0, -1, 1, 9, 10, INT64_MAX, INT64_MIN};
	char *body = malloc(100000);
	char *id = malloc(1001);

	(void) state;
	for (int i = 0; i < 100000; i++)
		body[i] = (char) (i * 31);
	memset(id, 'i', 1000);
	id[1000] = '\0';
	for (size_t v = 0; v < lengthof(vectors); v++)
	{
		WhKey key = key_of(vectors[v].signing, vectors[v].secret);

		for (size_t i = 0; i < lengthof(lengths); i++)
		{
			WhMessage m = {"x", 1, body, lengths[i], NULL};

			check_row(vectors[v].name,
					  wh_verify(vectors[v].signing, &key, &m, signature_of(vectors[v].signing, &key, &m)));
			m.id = id;
			check_row(vectors[v].name,
					  wh_verify(vectors[v].signing, &key, &m, signature_of(vectors[v].signing, &key, &m)));
			check_pieces(&vectors[v], &key, &m);
		}
		for (size_t i = 0; i < lengthof(stamps); i++)
		{
			WhMessage m = {"x", stamps[i], NULL, 0, NULL};
			WhMessage empty = {"x", stamps[i], "", 0, NULL};

			check_row(vectors[v].name, wh_verify(vectors[v].signing, &key, &empty,
												 signature_of(vectors[v].signing, &key, &m)));
		}
	}
	free(body);
	free(id);
}

/* Pieces of what is signed are the same however they are cut: HMAC of "7.-5.xx7", from openssl dgst. */
static void
test_content(void **state)
{
	static const char *const contents[] = {"{id}.{timestamp}.{body}{id}", "7.-5.{body}7",
										   "{id}.-5.xx{id}{body}"};
	WhSigning signing = signing_github;
	WhKey key = key_of(&signing, "mysecret");
	char body[200];

	(void) state;
	for (size_t i = 0; i < lengthof(contents); i++)
	{
		WhMessage m = {"7", -5, i < 2 ? "xx" : "", i < 2 ? 2 : 0, NULL};

		signing.content = contents[i];
		assert_string_equal(signature_of(&signing, &key, &m),
							"sha256=3c701ae9902c8b5dd8e960bb9112cf0bb4d6621c449fc59e7a1144dc108e659e");
	}
	/* what comes behind a body that is too long to be put together with it: "7", 200 times "x", "7" */
	memset(body, 'x', sizeof(body));
	signing.content = "{id}{body}{id}";
	assert_string_equal(signature_of(&signing, &key, &(WhMessage){"7", 0, body, sizeof(body), NULL}),
						"sha256=54a9eefa86ee4ab7c067601efc52cd1a634f212c28061ede9f5fd776558392f1");
}

/* With OpenSSL's n-th allocation failing, and ours: a right signature or none. */
static void
test_no_memory(void **state)
{
	int failures = 0;

	(void) state;
	for (size_t i = 0; i < lengthof(vectors) * 2; i++)
	{
		const Vector *v = &vectors[i / 2];
		WhKey key = key_of(v->signing, v->secret);
		const WhKey *pointer = &key;
		char out[WH_SIGNATURE_MAX];
		bool done = false;
		int failed = 0;

		for (long n = 1; !done; n++)
		{
			bool ok;

			wh_key_wipe(&(WhKey){.len = 0}); /* so that the contexts are made again */
			strcpy(out, "x");
			fail_malloc_at(n);
			if (i % 2 == 0)
				ok = wh_sign(v->signing, &pointer, 1, &v->message, out, sizeof(out));
			else
				ok = wh_verify(v->signing, &key, &v->message, v->header);
			done = !malloc_has_failed();
			failed += !ok;
			assert_true(ok || !done);
			if (i % 2 == 0)
				assert_string_equal(out, ok ? v->header : "");
		}
		check_row(v->name, failed > 0);
		failures += failed;
	}
	assert_true(failures > 16);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),       cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_other_schemes), cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_lists),         cmocka_unit_test(test_small_out),
		cmocka_unit_test(test_bad_keys),      cmocka_unit_test(test_headers),
		cmocka_unit_test(test_ed25519_hex),   cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_content),       cmocka_unit_test(test_no_memory),
	};

	if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free))
		return 1;
	return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
