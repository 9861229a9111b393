/*
 * route_index.h
 *	  The routes by what tells most of them apart: a tenant, an entity type.
 *
 * Plain C without PostgreSQL, so that what a look-up costs can be tested.
 */
#ifndef WEBHOOK_ROUTE_INDEX_H
#define WEBHOOK_ROUTE_INDEX_H

#include <stddef.h>
#include <stdint.h>

typedef struct WhRouteIndex WhRouteIndex;

/* An empty index with room for `n` entries, in memory of this size that is the caller's. */
extern size_t wh_route_index_size(int n);
extern WhRouteIndex *wh_route_index_init(void *memory, int n);

/*
 * Enter a route under a tenant and an entity type, each NULL for any. A route
 * that asks for several entity types is entered under each, all at a time; the
 * same twice is one entry. Strings are not copied.
 */
extern void wh_route_index_add(WhRouteIndex *index, const char *tenant, const char *entity_type, void *route);

/* A walk over the routes entered for an event's tenant (NULL: it has none) and entity type; each comes once. */
typedef struct WhRouteScan
{
	const WhRouteIndex *index;
	const char *tenant;
	const char *entity_type;
	int key;            /* of the four an event can be found by, the next */
	int entry;          /* the next of the last key's, -1: there is none */
	uint64_t looked_at; /* slots and entries, for whoever asks what it costs */
} WhRouteScan;

extern void wh_route_scan_begin(WhRouteScan *scan, const WhRouteIndex *index, const char *tenant,
								const char *entity_type);
extern void *wh_route_scan_next(WhRouteScan *scan); /* NULL: there are no more */

#endif /* WEBHOOK_ROUTE_INDEX_H */
