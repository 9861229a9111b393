/*
 * queue_batch.c
 *	  What goes with one request: a single delivery, or a batch of them.
 *
 * A batch has a lead: its delivery with the lowest event id. The lead holds the
 * others, in order. All of them are bound: they are out of their lane's list, and a
 * lane starts nothing while one of its deliveries is bound. Several deliveries of a
 * lane may go with one batch: the first ones, in order.
 *
 * A batch is made when it is started, from what is ready then. All its deliveries
 * share its verdict. A batch that failed is kept: its rows in pending name their
 * lead, only the lead's row is due, and the same batch is sent again, even if the
 * subscription's batch size has changed. Its rows come before all others of their
 * lanes. So a lane has at most one batch, and nothing of the lane is in memory
 * before it. A batch that is given back before it was tried is no batch any more.
 *
 * The rules of order are at the top of queue.c.
 */
#include "queue_internal.h"

#include <assert.h>

static Lane *
its_lane(const WhQueue *q, const Sub *sub, const WhDelivery *d)
{
	return wh_lane_find(q, sub, d->lane);
}

/* Lanes come roughly in the order of their first events, so most deliveries belong at the end. */
static void
insert_by_event(WhList *list, WhDelivery *d)
{
	WhDelivery **at = &list->head;

	if (list->tail == NULL || list->tail->event->id < d->event->id)
	{
		wh_list_push(list, d);
		return;
	}
	while ((*at)->event->id < d->event->id)
		at = &(*at)->next;
	d->next = *at;
	*at = d;
	list->n++;
}

/* One that cannot be sent goes by itself, so that no other shares its verdict. */
static size_t
weight(const WhDelivery *d)
{
	return d->event->problem ? SIZE_MAX / 2 : d->event->size;
}

/* Make a batch of as many deliveries of ready lanes as fit, at least one. It is then in flight. */
WhDelivery *
wh_batch_gather(WhQueue *q, Sub *sub)
{
	WhList all = {0};
	size_t bytes = 0;
	WhDelivery *lead;

	while (all.n < sub->batch_size && is_linked(&sub->ready))
	{
		Lane *lane = LINKED(Lane, ready, sub->ready.next);
		WhDelivery *d = lane->waiting.head;

		if (all.n > 0 && bytes + weight(d) > q->batch_bytes)
			break;
		wh_lane_leave_ready(lane);
		do
		{
			bytes += weight(d);
			wh_lane_bind(lane, wh_lane_pop(q, lane));
			lane->n_in_flight++;
			sub->n_in_flight++;
			insert_by_event(&all, d);
			d = lane->waiting.head;
		} while (d && all.n < sub->batch_size && bytes + weight(d) <= q->batch_bytes);
		wh_lane_sane(lane);
	}
	lead = wh_list_pop(&all);
	lead->others = all;
	lead->kept = false;
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		d->batch = sub->batch_size > 1 ? lead->event->id : 0;
	return lead;
}

static bool
lanes_are_free(const WhQueue *q, const Sub *sub, const WhDelivery *lead)
{
	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		if (its_lane(q, sub, d)->n_in_flight > 0)
			return false;
	return true;
}

/* What wh_batch_take or wh_batch_gather would take, without taking it. */
size_t
wh_batch_bytes(const WhQueue *q, const Sub *sub)
{
	const WhDelivery *kept = sub->batches.head;
	size_t bytes = 0;
	int n = 0;

	if (kept && lanes_are_free(q, sub, kept))
	{
		for (const WhDelivery *d = kept; d; d = wh_batch_next(kept, d))
			bytes += d->event->size;
		return bytes;
	}
	for (const Link *link = sub->ready.next; link != &sub->ready && n < sub->batch_size; link = link->next)
		for (const WhDelivery *d = LINKED(Lane, ready, link)->waiting.head; d && n < sub->batch_size;
			 d = d->next, n++)
		{
			if (n > 0 && bytes + d->event->size > q->batch_bytes)
				return bytes;
			bytes += d->event->size;
		}
	return bytes;
}

