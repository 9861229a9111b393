/*
 * transform.h
 *	  Deliveries whose bodies the host makes: see engine.h.
 *
 * Called by engine.c only.
 */
#ifndef WEBHOOK_TRANSFORM_H
#define WEBHOOK_TRANSFORM_H

#include "engine_internal.h"

/* It is about to be started, for the queue it is: the host is to make its bodies first. */
extern void wh_transform_put_aside(WhEngine *e, Endpoint *endpoint, WhDelivery *d);

/* Those put aside are not to be sent now: they wait in the queue again, tests are dropped. */
extern void wh_transform_put_back(WhEngine *e);

/* Its bodies, as far as they are made, are not needed. */
extern void wh_transform_forget(WhDelivery *lead);

#endif /* WEBHOOK_TRANSFORM_H */
