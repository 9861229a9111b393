/*
 * test_sign_format.c
 *	  How signatures are described: the columns of a profile read, refused with
 *	  a reason where they describe none, and the timestamp within a header.
 */
#include "unit.h"

#include "sign.h"

/* The descriptions of all profiles that are built in, as they stand in the table. */
static void
test_shipped(void **state)
{
	static const struct
	{
		const char *words[6];
		bool has_timestamp;
	} rows[] = {
		{{"hmac-sha256", "base64", "whsec", "{id}.{timestamp}.{body}", "v1,{signature}", " "}, false},
		{{"hmac-sha256", "hex", "raw", "{body}", "sha256={signature}", NULL}, false},
		{{"hmac-sha256", "hex", "raw", "{timestamp}.{body}", "t={timestamp},v1={signature}", ","}, true},
		{{"sha1", "hex", "raw", "{body}", "Signature {signature}", NULL}, false},
		{{"hmac-sha256", "hex", "raw", "{timestamp}.{body}", "{signature}", NULL}, false},
		{{"ed25519", "base64", "whsec", "{id}.{timestamp}.{body}", "v1a,{signature}", " "}, false},
		{{"hmac-sha1", "hex", "raw", "{body}", "sha1={signature}", ""}, false},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		const char *const *w = rows[i].words;
		WhSigning s;
		const char *why;

		check_row(w[4], wh_signing_parse(w[0], w[1], w[2], w[3], w[4], w[5], &s, &why));
		check_row(w[4], why == NULL);
		assert_string_equal(s.content, w[3]);
		assert_string_equal(s.format, w[4]);
		assert_string_equal(s.separator, w[5] ? w[5] : "");
		check_row(w[4], wh_signature_has_timestamp(&s) == rows[i].has_timestamp);
	}
	{
		WhSigning s;
		const char *why;

		assert_true(wh_signing_parse("none", NULL, NULL, NULL, NULL, NULL, &s, &why));
		assert_int_equal(s.algorithm, WH_ALGORITHM_NONE);
		assert_true(wh_signing_parse("hmac-sha1", "base64", "raw", "{body}", "{signature}", NULL, &s, &why));
		assert_int_equal(s.algorithm, WH_ALGORITHM_HMAC_SHA1);
		assert_int_equal(s.encoding, WH_ENCODING_BASE64);
		assert_int_equal(s.secret_encoding, WH_SECRET_RAW);
		assert_true(wh_signing_parse("ed25519", "hex", "whsec", "{body}", "{signature}", NULL, &s, &why));
		assert_int_equal(s.algorithm, WH_ALGORITHM_ED25519);
		assert_int_equal(s.encoding, WH_ENCODING_HEX);
		assert_int_equal(s.secret_encoding, WH_SECRET_WHSEC);
	}
}

#define ZEROS_39 "000000000000000000000000000000000000000"
#define FORMAT_128 "{signature}" ZEROS_39 ZEROS_39 ZEROS_39

static void
test_refused(void **state)
{
	static const struct
	{
		const char *words[6];
		const char *why; /* part of it; NULL: accepted */
	} rows[] = {
		{{NULL, "hex", "raw", "{body}", "{signature}", NULL}, "signature_algorithm must"},
		{{"md5", "hex", "raw", "{body}", "{signature}", NULL}, "signature_algorithm must"},
		{{"HMAC-SHA256", "hex", "raw", "{body}", "{signature}", NULL}, "signature_algorithm must"},
		{{"sha1", "HEX", "raw", "{body}", "{signature}", NULL}, "signature_encoding must"},
		{{"sha1", NULL, "raw", "{body}", "{signature}", NULL}, "signature_encoding must"},
		{{"sha1", "hex", "whsk", "{body}", "{signature}", NULL}, "secret_encoding must be raw"},
		{{"sha1", "hex", NULL, "{body}", "{signature}", NULL}, "secret_encoding must be raw"},
		{{"ed25519", "hex", "raw", "{body}", "{signature}", NULL}, "secret_encoding must be whsec"},
		/* what is signed */
		{{"sha1", "hex", "raw", NULL, "{signature}", NULL}, "signed_content"},
		{{"sha1", "hex", "raw", "", "{signature}", NULL}, "does not contain {body}"},
		{{"sha1", "hex", "raw", "{timestamp}", "{signature}", NULL}, "does not contain {body}"},
		{{"sha1", "hex", "raw", "{body}{secret}", "{signature}", NULL}, "no other braces"},
		{{"sha1", "hex", "raw", "{body}{", "{signature}", NULL}, "no other braces"},
		{{"sha1", "hex", "raw", "{body}}", "{signature}", NULL}, "no other braces"},
		{{"sha1", "hex", "raw", "{{body}", "{signature}", NULL}, "no other braces"},
		{{"sha1", "hex", "raw", "{body }", "{signature}", NULL}, "no other braces"},
		{{"sha1", "hex", "raw", "{body}{body}\n{id}", "{signature}", NULL}, NULL},
		/* the header */
		{{"sha1", "hex", "raw", "{body}", NULL, NULL}, "signature_format"},
		{{"sha1", "hex", "raw", "{body}", "", NULL}, "{signature} once"},
		{{"sha1", "hex", "raw", "{body}", "{timestamp}", NULL}, "{signature} once"},
		{{"sha1", "hex", "raw", "{body}", "{signature},{signature}", ","}, "{signature} once"},
		{{"sha1", "hex", "raw", "{body}", "t={timestamp},u={timestamp},{signature}", ","}, "at most once"},
		{{"sha1", "hex", "raw", "{body}", "{id},{signature}", ","}, "no other braces"},
		{{"sha1", "hex", "raw", "{body}", "{signature}\r\nX: y", NULL}, "printable"},
		{{"sha1", "hex", "raw", "{body}", "{signature}\x7f", NULL}, "printable"},
		{{"sha1", "hex", "raw", "{body}", "{signature}\xc3\xa9", NULL}, "printable"},
		{{"sha1", "hex", "raw", "{body}", "{signature}", "\n"}, "printable"},
		{{"sha1", "hex", "raw", "{body}", FORMAT_128, NULL}, NULL},
		{{"sha1", "hex", "raw", "{body}", FORMAT_128 "0", NULL}, "longer"},
		{{"sha1", "hex", "raw", "{body}", "{signature}", "12345678"}, NULL},
		{{"sha1", "hex", "raw", "{body}", "{signature}", "123456789"}, "longer"},
		{{"sha1", "hex", "raw", "{body}", "{signature}", "}"}, "a brace"},
		{{"sha1", "hex", "raw", "{body}", "t={timestamp},v1={signature}", NULL}, "separated"},
		{{"sha1", "hex", "raw", "{body}", "t={timestamp},v1={signature}", " "}, "separated"},
		{{"sha1", "hex", "raw", "{body}", "t={timestamp} v1={signature}", " "}, NULL},
		{{"sha1", "hex", "raw", "{body}", "{signature}", "n"}, "is within a variable"},
		{{"sha1", "hex", "raw", "{body}", "{timestamp},{signature}", "m"}, "is within a variable"},
	};

	(void) state;
	assert_int_equal(strlen(FORMAT_128), WH_SIGNATURE_FORMAT_MAX);
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		const char *const *w = rows[i].words;
		WhSigning s;
		const char *why;
		bool ok = wh_signing_parse(w[0], w[1], w[2], w[3], w[4], w[5], &s, &why);

		if (ok != (rows[i].why == NULL) || (why == NULL) != ok || (why && strstr(why, rows[i].why) == NULL))
			fail_msg("row %zu: %s, because %s", i, ok ? "accepted" : "refused", why ? why : "nothing");
		if (!ok)
			assert_int_equal(s.algorithm, WH_ALGORITHM_NONE);
	}
}

