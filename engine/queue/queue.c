/*
 * queue.c
 *	  Which delivery goes next: order within a lane, limits of a subscription,
 *	  fairness between subscriptions.
 *
 * A lane holds deliveries that go one after the other: those of one entity for one
 * subscription. (By the subscription's ordering, a lane may also be a single
 * delivery, or all of them.) At most one delivery of a lane is in flight; or
 * several, in order, with one request: a batch (queue_batch.c). A subscription
 * keeps its lanes that could start one in a FIFO. The queue keeps the subscriptions
 * that could start one in a round-robin. So a step costs the same whatever waits.
 *
 * Two things keep a subscription from its turn. If its rate limit is used up, it
 * rests until it may start the next. And it may have only as many requests in
 * flight as there are places left free (one it may always have). So one alone takes
 * at most half of all places; two that hang leave a third to all others; n of them
 * leave 1 / (n + 1); and nobody has to find out which ones hang. A subscription that
 * has its share keeps its place in the round-robin. It then has at least f requests
 * in flight, where f places are free, so a step passes fewer than (all places / f)
 * such subscriptions. The same rule holds for the bytes in flight (queue_flight.c).
 *
 * What cannot stay in memory is given back, to be stored in webhook.pending as:
 *
 *	 retry		 it failed; its lane is blocked until it is delivered or dead
 *	 blocked	 its lane is blocked by an earlier one; or its batch must be sent
 *				 again, and the batch's lead is 'retry'
 *	 deferred	 its subscription is catching up: it is paused, held by its breaker,
 *				 full and too slow, or has deferred deliveries that must go first
 *
 * Counts keep the order of what is in memory and what is in pending. Of a lane:
 * `stored`, its rows in pending that are not 'deferred'; `held`, those of them that
 * are in memory now. Of a subscription: `deferred`, its deferred rows; `fresh`, the
 * deliveries in memory that have no row, because they come straight from the log.
 * The rules:
 *
 *	 - What may have been lost with a worker is deferred, so that everything after
 *	   it queues up behind it.
 *	 - An event just read is deferred while its subscription is catching up. Else it
 *	   is 'blocked' while its lane has stored rows. Else it waits in memory.
 *	 - So deferred rows are always younger than the stored rows of their lane. They
 *	   may enter memory only when all of those are in memory too.
 *	 - Deferred rows are fetched only when nothing fresh is left in memory. Fetching
 *	   makes them stored rows. A crash would defer the fresh ones, as possibly lost,
 *	   and a deferred row must not be older than a stored row of its lane.
 *	 - A lane with stored rows but none in memory either has a row that is due, by
 *	   itself or with its batch, or wh_queue_lane_to_fetch returns it; except while
 *	   its subscription is paused or held.
 *	 - The rows of a batch that failed come before all others of their lanes, which
 *	   are 'blocked' behind them. So a lane has at most one such batch, and no other
 *	   row of the lane is due.
 *	 - While a subscription is held, one delivery or batch at a time is let in: its
 *	   oldest row or, if it has none, the next event. It is let in only when nothing
 *	   else of the subscription is in memory, so nothing earlier of its lane can be.
 *
 * This relies on two things. Before rows are fetched, everything given back is in
 * pending, and everything delivered is in the log. And after a crash, no deferred
 * rows are fetched until all that may have been lost has been pushed.
 *
 * The queue owns the deliveries it holds. Nothing here blocks, does I/O or looks at
 * a clock. queue_room.c decides how much may be in memory, and what is fetched when
 * there is room. queue_lists.c has the lists, and the invariants in wh_lane_sane().
 */
#include "queue_internal.h"

#include <assert.h>

/*
 * Give back what waits in a lane, as pending must store it. If the lane has stored
 * rows, its first delivery is due and the others are blocked behind it. Without
 * `first` all are blocked: another of the lane is in flight or in a batch that
 * waits, and its end decides how the lane goes on. If the lane has no stored rows,
 * all are deferred.
 */
