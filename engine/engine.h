/*
 * engine.h
 *	  The engine's public face: given deliveries, a clock and randomness, it
 *	  makes requests and hands back outcomes. It knows no SQL.
 */
#ifndef WEBHOOK_ENGINE_H
#define WEBHOOK_ENGINE_H

#include "engine_types.h"

/* NULL where memory or descriptors are out. Strings are copied. Once per process. */
extern WhEngine *wh_engine_create(const WhEngineConfig *config);
extern void wh_engine_free(WhEngine *e);

/* Change settings for requests from now on; false, and nothing changed, where they cannot be used. */
extern bool wh_engine_configure(WhEngine *e, const WhEngineConfig *config);

/* Add or change a subscription (everything is copied), or remove one. False without memory. */
extern bool wh_engine_subscribe(WhEngine *e, const WhSubscription *subscription);
extern void wh_engine_unsubscribe(WhEngine *e, int64_t subscription_id);

/* At start, after the subscriptions: what webhook.pending holds. */
extern void wh_engine_restore_deferred(WhEngine *e, int64_t subscription_id, int64_t rows);
extern bool wh_engine_restore_lane(WhEngine *e, int64_t subscription_id, uint64_t lane, int rows);

/* The lane an event would be in, for a row of pending that somebody else made; 0: no such subscription. */
extern uint64_t wh_engine_lane(const WhEngine *e, int64_t subscription_id, const WhEvent *event);

/*
 * Take over one delivery. It comes back through wh_engine_take in any case,
 * but: false without memory or where the subscription is unknown, then
 * nothing was taken over.
 *
 * A batch that was sent before is submitted one after the other, in order of
 * event ids, beginning with its lead, and is taken over with the last of them.
 */
extern bool wh_engine_submit(WhEngine *e, const WhSubmit *submit);

/* Move everything on without waiting. */
extern void wh_engine_run(WhEngine *e);

/*
 * Bodies that the host makes, for subscriptions that say so (transform). The
 * engine puts a delivery that it is about to start aside. The host asks for one
 * of a subscription that it is ready for, under a token, and says under that
 * token what has become of it, whenever it knows and in any order: with
 * WH_OUT_DELIVERED a body, JSON; with WH_OUT_SKIPPED nothing is sent; with
 * WH_OUT_TRANSFORM, WH_OUT_TRANSFORM_TIMEOUT and others the text says why not;
 * with WH_OUT_ABORTED it has not been tried, and is to be asked for again.
 * Then the delivery has ended, its request starts, which nobody may ask for in a
 * transaction, or the next of its batch is to be asked for. Of a subscription
 * one is asked for at a time. The delivery may be gone before the host answers:
 * what it needs of it, it takes a reference to (the event) or copies. An answer
 * for one that is gone, or was put back, is ignored.
 */
/* NULL: there is none now. */
extern const WhDelivery *wh_engine_to_transform(WhEngine *e, WhReady ready, void *arg, uint64_t *token);
/* The text, which may be NULL, is malloc'd; it is the engine's from now on. */
extern void wh_engine_transformed(WhEngine *e, uint64_t token, WhOutcomeKind kind, char *text, size_t len);
/* When there will be one, if nothing comes before; 0: at once, INT64_MAX: nobody knows. */
extern int64_t wh_engine_transform_due(const WhEngine *e, WhReady ready, void *arg);

/* A delivery that has ended or must be kept in pending, in the order in which it happened. */
extern WhDelivery *wh_engine_take(WhEngine *e);
extern int wh_engine_outcomes(const WhEngine *e);

/* May more events be read? May hand back what a slow subscription cannot take. */
extern bool wh_engine_has_room(WhEngine *e);

/*
 * What is to be fetched from pending: see queue.h. Nothing while there are
 * outcomes to be taken; and those taken must have been written to the table.
 */
extern bool wh_engine_lane_to_fetch(WhEngine *e, int64_t *subscription_id, uint64_t *lane);
extern void wh_engine_lane_fetch_again(WhEngine *e, int64_t subscription_id, uint64_t lane);
extern void wh_engine_lane_is_empty(WhEngine *e, int64_t subscription_id, uint64_t lane);
extern int64_t wh_engine_deferred_to_fetch(WhEngine *e, int *room);
extern void wh_engine_deferred_is_empty(WhEngine *e, int64_t subscription_id);

/*
 * Breakers. While that of a subscription is not closed, rows of pending must
 * not be taken for it, but for one that is asked for as a probe: its oldest,
 * retry, blocked or deferred, nothing of it being under way. When it closes its
 * retries are to be made due. The same conditions as for fetching hold.
 */
extern int64_t wh_engine_to_probe(WhEngine *e); /* 0: none */
extern void wh_engine_probe_is_empty(WhEngine *e, int64_t subscription_id);
extern int64_t wh_engine_to_expedite(WhEngine *e); /* 0: none */
extern void wh_engine_expedite_again(WhEngine *e, int64_t subscription_id);

/*
 * Subscriptions of which no row of pending shall be taken because it is due:
 * those whose breaker is not closed, and those that have enough to do. Returns
 * how many. Wants more: one that had enough then has no longer (says so once).
 */
extern int wh_engine_not_due(WhEngine *e, int64_t *subscription_ids, int max);
extern bool wh_engine_wants_more(WhEngine *e);

/* Start nothing more: what waits comes back at once, what is in flight when it has ended. */
extern void wh_engine_drain(WhEngine *e);

/* Start nothing more until it is told otherwise: what has ended cannot be written down at the moment. */
extern void wh_engine_freeze(WhEngine *e, bool frozen);

/* Break off everything: all deliveries come back as outcomes, none of them attempted. */
extern void wh_engine_stop(WhEngine *e);

extern int wh_engine_fd(const WhEngine *e);           /* readable: call wh_engine_run */
extern int64_t wh_engine_deadline(const WhEngine *e); /* call it then even so; INT64_MAX: no need */

extern int wh_engine_in_flight(const WhEngine *e);
extern int wh_engine_queued(const WhEngine *e);
/* Counts of the i-th subscription (any order, stable between changes); false: there are no more. */
extern bool wh_engine_counts(const WhEngine *e, int i, int64_t *subscription_id, WhCounts *out);

#endif /* WEBHOOK_ENGINE_H */
