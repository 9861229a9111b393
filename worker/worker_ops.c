/*
 * worker_ops.c
 *	  Operational events: a breaker has opened, or closed again.
 *
 * Breakers are in the engine's memory only; what it counts is looked at
 * whenever the loop reports its status, and a subscription whose breaker
 * differs from what was told last is told of, in a transaction of its own.
 * However often a breaker moves between two looks, at most one event is made
 * of it, and moves between open and half-open are none. A worker that starts
 * begins with closed breakers and tells nobody: what was in memory is gone.
 *
 * Whether anybody listens, and all other operational events (disabled,
 * resumed, dead letters, which are rows of tables), is decided in SQL: see
 * webhook.note_change and the triggers that call it.
 *
 * Owns the table of subscriptions whose breaker was told to be open.
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "store.h"
#include "worker.h"

typedef struct Trouble
{
	int64 subscription_id;
	bool open;          /* as last seen */
	bool told_open;     /* as last told */
	const char *reason; /* the word of the last failure: a constant of the engine's */
	uint32 seen;        /* the look in which it was last seen */
} Trouble;

static HTAB *troubles = NULL;
static uint32 look = 0;
static bool untold = false;

void
wh_ops_look(void)
{
	look++;
}

void
wh_ops_see(int64 subscription_id, const WhCounts *counts)
{
	bool open = counts->breaker != WH_BREAKER_CLOSED;
	Trouble *t;
	bool found;

	if (troubles == NULL)
	{
		HASHCTL how = {.keysize = sizeof(int64), .entrysize = sizeof(Trouble)};

		troubles = hash_create("webhook subscriptions in trouble", 64, &how, HASH_ELEM | HASH_BLOBS);
	}
	if (!open && hash_get_num_entries(troubles) == 0)
		return;
	t = hash_search(troubles, &subscription_id, open ? HASH_ENTER : HASH_FIND, &found);
	if (!found && !open)
		return;
	if (!found)
		t->told_open = false;
	t->seen = look;
	t->open = open;
	t->reason = counts->last_error;
	untold = untold || t->open != t->told_open;
}

static void
tell_step(void *arg)
{
	HASH_SEQ_STATUS scan;
	Trouble *t;

	wh_tx_begin("webhook: telling of subscriptions in trouble");
	hash_seq_init(&scan, troubles);
	while ((t = hash_seq_search(&scan)) != NULL)
		if (t->open != t->told_open)
			wh_store_note_change(t->subscription_id, t->open ? "breaker_opened" : "breaker_closed",
								 t->open ? t->reason : NULL);
	wh_tx_commit(false);
}

void
wh_ops_tell(void)
{
	HASH_SEQ_STATUS scan;
	Trouble *t;

	if (!untold || !wh_attempt(tell_step, NULL))
		return;
	untold = false;
	hash_seq_init(&scan, troubles);
	while ((t = hash_seq_search(&scan)) != NULL)
	{
		t->told_open = t->open;
		/* well again, or removed */
		if (!t->open || t->seen != look)
			(void) hash_search(troubles, &t->subscription_id, HASH_REMOVE, NULL);
	}
}
