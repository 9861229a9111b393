/*
 * route_index.c
 *	  The routes by what tells most of them apart: a tenant, an entity type.
 *
 * An event is for routes that ask for its tenant or for any, and for its entity
 * type or for any: four keys. A key has one slot of an open hash table, found
 * by probing, with the list of the routes entered under it. So the cost of an
 * event is four look-ups and the routes that ask for it, however many others
 * there are. Routes of different keys never share a list.
 *
 * Called by route.c, which keeps the memory: one allocation that is not
 * changed after it has been filled. No PostgreSQL in here.
 */
#include "route_index.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

typedef struct Slot
{
	const char *tenant; /* NULL: any */
	const char *entity_type;
	uint64_t hash;
	int first; /* its entries; -1: the slot is free */
	int last;
} Slot;

typedef struct Entry
{
	void *route;
	int next; /* -1: the last one */
} Entry;

struct WhRouteIndex
{
	uint64_t mask; /* slots - 1; slots are a power of two */
	int n;
	int cap;
	Entry *entries;
	Slot slots[];
};

/* At most a quarter full, so that a probe ends soon. */
static size_t
slots_for(int n)
{
	size_t slots = 4;

	while (slots < 4 * (size_t) n)
		slots *= 2;
	return slots;
}

size_t
wh_route_index_size(int n)
{
	return sizeof(WhRouteIndex) + slots_for(n) * sizeof(Slot) + (size_t) n * sizeof(Entry);
}

WhRouteIndex *
wh_route_index_init(void *memory, int n)
{
	WhRouteIndex *index = memory;
	size_t slots = slots_for(n);

	*index = (WhRouteIndex){.mask = slots - 1, .cap = n, .entries = (Entry *) &index->slots[slots]};
	for (size_t i = 0; i < slots; i++)
		index->slots[i] = (Slot){.first = -1};
	return index;
}

/* FNV-1a over the string and its NUL; any differs from every string, the empty one too. */
static uint64_t
hash_string(uint64_t hash, const char *string)
{
	if (string == NULL)
		return (hash ^ UINT64_C(0x100)) * UINT64_C(0x100000001b3);
	for (const unsigned char *c = (const unsigned char *) string;; c++)
	{
		hash = (hash ^ *c) * UINT64_C(0x100000001b3);
		if (*c == '\0')
			return hash;
	}
}

/* Names that are counted up must not lie side by side: every bit goes into every other. */
static uint64_t
mix(uint64_t hash)
{
	hash = (hash ^ (hash >> 32)) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ (hash >> 32);
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The key's slot, or the free one where it would be. */
static size_t
find_slot(const WhRouteIndex *index, const char *tenant, const char *entity_type, uint64_t *hash,
		  uint64_t *looked_at)
{
	size_t at;

	*hash = mix(hash_string(hash_string(UINT64_C(0xcbf29ce484222325), tenant), entity_type));
	for (at = *hash & index->mask;; at = (at + 1) & index->mask)
	{
		const Slot *slot = &index->slots[at];

		(*looked_at)++;
		if (slot->first < 0 ||
			(slot->hash == *hash && same(slot->tenant, tenant) && same(slot->entity_type, entity_type)))
			return at;
	}
}

void
wh_route_index_add(WhRouteIndex *index, const char *tenant, const char *entity_type, void *route)
{
	uint64_t hash;
	uint64_t looked_at = 0;
	Slot *slot = &index->slots[find_slot(index, tenant, entity_type, &hash, &looked_at)];

	if (slot->first >= 0 && index->entries[slot->last].route == route)
		return;
	assert(index->n < index->cap);
	index->entries[index->n] = (Entry){.route = route, .next = -1};
	if (slot->first < 0)
		*slot = (Slot){.tenant = tenant, .entity_type = entity_type, .hash = hash, .first = index->n};
	else
		index->entries[slot->last].next = index->n;
	slot->last = index->n++;
}

void
wh_route_scan_begin(WhRouteScan *scan, const WhRouteIndex *index, const char *tenant, const char *entity_type)
{
	*scan = (WhRouteScan){.index = index, .tenant = tenant, .entity_type = entity_type, .entry = -1};
}

void *
wh_route_scan_next(WhRouteScan *scan)
{
	const Entry *entry;

	/* the keys: any tenant and any type, any and its, its and any, its and its */
	while (scan->entry < 0)
	{
		bool of_tenant = scan->key >= 2;
		bool of_type = scan->key % 2 == 1;
		uint64_t hash;

		if (scan->key == 4 || (of_tenant && scan->tenant == NULL))
			return NULL;
		scan->key++;
		scan->entry = scan->index
						  ->slots[find_slot(scan->index, of_tenant ? scan->tenant : NULL,
											of_type ? scan->entity_type : NULL, &hash, &scan->looked_at)]
						  .first;
	}
	scan->looked_at++;
	entry = &scan->index->entries[scan->entry];
	scan->entry = entry->next;
	return entry->route;
}
