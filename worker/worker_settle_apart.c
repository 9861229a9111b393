/*
 * worker_settle_apart.c
 *	  Deliveries that cannot be settled while others can: they are set apart.
 *
 * Settling is one transaction for many subscriptions. If it fails because of what
 * one of them wrote or is to write there, the others must not wait. So
 * worker_settle.c settles by subscription, and one by one within a subscription
 * that fails, each in a subtransaction. What still cannot be settled is set apart
 * here and tried again by itself; the log and webhook.worker show it. After
 * some tries it is settled without its row in the log, the least important part.
 *
 * The settled checkpoint cannot pass what is not settled, so a crash loses
 * nothing of it. Only APART_MAX are held. More are dropped from memory: once the
 * others can be settled, the worker starts over and reads the dropped ones again.
 *
 * Owns the deliveries set apart.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "store.h"
#include "store_settle.h"
#include "tx_guard.h"
#include "worker.h"

#define APART_MAX 200       /* at most */
#define ONE_BY_ONE_MAX 50   /* tried one by one when no subscription can be settled */
#define WITHOUT_LOG_AFTER 3 /* tries with a row in the log */

typedef struct Apart
{
	WhDelivery *delivery;
	int tries;
} Apart;

static Apart apart[APART_MAX];
static int n_apart = 0;
static bool dropped = false; /* some were, for lack of room */
static TimestampTz next_try = 0;

/* What is settled in one subtransaction. */
typedef struct Portion
{
	WhDelivery **deliveries;
	int n;
	bool logged;
} Portion;

static void
settle_portion(void *arg)
{
	const Portion *portion = arg;

	wh_store_settle(portion->deliveries, portion->n, portion->logged);
}

static bool
settle_one(WhDelivery *d, bool logged, const char **why)
{
	Portion one = {.deliveries = &d, .n = 1, .logged = logged};
	int code;

	return wh_tx_guarded(settle_portion, &one, &code, why);
}

/* The deliveries of a subscription, from one of them on. */
static Portion
portion_of(WhDelivery *const *deliveries, int n, int first)
{
	Portion portion = {.deliveries = palloc((n - first) * sizeof(WhDelivery *)), .logged = true};

	for (int i = first; i < n; i++)
		if (deliveries[i]->subscription_id == deliveries[first]->subscription_id)
			portion.deliveries[portion.n++] = deliveries[i];
	return portion;
}

void
wh_apart_settle(WhDelivery *const *deliveries, int n, bool *settled)
{
	bool *seen = palloc0(n * sizeof(bool));
	const char *why = "";
	int n_settled = 0;
	bool logged = false;     /* a row of the log could be written for some, */
	bool not_logged = false; /* and for some not */
	int stride;

	for (int i = 0; i < n; i++)
	{
		Portion portion;
		int code;
		bool ok;

		if (seen[i])
			continue;
		portion = portion_of(deliveries, n, i);
		ok = wh_tx_guarded(settle_portion, &portion, &code, &why);
		for (int j = i; j < n; j++)
		{
			if (deliveries[j]->subscription_id != deliveries[i]->subscription_id)
				continue;
			seen[j] = true;
			settled[j] = ok;
			n_settled += ok ? 1 : 0;
		}
	}
	/* where no subscription could be settled, a sample is enough */
	stride = n_settled > 0 ? 1 : Max(1, n / ONE_BY_ONE_MAX);
	for (int i = 0; i < n; i += stride)
	{
		if (settled[i])
			continue;
		settled[i] = settle_one(deliveries[i], true, &why);
		n_settled += settled[i] ? 1 : 0;
	}
	for (int i = 0; i < n; i++)
	{
		logged = logged || (settled[i] && deliveries[i]->attempted);
		not_logged = not_logged || (!settled[i] && deliveries[i]->attempted);
	}
	/* deliveries without a row in the log prove nothing: the log itself may be the problem, for all others */
	if (n_settled == 0 || (not_logged && !logged))
		ereport(ERROR, errcode(ERRCODE_DATA_EXCEPTION), errmsg_internal("%s", why));
}

void
wh_apart_add(WhDelivery *d)
{
	if (n_apart == APART_MAX)
	{
		wh_delivery_free(d);
		dropped = true;
		return;
	}
	if (n_apart == 0)
		next_try = wh_now();
	apart[n_apart++] = (Apart){.delivery = d};
}

bool
wh_apart_any(void)
{
	return n_apart > 0 || dropped;
}

typedef struct Trying
{
	bool settled[APART_MAX];
	bool committed;
} Trying;

/* Commits all that can be settled, then fails: so the error is logged and the rest is retried, as with any step. */
static void
try_step(void *arg)
{
	Trying *t = arg;
	const char *why = NULL;

	wh_tx_begin("webhook: settling what was set apart");
	for (int i = 0; i < n_apart; i++)
	{
		Apart *a = &apart[i];
		const char *problem;

		t->settled[i] = settle_one(a->delivery, true, &problem) ||
						(++a->tries >= WITHOUT_LOG_AFTER && settle_one(a->delivery, false, &problem));
		if (!t->settled[i] && why == NULL)
			why = MemoryContextStrdup(wh_tx_results, psprintf("of subscription " INT64_FORMAT ": %s",
															  a->delivery->subscription_id, problem));
	}
	wh_tx_commit(false);
	t->committed = true;
	if (why)
		ereport(ERROR, errcode(ERRCODE_DATA_EXCEPTION), errmsg_internal("%s", why));
}

void
wh_apart_try(void)
{
	Trying t = {.committed = false};
	int left = 0;

	if (n_apart == 0 || wh_step_not_before(try_step) > wh_now())
		return;
	(void) wh_run_step(try_step, &t);
	if (!t.committed)
		return;
	for (int i = 0; i < n_apart; i++)
	{
		if (!t.settled[i])
		{
			apart[left++] = apart[i];
			continue;
		}
		wh_log_settled(apart[i].delivery);
		wh_stat_count(apart[i].delivery);
		if (apart[i].delivery->disposal == WH_DO_RETRY)
			wh_fetch_look_at(wh_now());
		wh_delivery_free(apart[i].delivery);
	}
	n_apart = left;
	if (n_apart == 0 && dropped)
		wh_start_over();
}

TimestampTz
wh_apart_due(void)
{
	return n_apart == 0 ? DT_NOEND : Max(next_try, wh_step_not_before(try_step));
}
