/*
 * breakers.h
 *	  The breakers of all subscriptions: what their changes mean for the queue,
 *	  and when the next probe is due.
 */
#ifndef WEBHOOK_BREAKERS_H
#define WEBHOOK_BREAKERS_H

#include "endpoint.h"
#include "queue.h"

typedef struct Breakers
{
	WhQueue *queue;
	int n_held;         /* breakers that are not closed */
	int n_to_probe;     /* endpoints with to_probe */
	int n_to_hurry;     /* endpoints with to_hurry */
	int64_t look_at_us; /* when to look at the open ones; INT64_MAX: no need */
} Breakers;

extern void wh_breakers_init(Breakers *all, WhQueue *queue);

/* A request starts; or has ended, after wh_queue_done. `given_back`: what must leave memory. */
extern void wh_breakers_started(Breakers *all, Endpoint *endpoint, WhDelivery *d);
extern void wh_breakers_ended(Breakers *all, Endpoint *endpoint, const WhDelivery *d, int64_t now_us,
							  int64_t asked_us, double rand, WhList *given_back);

/*
 * The endpoint was changed in a way that may have fixed it: its retries are due at once.
 * And: the endpoint is removed.
 */
extern void wh_breakers_reset(Breakers *all, Endpoint *endpoint);
extern void wh_breakers_forget(Breakers *all, Endpoint *endpoint);

/* The queue has changed: the next wh_breakers_look examines the open breakers. */
extern void wh_breakers_look_soon(Breakers *all);

/* Finds open breakers that are due for a probe. Costs nothing until look_at_us. */
extern void wh_breakers_look(Breakers *all, Endpoint **endpoints, int n, int64_t now_us);

/* A subscription whose row must be taken as a probe, or whose retries must be made due; 0: none. */
extern int64_t wh_breakers_to_probe(Breakers *all, Endpoint **endpoints, int n);
extern void wh_breakers_expedite(Breakers *all, Endpoint *endpoint); /* ask for it again */
extern int64_t wh_breakers_to_expedite(Breakers *all, Endpoint **endpoints, int n);

#endif /* WEBHOOK_BREAKERS_H */
