/*
 * address_policy.c
 *	  Which URLs and addresses may be dialled.
 *
 * Without this, a role that may subscribe could make the database's host talk to what
 * only that host can reach: itself, its neighbours, the cloud's metadata service
 * (server-side request forgery). The policy is checked when a subscription or
 * webhook.allowed_networks is set, which gives an early error. It is checked again for
 * each address before it is dialled, and that check is the one that protects.
 *
 * There is one representation: every address is 16 bytes, IPv4 as v4-mapped IPv6. So
 * there is one table and one comparison, and no spelling slips between two.
 *
 * Ownership: a parsed list belongs to the caller, who frees it with wh_networks_free.
 * Nothing is kept between calls.
 */
#include "address_policy.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <curl/curl.h>

#define ADDRESS_LEN 16
#define MAPPED_BITS 96 /* of the v4-mapped prefix */

#define HOST_MAX 253 /* characters of a host name, RFC 1035 */
#define LABEL_MAX 63

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const unsigned char nat64_prefix[12] = {0x00, 0x64, 0xff, 0x9b};

#define V4(a, b, c, d, n)                                                                                    \
	{                                                                                                        \
		{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}, MAPPED_BITS + (n)                            \
	}
#define PAIR(g) (g) / 256, (g) % 256
#define V6(g0, g1, g2, g3, n)                                                                                \
	{                                                                                                        \
		{PAIR(g0), PAIR(g1), PAIR(g2), PAIR(g3)}, n                                                          \
	}

/*
 * These are refused: IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890,
 * RFC 8190), including the blocks that they call globally reachable, because no webhook's
 * endpoint is in them; multicast; addresses of clouds' own services; and IPv6 that is not
 * global unicast. The last rows cover all of IPv6 outside 2000::/3. Earlier rows that they
 * include are listed for readers who look for them.
 */
static const WhNetwork special[] = {
	V4(0, 0, 0, 0, 8),        /* this network; 0.0.0.0 dials the host itself. RFC 791, RFC 1122 */
	V4(10, 0, 0, 0, 8),       /* private. RFC 1918 */
	V4(100, 64, 0, 0, 10),    /* carriers' NAT; 100.100.100.200 is Alibaba's metadata. RFC 6598 */
	V4(127, 0, 0, 0, 8),      /* loopback. RFC 1122 */
	V4(168, 63, 129, 16, 32), /* Azure's metadata and agent, though a public address. No RFC */
	V4(169, 254, 0, 0, 16),   /* link-local; 169.254.169.254 is most clouds' metadata. RFC 3927 */
	V4(172, 16, 0, 0, 12),    /* private. RFC 1918 */
	V4(192, 0, 0, 0, 24),     /* IETF protocols; 192.0.0.192 is Oracle's metadata. RFC 6890 */
	V4(192, 0, 2, 0, 24),     /* documentation. RFC 5737 */
	V4(192, 31, 196, 0, 24),  /* AS112. RFC 7535 */
	V4(192, 52, 193, 0, 24),  /* AMT. RFC 7450 */
	V4(192, 88, 99, 0, 24),   /* 6to4 relays, deprecated. RFC 7526 */
	V4(192, 168, 0, 0, 16),   /* private. RFC 1918 */
	V4(192, 175, 48, 0, 24),  /* AS112. RFC 7534 */
	V4(198, 18, 0, 0, 15),    /* benchmarking. RFC 2544 */
	V4(198, 51, 100, 0, 24),  /* documentation. RFC 5737 */
	V4(203, 0, 113, 0, 24),   /* documentation. RFC 5737 */
	V4(224, 0, 0, 0, 4),      /* multicast. RFC 5771 */
	V4(240, 0, 0, 0, 4),      /* reserved, and 255.255.255.255, broadcast. RFC 1112, RFC 919 */

	V6(0, 0, 0, 0, 96),         /* unspecified, loopback, v4-compatible (deprecated). RFC 4291 */
	V6(0x64, 0xff9b, 1, 0, 48), /* NAT64 with a local prefix. RFC 8215 */
	V6(0x100, 0, 0, 0, 64),     /* discarded. RFC 6666 */
	V6(0x100, 0, 0, 1, 64),     /* dummy prefix. RFC 9780 */
	/*
	 * Teredo, which wraps IPv4 (RFC 4380), benchmarking (RFC 5180), AMT (RFC 7450),
	 * AS112 (RFC 7535), ORCHID (RFC 4843, RFC 7343), DRIP (RFC 9374) are all of the
	 * IETF's block for protocols
	 */
	V6(0x2001, 0, 0, 0, 23),         /* RFC 2928 */
	V6(0x2001, 0xdb8, 0, 0, 32),     /* documentation. RFC 3849 */
	V6(0x2002, 0, 0, 0, 16),         /* 6to4, wraps IPv4; its relays are gone. RFC 3056, RFC 7526 */
	V6(0x2620, 0x4f, 0x8000, 0, 48), /* AS112. RFC 7534 */
	V6(0x3fff, 0, 0, 0, 20),         /* documentation. RFC 9637 */
	V6(0x5f00, 0, 0, 0, 16),         /* SRv6 segments. RFC 9602 */
	V6(0xfc00, 0, 0, 0, 7),          /* unique-local; fd00:ec2::254 is Amazon's metadata. RFC 4193 */
	V6(0xfe80, 0, 0, 0, 10),         /* link-local. RFC 4291 */
	V6(0xfec0, 0, 0, 0, 10),         /* site-local, deprecated. RFC 3879 */
	V6(0xff00, 0, 0, 0, 8),          /* multicast. RFC 4291 */

	V6(0x0000, 0, 0, 0, 3), /* the rest outside 2000::/3, the only global unicast. RFC 4291 */
	V6(0x4000, 0, 0, 0, 2),
	V6(0x8000, 0, 0, 0, 1),
};

