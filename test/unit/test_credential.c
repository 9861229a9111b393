/*
 * test_credential.c
 *	  What a good credential of each kind is, and that no objection quotes it.
 */
#include "unit.h"

#include <stdlib.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "credential.h"

static char key[2][2048];
static char certificate[2][2048];

static void
take_text(BIO *bio, char *out, size_t size)
{
	int n = BIO_read(bio, out, (int) size - 1);

	assert_true(n > 0);
	out[n] = '\0';
	BIO_free(bio);
}

/* Two keys, and a certificate of each. */
static int
make_pairs(void **state)
{
	(void) state;
	for (int i = 0; i < 2; i++)
	{
		EVP_PKEY *pkey = EVP_EC_gen("P-256");
		X509 *cert = X509_new();
		BIO *bio = BIO_new(BIO_s_mem());

		X509_gmtime_adj(X509_getm_notBefore(cert), 0);
		X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
		assert_true(X509_set_pubkey(cert, pkey) && X509_sign(cert, pkey, EVP_sha256()));
		assert_true(PEM_write_bio_X509(bio, cert));
		take_text(bio, certificate[i], sizeof(certificate[i]));
		bio = BIO_new(BIO_s_mem());
		assert_true(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL));
		take_text(bio, key[i], sizeof(key[i]));
		X509_free(cert);
		EVP_PKEY_free(pkey);
	}
	return 0;
}

static void
test_text(void **state)
{
	static const struct
	{
		const char *kind;
		const char *value;
		bool good;
	} rows[] = {
		{"basic", "user:password", true},
		{"basic", "user:", true},
		{"basic", "user:pass:word", true},
		{"basic", ":password", false},
		{"basic", "user", false},
		{"basic", "user:pass\nword", false},
		{"basic", "", false},
		{"bearer", "a.b-c_d~e+f/g==", true},
		{"bearer", "a b", false},
		{"bearer", "\xc3\xa9", false},
		{"bearer", "a\r\nX: y", false},
		{"header:X-Key", "any thing \xc3\xa9", true},
		{"header:X-Key", "a\nb", false},
		{"header:X-Key", "a\x7f", false},
		{"header:X-Key", "", false},
		{"header:X-Key", "  ", false},
		{"header:X-Key", " a ", true},
		{"header:", "a", false},
		{"header:X Key", "a", false},
		{"header:X:", "a", false},
		{"header", "X-Key: a", false},
		{"Basic", "user:password", false},
		{"proxy", "http://proxy.example:3128", true},
		{"proxy", "http://proxy.example:3128/", true},
		{"proxy", "http://user:p%40ss@proxy.example:3128", true},
		{"proxy", "http://user:@proxy.example:3128", true},
		{"proxy", "http://[2001:db8::1]:3128", true},
		{"proxy", "http://user:50%25@proxy.example:3128", true},
		{"proxy", "http://user:a:b%3a@proxy.example:65535", true},
		{"proxy", "http://user:50%1Cab@proxy.example:3128", false},
		{"proxy", "http://us%00er:password@proxy.example:3128", false},
		{"proxy", "http://user:pass%7fword@proxy.example:3128", false},
		{"proxy", "http://user:50%@proxy.example:3128", false},
		{"proxy", "http://user:50%4@proxy.example:3128", false},
		{"proxy", "http://user:50%gg@proxy.example:3128", false},
		{"proxy", "http://us%3Aer:password@proxy.example:3128", false},
		{"proxy", "http://proxy%1c:3128", false},
		{"proxy", "http://proxy.example:0", false},
		{"proxy", "http://proxy.example:65536", false},
		{"proxy", "http://me:secret@proxy:99999", false},
		{"proxy", "http://user:p@ss@proxy.example:3128", false},
		{"proxy", "http://user@proxy.example:3128", false},
		{"proxy", "http://proxy.example", false},
		{"proxy", "http://[2001:db8::1]", false},
		{"proxy", "http://proxy.example:", false},
		{"proxy", "http://proxy.example:x", false},
		{"proxy", "http://:3128", false},
		{"proxy", "http://proxy.example:3128/path", false},
		{"proxy", "http://proxy.example:3128?a", false},
		{"proxy", "https://proxy.example:3128", false},
		{"proxy", "socks5://proxy.example:3128", false},
		{"proxy", "proxy.example:3128", false},
		{"proxy", "http://proxy .example:3128", false},
		{"client_certificate", "not one", false},
		{"client_key", "not one", false},
		{"ca", "", false},
		{"password", "x", false},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		const char *why = wh_credential_wrong(rows[i].kind, rows[i].value);

		if ((why == NULL) != rows[i].good)
			fail_msg("%s \"%s\": %s", rows[i].kind, rows[i].value, why ? why : "accepted");
	}
}

