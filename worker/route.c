/*
 * route.c
 *	  Which subscriptions the events of a page are for.
 *
 * Called by worker_config.c when subscriptions are read (the index), and by
 * worker_read.c for every page, inside its transaction. The index finds those
 * that ask for an event's tenant and entity type; what else they ask for is
 * looked at here, and what needs the event's content in route_content.c.
 *
 * Only the latter can fail: an event may hold JSON that jsonb does not take, a
 * filter may meet values that it cannot compare. So it runs in a
 * subtransaction, one for all of the page, and goes on in another after an
 * error. Where no subscription asks for content there is none.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "route.h"

/* The walk over a page's events and their routes, such that it can go on after an error. */
typedef struct Walk
{
	const WhRoutes *routes;
	const WhPage *page;
	WhMatches *out;
	MemoryContext context; /* of `out` */
	int event;
	bool begun; /* the event's own walk: scan and content */
	WhRouteScan scan;
	WhContent content;
	const WhRoute *route;
} Walk;

static void
enter(WhRouteIndex *index, WhRoute *route)
{
	if (route->n_entity_types < 0)
		wh_route_index_add(index, route->tenant, NULL, route);
	for (int i = 0; i < route->n_entity_types; i++)
		wh_route_index_add(index, route->tenant, route->entity_types[i], route);
}

WhRoutes *
wh_routes_make(List *all)
{
	WhRoutes *routes = palloc0(sizeof(WhRoutes));
	ListCell *lc;
	int n = 0;

	routes->all = all;
	foreach (lc, all)
		n += Max(1, ((WhRoute *) lfirst(lc))->n_entity_types);
	routes->index =
		wh_route_index_init(MemoryContextAllocHuge(CurrentMemoryContext, wh_route_index_size(n)), n);
	foreach (lc, all)
	{
		WhRoute *route = lfirst(lc);

		if (!route->active)
			continue;
		enter(routes->index, route);
		routes->by_content = routes->by_content || wh_content_asked(route);
	}
	return routes;
}

const WhRoute *
wh_route_find(const WhRoutes *routes, int64 id)
{
	int low = 0;
	int high = list_length(routes->all);

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		const WhRoute *route = list_nth(routes->all, middle);

		if (route->sub.id == id)
			return route;
		if (route->sub.id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static bool
asks_for_action(const WhRoute *route, const char *action)
{
	for (int i = 0; i < route->n_actions; i++)
		if (strcmp(route->actions[i], action) == 0)
			return true;
	return route->n_actions < 0;
}

/* What happens to subscriptions is for those that ask for it by name, and never for the one it happened to. */
static bool
may_be_told(const WhRoute *route, const WhEvent *event)
{
	return route->n_entity_types >= 0 &&
		   (event->entity_id == NULL || strcmp(event->entity_id, route->sub.name) != 0);
}

static void
add(Walk *walk, const WhRoute *route, const char *why)
{
	WhMatches *out = walk->out;

	if (out->n == out->cap)
	{
		out->cap = Max(1024, out->cap * 2);
		out->list = out->list ? repalloc_huge(out->list, out->cap * sizeof(WhMatch))
							  : MemoryContextAlloc(walk->context, out->cap * sizeof(WhMatch));
	}
	out->list[out->n++] = (WhMatch){.event = walk->event, .route = route, .why = why};
}

static void
route_event(Walk *walk)
{
	const WhEvent *event = walk->page->events[walk->event];
	bool operational = strcmp(event->entity_type, WH_OPERATIONAL) == 0;

	if (event->subscription_id != 0)
	{
		if (walk->begun)
			return;
		walk->begun = true;
		walk->route = wh_route_find(walk->routes, event->subscription_id);
		if (walk->route)
			add(walk, walk->route, NULL);
		return;
	}
	if (!walk->begun)
	{
		wh_route_scan_begin(&walk->scan, walk->routes->index, event->tenant, event->entity_type);
		if (walk->routes->by_content)
			wh_content_begin(&walk->content, event);
		walk->begun = true;
	}
	while ((walk->route = wh_route_scan_next(&walk->scan)) != NULL)
	{
		const char *why = NULL;

		if (!asks_for_action(walk->route, event->action) || (operational && !may_be_told(walk->route, event)))
			continue;
		if (!wh_content_asked(walk->route) || wh_content_matches(&walk->content, walk->route, &why))
			add(walk, walk->route, why);
	}
	walk->out->n_looked_at += walk->scan.looked_at;
}

static void
route_on(void *arg)
{
	Walk *walk = arg;

	for (; walk->event < walk->page->n && walk->out->n < WH_MATCHES_MAX; walk->event++)
	{
		route_event(walk);
		walk->begun = false;
	}
}

void
wh_route_page(const WhRoutes *routes, const WhPage *page, WhMatches *out)
{
	Walk walk = {.routes = routes, .page = page, .out = out, .context = CurrentMemoryContext};
	const char *why;

	memset(out, 0, sizeof(*out));
	if (!routes->by_content)
		route_on(&walk);
	else
	{
		walk.content.context =
			AllocSetContextCreate(CurrentMemoryContext, "webhook event", ALLOCSET_DEFAULT_SIZES);
		walk.content.scratch =
			AllocSetContextCreate(CurrentMemoryContext, "webhook filter", ALLOCSET_DEFAULT_SIZES);
		while (!wh_tx_guarded(route_on, &walk, &why))
			add(&walk, walk.route, wh_content_failed(&walk.content, why));
		MemoryContextDelete(walk.content.context);
		MemoryContextDelete(walk.content.scratch);
	}
	out->n_events = walk.event;
}