static bool
is_mapped(const unsigned char address[ADDRESS_LEN])
{
	return memcmp(address, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

static bool
network_holds(const WhNetwork *network, const unsigned char address[ADDRESS_LEN])
{
	int whole = network->bits / 8;
	int rest = network->bits % 8;

	/* a prefix this short is IPv6 and does not contain IPv4 */
	if (network->bits < MAPPED_BITS && is_mapped(address))
		return false;
	if (memcmp(network->address, address, (size_t) whole) != 0)
		return false;
	return rest == 0 || (network->address[whole] ^ address[whole]) >> (8 - rest) == 0;
}

static bool
any_holds(const WhNetwork *networks, size_t n, const unsigned char address[ADDRESS_LEN])
{
	for (size_t i = 0; i < n; i++)
		if (network_holds(&networks[i], address))
			return true;
	return false;
}

static bool
address_ok(const unsigned char address[ADDRESS_LEN], const WhNetworks *allowed)
{
	unsigned char effective[ADDRESS_LEN];

	if (allowed != NULL && any_holds(allowed->items, (size_t) allowed->n, address))
		return true;
	memcpy(effective, address, ADDRESS_LEN);
	/* through NAT64, the embedded IPv4 address is dialled */
	if (memcmp(address, nat64_prefix, sizeof(nat64_prefix)) == 0)
		memcpy(effective, mapped_prefix, sizeof(mapped_prefix));
	return !any_holds(special, sizeof(special) / sizeof(special[0]), effective);
}

static void
from_v4(const struct in_addr *in, unsigned char address[ADDRESS_LEN])
{
	memcpy(address, mapped_prefix, sizeof(mapped_prefix));
	memcpy(address + sizeof(mapped_prefix), in, sizeof(*in));
}

/* Read `len` characters as an address: four decimal numbers, or IPv6 without zone and brackets. */
static bool
from_text(const char *text, size_t len, unsigned char address[ADDRESS_LEN])
{
	char copy[INET6_ADDRSTRLEN];
	struct in_addr in;

	if (len == 0 || len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET, copy, &in) == 1)
	{
		from_v4(&in, address);
		return true;
	}
	return inet_pton(AF_INET6, copy, address) == 1;
}

/* Read what resolvers also take for IPv4: octal or hexadecimal numbers, or fewer than four. */
static bool
from_numbers(const char *text, unsigned char address[ADDRESS_LEN])
{
	struct in_addr in;

	if (inet_aton(text, &in) == 0)
		return false;
	from_v4(&in, address);
	return true;
}

bool
wh_target_address_ok(const struct sockaddr *address, const WhNetworks *allowed)
{
	unsigned char bytes[ADDRESS_LEN];

	/* copied, not cast: the caller's storage may be less strictly aligned */
	if (address->sa_family == AF_INET)
	{
		struct sockaddr_in in;

		memcpy(&in, address, sizeof(in));
		from_v4(&in.sin_addr, bytes);
	}
	else if (address->sa_family == AF_INET6)
	{
		struct sockaddr_in6 in6;

		memcpy(&in6, address, sizeof(in6));
		memcpy(bytes, &in6.sin6_addr, sizeof(bytes));
	}
	else
		return false;
	return address_ok(bytes, allowed);
}

bool
wh_target_ip_ok(const char *ip, const WhNetworks *allowed)
{
	unsigned char bytes[ADDRESS_LEN];
	size_t len = strlen(ip);

	/* only IPv6 has zones */
	if (memchr(ip, ':', len) != NULL)
		len = strcspn(ip, "%");
	return from_text(ip, len, bytes) && address_ok(bytes, allowed);
}

/* Read a prefix length, decimal without leading zeros, of at most `max` bits. */
static bool
parse_bits(const char *text, size_t len, int max, int *bits)
{
	int value = 0;

	if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (text[i] - '0');
	}
	*bits = value;
	return value <= max;
}

