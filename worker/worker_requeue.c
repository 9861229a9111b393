/*
 * worker_requeue.c
 *	  Requested deliveries: those of redeliver and replay.
 *
 * SQL writes them into webhook.pending as 'requested' and signals the worker as
 * for a change of configuration. So the worker sees them with its subscriptions,
 * before it routes any event that is committed later (worker_config.c).
 * From then on the subscription is catching up: what is read goes behind what was
 * requested.
 *
 * The rows are deferred step by step, however many there are. Each step is a
 * short transaction that the loop has time for. Only when all rows of a
 * subscription are deferred are they fetched, in the order of their event numbers
 * (worker_fetch.c). A worker that dies on the way leaves deferred rows and
 * requested rows, and the next one finds both.
 *
 * Owns the list of subscriptions with rows that are not deferred yet.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "grow.h"
#include "store.h"
#include "store_requeue.h"
#include "worker.h"

#define DEFER_AT_ONCE 500 /* rows deferred in one transaction */

typedef struct Noted
{
	int64 subscription_id;
	int64 after; /* rows up to this event are deferred: their dead index entries are not passed again */
} Noted;

static Noted *noted = NULL; /* each subscription once */
static int n_noted = 0;
static int cap_noted = 0;

static Noted *
find(int64 subscription_id)
{
	for (int i = 0; i < n_noted; i++)
		if (noted[i].subscription_id == subscription_id)
			return &noted[i];
	return NULL;
}

bool
wh_requeue_left(int64 subscription_id)
{
	return find(subscription_id) != NULL;
}

void
wh_requeue_note(int64 subscription_id)
{
	Noted *n = find(subscription_id);

	if (n)
	{
		n->after = 0; /* new rows may be older */
		return;
	}
	if (n_noted == cap_noted)
		noted = wh_grow(TopMemoryContext, noted, &cap_noted, 16, sizeof(*noted));
	noted[n_noted++] = (Noted){.subscription_id = subscription_id};
	/*
	 * Counts one row too many, so that it is catching up from this moment on.
	 * The count is corrected when no more deferred rows are found.
	 */
	wh_engine_restore_deferred(wh_engine, subscription_id, 1);
	wh_progress_replay(subscription_id);
}

typedef struct Deferring
{
	Noted noted;
	int n;
	int64 deferred;
} Deferring;

static void
defer_step(void *arg)
{
	Deferring *p = arg;
	int64 id = p->noted.subscription_id;
	WhRequested *rows = palloc(DEFER_AT_ONCE * sizeof(WhRequested));

	wh_tx_begin("webhook: deferring requested deliveries");
	p->n = wh_store_requested(id, p->noted.after, rows, DEFER_AT_ONCE);
	for (int i = 0; i < p->n; i++)
	{
		if (rows[i].event)
			rows[i].lane = wh_engine_lane(wh_engine, id, rows[i].event);
		wh_event_release(rows[i].event);
		p->noted.after = rows[i].event_number;
	}
	if (p->n > 0)
		p->deferred = wh_store_defer_requested(id, rows, p->n);
	wh_tx_commit(false);
}

bool
wh_requeue_defer(void)
{
	Deferring p = {0};

	if (n_noted == 0)
		return false;
	wh_fetch_look_at(wh_now()); /* there will be more to do */
	p.noted = noted[0];
	if (!wh_run_step(defer_step, &p))
		return false;
	if (p.deferred > 0)
		wh_engine_restore_deferred(wh_engine, p.noted.subscription_id, p.deferred);
	/* to the end of the list, or out of it */
	n_noted--;
	memmove(noted, noted + 1, n_noted * sizeof(Noted));
	if (p.n == DEFER_AT_ONCE)
		noted[n_noted++] = p.noted;
	return true;
}
