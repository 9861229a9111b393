/*
 * limit.c
 *	  How many attempts to log in may fail: per address, and per address and role.
 *
 * A fixed table of counts, addressed by a hash. Two that share a place share a count: that
 * makes it stricter, until one of them succeeds, which takes one back from its address.
 * A count is forgotten by one each few seconds, so a burst is followed by a slow drip.
 */
#include "limit.h"

#include <stdint.h>
#include <stddef.h>

#include "loop.h"

#define PLACES 1024
#define PER_ROLE 5     /* failures at once of one role from one address */
#define PER_ADDRESS 20 /* of all roles together */
#define FORGET 12.0    /* seconds until one is forgotten */

typedef struct Count
{
	double failures;
	double at;
} Count;

static Count counts[PLACES];

/* FNV-1a; a role's place is not that of its address alone. */
static Count *
count_of(const char *address, const char *user)
{
	uint64_t hash = 14695981039346656037u;

	for (const char *s = address; *s; s++)
		hash = (hash ^ (unsigned char) *s) * 1099511628211u;
	if (user)
		hash = (hash ^ 1) * 1099511628211u;
	for (const char *s = user; s && *s; s++)
		hash = (hash ^ (unsigned char) *s) * 1099511628211u;
	return &counts[(hash ^ hash >> 32) % PLACES];
}

/* The count as it is now. */
static double
failures(Count *count)
{
	double now = loop_now();

	count->failures -= (now - count->at) / FORGET;
	if (count->failures < 0)
		count->failures = 0;
	count->at = now;
	return count->failures;
}

static int
wait_of(Count *count, int most)
{
	double over = failures(count) - (most - 1);

	return over > 0 ? (int) (over * FORGET) + 1 : 0;
}

int
limit_wait(const char *address, const char *user)
{
	int role = wait_of(count_of(address, user), PER_ROLE);
	int all = wait_of(count_of(address, NULL), PER_ADDRESS);

	return role > all ? role : all;
}

void
limit_failed(const char *address, const char *user)
{
	Count *role = count_of(address, user);
	Count *all = count_of(address, NULL);

	(void) failures(role);
	(void) failures(all);
	role->failures++;
	all->failures++;
}

void
limit_succeeded(const char *address, const char *user)
{
	Count *all = count_of(address, NULL);

	count_of(address, user)->failures = 0;
	/* of the others' it takes back its own: many people may have one address */
	if (failures(all) >= 1)
		all->failures--;
}