/* Read one entry of a list, an address with or without a prefix length. */
static bool
parse_network(const char *text, size_t len, WhNetwork *network)
{
	const char *slash = memchr(text, '/', len);
	size_t address_len = slash != NULL ? (size_t) (slash - text) : len;
	bool v4 = memchr(text, ':', address_len) == NULL;
	int bits = v4 ? 32 : 128;

	if (!from_text(text, address_len, network->address))
		return false;
	if (slash != NULL && !parse_bits(slash + 1, len - address_len - 1, bits, &bits))
		return false;
	network->bits = v4 ? MAPPED_BITS + bits : bits;
	return true;
}

/* Quote `len` bytes of text, or as many as fit without cutting a UTF-8 character. */
static void
quote(const char *text, size_t len, char *out, size_t out_size)
{
	size_t n = len < out_size ? len : out_size - 1;

	if (out_size == 0)
		return;
	if (n < len)
		while (n > 0 && ((unsigned char) text[n] & 0xc0) == 0x80)
			n--;
	memcpy(out, text, n);
	out[n] = '\0';
}

bool
wh_networks_parse(const char *list, WhNetworks *out, char *bad, size_t bad_size)
{
	static const char blanks[] = " \t\r\n";
	static const char no_memory[] = "out of memory";
	const char *entry = list + strspn(list, blanks);
	size_t most = 1;

	out->n = 0;
	out->items = NULL;
	quote("", 0, bad, bad_size);
	if (*entry == '\0')
		return true;
	for (const char *s = entry; *s != '\0'; s++)
		most += *s == ',';
	out->items = malloc(most * sizeof(WhNetwork));
	if (out->items == NULL)
	{
		quote(no_memory, sizeof(no_memory) - 1, bad, bad_size);
		return false;
	}
	for (;;)
	{
		size_t span = strcspn(entry, ",");
		size_t len = span;

		while (len > 0 && strchr(blanks, entry[len - 1]) != NULL)
			len--;
		if (!parse_network(entry, len, &out->items[out->n]))
		{
			quote(entry, len, bad, bad_size);
			wh_networks_free(out);
			return false;
		}
		out->n++;
		if (entry[span] == '\0')
			return true;
		entry += span + 1;
		entry += strspn(entry, blanks);
	}
}

void
wh_networks_free(WhNetworks *networks)
{
	free(networks->items);
	networks->items = NULL;
	networks->n = 0;
}

/*
 * Is it printable ASCII (RFC 3986 has no other) of acceptable length? A backslash is not
 * accepted, because some parsers take it for a slash: all parsers must find the same host
 * in the URL.
 */
