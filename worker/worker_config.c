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
#include "storage/fd.h"
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

/*
 * The memory limit, and its parts: a quarter for events that wait, two eighths
 * for requests in flight, an eighth for one event (which is in memory more than
 * once while it is read), an eighth for a reload of the configuration. Together
 * with what a process needs anyway they fit; where they do not, an allocation
 * fails.
 */
#define CONFIG_PART                                                                                          \
	32 /* for the text of all subscriptions: in memory up to four times while it is read again */
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
	static int reserved = 0;
	WhEngineConfig config = {.max_transfers = WH_MAX_MAX_IN_FLIGHT,
							 .ca_file = wh_ca_file,
							 .allowed_networks = wh_allowed_networks,
							 .now_us = unix_now,
							 .wall_us = unix_wall,
							 .random = random_fraction};

	config.waiting_max = wh_memory_part(4, SIZE_MAX);
	config.flight_max = wh_memory_part(8, SIZE_MAX);
	config.batch_max = wh_page_bytes_max();
	config.body_max = wh_memory_part(4, SIZE_MAX);

	/* the server must account for a descriptor of each request in flight */
	while (reserved < wh_max_in_flight && AcquireExternalFD())
		reserved++;
	while (reserved > wh_max_in_flight)
	{
		ReleaseExternalFD();
		reserved--;
	}
	if (reserved < wh_max_in_flight)
		ereport(LOG, errmsg("webhook worker sends at most %d requests at once", reserved),
				errdetail("webhook.max_in_flight is %d, but there are not enough file descriptors.",
						  wh_max_in_flight),
				errhint("Raise max_files_per_process, or lower webhook.max_in_flight."));
	config.max_in_flight = Max(1, reserved);
	strlcpy(config.instance, instance, sizeof(config.instance));
	return config;
}

/* Pass the subscriptions to the engine, and remove those that are gone. */
static void
apply_routes(WhRoutes *fresh, MemoryContext context)
{
	ListCell *lc;
	ListCell *lf;

	foreach (lc, fresh->all)
	{
		WhRoute *route = lfirst(lc);

		if (!wh_engine_subscribe(wh_engine, &route->sub))
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
		for (int i = 0; i < route->sub.n_secrets; i++)
			explicit_bzero(route->sub.secrets[i], strlen(route->sub.secrets[i]));
		route->sub.n_secrets = 0;
		for (int i = 0; i < route->sub.n_credentials; i++)
			if (route->sub.credentials[i].value)
				explicit_bzero(route->sub.credentials[i].value, strlen(route->sub.credentials[i].value));
		route->sub.n_credentials = 0;
	}
	/* both lists are ordered by id */
	lf = list_head(fresh->all);
	foreach (lc, wh_config_routes())
	{
		int64 id = ((WhRoute *) lfirst(lc))->sub.id;

		while (lf && ((WhRoute *) lfirst(lf))->sub.id < id)
			lf = lnext(fresh->all, lf);
		if (lf == NULL || ((WhRoute *) lfirst(lf))->sub.id != id)
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
			wh_requeue_note(((WhRoute *) lfirst(lc))->sub.id);
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
	left = wh_store_left_out(wh_memory_part(CONFIG_PART, SIZE_MAX));
	subscriptions = wh_store_profiles(wh_store_subscriptions(&left), &left);
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
	apply_routes(loaded->routes, loaded->context);
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