static void
give_back_lane(WhQueue *q, Lane *lane, bool first, WhList *out)
{
	Sub *sub = lane->sub;
	bool stored = lane->stored > 0;
	WhDelivery *d;

	while ((d = wh_lane_pop(q, lane)) != NULL)
	{
		d->attempts--; /* counted when it was pushed, but never made */
		d->attempted = false;
		if (d->stored)
			lane->held--;
		else
			sub->fresh--;
		if (sub->gone)
			d->disposal = WH_DO_DROP;
		else if (stored)
		{
			d->disposal = first ? WH_DO_RETRY : WH_DO_BLOCK;
			d->due_us = 0;
			if (!d->stored)
				wh_lane_set_stored(q, lane, lane->stored + 1);
			first = false;
		}
		else
		{
			d->disposal = WH_DO_DEFER;
			wh_sub_set_deferred(q, sub, sub->deferred + 1);
		}
		wh_list_push(out, d);
	}
	wh_sub_note(q, sub);
	wh_lane_sane(lane);
}

void
wh_sub_give_back(WhQueue *q, Sub *sub, WhList *out)
{
	Link *next;
	WhDelivery *lead;

	sub->admit = ADMIT_NONE;
	for (Link *link = sub->lanes.next; link != &sub->lanes && sub->queued > 0; link = next)
	{
		Lane *lane = LINKED(Lane, of_sub, link);

		next = link->next;
		if (lane->waiting.n == 0)
			continue;
		give_back_lane(q, lane, lane->n_bound == 0, out);
		wh_lane_free_if_idle(q, lane);
	}
	while ((lead = wh_list_pop(&sub->batches)) != NULL)
		wh_batch_give_back(q, sub, lead, out);
}

bool
wh_queue_subscribe(WhQueue *q, int64_t id, void *owner, bool paused, int max_in_flight, int batch_size,
				   WhList *given_back)
{
	Sub *sub = wh_sub_find(q, id);

	if (sub == NULL && (sub = wh_sub_make(q, id)) == NULL)
		return false;
	sub->gone = false;
	sub->owner = owner;
	sub->max_in_flight = max_in_flight;
	sub->batch_size = batch_size;
	sub->paused = paused;
	if (paused)
		wh_sub_give_back(q, sub, given_back);
	wh_sub_note(q, sub);
	return true;
}

void
wh_queue_hold(WhQueue *q, int64_t id, WhList *given_back)
{
	Sub *sub = wh_sub_find(q, id);

	sub->held = true;
	wh_sub_give_back(q, sub, given_back);
}

void
wh_queue_give_back(WhQueue *q, int64_t id, WhList *given_back)
{
	wh_sub_give_back(q, wh_sub_find(q, id), given_back);
}

void
wh_queue_release(WhQueue *q, int64_t id)
{
	Sub *sub = wh_sub_find(q, id);

	sub->held = false;
	sub->admit = ADMIT_NONE;
	wh_sub_note(q, sub);
}

WhAdmit
wh_queue_admit(WhQueue *q, int64_t id)
{
	Sub *sub = wh_sub_find(q, id);

	assert(sub->held);
	if (sub->queued > 0 || sub->in_flight > 0)
		return WH_ADMIT_NOT_YET;
	sub->admit = sub->deferred > 0 || sub->blocked > 0 ? ADMIT_NONE : ADMIT_NEXT;
	return sub->admit == ADMIT_NEXT ? WH_ADMIT_EVENT : WH_ADMIT_ROW;
}

void
wh_queue_nothing_stored(WhQueue *q, int64_t id)
{
	Sub *sub = wh_sub_find(q, id);
	Link *next;

	if (sub == NULL)
		return;
	wh_sub_set_deferred(q, sub, 0);
	for (Link *link = sub->lanes.next; link != &sub->lanes; link = next)
	{
		Lane *lane = LINKED(Lane, of_sub, link);

		next = link->next;
		wh_lane_set_stored(q, lane, lane->held);
		wh_lane_free_if_idle(q, lane);
	}
}