static bool
plain_text(const char *url)
{
	size_t len = strnlen(url, WH_URL_MAX + 1);

	if (len == 0 || len > WH_URL_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (url[i] <= ' ' || url[i] > '~' || url[i] == '\\')
			return false;
	return true;
}

/* Does a resolver take this last label of a name for a number, and thus the name for an address? */
static bool
looks_numeric(const char *label, size_t len)
{
	bool hex = len >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X');

	for (size_t i = hex ? 2 : 0; i < len; i++)
		if (hex ? !isxdigit((unsigned char) label[i]) : !isdigit((unsigned char) label[i]))
			return false;
	return true;
}

/* Check a host that is not a literal address, and see whether it is localhost. */
static bool
host_name_ok(const char *host, bool *local)
{
	size_t len = strlen(host);
	const char *last;
	size_t label = 0;

	if (len > 0 && host[len - 1] == '.') /* the root, written explicitly */
		len--;
	if (len == 0 || len > HOST_MAX)
		return false;
	last = host;
	for (size_t i = 0; i <= len; i++)
	{
		if (i == len || host[i] == '.')
		{
			if (label == 0 || label > LABEL_MAX)
				return false;
			if (i < len)
				last = host + i + 1;
			label = 0;
		}
		else if (isalnum((unsigned char) host[i]) || host[i] == '-' || host[i] == '_')
			label++;
		else
			return false;
	}
	len = (size_t) (host + len - last);
	*local = len == 9 && strncasecmp(last, "localhost", 9) == 0;
	/* it looks like an address but cannot be dialled: 256.0.0.1, 1.2.3.4.5, 127.0.0.1. */
	return !looks_numeric(last, len);
}

/*
 * Check the host as libcurl understands it: IPv6 in brackets, IPv4 normalised. libcurl
 * leaves some spellings unchanged; which ones depends on its version.
 */
static WhTarget
check_host(char *host, const WhNetworks *allowed)
{
	unsigned char bytes[ADDRESS_LEN];
	size_t len = strlen(host);
	bool local;

	if (host[0] == '[' && host[len - 1] == ']')
	{
		host++;
		len -= 2;
	}
	if (from_text(host, len, bytes) || from_numbers(host, bytes))
		return address_ok(bytes, allowed) ? WH_TARGET_OK : WH_TARGET_ADDRESS;
	if (!host_name_ok(host, &local))
		return WH_TARGET_NO_URL;
	if (local && !wh_target_ip_ok("127.0.0.1", allowed) && !wh_target_ip_ok("::1", allowed))
		return WH_TARGET_ADDRESS;
	return WH_TARGET_OK;
}

/* Let libcurl say which host and port the URL means, because libcurl dials them. */
static WhTarget
check_parsed(const char *url, const WhNetworks *allowed)
{
	CURLU *parsed = curl_url();
	char *host = NULL;
	char *port = NULL;
	CURLUcode rc = parsed != NULL ? curl_url_set(parsed, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;
	WhTarget result;

	if (rc == CURLUE_OK)
		rc = curl_url_get(parsed, CURLUPART_HOST, &host, 0);
	if (rc == CURLUE_OK)
		rc = curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
	if (rc == CURLUE_OUT_OF_MEMORY)
		result = WH_TARGET_NO_MEMORY;
	else if (rc != CURLUE_OK || strcmp(port, "0") == 0)
		result = WH_TARGET_NO_URL;
	else
		result = check_host(host, allowed);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(parsed);
	return result;
}

WhTarget
wh_target_check_url(const char *url, bool allow_http, const WhNetworks *allowed)
{
	const char *rest;
	bool http = false;

	if (!plain_text(url))
		return WH_TARGET_NO_URL;
	if (strncasecmp(url, "https:", 6) == 0)
		rest = url + 6;
	else if (strncasecmp(url, "http:", 5) == 0)
	{
		rest = url + 5;
		http = true;
	}
	else
		return WH_TARGET_SCHEME;

	/* libcurl forgives one slash too few or too many; other parsers then find another host */
	if (strncmp(rest, "//", 2) != 0 || rest[2] == '/')
		return WH_TARGET_NO_URL;
	rest += 2;
	if (http && !allow_http)
		return WH_TARGET_HTTP;
	if (memchr(rest, '@', strcspn(rest, "/?#")) != NULL)
		return WH_TARGET_CREDENTIALS;
	if (strchr(rest, '#') != NULL)
		return WH_TARGET_FRAGMENT;
	return check_parsed(url, allowed);
}
