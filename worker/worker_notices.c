/*
 * worker_notices.c
 *	  Operational events: a breaker has opened, or closed again.
 *
 * Breakers live in the engine's memory only. Whenever the loop reports its
 * status, this file looks at the engine's counts; a subscription whose breaker
 * differs from what was announced last is announced, in a transaction of its own.
 * However often a breaker moves between two looks, that makes at most one event.
 * Moves between open and half-open make none.
 *
 * What was announced outlives the worker in webhook_internal.breaker_notice,
 * which is written with the event. A new worker begins with closed breakers,
 * which says nothing about the endpoints. So a breaker that was announced as open
 * is announced as closed only when something has been delivered, or when it has
 * opened and closed again.
 *
 * SQL decides whether anybody listens, and makes all other operational events
 * (disabled, resumed, dead letters: rows of tables): see
 * webhook_internal.announce and the triggers that use it.
 *
 * The server's log has each such move as well, whoever listens: worker_log.c.
 *
 * Owns the table of subscriptions whose breaker was announced as open.
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "store.h"
#include "store_notices.h"
#include "worker.h"

typedef struct Notice
{
	int64 subscription_id;
	bool open;           /* as last seen */
	bool announced_open; /* as last announced */
	bool inherited;      /* announced by the previous worker; nothing is known of it yet */
	const char *reason;  /* the outcome of the last failure: a constant of the engine */
	uint32 seen;         /* the look in which it was last seen */
} Notice;

static HTAB *notices = NULL;
static uint32 look = 0;
static bool unannounced = false;

static Notice *
find(int64 subscription_id, bool enter)
{
	Notice *t;
	bool found;

	if (notices == NULL)
	{
		HASHCTL how = {.keysize = sizeof(int64), .entrysize = sizeof(Notice)};

		notices = hash_create("webhook open breakers", 64, &how, HASH_ELEM | HASH_BLOBS);
	}
	t = hash_search(notices, &subscription_id, enter ? HASH_ENTER : HASH_FIND, &found);
	if (t && !found)
		*t = (Notice){.subscription_id = subscription_id};
	return t;
}

static void
inherit(void *arg, int64 subscription_id)
{
	*find(subscription_id, true) =
		(Notice){.subscription_id = subscription_id, .open = true, .announced_open = true, .inherited = true};
}

void
wh_notices_inherit(void)
{
	wh_store_breaker_notices(inherit, NULL);
}

void
wh_notices_look(void)
{
	look++;
}

void
wh_notices_see(int64 subscription_id, const WhCounts *counts)
{
	bool open = counts->breaker != WH_BREAKER_CLOSED;
	bool was_open;
	Notice *t;

	if (!open && (notices == NULL || hash_get_num_entries(notices) == 0))
		return;
	if ((t = find(subscription_id, open)) == NULL)
		return;
	if (open || counts->last_success_us != 0)
		t->inherited = false;
	t->seen = look;
	was_open = t->open;
	t->open = open || t->inherited;
	t->reason = counts->last_error;
	if (t->open != was_open)
	{
		wh_log_breaker(subscription_id, t->open, t->reason);
		if (t->open)
			wh_stat_breaker_opened(subscription_id);
	}
	unannounced = unannounced || t->open != t->announced_open;
}

static void
announce_step(void *arg)
{
	HASH_SEQ_STATUS scan;
	Notice *t;

	wh_tx_begin("webhook: announcing breakers");
	hash_seq_init(&scan, notices);
	while ((t = hash_seq_search(&scan)) != NULL)
		if (t->open != t->announced_open)
			wh_store_announce(t->subscription_id, t->open ? "breaker_opened" : "breaker_closed",
							  t->open ? t->reason : NULL);
	wh_tx_commit(false);
}

void
wh_notices_announce(void)
{
	HASH_SEQ_STATUS scan;
	Notice *t;

	if (!unannounced || !wh_run_step(announce_step, NULL))
		return;
	unannounced = false;
	hash_seq_init(&scan, notices);
	while ((t = hash_seq_search(&scan)) != NULL)
	{
		t->announced_open = t->open;
		/* closed, or its subscription was removed */
		if (!t->open || t->seen != look)
			(void) hash_search(notices, &t->subscription_id, HASH_REMOVE, NULL);
	}
}
