/*
 * route.h
 *	  Which subscriptions an event is for.
 */
#ifndef WEBHOOK_ROUTE_H
#define WEBHOOK_ROUTE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "route_content.h"
#include "route_index.h"
#include "store.h"

#define WH_OPERATIONAL "webhook_subscription" /* the entity type of events about subscriptions */

/* All subscriptions, and how those of an event are found. */
typedef struct WhRoutes
{
	List *all; /* of WhRoute, ordered by id */
	WhRouteIndex *index;
	bool by_content; /* some ask for more than the event's tenant, entity type and action */
} WhRoutes;

/* In the current memory context; the list stays the caller's. */
extern WhRoutes *wh_routes_make(List *all);

/* A subscription by its id; NULL: there is none. */
extern const WhRoute *wh_route_find(const WhRoutes *routes, int64 id);

/* A delivery to be made: an event of the page for a subscription. */
typedef struct WhMatch
{
	int event; /* its number in the page */
	const WhRoute *route;
	const char *why; /* NULL; else why it cannot be told whether the event is for it */
	bool lost;       /* a worker that died may have sent it */
} WhMatch;

typedef struct WhMatches
{
	WhMatch *list;
	int n;
	int cap;
	int n_events;       /* of the page, from its beginning; the rest would make too many */
	uint64 n_looked_at; /* entries of the index and slots of its table */
} WhMatches;

/* A page makes no more deliveries than this, and those of one event. */
#define WH_MATCHES_MAX 20000

/* Inside a transaction; the list is in the current memory context. */
extern void wh_route_page(const WhRoutes *routes, const WhPage *page, WhMatches *out);

#endif /* WEBHOOK_ROUTE_H */
