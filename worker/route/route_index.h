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
 * Enter a route under its tenant (NULL: any) and what it asks for: n patterns
 * "entity_type.action_type", divided at the last dot, either part "*" for any;
 * n < 0: all events. Takes as many entries as there are patterns, one at least.
 * What is no pattern asks for nothing. Strings are not copied, and the patterns
 * are cut in two where they lie. No "*" stands for the entity type WH_OPERATIONAL.
 */
extern void wh_route_index_enter(WhRouteIndex *index, const char *tenant, char **patterns, int n,
								 void *route);

/* A walk over the routes that ask for events of a tenant (NULL: none), entity type and action; each comes once. */
typedef struct WhRouteScan
{
	const WhRouteIndex *index;
	const char *tenant;
	const char *entity_type;
	uint32_t action;    /* its bit */
	bool operational;   /* for those only that name the entity type */
	int key;            /* of the four an event can be found by, the next */
	int entry;          /* the next of the last key's, -1: there is none */
	uint64_t looked_at; /* slots and entries, for whoever asks what it costs */
} WhRouteScan;

extern void wh_route_scan_begin(WhRouteScan *scan, const WhRouteIndex *index, const char *tenant,
								const char *entity_type, const char *action_type);
extern void *wh_route_scan_next(WhRouteScan *scan); /* NULL: there are no more */

#endif /* WEBHOOK_ROUTE_INDEX_H */
