/*
 * fuzz_address_policy.c
 *	  libFuzzer over the address policy: lists of networks, addresses and URLs.
 *
 * The input is text: its first line a list of allowed networks, the rest a URL
 * or an address. Beyond not crashing, the policy must be consistent: a longer
 * list of allowed networks never refuses more, allowing http neither, and no
 * URL passes whose host the C library would dial at an address that does not;
 * and of addresses as bytes, none passes that a second, coarser look knows for
 * special.
 * Ownership: each run frees what it makes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "address_policy.h"
#include "must.h"

/* The host of an accepted URL, cut out by hand rather than by libcurl. */
static void
cut_host(const char *url, char *host, size_t host_size)
{
	const char *start = strstr(url, "//") + 2;
	size_t len = strcspn(start, "/?#");

	must(len < host_size);
	memcpy(host, start, len);
	host[len] = '\0';
	if (host[0] == '[')
	{
		memmove(host, host + 1, len);
		host[strcspn(host, "]%")] = '\0';
	}
	else
		host[strcspn(host, ":")] = '\0';
}

/* If the host is an address to the C library, in whatever spelling, it is one that may be dialled. */
static void
check_accepted(const char *url, const WhNetworks *allowed)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	char host[WH_URL_MAX + 1];

	cut_host(url, host, sizeof(host));
	must(host[0] != '\0');
	if (inet_aton(host, &in.sin_addr) != 0)
		must(wh_target_address_ok((struct sockaddr *) &in, allowed));
	if (inet_pton(AF_INET6, host, &in6.sin6_addr) == 1)
		must(wh_target_address_ok((struct sockaddr *) &in6, allowed));
}

static void
check_networks(const WhNetworks *networks, const char *list)
{
	must(networks->n >= 0 && (size_t) networks->n <= strlen(list));
	for (int i = 0; i < networks->n; i++)
		must(networks->items[i].bits >= 0 && networks->items[i].bits <= 128);
}

/* Sixteen bytes as an address: by the C library's own notions, and against the IPv4 address that it may wrap. */
static void
check_bytes(const uint8_t *bytes)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	const struct in6_addr *a = &in6.sin6_addr;
	char text[INET6_ADDRSTRLEN];
	bool ok;

	memcpy(&in6.sin6_addr, bytes, 16);
	ok = wh_target_address_ok((struct sockaddr *) &in6, NULL);
	must(inet_ntop(AF_INET6, a, text, sizeof(text)) != NULL);
	must(wh_target_ip_ok(text, NULL) == ok);
	if (!ok)
		return;
	must(!IN6_IS_ADDR_UNSPECIFIED(a) && !IN6_IS_ADDR_LOOPBACK(a) && !IN6_IS_ADDR_LINKLOCAL(a) &&
		 !IN6_IS_ADDR_SITELOCAL(a) && !IN6_IS_ADDR_MULTICAST(a) && !IN6_IS_ADDR_V4COMPAT(a));
	must((bytes[0] & 0xfe) != 0xfc);                   /* unique-local */
	must(bytes[0] != 0x20 || bytes[1] != 0x02);        /* 6to4 */
	must(memcmp(bytes, "\x20\x01\0\0", 4) != 0);       /* Teredo */
	must(memcmp(bytes, "\0\x64\xff\x9b\0\1", 6) != 0); /* NAT64 with a local prefix */
	if (IN6_IS_ADDR_V4MAPPED(a) || memcmp(bytes, "\0\x64\xff\x9b\0\0\0\0\0\0\0\0", 12) == 0)
	{
		memcpy(&in.sin_addr, bytes + 12, 4);
		must(wh_target_address_ok((struct sockaddr *) &in, NULL));
		must(bytes[12] != 0 && bytes[12] != 10 && bytes[12] != 127 && bytes[12] < 224);
	}
}

/* Text and socket address are to be judged alike, and an allowed address stays so in a list of all. */
static void
check_ip(const char *ip, const WhNetworks *allowed, const WhNetworks *all)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	bool ok = wh_target_ip_ok(ip, allowed);

	if (wh_target_ip_ok(ip, NULL))
		must(ok);
	if (ok)
		must(wh_target_ip_ok(ip, all));
	if (inet_pton(AF_INET, ip, &in.sin_addr) == 1)
		must(wh_target_address_ok((struct sockaddr *) &in, allowed) == ok);
	if (inet_pton(AF_INET6, ip, &in6.sin6_addr) == 1)
		must(wh_target_address_ok((struct sockaddr *) &in6, allowed) == ok);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *list = malloc(size + 1);
	char *rest;
	char bad[32];
	WhNetworks allowed;
	WhNetworks all;
	WhTarget strict;
	WhTarget lax;

	if (size >= 16)
		check_bytes(data + size - 16);
	must(list != NULL);
	if (size > 0)
		memcpy(list, data, size);
	list[size] = '\0';
	rest = list + strcspn(list, "\n");
	if (*rest == '\n')
		*rest++ = '\0';

	if (wh_networks_parse(list, &allowed, bad, sizeof(bad)))
		check_networks(&allowed, list);
	else
		must(allowed.n == 0 && allowed.items == NULL && strlen(bad) < sizeof(bad));
	must(wh_networks_parse("0.0.0.0/0, ::/0", &all, bad, sizeof(bad)));

	check_ip(rest, &allowed, &all);

	strict = wh_target_check_url(rest, false, NULL);
	lax = wh_target_check_url(rest, true, &allowed);
	must(strict != WH_TARGET_NO_MEMORY && lax != WH_TARGET_NO_MEMORY);
	if (strict == WH_TARGET_OK)
	{
		check_accepted(rest, NULL);
		must(lax == WH_TARGET_OK);
	}
	if (lax == WH_TARGET_OK)
	{
		check_accepted(rest, &allowed);
		must(wh_target_check_url(rest, true, &all) == WH_TARGET_OK);
	}

	wh_networks_free(&allowed);
	wh_networks_free(&all);
	free(list);
	return 0;
}
