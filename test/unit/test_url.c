/*
 * test_url.c
 *	  Which URLs may be subscribed: good ones, bad ones, and every spelling of an
 *	  address that may not be dialled. Addresses are in test_address_policy.c.
 */
#include "unit.h"

#include <stdlib.h>

#include <curl/curl.h>

#include "address_policy.h"

static WhNetworks
networks(const char *list)
{
	WhNetworks made;
	char bad[64];

	if (!wh_networks_parse(list, &made, bad, sizeof(bad)))
		fail_msg("\"%s\" is refused for \"%s\"", list, bad);
	return made;
}

/* The same answer with http allowed and not, unless the row is about http. */
static const struct
{
	const char *url;
	WhTarget target;
} urls[] = {
	{"https://example.com", WH_TARGET_OK},
	{"https://example.com/hook?a=b&c=%20d", WH_TARGET_OK},
	{"HTTPS://EXAMPLE.COM/", WH_TARGET_OK},
	{"https://example.com:8443/hook", WH_TARGET_OK},
	{"https://example.com:65535/", WH_TARGET_OK},
	{"https://example.com:/", WH_TARGET_OK},
	{"https://example.com./", WH_TARGET_OK},
	{"https://xn--bcher-kva.example/", WH_TARGET_OK},
	{"https://my_service.example/", WH_TARGET_OK},
	{"https://receiver:3000/hook", WH_TARGET_OK},
	{"https://example.com/a@b:c//d", WH_TARGET_OK},
	{"https://example.com?to=http://10.0.0.1/", WH_TARGET_OK},
	{"https://exam%70le.com/", WH_TARGET_OK},
	{"https://8.8.8.8/", WH_TARGET_OK},
	{"https://0x08080808/", WH_TARGET_OK},
	{"https://0X08080808/", WH_TARGET_OK},
	{"https://%30X08.010.2056/", WH_TARGET_OK},
	{"https://[2606:4700::1111]/", WH_TARGET_OK},
	{"https://[2606:4700::1111]:8443", WH_TARGET_OK},
	{"https://[::ffff:8.8.8.8]/", WH_TARGET_OK},
	{"https://1e100.net/", WH_TARGET_OK},
	{"https://7.example/", WH_TARGET_OK},
	{"https://0xdead.example/", WH_TARGET_OK},
	{"https://example.0xyz/", WH_TARGET_OK},
	{"https://notlocalhost/", WH_TARGET_OK},
	{"https://localhost.example/", WH_TARGET_OK},

	{"", WH_TARGET_NO_URL},
	{"https:", WH_TARGET_NO_URL},
	{"https://", WH_TARGET_NO_URL},
	{"https:example.com", WH_TARGET_NO_URL},
	{"https:/example.com", WH_TARGET_NO_URL},
	{"https:///example.com", WH_TARGET_NO_URL},
	{"https:////example.com", WH_TARGET_NO_URL},
	{"https://?x", WH_TARGET_NO_URL},
	{"https://:443/", WH_TARGET_NO_URL},
	{" https://example.com", WH_TARGET_NO_URL},
	{"https://example.com ", WH_TARGET_NO_URL},
	{"https://example.com/a b", WH_TARGET_NO_URL},
	{"https://example.com/\n", WH_TARGET_NO_URL},
	{"https://example.com/\r\nX: y", WH_TARGET_NO_URL},
	{"https://example.com/\x01", WH_TARGET_NO_URL},
	{"https://example.com/\x7f", WH_TARGET_NO_URL},
	{"https://example.com/\x80", WH_TARGET_NO_URL},
	{"https://b\xc3\xbc"
	 "cher.example/",
	 WH_TARGET_NO_URL},
	{"https://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", WH_TARGET_NO_URL}, /* full-width digits */
	{"https://example.com\\@10.0.0.1/", WH_TARGET_NO_URL},
	{"https://example.com:0/", WH_TARGET_NO_URL},
	{"https://example.com:00/", WH_TARGET_NO_URL},
	{"https://example.com:65536/", WH_TARGET_NO_URL},
	{"https://example.com:-1/", WH_TARGET_NO_URL},
	{"https://example.com:443x/", WH_TARGET_NO_URL},
	{"https://example.com:443:443/", WH_TARGET_NO_URL},
	{"https://exa|mple.com/", WH_TARGET_NO_URL},
	{"https://exa%00mple.com/", WH_TARGET_NO_URL},
	{"https://exa%2fmple.com/", WH_TARGET_NO_URL},
	{"https://example..com/", WH_TARGET_NO_URL},
	{"https://.example.com/", WH_TARGET_NO_URL},
	{"https://example.com../", WH_TARGET_NO_URL},
	{"https://./", WH_TARGET_NO_URL},
	{"https://.../", WH_TARGET_NO_URL},
	{"https://[::1/", WH_TARGET_NO_URL},
	{"https://[::1]x/", WH_TARGET_NO_URL},
	{"https://[]/", WH_TARGET_NO_URL},
	{"https://[1.2.3.4]/", WH_TARGET_NO_URL},
	{"https://[v1.x]/", WH_TARGET_NO_URL},
	{"https://::1/", WH_TARGET_NO_URL},
	/* they look like addresses, and resolvers differ about them */
	{"https://256.0.0.1/", WH_TARGET_NO_URL},
	{"https://1.2.3.4.5/", WH_TARGET_NO_URL},
	{"https://0x100000000/", WH_TARGET_NO_URL},
	{"https://99999999999/", WH_TARGET_NO_URL},
	{"https://example.127/", WH_TARGET_NO_URL},
	{"https://example.0x7f/", WH_TARGET_NO_URL},
	{"https://127.0.0.0x/", WH_TARGET_NO_URL},
	{"https://09.0.0.1/", WH_TARGET_NO_URL},
	{"https://0X100000000/", WH_TARGET_NO_URL},
	{"https://8.8.8.8%20x/", WH_TARGET_NO_URL},

	{"example.com", WH_TARGET_SCHEME},
	{"example.com:443/", WH_TARGET_SCHEME},
	{"//example.com/", WH_TARGET_SCHEME},
	{"/hook", WH_TARGET_SCHEME},
	{"ftp://example.com/", WH_TARGET_SCHEME},
	{"file:///etc/passwd", WH_TARGET_SCHEME},
	{"gopher://10.0.0.1:6379/_x", WH_TARGET_SCHEME},
	{"httpsx://example.com/", WH_TARGET_SCHEME},
	{"httpx://example.com/", WH_TARGET_SCHEME},
	{"javascript:alert(1)", WH_TARGET_SCHEME},

	{"https://user@example.com/", WH_TARGET_CREDENTIALS},
	{"https://user:word@example.com/", WH_TARGET_CREDENTIALS},
	{"https://:word@example.com/", WH_TARGET_CREDENTIALS},
	{"https://@example.com/", WH_TARGET_CREDENTIALS},
	{"https://:@example.com/", WH_TARGET_CREDENTIALS},
	{"https://a@b@example.com/", WH_TARGET_CREDENTIALS},
	{"https://example.com:443@10.0.0.1/", WH_TARGET_CREDENTIALS},

	{"https://example.com/#", WH_TARGET_FRAGMENT},
	{"https://example.com/hook#part", WH_TARGET_FRAGMENT},
	{"https://example.com#@10.0.0.1/", WH_TARGET_FRAGMENT},

	{"https://127.0.0.1/", WH_TARGET_ADDRESS},
	{"https://127.1/", WH_TARGET_ADDRESS},
	{"https://0/", WH_TARGET_ADDRESS},
	{"https://2130706433/", WH_TARGET_ADDRESS},
	{"https://017700000001/", WH_TARGET_ADDRESS},
	{"https://0x7f000001/", WH_TARGET_ADDRESS},
	{"https://0X7F.1/", WH_TARGET_ADDRESS},
	{"https://%30X7f.1/", WH_TARGET_ADDRESS},
	{"https://0177.0.0.0x1/", WH_TARGET_ADDRESS},
	{"https://127%2e0.0.1/", WH_TARGET_ADDRESS},
	{"https://%31%32%37.0.0.1/", WH_TARGET_ADDRESS},
	{"https://10.0.0.1:8443/", WH_TARGET_ADDRESS},
	{"https://169.254.169.254/latest/meta-data/", WH_TARGET_ADDRESS},
	{"https://0xa9fea9fe/", WH_TARGET_ADDRESS},
	{"https://[::1]/", WH_TARGET_ADDRESS},
	{"https://[::]/", WH_TARGET_ADDRESS},
	{"https://[0:0:0:0:0:0:0:1]/", WH_TARGET_ADDRESS},
	{"https://[::ffff:127.0.0.1]/", WH_TARGET_ADDRESS},
	{"https://[::ffff:7f00:1]/", WH_TARGET_ADDRESS},
	{"https://[::127.0.0.1]/", WH_TARGET_ADDRESS},
	{"https://[64:ff9b::7f00:1]/", WH_TARGET_ADDRESS},
	{"https://[fd00:ec2::254]/", WH_TARGET_ADDRESS},
	{"https://[fe80::1%25eth0]/", WH_TARGET_ADDRESS},
	{"https://localhost/", WH_TARGET_ADDRESS},
	{"https://LocalHost./", WH_TARGET_ADDRESS},
	{"https://hook.localhost:8443/", WH_TARGET_ADDRESS},
};

