/*
 * worker_progress.c
 *	  How far long work has come: what webhook.progress shows.
 *
 * The work itself is done elsewhere, a little at a time, and nobody there needs to know
 * when it began. Here that is kept for as long as it lasts. Rates and estimates are made
 * by who looks.
 *
 * Owns when each began, and what had been delivered then.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "worker.h"

typedef struct Catching
{
	int64 subscription_id;
	bool replay;     /* it was told to send something again */
	bool begun;      /* the rest is known */
	int64 delivered; /* before it began */
	TimestampTz started_at;
} Catching;

static HTAB *all = NULL;
static WhProgress rotation;

static Catching *
find(int64 subscription_id, HASHACTION action)
{
	Catching *c;
	bool found;

	if (all == NULL)
	{
		HASHCTL how = {.keysize = sizeof(int64), .entrysize = sizeof(Catching), .hcxt = TopMemoryContext};

		if (action != HASH_ENTER)
			return NULL;
		all = hash_create("webhook progress", 16, &how, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	c = hash_search(all, &subscription_id, action, &found);
	if (action == HASH_ENTER && !found)
		*c = (Catching){.subscription_id = subscription_id};
	return c;
}

void
wh_progress_replay(int64 subscription_id)
{
	find(subscription_id, HASH_ENTER)->replay = true;
}

void
wh_progress_see(int64 subscription_id, const WhCounts *counts, WhProgress *progress)
{
	const WhRoute *route = wh_route_find(wh_config_routing(), subscription_id);
	Catching *c;

	if (!counts->catching_up || route == NULL || route->paused)
	{
		(void) find(subscription_id, HASH_REMOVE);
		return;
	}
	c = find(subscription_id, HASH_ENTER);
	if (!c->begun)
	{
		c->begun = true;
		c->delivered = counts->delivered;
		c->started_at = GetCurrentTimestamp();
	}
	strlcpy(progress->command, c->replay ? "replay" : "catching_up", sizeof(progress->command));
	progress->started_at = c->started_at;
	progress->done = counts->delivered - c->delivered;
	progress->total = progress->done + counts->deferred + counts->queued + counts->in_flight;
}

void
wh_progress_carry(const WhCarry *carry, bool under_way)
{
	rotation = (WhProgress){.done = carry->walked, .total = Max(carry->rows, carry->walked)};
	if (under_way)
	{
		strlcpy(rotation.command, "rotation", sizeof(rotation.command));
		rotation.started_at = carry->started_at;
	}
}

bool
wh_progress_rotation(WhProgress *progress)
{
	*progress = rotation;
	return rotation.command[0] != '\0';
}
