/*
 * route.h
 *	  Which subscriptions an event is for.
 */
#ifndef WEBHOOK_ROUTE_H
#define WEBHOOK_ROUTE_H

#include "postgres.h"

#include "store.h"

#define WH_OPERATIONAL "webhook_subscription" /* the entity type of events about subscriptions */

/* Is this event for this subscription: entity type, action, tenant? */
extern bool wh_route_matches(const WhRoute *route, const WhEvent *event);

#endif /* WEBHOOK_ROUTE_H */
