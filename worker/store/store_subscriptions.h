/*
 * store_subscriptions.h
 *	  The subscriptions: what the engine and the router need of each.
 */
#ifndef WEBHOOK_STORE_SUBSCRIPTIONS_H
#define WEBHOOK_STORE_SUBSCRIPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "store_sizes.h"
#include "types.h"

/* What decides how a filter is run; determined once, when the routes are made. */
typedef struct WhFilterShape
{
	bool pairs;   /* it compares each value of a sequence with each value of another */
	bool repeats; /* a sequence may hold a value many times */
} WhFilterShape;

/* A subscription as configured: what routing needs; and what the engine needs, until it has copied that. */
typedef struct WhRoute
{
	WhSubscription *sub; /* for the engine; NULL once it has it */
	int64 id;
	char *name;
	bool paused;
	int max_in_flight;
	bool active;   /* false: matches nothing */
	int n_events;  /* -1: all */
	char **events; /* patterns, entity_type.action_type; wh_routes_make() cuts them in two */
	char *tenant;  /* NULL: all */
	/* in the database's encoding: */
	int n_changed; /* -1: all */
	char **changed;
	int n_exclude_origins; /* -1: none */
	char **exclude_origins;
	struct varlena *filter;     /* a jsonpath; NULL: all */
	WhFilterShape filter_shape; /* set by wh_routes_make() */
	bool requested;             /* has rows in pending in the state 'requested' */
	bool left_out;              /* too large: how to send was not read; treated as paused */
	bool unmatched;             /* nor was which events it wants */
	char *transform; /* a function's qualified name, and the role that owned it when it was set; NULL: none */
	char *transform_owner;
} WhRoute;

/* A List of WhRoute, ordered by id, in the results' memory. What is for the engine alone lies in a memory of its own. */
extern List *wh_store_subscriptions(const WhLeftOut *left, MemoryContext for_engine);

#endif /* WEBHOOK_STORE_SUBSCRIPTIONS_H */
