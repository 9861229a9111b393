/*
 * hash.h
 *	  The hashes of this tree: of bytes, and of numbers.
 *
 * Neither is a cryptographic one: who chooses the bytes can make two hashes
 * meet. That costs time where tables are searched, and order between two
 * entities where lanes are chosen; it loses nothing.
 */
#ifndef WEBHOOK_HASH_H
#define WEBHOOK_HASH_H

#include <stddef.h>
#include <stdint.h>

#define WH_HASH_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a: one more unit (a unit above 255 differs from all bytes); and so many bytes. */
static inline uint64_t
wh_hash_unit(uint64_t hash, uint64_t unit)
{
	return (hash ^ unit) * UINT64_C(0x100000001b3);
}

static inline uint64_t
wh_hash_bytes(uint64_t hash, const void *bytes, size_t len)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < len; i++)
		hash = wh_hash_unit(hash, p[i]);
	return hash;
}

/*
 * The finalizer of splitmix64. It maps one to one, and each bit affects all others, so
 * neighbours end up far apart.
 */
static inline uint64_t
wh_hash_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

#endif /* WEBHOOK_HASH_H */
