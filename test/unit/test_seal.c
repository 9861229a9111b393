/*
 * test_seal.c
 *	  Secrets at rest: what is sealed opens again for its owner and nobody
 *	  else, nothing that was changed opens, and key files are read strictly.
 */
#include "unit.h"

#include <stdlib.h>

#include "seal.h"

/* base64 of 32 bytes each: of 0x00..0x1f and of 0x20..0x3f */
#define KEY_1 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_2 "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="

#define OWNER "secret 7 1"
#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

static WhKeyring
ring_of(const char *text)
{
	WhKeyring ring;
	const char *why;
	int line;

	if (!wh_keyring_parse(text, &ring, &line, &why))
		fail_msg("line %d: %s", line, why);
	return ring;
}

static void
test_key_files(void **state)
{
	static const struct
	{
		const char *name, *text;
		int n, line; /* n = 0: refused at that line */
	} rows[] = {
		{"one key", "k1 " KEY_1, 1, 1},
		{"ends with a newline", "k1 " KEY_1 "\n", 1, 1},
		{"two, with comments and empty lines", "# keys\n\nk2 \t" KEY_2 " \r\n  \nk1 " KEY_1 "\n", 2, 5},
		{"nothing", "", 0, 0},
		{"comments only", "# k1\n", 0, 1},
		{"no id", " " KEY_1 "\n", 0, 1},
		{"an id with a colon", "k:1 " KEY_1 "\n", 0, 1},
		{"an id of 33 characters", "123456789012345678901234567890123 " KEY_1, 0, 1},
		{"no key", "k1\n", 0, 1},
		{"no key but blanks", "k1   \nk2 " KEY_2, 0, 1},
		{"a key of 31 bytes", "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", 0, 1},
		{"a key of 33 bytes", "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", 0, 1},
		{"not base64", "k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH*8=", 0, 1},
		{"something behind it", "k1 " KEY_1 " x", 0, 1},
		{"one id twice", "k1 " KEY_1 "\nk1 " KEY_2, 0, 2},
		{"nine keys",
		 "a " KEY_1 "\nb " KEY_1 "\nc " KEY_1 "\nd " KEY_1 "\ne " KEY_1 "\nf " KEY_1 "\ng " KEY_1 "\nh " KEY_1
		 "\ni " KEY_1,
		 0, 9},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhKeyring ring;
		const char *why;
		int line;
		bool ok = wh_keyring_parse(rows[i].text, &ring, &line, &why);

		check_row(rows[i].name, ok == (rows[i].n > 0));
		check_row(rows[i].name, ring.n == rows[i].n);
		check_row(rows[i].name, line == rows[i].line);
		check_row(rows[i].name, (why == NULL) == ok);
	}
}

static void
test_opens_again_for_its_owner(void **state)
{
	static const char *const secrets[] = {"", "x", SECRET, "p\xc3\xa4ssw\xc3\xb6rt\n", NULL};
	WhKeyring ring = ring_of("k1 " KEY_1);

	(void) state;
	for (int i = 0; secrets[i]; i++)
	{
		char sealed[WH_SEALED_SIZE(100)];
		char again[WH_SEALED_SIZE(100)];
		char opened[WH_SEALED_SIZE(100)];

		assert_true(wh_seal(&ring, OWNER, secrets[i], sealed, sizeof(sealed)));
		assert_true(wh_is_sealed(sealed));
		assert_memory_equal(sealed, "sealed:k1:", 10);
		assert_true(secrets[i][0] == '\0' || strlen(secrets[i]) < 2 || strstr(sealed, secrets[i]) == NULL);
		assert_int_equal(wh_unseal(&ring, OWNER, sealed, opened, sizeof(opened)), WH_UNSEALED);
		assert_string_equal(opened, secrets[i]);
		/* a nonce of its own each time */
		assert_true(wh_seal(&ring, OWNER, secrets[i], again, sizeof(again)));
		assert_string_not_equal(sealed, again);
		/* in another row it is worth nothing */
		assert_int_equal(wh_unseal(&ring, "secret 8 1", sealed, opened, sizeof(opened)), WH_UNSEAL_DAMAGED);
	}
}

