/*
 * log_throttle.c
 *	  When a subscription's line may be written to the server's log: at most one
 *	  a minute.
 *
 * A subscription that has news, or had a line within the last minute, has an entry.
 * It is in one of two lists, each in the order of time: `fresh`, whose line may be
 * written at once, and `resting`, until their minute is over. An entry whose minute
 * ends without news is freed, so there are never more entries than subscriptions
 * with something to say. Each step costs the same however many there are.
 *
 * Owns the entries. No PostgreSQL in here.
 */
#include "log_throttle.h"

#include <stdlib.h>

#define BUCKETS 1024 /* a power of two */

typedef struct Entry
{
	int64_t subscription_id;
	int64_t rests_until_us; /* of one in `resting` */
	bool any;               /* there is news */
	WhNews news;
	struct Entry *next; /* in its list */
	struct Entry *next_in_bucket;
} Entry;

typedef struct Queue
{
	Entry *head;
	Entry *tail;
} Queue;

struct WhLogThrottle
{
	Queue fresh;
	Queue resting;
	Entry *buckets[BUCKETS];
};

WhLogThrottle *
wh_log_throttle_new(void)
{
	return calloc(1, sizeof(WhLogThrottle));
}

void
wh_log_throttle_free(WhLogThrottle *lines)
{
	for (int i = 0; i < BUCKETS; i++)
		while (lines->buckets[i])
		{
			Entry *e = lines->buckets[i];

			lines->buckets[i] = e->next_in_bucket;
			free(e);
		}
	free(lines);
}

/* Ids are counted up: they lie side by side, each in a bucket of its own. */
static Entry **
bucket_of(WhLogThrottle *lines, int64_t subscription_id)
{
	return &lines->buckets[(uint64_t) subscription_id & (BUCKETS - 1)];
}

static void
push(Queue *queue, Entry *e)
{
	e->next = NULL;
	if (queue->tail)
		queue->tail->next = e;
	else
		queue->head = e;
	queue->tail = e;
}

static Entry *
pop(Queue *queue)
{
	Entry *e = queue->head;

	if (e)
	{
		queue->head = e->next;
		if (queue->head == NULL)
			queue->tail = NULL;
	}
	return e;
}

static void
forget(WhLogThrottle *lines, Entry *e)
{
	Entry **at = bucket_of(lines, e->subscription_id);

	while (*at != e)
		at = &(*at)->next_in_bucket;
	*at = e->next_in_bucket;
	free(e);
}

WhNews *
wh_log_throttle_news(WhLogThrottle *lines, int64_t subscription_id)
{
	Entry **bucket = bucket_of(lines, subscription_id);
	Entry *e = *bucket;

	while (e && e->subscription_id != subscription_id)
		e = e->next_in_bucket;
	if (e == NULL)
	{
		e = calloc(1, sizeof(Entry));
		if (e == NULL)
			return NULL;
		e->subscription_id = subscription_id;
		e->next_in_bucket = *bucket;
		*bucket = e;
		push(&lines->fresh, e);
	}
	e->any = true;
	return &e->news;
}

bool
wh_log_throttle_take(WhLogThrottle *lines, int64_t now_us, int64_t *subscription_id, WhNews *news)
{
	Entry *e = pop(&lines->fresh);

	while (e == NULL && lines->resting.head && lines->resting.head->rests_until_us <= now_us)
	{
		e = pop(&lines->resting);
		if (!e->any)
		{
			forget(lines, e);
			e = NULL;
		}
	}
	if (e == NULL)
		return false;
	*subscription_id = e->subscription_id;
	*news = e->news;
	e->news = (WhNews){.again = true};
	e->any = false;
	e->rests_until_us = now_us + WH_LOG_LINE_EVERY_US;
	push(&lines->resting, e);
	return true;
}

int64_t
wh_log_throttle_due(const WhLogThrottle *lines)
{
	if (lines->fresh.head)
		return INT64_MIN;
	return lines->resting.head ? lines->resting.head->rests_until_us : INT64_MAX;
}