void *
wh_queue_owner(const WhQueue *q, int64_t id)
{
	Sub *sub = wh_sub_find(q, id);

	return sub && !sub->gone ? sub->owner : NULL;
}

void
wh_queue_unsubscribe(WhQueue *q, int64_t id, WhList *given_back)
{
	Sub *sub = wh_sub_find(q, id);
	Link *next;

	if (sub == NULL || sub->gone)
		return;
	sub->gone = true;
	sub->held = false;
	sub->owner = NULL;
	wh_sub_set_deferred(q, sub, 0);
	wh_sub_give_back(q, sub, given_back);
	for (Link *link = sub->lanes.next; link != &sub->lanes; link = next)
	{
		Lane *lane = LINKED(Lane, of_sub, link);

		next = link->next;
		/* its rows are deleted, also those of deliveries in flight */
		for (WhDelivery *d = lane->bound; d; d = d->bound_next)
			if (d->stored)
			{
				d->stored = false;
				sub->fresh++;
			}
		lane->held = 0;
		wh_lane_set_stored(q, lane, 0);
		link_remove(&lane->fetch);
		wh_lane_free_if_idle(q, lane);
	}
	wh_sub_free_if_idle(q, sub);
}

void
wh_queue_restore_deferred(WhQueue *q, int64_t id, int64_t deferred)
{
	Sub *sub = wh_sub_find(q, id);

	if (sub == NULL)
		return;
	wh_sub_set_deferred(q, sub, sub->deferred + deferred);
	wh_sub_note(q, sub);
}

bool
wh_queue_restore_lane(WhQueue *q, int64_t id, uint64_t key, int rows)
{
	Sub *sub = wh_sub_find(q, id);
	Lane *lane;

	if (sub == NULL)
		return true;
	lane = wh_lane_find(q, sub, key);
	if (lane == NULL && (lane = wh_lane_make(q, sub, key)) == NULL)
		return false;
	wh_lane_set_stored(q, lane, rows);
	return true;
}

/* One more delivery of it waits: is it full now? */
static void
note_pushed(WhQueue *q, Sub *sub, int64_t now_us)
{
	wh_sub_note(q, sub);
	if (is_linked(&sub->full) || sub->queued < WH_QUEUE_FULL)
		return;
	sub->full_since_us = now_us;
	link_last(&q->full, &sub->full);
}

WhPushed
wh_queue_push(WhQueue *q, WhDelivery *d, WhPushFrom from, int64_t now_us)
{
	Sub *sub = wh_sub_find(q, d->subscription_id);
	Lane *lane;
	bool admitted;

	if (sub == NULL || sub->gone)
		return WH_PUSH_UNKNOWN;
	/* what is pushed while it is held is what it has admitted */
	admitted = sub->held && (from == WH_FROM_LOG || sub->queued + sub->in_flight == 0);
	if (d->batch != 0)
	{
		WhPushed pushed = wh_batch_push(q, sub, d, now_us);

		if (pushed == WH_PUSHED)
		{
			sub->admit = admitted ? ADMIT_ONE : sub->admit;
			note_pushed(q, sub, now_us);
		}
		return pushed;
	}
	lane = wh_lane_find(q, sub, d->lane);

	if (from == WH_FROM_INTERRUPTED || (from == WH_FROM_LOG && (d->keep || catching_up(sub))))
	{
		wh_sub_set_deferred(q, sub, sub->deferred + 1);
		wh_sub_note(q, sub);
		return WH_PUSH_DEFER;
	}
	if (lane && ((from == WH_FROM_LOG && lane->stored > 0) ||
				 (from == WH_FROM_DEFERRED && lane->stored > lane->held)))
	{
		wh_lane_set_stored(q, lane, lane->stored + 1);
		if (from == WH_FROM_DEFERRED)
			wh_sub_set_deferred(q, sub, sub->deferred - 1);
		return WH_PUSH_BEHIND;
	}
	if (lane && from == WH_FROM_STORED && wh_lane_has(lane, d->event->id))
		return WH_PUSH_DUPLICATE;
	if (lane == NULL && (lane = wh_lane_make(q, sub, d->lane)) == NULL)
		return WH_PUSH_NO_MEMORY;

	if (from == WH_FROM_DEFERRED)
	{
		wh_sub_set_deferred(q, sub, sub->deferred - 1);
		wh_lane_set_stored(q, lane, lane->stored + 1);
	}
	if (from == WH_FROM_LOG)
		sub->fresh++;
	else
	{
		lane->held++;
		if (lane->stored < lane->held) /* a row that was not restored at start */
			wh_lane_set_stored(q, lane, lane->held);
	}
	if (admitted)
		sub->admit = ADMIT_ONE;
	/* counted before it is appended, because appending asserts the invariants */
	d->queued_us = now_us;
	wh_lane_append(q, lane, d);
	note_pushed(q, sub, now_us);
	return WH_PUSHED;
}

