/*
 * worker_config.c
 *	  The worker's configuration: the engine's settings, and the subscriptions.
 *
 * Loaded inside a transaction, applied when that has committed. Owns the routes
 * and their memory.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "common/pg_prng.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

#include "memory_limit.h"
#include "settings.h"
#include "store.h"
#include "store_pending.h"
#include "store_profile.h"
#include "store_sizes.h"
#include "store_subscriptions.h"
#include "worker_slots.h"
#include "worker.h"

static char instance[WH_INSTANCE_LEN + 1];
static MemoryContext config_context = NULL;
static WhRoutes *routes = NULL;

static int64
unix_now(void)
{
	return wh_unix_of(wh_now());
}

static int64
unix_wall(void)
{
	return wh_unix_of(GetCurrentTimestamp());
}

static double
random_fraction(void)
{
	return pg_prng_double(&pg_global_prng_state);
}

#define CONFIG_COPIES 4         /* of the text of all subscriptions, while it is read again */
#define SUBSCRIPTION_BYTES 4096 /* of one subscription in the engine, besides its text */
#define PROCESS_MB 32           /* at least this much beyond what a worker starts with */

void
wh_config_limit_memory(void)
{
	static size_t begun_with = 0; /* in use before the first limit */
	size_t wanted = (size_t) wh_worker_memory * 1024 * 1024;

	if (begun_with == 0)
		begun_with = wh_memory_used();
	if (wanted < begun_with + PROCESS_MB * 1024 * 1024)
	{
		wanted = begun_with + PROCESS_MB * 1024 * 1024;
		ereport(LOG, errmsg("webhook worker uses a memory limit of %zu MB", wanted / (1024 * 1024)),
				errdetail("webhook.worker_memory is %d MB, but the process starts with %zu MB in use.",
						  wh_worker_memory, begun_with / (1024 * 1024)),
				errhint("Raise webhook.worker_memory, or remove large libraries from "
						"shared_preload_libraries."));
	}
	if (!wh_memory_limit_set(wanted))
		ereport(WARNING, errmsg("could not limit the memory of a webhook worker: %m"));
}

WhEngineConfig
wh_config_engine(void)
{
	WhEngineConfig config = {.ca_file = wh_ca_file,
							 .allowed_networks = wh_allowed_networks,
							 .now_us = unix_now,
							 .wall_us = unix_wall,
							 .random = random_fraction};

	config.waiting_max = wh_memory_part(WH_PART_WAITING, SIZE_MAX);
	config.large_max = wh_memory_part(WH_PART_LARGE, SIZE_MAX);
	config.batch_max = wh_page_bytes_max();
	config.body_max = wh_memory_part(2 * WH_PART_EVENT, SIZE_MAX);
	config.max_in_flight = wh_flight_places(wh_config_routes(), &config.max_connections);
	/* connections that no request uses are kept, and count as requests */
	config.flight_max = wh_memory_part(WH_PART_FLIGHT, SIZE_MAX) -
						(size_t) (config.max_connections - config.max_in_flight) * WH_FLIGHT_EACH;
	strlcpy(config.instance, instance, sizeof(config.instance));
	return config;
}