static void
test_pem(void **state)
{
	char both[4096];
	char damaged[4096];
	static const char encrypted[] =
		"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";

	(void) state;
	snprintf(both, sizeof(both), "%s%s", certificate[0], certificate[1]);
	assert_null(wh_credential_wrong("client_certificate", certificate[0]));
	assert_null(wh_credential_wrong("client_certificate", both));
	assert_null(wh_credential_wrong("ca", both));
	assert_null(wh_credential_wrong("client_key", key[0]));
	assert_non_null(wh_credential_wrong("client_key", certificate[0]));
	assert_non_null(wh_credential_wrong("ca", key[0]));
	assert_non_null(strstr(wh_credential_wrong("client_key", encrypted), "encrypted"));
	/* the second of a bundle: it must not be left out in silence */
	snprintf(damaged, sizeof(damaged), "%s%s", certificate[0], certificate[1]);
	memset(strstr(damaged + strlen(certificate[0]), "\n") + 20, '!', 5);
	assert_non_null(wh_credential_wrong("ca", damaged));

	assert_null(wh_credential_pair_wrong(certificate[0], key[0]));
	assert_null(wh_credential_pair_wrong(both, key[0]));
	assert_non_null(wh_credential_pair_wrong(both, key[1]));
	assert_non_null(wh_credential_pair_wrong(certificate[1], key[0]));
	assert_non_null(wh_credential_pair_wrong("nothing", key[0]));
	assert_non_null(wh_credential_pair_wrong(certificate[0], "nothing"));
}

static void
test_length(void **state)
{
	char *long_one = malloc(WH_CREDENTIAL_MAX + 2);

	(void) state;
	memset(long_one, 'a', WH_CREDENTIAL_MAX + 1);
	long_one[WH_CREDENTIAL_MAX + 1] = '\0';
	assert_non_null(wh_credential_wrong("oauth2", long_one));
	long_one[WH_CREDENTIAL_MAX] = '\0';
	assert_null(wh_credential_wrong("oauth2", long_one));
	assert_non_null(wh_credential_wrong("bearer", long_one));
	free(long_one);
}

static void
test_bare_proxy(void **state)
{
	char bare[WH_PROXY_MAX];

	(void) state;
	assert_true(wh_proxy_bare("http://user:password@proxy.example:3128/", bare, sizeof(bare)));
	assert_string_equal(bare, "http://proxy.example:3128");
	assert_false(wh_proxy_bare("http://proxy.example:3128", bare, 10));
	assert_false(wh_proxy_bare("http://proxy.example", bare, sizeof(bare)));
}

static void
test_proxy_authorization(void **state)
{
	WhBuffer line;

	(void) state;
	wh_buffer_init(&line, 1024);
	assert_true(wh_proxy_authorization("http://proxy.example:3128", &line));
	assert_int_equal(line.len, 0);
	/* base64 of u:p@ */
	assert_true(wh_proxy_authorization("http://u:p%40@proxy.example:3128", &line));
	assert_string_equal(line.data, "Proxy-Authorization: Basic dTpwQA==");
	assert_false(wh_proxy_authorization("http://u:50%1Cab@proxy.example:3128", &line));
	wh_buffer_free(&line);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_pem),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_bare_proxy),
		cmocka_unit_test(test_proxy_authorization),
	};

	return cmocka_run_group_tests_name("credential", tests, make_pairs, NULL);
}
