/*
 * worker_forget.c
 *	  Rows of webhook.pending whose subscription was removed.
 *
 * Whoever removes a subscription deletes them. But a settle that is under way at
 * that moment writes more, which the removing transaction cannot see. By the time
 * this worker learns of the removal, all its earlier settles have committed, and
 * later ones see that the subscription is gone. So what is left is deleted once
 * then. What people's sessions write is ordered by a lock on the subscription
 * (redeliver, replay).
 *
 * Owns the list of subscriptions whose rows have not been looked for yet. It is in
 * memory: a worker that starts deletes all rows without a subscription.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "grow.h"
#include "store.h"
#include "store_pending.h"
#include "worker.h"

static int64 *gone = NULL;
static int n_gone = 0;
static int cap_gone = 0;

void
wh_forget_note(int64 subscription_id)
{
	if (n_gone == cap_gone)
		gone = wh_grow(TopMemoryContext, gone, &cap_gone, 16, sizeof(*gone));
	gone[n_gone++] = subscription_id;
}

static void
forget_step(void *arg)
{
	wh_tx_begin("webhook: deleting what waits for removed subscriptions");
	wh_store_forget_subscriptions(gone, n_gone);
	wh_tx_commit(false);
}

void
wh_forget_removed(void)
{
	if (n_gone > 0 && wh_run_step(forget_step, NULL))
		n_gone = 0;
}
