/*
 * breakers.c
 *	  The breakers of all subscriptions: what their changes mean for the queue,
 *	  and when the next probe is due.
 *
 * While a breaker is not closed, the queue holds its subscription: only the probe is in
 * memory. A probe is a row of pending that the host takes (wh_breakers_to_probe); or, if
 * there is no row, the next event. It is let through when nothing else of the
 * subscription is in memory or in flight, so it is the oldest of its lane. The engine
 * owns the breakers; there is one thread.
 */
#include "breakers.h"

#include "retry.h"

#define LOOK_AGAIN_US (100 * 1000) /* while a probe is due but has not started */

void
wh_breakers_init(Breakers *all, WhQueue *queue)
{
	*all = (Breakers){.queue = queue, .look_at_us = INT64_MAX};
}

void
wh_breakers_look_soon(Breakers *all)
{
	if (all->n_held > 0)
		all->look_at_us = 0;
}

static void
want_probe(Breakers *all, Endpoint *endpoint, bool wanted)
{
	all->n_to_probe += wanted - endpoint->to_probe;
	endpoint->to_probe = wanted;
}

static void
want_expedite(Breakers *all, Endpoint *endpoint, bool wanted)
{
	all->n_to_hurry += wanted - endpoint->to_hurry;
	endpoint->to_hurry = wanted;
}

/* It is closed again: everything goes on, and retries are due at once. */
static void
release(Breakers *all, Endpoint *endpoint)
{
	all->n_held--;
	want_probe(all, endpoint, false);
	want_expedite(all, endpoint, true);
	wh_queue_release(all->queue, endpoint->sub.id);
}

void
wh_breakers_started(Breakers *all, Endpoint *endpoint, WhDelivery *d)
{
	if (endpoint->breaker.state != WH_BREAKER_OPEN)
		return;
	/* the queue holds its subscription and lets only the probe through */
	d->probe = true;
	want_probe(all, endpoint, false);
	wh_breaker_probe(&endpoint->breaker);
}

/*
 * What the delivery says about the endpoint: nothing, if nothing was sent. But if the
 * transform fails for the probe, it must not be called for it again and again.
 */
static WhClass
class_for_breaker(const WhDelivery *d)
{
	switch (d->kind)
	{
		case WH_OUT_SKIPPED:
			return WH_CLASS_ABORTED;
		case WH_OUT_TRANSFORM:
			return d->probe ? WH_CLASS_ENDPOINT : WH_CLASS_ABORTED;
		default:
			/* not d->class: a delivery given up because of its age still failed at the endpoint */
			return wh_outcome_class(d->kind);
	}
}

void
wh_breakers_ended(Breakers *all, Endpoint *endpoint, const WhDelivery *d, int64_t now_us, int64_t asked_us,
				  double rand, WhList *given_back)
{
	bool was_closed = endpoint->breaker.state == WH_BREAKER_CLOSED;
	WhClass class = class_for_breaker(d);
	bool changed = wh_breaker_ended(&endpoint->breaker, class, d->probe, now_us, asked_us, rand);

	if (class == WH_CLASS_ABORTED && d->probe && endpoint->breaker.state == WH_BREAKER_HALF_OPEN)
		wh_breaker_probe_unsent(&endpoint->breaker, now_us);
	if (changed && was_closed)
	{
		all->n_held++;
		want_expedite(all, endpoint, false);
		wh_queue_hold(all->queue, endpoint->sub.id, given_back);
	}
	else if (changed && endpoint->breaker.state == WH_BREAKER_CLOSED)
		release(all, endpoint);
	if (endpoint->breaker.state != WH_BREAKER_CLOSED)
		wh_breakers_look_soon(all);
}

void
wh_breakers_reset(Breakers *all, Endpoint *endpoint)
{
	if (wh_breaker_reset(&endpoint->breaker))
		release(all, endpoint);
	else
		want_expedite(all, endpoint, true);
}

void
wh_breakers_forget(Breakers *all, Endpoint *endpoint)
{
	all->n_held -= endpoint->breaker.state != WH_BREAKER_CLOSED;
	want_probe(all, endpoint, false);
	want_expedite(all, endpoint, false);
}

void
wh_breakers_look(Breakers *all, Endpoint **endpoints, int n, int64_t now_us)
{
	int64_t next = INT64_MAX;

	if (all->look_at_us > now_us)
		return;
	for (int i = 0; i < n; i++)
	{
		Endpoint *endpoint = endpoints[i];
		int64_t at = endpoint->breaker.probe_at_us;

		if (endpoint->breaker.state != WH_BREAKER_OPEN || endpoint->sub.paused)
			continue;
		if (at > now_us)
		{
			next = at < next ? at : next;
			continue;
		}
		switch (wh_queue_admit(all->queue, endpoint->sub.id))
		{
			case WH_ADMIT_EVENT: /* the next event will be the probe; there is nothing to take */
				want_probe(all, endpoint, false);
				continue;
			case WH_ADMIT_ROW:
				want_probe(all, endpoint, true);
				break;
			case WH_ADMIT_NOT_YET: /* again when what is in memory or in flight has ended */
				want_probe(all, endpoint, false);
				continue;
		}
		next = now_us + LOOK_AGAIN_US < next ? now_us + LOOK_AGAIN_US : next;
	}
	all->look_at_us = next;
}

int64_t
wh_breakers_to_probe(Breakers *all, Endpoint **endpoints, int n)
{
	for (int i = 0; i < n && all->n_to_probe > 0; i++)
		if (endpoints[i]->to_probe)
		{
			want_probe(all, endpoints[i], false);
			return endpoints[i]->sub.id;
		}
	return 0;
}

void
wh_breakers_expedite(Breakers *all, Endpoint *endpoint)
{
	want_expedite(all, endpoint, true);
}

int64_t
wh_breakers_to_expedite(Breakers *all, Endpoint **endpoints, int n)
{
	for (int i = 0; i < n && all->n_to_hurry > 0; i++)
		if (endpoints[i]->to_hurry)
		{
			want_expedite(all, endpoints[i], false);
			return endpoints[i]->sub.id;
		}
	return 0;
}