/* Take the first batch that waits, if nothing of its lanes is in flight. It is then in flight. */
WhDelivery *
wh_batch_take(WhQueue *q, Sub *sub)
{
	WhDelivery *lead = sub->batches.head;

	if (lead == NULL || !lanes_are_free(q, sub, lead))
		return NULL;
	wh_list_pop(&sub->batches);
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		its_lane(q, sub, d)->n_in_flight++;
		sub->n_in_flight++;
		wh_sub_count_out(q, sub, d);
	}
	return lead;
}

/* A batch taken from pending: see wh_queue_push. */
WhPushed
wh_batch_push(WhQueue *q, Sub *sub, WhDelivery *lead, int64_t now_us)
{
	WhPushed refused = WH_PUSHED;

	for (WhDelivery *d = lead; d && refused == WH_PUSHED; d = wh_batch_next(lead, d))
	{
		Lane *lane = its_lane(q, sub, d);

		if (lane && wh_lane_has(lane, d->event->id))
			refused = WH_PUSH_DUPLICATE;
		else if (lane == NULL && wh_lane_make(q, sub, d->lane) == NULL)
			refused = WH_PUSH_NO_MEMORY;
	}
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		Lane *lane = its_lane(q, sub, d);

		if (refused != WH_PUSHED)
		{
			if (lane)
				wh_lane_free_if_idle(q, lane);
			continue;
		}
		wh_lane_leave_ready(lane);
		wh_lane_bind(lane, d);
		wh_sub_count_in(q, sub, d);
		d->queued_us = now_us;
		if (lane->stored < ++lane->held) /* a row that was not restored at start */
			wh_lane_set_stored(q, lane, lane->held);
		wh_lane_sane(lane);
	}
	if (refused != WH_PUSHED)
		return refused;
	lead->kept = true;
	wh_list_push(&sub->batches, lead);
	return WH_PUSHED;
}

static void
put_back_kept(WhQueue *q, Sub *sub, WhDelivery *lead)
{
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		its_lane(q, sub, d)->n_in_flight--;
		sub->n_in_flight--;
		wh_sub_count_in(q, sub, d);
	}
	wh_list_push(&sub->batches, lead);
	wh_sub_note(q, sub);
}

/* The last first, so that each lane is in order again. */
static void
put_back_singly(WhQueue *q, Sub *sub, WhDelivery *lead)
{
	WhDelivery *reversed = lead;
	WhDelivery *d;

	lead->next = NULL;
	while ((d = wh_list_pop(&lead->others)) != NULL)
	{
		d->next = reversed;
		reversed = d;
	}
	while ((d = reversed) != NULL)
	{
		Lane *lane = its_lane(q, sub, d);

		reversed = d->next;
		d->batch = 0;
		wh_lane_unbind(lane, d);
		lane->n_in_flight--;
		sub->n_in_flight--;
		wh_lane_put_back(q, lane, d);
	}
}

void
wh_batch_put_back(WhQueue *q, Sub *sub, WhDelivery *lead)
{
	if (lead->kept)
		put_back_kept(q, sub, lead);
	else
		put_back_singly(q, sub, lead);
}

/*
 * A batch that waits is stored in pending, as a batch. Whatever else waited in its
 * lanes was given back before.
 */
void
wh_batch_give_back(WhQueue *q, Sub *sub, WhDelivery *lead, WhList *out)
{
	WhList others = lead->others;

	lead->others = (WhList){0};
	for (WhDelivery *d = lead; d; d = wh_list_pop(&others))
	{
		Lane *lane = its_lane(q, sub, d);

		wh_lane_unbind(lane, d);
		wh_sub_count_out(q, sub, d);
		if (d->stored)
			lane->held--;
		else
			sub->fresh--;
		d->attempts--;
		d->attempted = false;
		d->disposal = sub->gone ? WH_DO_DROP : d == lead ? WH_DO_RETRY : WH_DO_BLOCK;
		d->due_us = 0;
		wh_list_push(out, d);
		wh_lane_sane(lane);
		wh_lane_free_if_idle(q, lane);
	}
	assert(others.n == 0);
}