static void
test_urls(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(urls); i++)
	{
		WhTarget strict = wh_target_check_url(urls[i].url, false, NULL);
		WhTarget lax = wh_target_check_url(urls[i].url, true, NULL);

		if (strict != urls[i].target || lax != urls[i].target)
			fail_msg("%s: %d and %d, not %d", urls[i].url, (int) strict, (int) lax, (int) urls[i].target);
	}
}

/* Every https row again as http, refused or let through by the setting. */
static void
test_http(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(urls); i++)
	{
		char http[256];

		if (strncmp(urls[i].url, "https://", 8) != 0 || urls[i].url[8] == '/')
			continue;
		snprintf(http, sizeof(http), "http://%s", urls[i].url + 8);
		check_row(http, wh_target_check_url(http, true, NULL) == urls[i].target);
		check_row(http, wh_target_check_url(http, false, NULL) != WH_TARGET_OK);
		if (urls[i].target != WH_TARGET_NO_URL)
			check_row(http, wh_target_check_url(http, false, NULL) == WH_TARGET_HTTP);
	}
}

static void
test_allowed_urls(void **state)
{
	static const struct
	{
		const char *list;
		const char *url;
		WhTarget target;
	} rows[] = {
		{"127.0.0.0/8", "https://127.0.0.1:8443/", WH_TARGET_OK},
		{"127.0.0.0/8", "https://0x7f.1/", WH_TARGET_OK},
		{"127.0.0.0/8", "https://localhost:8443/", WH_TARGET_OK},
		{"127.0.0.0/8", "https://[::ffff:127.0.0.1]/", WH_TARGET_OK},
		{"127.0.0.0/8", "https://[::1]/", WH_TARGET_ADDRESS},
		{"127.0.0.2", "https://localhost/", WH_TARGET_ADDRESS},
		{"::1", "https://localhost/", WH_TARGET_OK},
		{"::1", "https://127.0.0.1/", WH_TARGET_ADDRESS},
		{"fe80::/10", "https://[fe80::1%25eth0]/", WH_TARGET_OK},
		{"0.0.0.0/0,::/0", "https://user@127.0.0.1/", WH_TARGET_CREDENTIALS},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhNetworks allowed = networks(rows[i].list);

		check_row(rows[i].url, wh_target_check_url(rows[i].url, false, &allowed) == rows[i].target);
		wh_networks_free(&allowed);
	}
}