void
wh_queue_not_before(WhQueue *q, int64_t id, int64_t at_us)
{
	Sub *sub = wh_sub_find(q, id);

	if (sub == NULL || sub->not_before_us == at_us)
		return;
	sub->not_before_us = at_us;
	wh_sub_wake(q, sub); /* at its next turn it rests again, until the right time */
}

/*
 * When may it start something, by its rate limit and by waiting for a larger batch?
 * A clock that was set back must not keep it waiting.
 */
static int64_t
start_at(const Sub *sub, int64_t now_us)
{
	int64_t at = sub->not_before_us;

	if (waits_for_more(sub))
	{
		/* the lane that has been ready longest: no lane after it has waited that long */
		Lane *lane = LINKED(Lane, ready, sub->ready.next);
		int64_t more_until = lane->waiting.head->queued_us + WH_BATCH_WAIT_US;

		if (more_until > at && more_until <= now_us + WH_BATCH_WAIT_US)
			at = more_until;
	}
	return at <= now_us + WH_QUEUE_REST_MAX_US ? at : now_us;
}

/* Start its next request. NULL: there is none. */
static WhDelivery *
start(WhQueue *q, Sub *sub)
{
	WhDelivery *lead = wh_batch_take(q, sub);

	if (lead == NULL && is_linked(&sub->ready))
		lead = wh_batch_gather(q, sub);
	if (lead == NULL)
		return NULL;
	sub->in_flight++;
	wh_flight_begin(q, sub, lead);
	sub->admit = ADMIT_NONE;
	wh_sub_note(q, sub);
	return lead;
}

/*
 * Start the first that waits for bytes, of either size, if there are enough now. One
 * that something else keeps from its turn goes back to the round-robin.
 */
static WhDelivery *
next_heavy(WhQueue *q, int64_t now_us, int free)
{
	for (Size size = WH_SMALL; size < WH_SIZES; size++)
		while (is_linked(&q->heavy[size]))
		{
			Sub *sub = LINKED(Sub, runnable, q->heavy[size].next);
			size_t bytes = wh_batch_bytes(q, sub);
			bool may = could_start(sub) && sub->in_flight < free && start_at(sub, now_us) <= now_us &&
					   bytes > 0 && wh_flight_size(q, bytes) == size;
			Flight flight = may ? wh_flight_may(q, sub, bytes) : FLIGHT_HAS_ITS_SHARE;
			WhDelivery *lead;

			if (flight == FLIGHT_NO_ROOM)
				break;
			link_remove(&sub->runnable);
			if (flight != FLIGHT_MAY)
				link_last(&q->runnable, &sub->runnable);
			else if ((lead = start(q, sub)) != NULL)
				return lead;
		}
	return NULL;
}