/* The longest header there can be fits. */
static void
test_longest(void **state)
{
	WhSigning s;
	const char *why;
	WhKey key;
	const WhKey *keys[WH_SECRETS_MAX] = {&key, &key, &key, &key};
	char out[WH_SIGNATURE_MAX];

	(void) state;
	assert_true(wh_signing_parse("ed25519", "hex", "whsec", "{body}", FORMAT_128, "12345678", &s, &why));
	assert_true(wh_secret_decode(
		&s, "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
		&key, &why));
	assert_true(wh_sign(&s, keys, WH_SECRETS_MAX, &(WhMessage){"", 0, "", 0, NULL}, out, sizeof(out)));
	assert_int_equal(strlen(out), 4 * (128 - 11 + 128) + 3 * 8);
}

static void
test_timestamps(void **state)
{
	static const struct
	{
		const char *text;
		int64_t value; /* -1: none */
	} rows[] = {
		{"0", 0},
		{"1", 1},
		{"1614265330", 1614265330},
		{"999999999999999999", 999999999999999999},
		{"", -1},
		{"-1", -1},
		{"+1", -1},
		{"1000000000000000000", -1},
		{"01", -1},
		{"00", -1},
		{" 1", -1},
		{"1 ", -1},
		{"1.0", -1},
		{"1e9", -1},
		{"0x10", -1},
		{"16142653300000000000000", -1},
		{"\xd9\xa1", -1},
		{"one", -1},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		int64_t value = -1;

		check_row(rows[i].text,
				  wh_timestamp_parse(rows[i].text, strlen(rows[i].text), &value) == (rows[i].value >= 0));
		check_row(rows[i].text, rows[i].value < 0 || value == rows[i].value);
	}
}

static void
test_timestamp_in_header(void **state)
{
	static const struct
	{
		const char *header;
		int64_t value; /* -1: none */
	} rows[] = {
		{"t=1700000000,v1=00", 1700000000},
		{"v1=00,t=1700000000", 1700000000},
		{"v1=00,v0=11,t=5,v1=22", 5},
		{",,t=5,,", 5},
		{"t=5", 5},
		{"", -1},
		{"v1=00", -1},
		{"t=,v1=00", -1},
		{"t=5x,v1=00", -1},
		{"T=5,v1=00", -1},
		{" t=5,v1=00", -1},
		{"tt=5,v1=00", -1},
		/* which of them would be the signed one? */
		{"t=5,t=6,v1=00", -1},
		{"t=5,t=5,v1=00", -1},
		{"t=x,t=5,v1=00", -1},
	};
	WhSigning s;
	const char *why;
	int64_t value;

	(void) state;
	assert_true(wh_signing_parse("hmac-sha256", "hex", "raw", "{timestamp}.{body}",
								 "t={timestamp},v1={signature}", ",", &s, &why));
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		value = -1;
		check_row(rows[i].header, wh_signature_timestamp(&s, rows[i].header, &value) == (rows[i].value >= 0));
		check_row(rows[i].header, rows[i].value < 0 || value == rows[i].value);
	}
	assert_false(wh_signature_timestamp(&wh_signing_standard, "v1,1", &value));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_longest),
		cmocka_unit_test(test_timestamps),
		cmocka_unit_test(test_timestamp_in_header),
	};

	return cmocka_run_group_tests_name("sign_format", tests, NULL, NULL);
}
