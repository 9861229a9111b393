/*
 * test_address_policy.c
 *	  Which addresses may be dialled: both ends of every refused block and its
 *	  neighbours, and the lists that lift a refusal. URLs are in test_url.c.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

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

/* Ask both ways, by text and by socket address, which must agree. */
static bool
ip_ok(const char *ip, const WhNetworks *allowed)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	bool by_text = wh_target_ip_ok(ip, allowed);
	bool by_address = false;

	if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
		by_address = wh_target_address_ok((struct sockaddr *) &in, allowed);
	else if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1)
		by_address = wh_target_address_ok((struct sockaddr *) &in6, allowed);
	else
		fail_msg("%s is no address", ip);
	check_row(ip, by_text == by_address);
	return by_text;
}

/* A block's ends, and its neighbours: public, or NULL where another block begins. */
static const struct
{
	const char *rfc;
	const char *below, *first, *last, *above;
} blocks[] = {
	{"RFC 791, RFC 1122", NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0"},
	{"RFC 1918", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
	{"RFC 6598", "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"},
	{"RFC 1122", "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"},
	{"Azure", "168.63.129.15", "168.63.129.16", "168.63.129.16", "168.63.129.17"},
	{"RFC 3927", "169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"},
	{"RFC 1918", "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
	{"RFC 6890", "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"},
	{"RFC 5737", "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
	{"RFC 7535", "192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"},
	{"RFC 7450", "192.52.192.255", "192.52.193.0", "192.52.193.255", "192.52.194.0"},
	{"RFC 7526", "192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"},
	{"RFC 1918", "192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"},
	{"RFC 7534", "192.175.47.255", "192.175.48.0", "192.175.48.255", "192.175.49.0"},
	{"RFC 2544", "198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"},
	{"RFC 5737", "198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"},
	{"RFC 5737", "203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"},
	{"RFC 5771", "223.255.255.255", "224.0.0.0", "239.255.255.255", NULL},
	{"RFC 1112", NULL, "240.0.0.0", "255.255.255.255", NULL},

	/* NAT64 is what it wraps */
	{"RFC 6052, RFC 791", NULL, "64:ff9b::0.0.0.0", "64:ff9b::0.255.255.255", "64:ff9b::1.0.0.0"},
	{"RFC 6052, RFC 1918", "64:ff9b::9.255.255.255", "64:ff9b::10.0.0.0", "64:ff9b::10.255.255.255",
	 "64:ff9b::11.0.0.0"},
	{"RFC 6052, RFC 1122", "64:ff9b::126.255.255.255", "64:ff9b::127.0.0.0", "64:ff9b::127.255.255.255",
	 "64:ff9b::128.0.0.0"},
	{"RFC 6052, RFC 5771", "64:ff9b::223.255.255.255", "64:ff9b::224.0.0.0", "64:ff9b::255.255.255.255",
	 NULL},
	{"RFC 6052", NULL, "64:ff9b::1:0:0", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 8215", NULL, "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", NULL},

	/* outside 2000::/3 there is no good neighbour */
	{"RFC 4291", NULL, "::", "::", NULL},
	{"RFC 4291", NULL, "::1", "::1", NULL},
	{"RFC 4291", NULL, "::2", "::ffff:ffff", NULL},
	{"RFC 4291, v4-compatible", NULL, "::127.0.0.1", "::8.8.8.8", NULL},
	{"RFC 2765, v4-translated", NULL, "::ffff:0:8.8.8.8", "::fffe:8.8.8.8", NULL},
	{"RFC 6666", NULL, "100::", "100::ffff:ffff:ffff:ffff", NULL},
	{"RFC 9780", NULL, "100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4048, RFC 4291", NULL, "0200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"},
	{"RFC 2928", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	 "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"},
	{"RFC 4380, Teredo", NULL, "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:1::1", NULL},
	{"RFC 5180", NULL, "2001:2::1", "2001:2:0:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4843, RFC 7343, RFC 9374", NULL, "2001:10::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 3849", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
	 "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
	{"RFC 3056", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	 "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"},
	{"RFC 3056", NULL, "2002:7f00:1::1", "2002:808:808::1", NULL},
	{"RFC 7534", "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
	 "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"},
	{"RFC 9637", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	 "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
	{"RFC 4291", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	 "4000::", "7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 9602", NULL, "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4291", NULL, "8000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4193", NULL, "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4193, Amazon and Google", NULL, "fd00:ec2::254", "fd20:ce::254", NULL},
	{"RFC 4291", NULL, "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 3879", NULL, "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4291", NULL, "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},

	/* blocks of the registries that lie within others, and what they are part of */
	{"RFC 7335, DS-Lite", NULL, "192.0.0.0", "192.0.0.7", NULL},
	{"RFC 7600", NULL, "192.0.0.8", "192.0.0.8", NULL},
	{"RFC 7723, anycast", NULL, "192.0.0.9", "192.0.0.9", NULL},
	{"RFC 8155, anycast", NULL, "192.0.0.10", "192.0.0.10", NULL},
	{"RFC 7050, RFC 8880", NULL, "192.0.0.170", "192.0.0.171", NULL},
	{"RFC 6751", NULL, "192.88.99.2", "192.88.99.2", NULL},
	{"RFC 919", NULL, "255.255.255.255", "255.255.255.255", NULL},
	{"RFC 7723, anycast", NULL, "2001:1::1", "2001:1::1", NULL},
	{"RFC 8155, anycast", NULL, "2001:1::2", "2001:1::2", NULL},
	{"RFC 9665, anycast", NULL, "2001:1::3", "2001:1::3", NULL},
	{"RFC 7450", NULL, "2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 7535", NULL, "2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4843, ORCHID", NULL, "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 7343, ORCHIDv2", NULL, "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 9374, DRIP", NULL, "2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
	{"RFC 4380, Teredo", NULL, "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", NULL},

	/* what the clouds answer at, wherever it lies */
	{"RFC 3927, most clouds", NULL, "169.254.169.254", "169.254.169.254", NULL},
	{"RFC 3927, Amazon's tasks", NULL, "169.254.170.2", "169.254.170.2", NULL},
	{"RFC 6598, Alibaba", NULL, "100.100.100.200", "100.100.100.200", NULL},
	{"RFC 6890, Oracle", NULL, "192.0.0.192", "192.0.0.192", NULL},
};

static void
test_blocks(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(blocks); i++)
	{
		const char *inside[] = {blocks[i].first, blocks[i].last};
		const char *outside[] = {blocks[i].below, blocks[i].above};

		for (size_t k = 0; k < 2; k++)
		{
			if (ip_ok(inside[k], NULL))
				fail_msg("%s (%s) may be dialled", inside[k], blocks[i].rfc);
			if (outside[k] != NULL && !ip_ok(outside[k], NULL))
				fail_msg("%s, beside a block of %s, may not be dialled", outside[k], blocks[i].rfc);
		}
	}
}

/* Every IPv4 row again, v4-mapped and through NAT64, which must make no difference. */
static void
test_wrapped(void **state)
{
	static const char *const wrappers[] = {"::ffff:%s", "64:ff9b::%s"};

	(void) state;
	for (size_t i = 0; i < lengthof(blocks); i++)
	{
		const char *ips[] = {blocks[i].below, blocks[i].first, blocks[i].last, blocks[i].above};

		for (size_t k = 0; k < lengthof(ips) * lengthof(wrappers); k++)
		{
			const char *ip = ips[k / lengthof(wrappers)];
			char wrapped[64];

			if (ip == NULL || strchr(ip, ':') != NULL)
				continue;
			snprintf(wrapped, sizeof(wrapped), wrappers[k % lengthof(wrappers)], ip);
			check_row(wrapped, ip_ok(wrapped, NULL) == ip_ok(ip, NULL));
		}
	}
}

static void
test_public(void **state)
{
	static const char *const ips[] = {
		"8.8.8.8",        "93.184.216.34",    "2606:4700::1111",     "2a00:1450:4001:800::200e",
		"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:4860:4860::8888"};

	(void) state;
	for (size_t i = 0; i < lengthof(ips); i++)
		check_row(ips[i], ip_ok(ips[i], NULL));
}

/* Text that is no address, or one with a zone. */
static void
test_text(void **state)
{
	static const struct
	{
		const char *ip;
		bool ok;
	} rows[] = {
		{"", false},
		{" 8.8.8.8", false},
		{"8.8.8.8 ", false},
		{"8.8.8", false},
		{"8.8.8.8.8", false},
		{"0x8.8.8.8", false},
		{"134744072", false},
		{"8.8.8.8:443", false},
		{"8.8.8.8%eth0", false},
		{"example.com", false},
		{"[2606:4700::1111]", false},
		{"2606:4700::1111", true},
		{"2606:4700::1111%eth0", true},
		{"fe80::1%eth0", false},
		{"::1%1", false},
		{"%eth0", false},
		{":", false},
		{"2606:4700:0000:0000:0000:0000:0000:0000:0000:0000:0000:1111", false},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
		check_row(rows[i].ip, wh_target_ip_ok(rows[i].ip, NULL) == rows[i].ok);
}

static void
test_other_families(void **state)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/tmp/socket"};
	struct sockaddr_storage none = {.ss_family = AF_UNSPEC};
	WhNetworks all = networks("0.0.0.0/0, ::/0");

	(void) state;
	assert_false(wh_target_address_ok((struct sockaddr *) &path, &all));
	assert_false(wh_target_address_ok((struct sockaddr *) &none, &all));
	wh_networks_free(&all);
}

static void
test_allowed(void **state)
{
	static const struct
	{
		const char *list;
		const char *ip;
		bool ok;
	} rows[] = {
		{"", "10.0.0.1", false},
		{"10.0.0.0/8", "10.0.0.1", true},
		{"10.0.0.0/8", "::ffff:10.255.255.255", true},
		{"::ffff:10.0.0.0/104", "10.0.0.1", true},
		{"10.0.0.0/8", "11.0.0.1", true},
		{"10.0.0.0/8", "127.0.0.1", false},
		{"10.0.0.0/8", "64:ff9b::10.0.0.1", false},
		{"64:ff9b::10.0.0.0/104", "64:ff9b::10.0.0.1", true},
		{"64:ff9b::10.0.0.0/104", "10.0.0.1", false},
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "10.1.2.4", false},
		{"10.1.2.3/8", "10.200.0.1", true}, /* bits behind the prefix do not count */
		{"10.0.0.0/9", "10.127.255.255", true},
		{"10.0.0.0/9", "10.128.0.0", false},
		{"10.128.0.0/31", "10.128.0.1", true},
		{"10.128.0.0/31", "10.128.0.2", false},
		{"127.0.0.0/8,::1", "127.0.0.53", true},
		{"127.0.0.0/8,::1", "::1", true},
		{"127.0.0.0/8,::1", "::", false},
		{"0.0.0.0/0", "169.254.169.254", true},
		{"0.0.0.0/0", "::1", false},
		{"0.0.0.0/0", "::127.0.0.1", false},
		{"::/0", "::1", true},
		{"::/0", "ff02::1", true},
		{"::/0", "127.0.0.1", false}, /* IPv4 is no part of IPv6 */
		{"::/0", "::ffff:127.0.0.1", false},
		{"::/95", "127.0.0.1", false},
		{"::ffff:0:0/96", "127.0.0.1", true},
		{"fc00::/7", "fd12:3456::1", true},
		{"fc00::/7", "fe80::1", false},
		{"fe80::/10", "fe80::1", true},
		{"2001:db8::/33", "2001:db8:7fff::1", true},
		{"2001:db8::/33", "2001:db8:8000::1", false},
		{"2001:db8::1/128", "2001:db8::1", true},
		{"2001:db8::1/127", "2001:db8::2", false},
		{" 10.0.0.0/8 ,\t192.168.0.0/16\n", "192.168.1.1", true},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhNetworks allowed = networks(rows[i].list);

		if (ip_ok(rows[i].ip, &allowed) != rows[i].ok)
			fail_msg("%s with \"%s\" allowed", rows[i].ip, rows[i].list);
		wh_networks_free(&allowed);
	}
}

static void
test_bad_lists(void **state)
{
	static const struct
	{
		const char *list;
		const char *bad;
	} rows[] = {
		{",", ""},
		{"10.0.0.0/8,", ""},
		{",10.0.0.0/8", ""},
		{"10.0.0.0/8,,::1", ""},
		{"10.0.0.0/8, ,::1", ""},
		{"10.0.0.0/33", "10.0.0.0/33"},
		{"::1, ::/129 ,10.0.0.1", "::/129"},
		{"10.0.0.0/", "10.0.0.0/"},
		{"10.0.0.0/08", "10.0.0.0/08"},
		{"10.0.0.0/-1", "10.0.0.0/-1"},
		{"10.0.0.0/+8", "10.0.0.0/+8"},
		{"10.0.0.0/8/8", "10.0.0.0/8/8"},
		{"10.0.0.0/ 8", "10.0.0.0/ 8"},
		{"10.0.0.0 /8", "10.0.0.0 /8"},
		{"10.0.0.0/255.0.0.0", "10.0.0.0/255.0.0.0"},
		{"10.0.0.0/4294967304", "10.0.0.0/4294967304"},
		{"10.0.0.0/8 192.168.0.0/16", "10.0.0.0/8 192.168.0.0/16"},
		{"10/8", "10/8"},
		{"/8", "/8"},
		{"0x0a.0.0.0/8", "0x0a.0.0.0/8"},
		{"010.0.0.0/8", "010.0.0.0/8"},
		{"localhost", "localhost"},
		{"[::1]", "[::1]"},
		{"fe80::1%eth0", "fe80::1%eth0"},
		{"::1::", "::1::"},
		{"0123456789abcdefghijklmnopqrstuvwxyz", "0123456789abcdefghi"}, /* cut to the room there is */
		{"0123456789abcdefgh\xc3\xa9", "0123456789abcdefgh"},            /* and not inside a character */
		{"0123456789abcdefg\xc3\xa9", "0123456789abcdefg\xc3\xa9"},
	};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhNetworks out = {7, NULL};
		char bad[20];

		check_row(rows[i].list, !wh_networks_parse(rows[i].list, &out, bad, sizeof(bad)));
		if (strlen(rows[i].bad) < sizeof(bad))
			assert_string_equal(bad, rows[i].bad);
		else
			assert_memory_equal(bad, rows[i].bad, sizeof(bad) - 1);
		check_row(rows[i].list, out.n == 0 && out.items == NULL);
		/* no room at all to say so */
		check_row(rows[i].list, !wh_networks_parse(rows[i].list, &out, NULL, 0));
	}
}

static void
test_lists(void **state)
{
	WhNetworks out = networks(" \t ");

	(void) state;
	assert_int_equal(out.n, 0);
	wh_networks_free(&out);
	out = networks("1.2.3.4,5.6.7.8/16,2001:db8::/32");
	assert_int_equal(out.n, 3);
	assert_int_equal(out.items[0].bits, 128);
	assert_int_equal(out.items[1].bits, 112);
	assert_int_equal(out.items[2].bits, 32);
	wh_networks_free(&out);
	assert_null(out.items);
	wh_networks_free(&out);
}

static void
test_no_memory(void **state)
{
	WhNetworks out;
	char bad[64];

	(void) state;
	fail_malloc_at(1);
	assert_false(wh_networks_parse("10.0.0.0/8", &out, bad, sizeof(bad)));
	assert_true(malloc_has_failed());
	assert_string_equal(bad, "out of memory");
	assert_int_equal(out.n, 0);
	assert_null(out.items);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks),         cmocka_unit_test(test_wrapped),
		cmocka_unit_test(test_public),         cmocka_unit_test(test_text),
		cmocka_unit_test(test_other_families), cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_bad_lists),      cmocka_unit_test(test_lists),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
