/*
 * queue_flight.c
 *	  The memory of requests in flight: may one more start?
 *
 * A request takes memory for its events, for a body about as large, and for libcurl
 * and TLS. If only the number of requests were limited, a few hundred with large
 * events would take many gigabytes. So their bytes are limited as well, of small
 * and of large requests separately: a large one that waits for its turn takes
 * nothing from the small ones, and however many small ones there are, its turn
 * comes. One request of each size may always go, whatever it takes.
 *
 * Within a size the rule is that of places (queue.c): a subscription has no more
 * bytes in flight than are left free, so n that hang leave 1 / (n + 1) of the bytes
 * to all others. A subscription that finds no room waits in a FIFO, and none
 * overtakes it.
 */
#include "queue_internal.h"

#include <assert.h>

void
wh_queue_limits(WhQueue *q, size_t waiting, size_t small, size_t large, size_t batch)
{
	q->max_bytes = waiting;
	q->max_flight_bytes[WH_SMALL] = small;
	q->max_flight_bytes[WH_LARGE] = large;
	q->batch_bytes = batch;
}

static size_t
counts_for(size_t event_bytes)
{
	return WH_FLIGHT_EACH + 2 * event_bytes;
}

Size
wh_flight_size(const WhQueue *q, size_t bytes)
{
	return counts_for(bytes) > q->max_flight_bytes[WH_LARGE] / WH_FLIGHT_LARGE ? WH_LARGE : WH_SMALL;
}

Flight
wh_flight_may(const WhQueue *q, const Sub *sub, size_t bytes)
{
	Size size = wh_flight_size(q, bytes);
	size_t under_way = q->flight_bytes[size];
	size_t most = q->max_flight_bytes[size];
	size_t free = under_way < most ? most - under_way : 0;

	if (under_way == 0)
		return FLIGHT_MAY;
	if (sub->flight_bytes[size] > 0 && sub->flight_bytes[size] >= free)
		return FLIGHT_HAS_ITS_SHARE;
	return counts_for(bytes) <= free ? FLIGHT_MAY : FLIGHT_NO_ROOM;
}

int
wh_queue_beyond(const WhQueue *q)
{
	int beyond = 0;

	for (size_t i = 0; i < SUB_BUCKETS; i++)
		for (const Sub *sub = q->subs[i]; sub; sub = sub->hash_next)
		{
			int may = sub->gone || sub->paused ? 0 : sub->max_in_flight;

			beyond += sub->in_flight > may ? sub->in_flight - may : 0;
		}
	return beyond;
}

/* It is in flight. Note what it was counted as: the limits may have changed when it ends. */
void
wh_flight_begin(WhQueue *q, Sub *sub, WhDelivery *lead)
{
	size_t bytes = 0;
	Size size;

	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		bytes += d->event->size;
	size = wh_flight_size(q, bytes);
	lead->flight_bytes = counts_for(bytes);
	lead->flight_large = size == WH_LARGE;
	sub->flight_bytes[size] += lead->flight_bytes;
	q->flight_bytes[size] += lead->flight_bytes;
}

void
wh_flight_end(WhQueue *q, Sub *sub, WhDelivery *lead)
{
	Size size = lead->flight_large ? WH_LARGE : WH_SMALL;

	assert(q->flight_bytes[size] >= lead->flight_bytes && sub->flight_bytes[size] >= lead->flight_bytes);
	sub->flight_bytes[size] -= lead->flight_bytes;
	q->flight_bytes[size] -= lead->flight_bytes;
	lead->flight_bytes = 0;
}
