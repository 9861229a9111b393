/*
 * batch.h
 *	  The deliveries of one request: how they are made and come together; they
 *	  have an id together, begin together and share how it ends.
 */
#ifndef WEBHOOK_BATCH_H
#define WEBHOOK_BATCH_H

#include "engine_types.h"
#include "endpoint.h"
#include "http.h"
#include "types.h"

#define WH_BATCH_ID_MAX 64 /* "bat_" instance "_" id "_" hash, with NUL */

/* A delivery as it was submitted, with a reference of its own to the event; NULL without memory. */
extern WhDelivery *wh_batch_delivery(const WhSubmit *submit, const Endpoint *endpoint);

/*
 * One of a batch is added to those of it that have come. `lead`: the lead, when
 * all have, else NULL. False: it does not belong there.
 */
extern bool wh_batch_assemble(WhDelivery **coming, WhDelivery *d, bool more, WhDelivery **lead);

/*
 * The id of a batch as receivers see it: bat_<instance>_<event id of its
 * lead>_<16 hex digits>, the latter a hash over the event ids in it: the same
 * whenever the same events are sent together, and another for any others. So a
 * receiver that remembers ids never takes new events for old ones, although
 * after a crash the same lead may go with others.
 */
extern void wh_batch_id(const char *instance, const WhDelivery *lead, char out[WH_BATCH_ID_MAX]);

/* A request for it starts. */
extern void wh_batch_started(WhDelivery *lead, int64_t now_us, int64_t wall_us);

/*
 * It has ended as the transfer tells, whose response is taken: what that is
 * called, and what becomes of each. `policy`: NULL where its subscription is
 * gone. `asked_us`: see retry.h.
 */
extern void wh_batch_ended(WhDelivery *lead, WhTransfer *t, const WhRetryPolicy *policy, int64_t now_us,
						   int64_t asked_us, double rand);

/* The bodies that were made for it, as far as they are, are not needed. */
extern void wh_batch_forget_bodies(WhDelivery *lead);

/* Move all of it to the end of a list of single deliveries; free all of it. */
extern void wh_batch_list(WhList *list, WhDelivery *lead);
extern void wh_batch_free(WhDelivery *lead);

#endif /* WEBHOOK_BATCH_H */
