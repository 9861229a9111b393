/*
 * transform.h
 *	  Deliveries whose bodies the host makes: see engine.h.
 */
#ifndef WEBHOOK_TRANSFORM_H
#define WEBHOOK_TRANSFORM_H

#include "pipeline_core.h"

/*
 * Sets aside a delivery that is about to start, until the host has made its bodies. For
 * the queue it has started.
 */
extern void wh_transform_put_aside(WhEngine *e, Endpoint *endpoint, WhDelivery *d);

/* Puts those set aside back into the queue; drops tests. */
extern void wh_transform_put_back(WhEngine *e);

/* wh_engine_to_transform, wh_engine_transformed and wh_engine_transform_due: see engine.h. */
extern const WhDelivery *wh_transform_next(WhEngine *e, WhReady ready, void *arg, uint64_t *token);
extern void wh_transform_answered(WhEngine *e, uint64_t token, WhOutcomeKind kind, char *text, size_t len);
extern int64_t wh_transform_next_at(const WhEngine *e, WhReady ready, void *arg);

#endif /* WEBHOOK_TRANSFORM_H */
