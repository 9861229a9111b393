/*
 * route_index.c
 *	  The routes by what tells most of them apart: a tenant, an entity type; and in
 *	  each entry the actions it is for.
 *
 * The memory is route.c's: one allocation that does not change after it has been
 * filled. An event is for routes that want its tenant or any, and its entity type
 * or any: four keys. A key has one slot of an open hash table, found by probing,
 * with the list of the routes entered under it, each with a mask of actions. So an
 * event costs four look-ups and the routes that want its tenant and type, however
 * many others there are. Routes of different keys never share a list.
 *
 * A route that wants "*.delete" and "user.*" is entered under any type with that
 * one action, and under "user" with all others. The masks of one route never
 * overlap, so no event finds it twice.
 *
 * No PostgreSQL in here.
 */
#include "route_index.h"

#include <assert.h>
#include <string.h>

#include "hash.h"

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
	int next;         /* -1: the last one */
	uint32_t actions; /* a bit each */
} Entry;

struct WhRouteIndex
{
	uint64_t mask; /* slots - 1; slots are a power of two */
	int n;
	int cap;
	Entry *entries;
	Slot slots[];
};

/* At most half full, so that a probe ends soon; routes that share keys leave it emptier. */
static size_t
slots_for(int n)
{
	size_t slots = 4;

	while (slots < 2 * (size_t) n)
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

/* Of the string and its NUL; any differs from every string, the empty one too. */
static uint64_t
hash_string(uint64_t hash, const char *string)
{
	return string ? wh_hash_bytes(hash, string, strlen(string) + 1) : wh_hash_unit(hash, 0x100);
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

	/* mixed, so that names that are counted up do not lie side by side */
	*hash = wh_hash_mix(hash_string(hash_string(WH_HASH_START, tenant), entity_type));
	for (at = *hash & index->mask;; at = (at + 1) & index->mask)
	{
		const Slot *slot = &index->slots[at];

		(*looked_at)++;
		if (slot->first < 0 ||
			(slot->hash == *hash && same(slot->tenant, tenant) && same(slot->entity_type, entity_type)))
			return at;
	}
}

#define EVERY_ACTION UINT32_MAX /* including unknown ones */
#define UNKNOWN_ACTION (UINT32_C(1) << 31)

static uint32_t
action_bit(const char *action_type)
{
	static const char *const known[] = {"new", "update", "delete", "truncate", "test"};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], action_type) == 0)
			return UINT32_C(1) << i;
	return UNKNOWN_ACTION;
}

/* The actions of a pattern that was cut in two: they stand after its entity type. */
static uint32_t
actions_of(const char *pattern)
{
	const char *action_type = pattern + strlen(pattern) + 1;
	uint32_t bit;

	if (strcmp(action_type, "*") == 0)
		return EVERY_ACTION;
	bit = action_bit(action_type);
	return bit == UNKNOWN_ACTION ? 0 : bit;
}

/* A route has one entry per key: its patterns are entered one after the other. */
static void
add(WhRouteIndex *index, const char *tenant, const char *entity_type, uint32_t actions, void *route)
{
	uint64_t hash;
	uint64_t looked_at = 0;
	Slot *slot = &index->slots[find_slot(index, tenant, entity_type, &hash, &looked_at)];

	if (slot->first >= 0 && index->entries[slot->last].route == route)
	{
		index->entries[slot->last].actions |= actions;
		return;
	}
	assert(index->n < index->cap);
	index->entries[index->n] = (Entry){.route = route, .next = -1, .actions = actions};
	if (slot->first < 0)
		*slot = (Slot){.tenant = tenant, .entity_type = entity_type, .hash = hash, .first = index->n};
	else
		index->entries[slot->last].next = index->n;
	slot->last = index->n++;
}

void
wh_route_index_enter(WhRouteIndex *index, const char *tenant, char **patterns, int n, void *route)
{
	uint32_t of_any = n < 0 ? EVERY_ACTION : 0;

	for (int i = 0; i < n; i++)
	{
		char *dot = strrchr(patterns[i], '.');

		if (dot)
			*dot = '\0';
		else
			patterns[i] = NULL;
		if (dot && strcmp(patterns[i], "*") == 0)
			of_any |= actions_of(patterns[i]);
	}
	if (of_any)
		add(index, tenant, NULL, of_any, route);
	for (int i = 0; i < n; i++)
	{
		uint32_t actions;

		if (patterns[i] == NULL || strcmp(patterns[i], "*") == 0)
			continue;
		actions = actions_of(patterns[i]);
		if (strcmp(patterns[i], WH_OPERATIONAL) != 0)
			actions &= ~of_any;
		if (actions)
			add(index, tenant, patterns[i], actions, route);
	}
}

void
wh_route_scan_begin(WhRouteScan *scan, const WhRouteIndex *index, const char *tenant, const char *entity_type,
					const char *action_type)
{
	*scan = (WhRouteScan){.index = index,
						  .tenant = tenant,
						  .entity_type = entity_type,
						  .action = action_bit(action_type),
						  .operational = strcmp(entity_type, WH_OPERATIONAL) == 0,
						  .entry = -1};
}

/* The first entry of the next key; false: there are no more keys. */
static bool
next_key(WhRouteScan *scan)
{
	/* the keys: any tenant and any type, any and its, its and any, its and its */
	bool of_tenant = scan->key >= 2;
	bool of_type = scan->key % 2 == 1;
	uint64_t hash;

	if (scan->key == 4 || (of_tenant && scan->tenant == NULL))
		return false;
	scan->key++;
	if (of_type || !scan->operational)
		scan->entry = scan->index
						  ->slots[find_slot(scan->index, of_tenant ? scan->tenant : NULL,
											of_type ? scan->entity_type : NULL, &hash, &scan->looked_at)]
						  .first;
	return true;
}

void *
wh_route_scan_next(WhRouteScan *scan)
{
	for (;;)
	{
		const Entry *entry;

		while (scan->entry < 0)
			if (!next_key(scan))
				return NULL;
		scan->looked_at++;
		entry = &scan->index->entries[scan->entry];
		scan->entry = entry->next;
		if (entry->actions & scan->action)
			return entry->route;
	}
}