/* Does libcurl take an address with a dot at its end for one? Versions differ. */
static bool
address_with_dot(void)
{
	CURLU *url = curl_url();
	char *host = NULL;
	bool is;

	assert_int_equal(curl_url_set(url, CURLUPART_URL, "https://127.0.0.1./", 0), CURLUE_OK);
	assert_int_equal(curl_url_get(url, CURLUPART_HOST, &host, 0), CURLUE_OK);
	is = strcmp(host, "127.0.0.1") == 0;
	curl_free(host);
	curl_url_cleanup(url);
	return is;
}

/* It is an address like others then, and else no name that anybody could have. */
static void
test_address_with_dot(void **state)
{
	bool is = address_with_dot();
	WhNetworks all = networks("0.0.0.0/0,::/0");

	(void) state;
	for (int lax = 0; lax <= 1; lax++)
	{
		assert_int_equal(wh_target_check_url("https://127.0.0.1./", lax, NULL),
						 is ? WH_TARGET_ADDRESS : WH_TARGET_NO_URL);
		assert_int_equal(wh_target_check_url("https://127.0.0.1./", lax, &all),
						 is ? WH_TARGET_OK : WH_TARGET_NO_URL);
	}
	assert_int_equal(wh_target_check_url("http://127.0.0.1./", true, NULL),
					 is ? WH_TARGET_ADDRESS : WH_TARGET_NO_URL);
	wh_networks_free(&all);
}