WhDelivery *
wh_queue_next(WhQueue *q, int64_t now_us, int free)
{
	WhDelivery *lead;
	Link *next;

	wh_queue_wake(q, now_us);
	if (free > 0 && (lead = next_heavy(q, now_us, free)) != NULL)
		return lead;
	for (Link *link = q->runnable.next; free > 0 && link != &q->runnable; link = next)
	{
		Sub *sub = LINKED(Sub, runnable, link);
		size_t bytes;
		Flight flight;

		next = link->next;
		if (sub->in_flight >= free && could_start(sub))
			continue; /* it keeps its turn */
		link_remove(link);
		/* it may have lost what made it runnable since it was put here */
		if (!could_start(sub))
			continue;
		if (start_at(sub, now_us) > now_us)
		{
			wh_sub_rest(q, sub, start_at(sub, now_us));
			continue;
		}
		if ((bytes = wh_batch_bytes(q, sub)) == 0)
			continue; /* a batch that waits for its lanes: it comes back when they are free */
		flight = wh_flight_may(q, sub, bytes);
		if (flight == FLIGHT_HAS_ITS_SHARE)
			link_before(next, link); /* it keeps its turn as well */
		else if (flight == FLIGHT_NO_ROOM || is_linked(&q->heavy[wh_flight_size(q, bytes)]))
			link_last(&q->heavy[wh_flight_size(q, bytes)], link);
		else if ((lead = start(q, sub)) != NULL)
			return lead;
	}
	return NULL;
}

/*
 * One delivery of a request has ended, in the same way as the lead. When the last of
 * its lane has, the lane goes on or is given back.
 */
static void
land(WhQueue *q, Sub *sub, WhDelivery *d, WhList *given_back)
{
	Lane *lane = wh_lane_find(q, sub, d->lane);
	bool again = d->disposal != WH_DO_DONE && d->disposal != WH_DO_DEAD_LETTER && !sub->gone;

	wh_lane_unbind(lane, d);
	lane->n_in_flight--;
	sub->n_in_flight--;
	if (sub->gone && d->disposal != WH_DO_DONE)
		d->disposal = WH_DO_DROP;
	if (d->stored)
		lane->held--;
	else
		sub->fresh--;
	if (again != d->stored)
		wh_lane_set_stored(q, lane, lane->stored + (again ? 1 : -1));
	if (lane->n_bound > 0)
		return;
	if (again)
		give_back_lane(q, lane, false, given_back);
	else if (lane->waiting.n > 0)
		wh_lane_note_ready(q, lane);
	else
		wh_lane_note_fetch(q, lane);
	wh_lane_sane(lane);
	wh_lane_free_if_idle(q, lane);
}

void
wh_queue_done(WhQueue *q, WhDelivery *lead, WhList *given_back)
{
	Sub *sub = wh_sub_find(q, lead->subscription_id);
	WhDisposal disposal = lead->disposal;

	sub->in_flight--;
	wh_flight_end(q, sub, lead);
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		d->disposal = d != lead && disposal == WH_DO_RETRY ? WH_DO_BLOCK : disposal;
		land(q, sub, d, given_back);
	}
	wh_sub_note(q, sub);
	wh_sub_free_if_idle(q, sub);
}

void
wh_queue_abort(WhQueue *q, WhDelivery *lead)
{
	Sub *sub = wh_sub_find(q, lead->subscription_id);

	sub->in_flight--;
	wh_flight_end(q, sub, lead);
	wh_batch_put_back(q, sub, lead);
}

void
wh_queue_give_back_all(WhQueue *q, WhList *given_back)
{
	for (size_t i = 0; i < SUB_BUCKETS; i++)
	{
		Sub *next;

		for (Sub *sub = q->subs[i]; sub; sub = next)
		{
			next = sub->hash_next;
			wh_sub_give_back(q, sub, given_back);
			wh_sub_free_if_idle(q, sub);
		}
	}
}