/* Pass the subscriptions to the engine, and remove those that are gone. */
static void
apply_routes(WhRoutes *fresh, MemoryContext context, MemoryContext for_engine)
{
	ListCell *lc;
	ListCell *lf;

	foreach (lc, fresh->all)
	{
		WhRoute *route = lfirst(lc);
		WhSubscription *sub = route->sub;

		if (!wh_engine_subscribe(wh_engine, sub))
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
		for (int i = 0; i < sub->n_secrets; i++)
			explicit_bzero(sub->secrets[i], strlen(sub->secrets[i]));
		for (int i = 0; i < sub->n_credentials; i++)
			if (sub->credentials[i].value)
				explicit_bzero(sub->credentials[i].value, strlen(sub->credentials[i].value));
		route->sub = NULL;
	}
	MemoryContextDelete(for_engine);
	/* both lists are ordered by id */
	lf = list_head(fresh->all);
	foreach (lc, wh_config_routes())
	{
		int64 id = ((WhRoute *) lfirst(lc))->id;

		while (lf && ((WhRoute *) lfirst(lf))->id < id)
			lf = lnext(fresh->all, lf);
		if (lf == NULL || ((WhRoute *) lfirst(lf))->id != id)
		{
			wh_engine_unsubscribe(wh_engine, id);
			wh_forget_note(id);
		}
	}
	if (config_context)
		MemoryContextDelete(config_context);
	config_context = context;
	routes = fresh;
	foreach (lc, fresh->all)
		if (((WhRoute *) lfirst(lc))->requested)
			wh_requeue_note(((WhRoute *) lfirst(lc))->id);
}

void
wh_config_load(WhLoaded *loaded)
{
	MemoryContext results = wh_tx_results;
	uint32 generation = wh_worker_generation();
	MemoryContext old;
	List *subscriptions;
	WhLeftOut left;

	memset(loaded, 0, sizeof(*loaded));
	loaded->presence = wh_store_find_extension(&loaded->why_not);
	if (loaded->presence != WH_PRESENT)
		return;
	loaded->may_deliver = wh_store_identity(instance, &loaded->why_not);
	loaded->context =
		AllocSetContextCreate(TopMemoryContext, "webhook configuration", ALLOCSET_DEFAULT_SIZES);
	wh_tx_results = loaded->context;
	left = wh_store_left_out(wh_memory_part(WH_PART_RELOAD, SIZE_MAX) / CONFIG_COPIES);
	loaded->for_engine =
		AllocSetContextCreate(loaded->context, "webhook configuration of the engine", ALLOCSET_DEFAULT_SIZES);
	subscriptions = wh_store_subscriptions(&left, loaded->for_engine);
	subscriptions = wh_store_profiles(subscriptions, &left, loaded->for_engine);
	old = MemoryContextSwitchTo(loaded->context);
	loaded->routes = wh_routes_make(subscriptions);
	MemoryContextSwitchTo(old);
	/* the engine copies them after the commit, when nothing can be undone */
	if (!wh_memory_has(MemoryContextMemAllocated(loaded->context, true) +
					   (Size) list_length(subscriptions) * SUBSCRIPTION_BYTES))
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY),
				errmsg("out of memory for %d subscriptions", list_length(subscriptions)),
				errhint("Raise webhook.worker_memory."));
	wh_tx_results = results;
	wh_store_config_fresh(generation);
	wh_store_deferred_anywhere(); /* who changed it may have written rows of pending as well */
}

/* May end the process: the configuration also says whether this worker may deliver here. */
void
wh_config_apply(WhLoaded *loaded)
{
	if (loaded->presence != WH_PRESENT)
		wh_gone(loaded->presence, loaded->why_not);
	if (!loaded->may_deliver)
	{
		ereport(LOG, errmsg("webhook worker does not deliver: %s", loaded->why_not));
		wh_leave();
	}
	wh_memory_limit_use_reserve();
	apply_routes(loaded->routes, loaded->context, loaded->for_engine);
	if (wh_max_in_flight == 0)
	{
		WhEngineConfig config = wh_config_engine();

		(void) wh_engine_configure(wh_engine, &config); /* without memory, it stays as it is */
	}
	wh_memory_limit_restore();
	/* a subscription that is active again may have deliveries that came due meanwhile */
	wh_fetch_look_at(wh_now());
}

List *
wh_config_routes(void)
{
	return routes ? routes->all : NIL;
}

const WhRoutes *
wh_config_routing(void)
{
	return routes;
}

bool
wh_config_left_out(int64 subscription_id)
{
	const WhRoute *route = routes ? wh_route_find(routes, subscription_id) : NULL;

	return route && route->left_out;
}