static void
test_a_rotated_key_still_opens(void **state)
{
	WhKeyring before = ring_of("k1 " KEY_1);
	WhKeyring after = ring_of("k2 " KEY_2 "\nk1 " KEY_1);
	WhKeyring other = ring_of("k1 " KEY_2);
	WhKeyring without = ring_of("k2 " KEY_2);
	char sealed[WH_SEALED_SIZE(100)];
	char opened[WH_SEALED_SIZE(100)];

	(void) state;
	assert_true(wh_seal(&before, OWNER, SECRET, sealed, sizeof(sealed)));
	assert_int_equal(wh_unseal(&after, OWNER, sealed, opened, sizeof(opened)), WH_UNSEALED);
	assert_int_equal(wh_unseal(&without, OWNER, sealed, opened, sizeof(opened)), WH_UNSEAL_NO_KEY);
	/* another key of the same name */
	assert_int_equal(wh_unseal(&other, OWNER, sealed, opened, sizeof(opened)), WH_UNSEAL_DAMAGED);
	assert_true(wh_seal(&after, OWNER, SECRET, sealed, sizeof(sealed)));
	assert_memory_equal(sealed, "sealed:k2:", 10);
}

static void
test_nothing_that_was_changed_opens(void **state)
{
	WhKeyring ring = ring_of("k1 " KEY_1);
	char sealed[WH_SEALED_SIZE(100)];
	char opened[WH_SEALED_SIZE(100)];
	size_t len;

	(void) state;
	assert_true(wh_seal(&ring, OWNER, SECRET, sealed, sizeof(sealed)));
	len = strlen(sealed);
	for (size_t i = strlen("sealed:k1:"); i < len; i++)
	{
		char kept = sealed[i];

		sealed[i] = kept == 'A' ? 'B' : 'A';
		if (wh_unseal(&ring, OWNER, sealed, opened, sizeof(opened)) == WH_UNSEALED)
			fail_msg("opened with character %zu changed", i);
		sealed[i] = kept;
	}
	for (size_t i = 0; i < len; i++)
	{
		char kept = sealed[i];

		sealed[i] = '\0';
		if (wh_unseal(&ring, OWNER, sealed, opened, sizeof(opened)) == WH_UNSEALED)
			fail_msg("opened when cut to %zu characters", i);
		sealed[i] = kept;
	}
	assert_int_equal(wh_unseal(&ring, OWNER, sealed, opened, sizeof(opened)), WH_UNSEALED);
}

static void
test_limits(void **state)
{
	WhKeyring ring = ring_of("k1 " KEY_1);
	WhKeyring none = {0};
	size_t size = WH_SEALED_SIZE(WH_SEAL_PLAIN_MAX + 1);
	char *secret = malloc(WH_SEAL_PLAIN_MAX + 2);
	char *sealed = malloc(size);
	char *opened = malloc(size);

	(void) state;
	memset(secret, 's', WH_SEAL_PLAIN_MAX + 1);
	secret[WH_SEAL_PLAIN_MAX + 1] = '\0';
	assert_false(wh_seal(&ring, OWNER, secret, sealed, size));
	secret[WH_SEAL_PLAIN_MAX] = '\0';
	assert_true(wh_seal(&ring, OWNER, secret, sealed, size));
	assert_int_equal(wh_unseal(&ring, OWNER, sealed, opened, size), WH_UNSEALED);
	assert_string_equal(opened, secret);
	assert_int_equal(wh_unseal(&ring, OWNER, sealed, opened, 100), WH_UNSEAL_NO_MEMORY);
	assert_false(wh_seal(&ring, OWNER, SECRET, sealed, WH_SEALED_SIZE(strlen(SECRET)) - 1));
	assert_false(wh_seal(&none, OWNER, SECRET, sealed, size));
	free(secret);
	free(sealed);
	free(opened);
}

static void
test_without_memory(void **state)
{
	WhKeyring ring = ring_of("k1 " KEY_1);
	char sealed[WH_SEALED_SIZE(100)];
	char opened[WH_SEALED_SIZE(100)];
	bool ok;
	WhUnsealed unsealed;

	(void) state;
	fail_malloc_at(1);
	ok = wh_seal(&ring, OWNER, SECRET, sealed, sizeof(sealed));
	assert_true(malloc_has_failed());
	assert_false(ok);
	assert_true(wh_seal(&ring, OWNER, SECRET, sealed, sizeof(sealed)));
	fail_malloc_at(1);
	unsealed = wh_unseal(&ring, OWNER, sealed, opened, sizeof(opened));
	assert_true(malloc_has_failed());
	assert_int_equal(unsealed, WH_UNSEAL_NO_MEMORY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_key_files),
		cmocka_unit_test(test_opens_again_for_its_owner),
		cmocka_unit_test(test_a_rotated_key_still_opens),
		cmocka_unit_test(test_nothing_that_was_changed_opens),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
