/*
 * route.c
 *	  Which subscriptions an event is for.
 *
 * Pure: looks at the event and the subscription's configuration, nothing
 * else. Called by worker_read.c for every event read.
 */
#include "postgres.h"

#include "route.h"

/* Is `word` in the list? A list of -1 entries is no list: everything is in it. */
static bool
listed(int n, char *const *list, const char *word)
{
	for (int i = 0; i < n; i++)
		if (strcmp(list[i], word) == 0)
			return true;
	return n < 0;
}

bool
wh_route_matches(const WhRoute *route, const WhEvent *event)
{
	if (event->subscription_id != 0)
		return event->subscription_id == route->sub.id;
	if (!route->active)
		return false;
	/* what happens to subscriptions is for those that ask for it by name, and never for the one it happened to */
	if (strcmp(event->entity_type, WH_OPERATIONAL) == 0 &&
		(route->n_entity_types < 0 || (event->entity_id && strcmp(event->entity_id, route->sub.name) == 0)))
		return false;
	if (!listed(route->n_entity_types, route->entity_types, event->entity_type))
		return false;
	if (!listed(route->n_actions, route->actions, event->action))
		return false;
	return route->tenant == NULL || (event->tenant && strcmp(route->tenant, event->tenant) == 0);
}
