/*
 * engine.h
 *	  The engine's interface: given deliveries, a clock and randomness, it makes
 *	  requests and returns outcomes. It contains no SQL.
 */
#ifndef WEBHOOK_ENGINE_H
#define WEBHOOK_ENGINE_H

#include "engine_types.h"

/* NULL: out of memory or descriptors. Strings are copied. Call it once per process. */
extern WhEngine *wh_engine_create(const WhEngineConfig *config);
extern void wh_engine_free(WhEngine *e);

/* Changes settings for requests from now on. False: they are invalid, and nothing has changed. */
extern bool wh_engine_configure(WhEngine *e, const WhEngineConfig *config);

/* Adds or changes a subscription (everything is copied), or removes one. False: out of memory. */
extern bool wh_engine_subscribe(WhEngine *e, const WhSubscription *subscription);
extern void wh_engine_unsubscribe(WhEngine *e, int64_t subscription_id);

/* At start, after the subscriptions: what webhook.pending contains. */
extern void wh_engine_restore_deferred(WhEngine *e, int64_t subscription_id, int64_t rows);
extern bool wh_engine_restore_lane(WhEngine *e, int64_t subscription_id, uint64_t lane, int rows);

/* The lane of an event, for a row of pending that SQL made; 0: no such subscription. */
extern uint64_t wh_engine_lane(const WhEngine *e, int64_t subscription_id, const WhEvent *event);

/*
 * Takes over one delivery. It always comes back through wh_engine_take. False:
 * out of memory or unknown subscription; then nothing was taken over.
 *
 * The deliveries of a batch that was sent before are submitted in order of event
 * numbers, beginning with its lead. The batch is taken over with the last one.
 */
extern bool wh_engine_submit(WhEngine *e, const WhSubmit *submit);

/* Advances everything without waiting. */
extern void wh_engine_run(WhEngine *e);

/*
 * Bodies made by the host, for subscriptions with a transform. The engine sets
 * such a delivery aside before it starts. The host calls wh_engine_to_transform
 * to get one, under a token, and wh_engine_transformed with that token and the
 * result, in any order:
 *
 *   WH_OUT_DELIVERED           the text is the body, JSON
 *   WH_OUT_SKIPPED             nothing is sent
 *   WH_OUT_TRANSFORM, others   the text says why it failed
 *   WH_OUT_ABORTED             it was not tried; the host must get it again
 *
 * Then the delivery has ended, or the next of its batch is to be transformed, or
 * its request starts: so do not call it within a transaction. One delivery per
 * subscription is transformed at a time. The delivery may be gone before the
 * host answers: the host holds a reference to the event and copies the rest. An
 * answer for a delivery that is gone, or was put back, is ignored.
 */
/* NULL: there is none now. */
extern const WhDelivery *wh_engine_to_transform(WhEngine *e, WhReady ready, void *arg, uint64_t *token);
/* The text, which may be NULL, is malloc'd; the engine takes ownership. */
extern void wh_engine_transformed(WhEngine *e, uint64_t token, WhOutcomeKind kind, char *text, size_t len);
/* When there will be one, if nothing else happens first; 0: at once, INT64_MAX: unknown. */
extern int64_t wh_engine_transform_due(const WhEngine *e, WhReady ready, void *arg);

/* A delivery that has ended or must be kept in pending, in the order of events; NULL: none. */
extern WhDelivery *wh_engine_take(WhEngine *e);
extern int wh_engine_outcomes(const WhEngine *e);

/* May more events be read? May give back what a slow subscription cannot take. */
extern bool wh_engine_has_room(WhEngine *e);

/*
 * What must be fetched from pending: see queue.h. Nothing while there are
 * outcomes to take. Those taken must have been written to the table.
 */
extern bool wh_engine_lane_to_fetch(WhEngine *e, int64_t *subscription_id, uint64_t *lane);
extern void wh_engine_lane_fetch_again(WhEngine *e, int64_t subscription_id, uint64_t lane);
extern void wh_engine_lane_is_empty(WhEngine *e, int64_t subscription_id, uint64_t lane);
extern int64_t wh_engine_deferred_to_fetch(WhEngine *e, int *room);
extern void wh_engine_deferred_is_empty(WhEngine *e, int64_t subscription_id);

/*
 * Breakers. While the breaker of a subscription is not closed, no rows of pending
 * may be taken for it, except one as a probe: its oldest (retry, blocked or
 * deferred), while nothing of it is in flight. When the breaker closes, its
 * retries must be made due. The conditions for fetching apply here too.
 */
extern int64_t wh_engine_to_probe(WhEngine *e); /* 0: none */
extern void wh_engine_probe_is_empty(WhEngine *e, int64_t subscription_id);
extern int64_t wh_engine_to_expedite(WhEngine *e); /* 0: none */
extern void wh_engine_expedite_again(WhEngine *e, int64_t subscription_id);

/*
 * Subscriptions whose rows of pending must not be taken although they are due:
 * those whose breaker is not closed, and those that have enough to do. Returns
 * how many. wants_more: one of them no longer has enough (reported once).
 */
extern int wh_engine_not_due(WhEngine *e, int64_t *subscription_ids, int max);
extern bool wh_engine_wants_more(WhEngine *e);

/* Starts nothing more: what waits comes back at once, what is in flight when it has ended. */
extern void wh_engine_drain(WhEngine *e);

/* Starts nothing more until unfrozen: outcomes cannot be recorded at the moment. */
extern void wh_engine_freeze(WhEngine *e, bool frozen);

/* Aborts everything: all deliveries come back as outcomes, none of them attempted. */
extern void wh_engine_stop(WhEngine *e);

extern int wh_engine_fd(const WhEngine *e);           /* readable: call wh_engine_run */
extern int64_t wh_engine_deadline(const WhEngine *e); /* latest time of it; INT64_MAX: none */

extern int wh_engine_in_flight(const WhEngine *e);
/* Requests that need several turns, so that a host that waits before each makes them slow. */
extern int wh_engine_in_turns(const WhEngine *e);
/* Those of them beyond what their subscriptions may have now: some were paused, removed, or limited. */
extern int wh_engine_beyond(const WhEngine *e);
extern int wh_engine_queued(const WhEngine *e);
/* Counters of the i-th subscription (any order, stable between changes); false: no more. */
extern bool wh_engine_counts(const WhEngine *e, int i, int64_t *subscription_id, WhCounts *out);

#endif /* WEBHOOK_ENGINE_H */