/* Lengths: of the URL, of a label, of a name. */
static void
test_lengths(void **state)
{
	char url[WH_URL_MAX + 2];
	char name[300];

	(void) state;
	memset(url, 'a', sizeof(url));
	memcpy(url, "https://example.com/", 20);
	url[WH_URL_MAX] = '\0';
	assert_int_equal(wh_target_check_url(url, false, NULL), WH_TARGET_OK);
	url[WH_URL_MAX] = 'a';
	url[WH_URL_MAX + 1] = '\0';
	assert_int_equal(wh_target_check_url(url, false, NULL), WH_TARGET_NO_URL);

	for (int label = 62; label <= 65; label++)
	{
		snprintf(url, sizeof(url), "https://%.*s.example/", label,
				 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
		assert_int_equal(wh_target_check_url(url, false, NULL),
						 label <= 63 ? WH_TARGET_OK : WH_TARGET_NO_URL);
	}
	for (size_t len = 251; len <= 255; len++)
	{
		for (size_t i = 0; i < len; i++)
			name[i] = i % 50 == 49 && i + 1 < len ? '.' : 'a';
		name[len] = '\0';
		snprintf(url, sizeof(url), "https://%s/", name);
		assert_int_equal(wh_target_check_url(url, false, NULL), len <= 253 ? WH_TARGET_OK : WH_TARGET_NO_URL);
	}
}

/* With libcurl's n-th allocation failing: the right answer or none. */
static void
test_no_memory(void **state)
{
	bool done = false;

	(void) state;
	for (long n = 1; !done; n++)
	{
		WhTarget target;

		fail_malloc_at(n);
		target = wh_target_check_url("https://127.1:8443/hook?x=y", false, NULL);
		done = !malloc_has_failed();
		assert_int_equal(target, done ? WH_TARGET_ADDRESS : WH_TARGET_NO_MEMORY);
		if (done)
			assert_true(n > 3);
	}
}

static char *
curl_strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = malloc(size);

	return copy != NULL ? memcpy(copy, s, size) : NULL;
}

static void *
curl_malloc(size_t size)
{
	return malloc(size);
}

static void *
curl_realloc(void *old, size_t size)
{
	return realloc(old, size);
}

static void *
curl_calloc(size_t n, size_t size)
{
	return calloc(n, size);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),         cmocka_unit_test(test_http),
		cmocka_unit_test(test_allowed_urls), cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_no_memory),    cmocka_unit_test(test_address_with_dot),
	};
	int failed;

	/* libcurl's allocations go through the ones that can be made to fail */
	if (curl_global_init_mem(CURL_GLOBAL_NOTHING, curl_malloc, free, curl_realloc, curl_strdup,
							 curl_calloc) != 0)
		return 1;
	failed = cmocka_run_group_tests_name("url", tests, NULL, NULL);
	curl_global_cleanup();
	return failed;
}
