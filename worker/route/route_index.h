/*
 * route_index.h
 *	  The routes by what tells most of them apart: a tenant, an entity type;
 *	  and in each entry the actions it is for.
 *
 * Plain C without PostgreSQL, so that what a look-up costs can be tested.
 */
#ifndef WEBHOOK_ROUTE_INDEX_H
#define WEBHOOK_ROUTE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WH_OPERATIONAL "webhook_subscription" /* the entity type of events about subscriptions */

typedef struct WhRouteIndex WhRouteIndex;

/* An empty index with room for `n` entries, in memory of this size that is the caller's. */
extern size_t wh_route_index_size(int n);
extern WhRouteIndex *wh_route_index_init(void *memory, int n);

/*
 * Enter a route under its tenant (NULL: any) and what it wants: n patterns
 * "entity_type.action_type", divided at the last dot, either part "*" for any;
 * n < 0: all events. Takes as many entries as there are patterns, at least one. A
 * string that is not a pattern matches nothing. Strings are not copied, and the
 * patterns are cut in two in place. No "*" includes the entity type
 * WH_OPERATIONAL.
 */
extern void wh_route_index_enter(WhRouteIndex *index, const char *tenant, char **patterns, int n,
								 void *route);

/* A walk over the routes that want events of a tenant (NULL: none), entity type and action; each comes once. */
typedef struct WhRouteScan
{
	const WhRouteIndex *index;
	const char *tenant;
	const char *entity_type;
	uint32_t action;    /* its bit */
	bool operational;   /* only for routes that name the entity type */
	int key;            /* the next of the four that an event has */
	int entry;          /* the next one of the last key; -1: none */
	uint64_t looked_at; /* slots and entries: what the walk cost */
} WhRouteScan;

extern void wh_route_scan_begin(WhRouteScan *scan, const WhRouteIndex *index, const char *tenant,
								const char *entity_type, const char *action_type);
extern void *wh_route_scan_next(WhRouteScan *scan); /* NULL: there are no more */

#endif /* WEBHOOK_ROUTE_INDEX_H */
