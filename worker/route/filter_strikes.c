/*
 * filter_strikes.c
 *	  Subscriptions whose filters keep exceeding their limits.
 *
 * A filter that takes too long for one event costs that event. One that does so
 * WH_STRIKES_OUT times in a row costs everybody time, and its subscription is
 * disabled. route.c reports, worker_read.c disables.
 *
 * Owns the counts, in the process's memory: a new worker counts from zero.
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "filter_strikes.h"

typedef struct Strikes
{
	int64 subscription_id;
	int n;              /* events in a row */
	int64 event_number; /* the last of them */
	bool disabled;      /* it is disabled, but the subscriptions have not been read since */
	char why[256];
} Strikes;

static HTAB *all = NULL;
static int n_out = 0;

static Strikes *
find(int64 subscription_id)
{
	if (all == NULL || hash_get_num_entries(all) == 0)
		return NULL;
	return hash_search(all, &subscription_id, HASH_FIND, NULL);
}

void
wh_strike(int64 subscription_id, int64 event_number, const char *why)
{
	HASHCTL ctl = {.keysize = sizeof(int64), .entrysize = sizeof(Strikes)};
	Strikes *s;
	bool found;

	if (all == NULL)
		all = hash_create("webhook strikes", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	s = hash_search(all, &subscription_id, HASH_ENTER, &found);
	if (!found)
	{
		s->n = 0;
		s->disabled = false;
	}
	else if (s->event_number == event_number)
		return; /* judged again, because the subscriptions were read again meanwhile */
	s->event_number = event_number;
	strlcpy(s->why, why, sizeof(s->why));
	if (++s->n == WH_STRIKES_OUT)
		n_out++;
}

void
wh_strikes_forget(int64 subscription_id)
{
	Strikes *s = find(subscription_id);

	if (s == NULL)
		return;
	n_out -= s->n >= WH_STRIKES_OUT;
	hash_search(all, &subscription_id, HASH_REMOVE, NULL);
}

bool
wh_strikes_out(int64 subscription_id)
{
	const Strikes *s = n_out > 0 ? find(subscription_id) : NULL;

	return s && s->n >= WH_STRIKES_OUT;
}

int64
wh_strikes_next(const char **why)
{
	HASH_SEQ_STATUS scan;
	Strikes *s;

	if (n_out == 0)
		return 0;
	hash_seq_init(&scan, all);
	while ((s = hash_seq_search(&scan)) != NULL)
		if (s->n >= WH_STRIKES_OUT && !s->disabled)
		{
			hash_seq_term(&scan);
			*why = s->why;
			return s->subscription_id;
		}
	return 0;
}

void
wh_strikes_disabled(int64 subscription_id)
{
	Strikes *s = find(subscription_id);

	if (s)
		s->disabled = true;
}

void
wh_strikes_reread(int64 subscription_id)
{
	const Strikes *s = find(subscription_id);

	if (s && s->disabled)
		wh_strikes_forget(subscription_id);
}
