/*
 * address_policy.h
 *	  Which URLs and addresses are allowed. Checked when a subscription is made
 *	  (by checks.c), and again for every address connected to (through http.c).
 *
 * The first check helps whoever types the URL. The second one protects: a name
 * may resolve to any address, and to another one tomorrow.
 *
 * All functions are pure, except wh_networks_parse, which allocates, and
 * wh_target_check_url, which allocates inside libcurl while it runs.
 */
#ifndef WEBHOOK_ADDRESS_POLICY_H
#define WEBHOOK_ADDRESS_POLICY_H

#include <stdbool.h>
#include <stddef.h>

struct sockaddr;

#define WH_URL_MAX 2048 /* bytes of a URL */

/*
 * A network. IPv4 is held as v4-mapped IPv6, so 10.0.0.0/8 and
 * ::ffff:10.0.0.0/104 are the same, and an entry of either form matches an
 * address of either form. A network of fewer than 96 bits is IPv6 only: ::/0
 * contains no IPv4 address. Bits after the prefix are ignored.
 */
typedef struct WhNetwork
{
	unsigned char address[16]; /* IPv4 as v4-mapped IPv6 */
	int bits;                  /* of 128 */
} WhNetwork;

/* A list of networks. `items` is malloc'd; free with wh_networks_free. */
typedef struct WhNetworks
{
	int n;
	WhNetwork *items;
} WhNetworks;

typedef enum WhTarget
{
	WH_TARGET_OK,
	WH_TARGET_NO_URL,      /* not parsed, no valid host or port, too long, or not printable ASCII */
	WH_TARGET_SCHEME,      /* neither https nor http */
	WH_TARGET_HTTP,        /* http, and that is not allowed */
	WH_TARGET_CREDENTIALS, /* has a user name or a password */
	WH_TARGET_FRAGMENT,    /* has a #fragment, which is never sent */
	WH_TARGET_ADDRESS,     /* the host is a literal address that is not allowed, or localhost */
	WH_TARGET_NO_MEMORY
} WhTarget;

/*
 * Parse a comma-separated list of CIDR blocks or single addresses, IPv4 and
 * IPv6, blanks allowed, "" for none. On failure returns false, with `bad`
 * holding the entry that is wrong (cut to its size; empty where an entry is
 * empty, "out of memory" where it is that) and `out` empty.
 */
extern bool wh_networks_parse(const char *list, WhNetworks *out, char *bad, size_t bad_size);
extern void wh_networks_free(WhNetworks *networks);

/*
 * Is this address allowed? Public unicast addresses are; everything in
 * the IANA special-purpose registries (RFC 6890 and its updates: private,
 * loopback, link-local, shared, documentation, benchmarking, multicast,
 * reserved, unique-local, 6to4, Teredo; the clouds' metadata addresses; any
 * IPv6 outside 2000::/3) only if it is in `allowed`, which may be NULL for
 * none. A v4-mapped address (::ffff:0:0/96) is the IPv4 address itself, also
 * in `allowed`. NAT64's well-known prefix (64:ff9b::/96) passes where the IPv4
 * address within would by itself; an IPv4 entry of `allowed` does not lift it,
 * for RFC 6052 forbids it around anything but public addresses. Any family but
 * IPv4 and IPv6: no.
 */
extern bool wh_target_address_ok(const struct sockaddr *address, const WhNetworks *allowed);

/*
 * The same for an address as text, as libcurl reports it: no brackets, IPv6
 * may carry a zone ("fe80::1%eth0"), IPv4 only as four decimal numbers. What is
 * not an address: no.
 */
extern bool wh_target_ip_ok(const char *ip, const WhNetworks *allowed);

/*
 * Check a URL (RFC 3986) as far as that is possible without resolving its host
 * name. The first objection is returned: what can be seen in the text in the
 * order of WhTarget, then what only libcurl can tell. An IPv4 host is understood
 * in every spelling that resolvers accept (decimal, octal, hexadecimal, fewer
 * than four parts). `localhost`, and names under it, are loopback by RFC 6761
 * and pass only if 127.0.0.1 or ::1 may be dialled. An international name has to
 * be written in its ASCII form (xn--).
 */
extern WhTarget wh_target_check_url(const char *url, bool allow_http, const WhNetworks *allowed);

#endif /* WEBHOOK_ADDRESS_POLICY_H */
