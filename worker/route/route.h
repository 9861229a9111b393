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
#include "store_read.h"
#include "store_subscriptions.h"

/* All subscriptions, and how those of an event are found. */
typedef struct WhRoutes
{
	List *all; /* of WhRoute, ordered by id */
	WhRouteIndex *index;
	bool by_content; /* some look at more than the event's tenant, entity type and action */
} WhRoutes;

/* In the current memory context; the list stays the caller's. */
extern WhRoutes *wh_routes_make(List *all);

/* A subscription by its id; NULL: there is none. */
extern const WhRoute *wh_route_find(const WhRoutes *routes, int64 id);

/* A delivery to be made: an event of the page for a subscription. */
typedef struct WhMatch
{
	int event; /* its index in the page */
	const WhRoute *route;
	const char *why;  /* NULL; else why it cannot be determined whether the event is for it */
	bool interrupted; /* a worker that died may have sent it */
	bool keep;        /* its subscription takes none now: the event's content was not read */
	bool unjudged;    /* nor was it judged */
} WhMatch;

typedef struct WhMatches
{
	WhMatch *list;
	int n;
	int cap;
	int n_events;       /* of the page, from its beginning: the rest would be too much at once */
	uint64 n_looked_at; /* entries of the index and slots of its table */
} WhMatches;

/* A page makes at most this many deliveries, plus those of one event. */
#define WH_MATCHES_MAX 20000

/* Filters are run for this long per page, plus the one that is running then. */
#define WH_JUDGING_MS 200

/*
 * Inside a transaction; the list is in the current memory context. Reads the events
 * that some subscription may want. `n_events` may be 0 if the first event has many
 * candidates to be judged: the next call continues within it.
 */
extern void wh_route_page(const WhRoutes *routes, WhPage *page, WhMatches *out);

/* Judge one event for one subscription, which was put off. */
typedef enum WhJudgement
{
	WH_IS_FOR_IT,
	WH_IS_NOT_FOR_IT,
	WH_CANNOT_JUDGE, /* `why` says why not */
	WH_NOT_NOW
} WhJudgement;
extern WhJudgement wh_route_judge(const WhRoutes *routes, const WhEvent *event, int64 subscription_id,
								  const char **why);

#endif /* WEBHOOK_ROUTE_H */
