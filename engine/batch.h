/*
 * batch.h
 *	  The deliveries of one request: they are made, collected, sent under one id,
 *	  and share one result.
 */
#ifndef WEBHOOK_BATCH_H
#define WEBHOOK_BATCH_H

#include "engine_types.h"
#include "endpoint.h"
#include "http.h"
#include "types.h"

#define WH_BATCH_ID_MAX 64 /* "bat_" instance "_" id "_" hash, with NUL */

/* Makes a delivery, which holds its own reference to the event; NULL: out of memory. */
extern WhDelivery *wh_batch_delivery(const WhSubmit *submit, const Endpoint *endpoint);

/*
 * Adds one delivery to a batch that is being collected. `lead`: the lead once
 * the batch is complete, else NULL. False: it does not belong to this batch.
 */
extern bool wh_batch_assemble(WhDelivery **coming, WhDelivery *d, bool more, WhDelivery **lead);

/*
 * The id of a batch as receivers see it: bat_<instance>_<event number of its
 * lead>_<16 hex digits>. The digits are a hash over its event numbers: the same
 * events have the same id, other events another. After a crash the same lead may
 * be sent with other events, so a receiver that remembers ids never mistakes new
 * events for old ones.
 */
extern void wh_batch_id(const char *instance, const WhDelivery *lead, char out[WH_BATCH_ID_MAX]);

/* Its request starts. */
extern void wh_batch_started(WhDelivery *lead, int64_t now_us, int64_t wall_us);

/*
 * Its request has ended. Sets the outcome and the disposal of each delivery, and
 * takes the transfer's response. `policy`: NULL if its subscription is gone.
 * `asked_us`: see retry.h.
 */
extern void wh_batch_ended(WhDelivery *lead, WhTransfer *t, const WhRetryPolicy *policy, int64_t now_us,
						   int64_t asked_us, double rand);

/* Frees the bodies made for it so far. */
extern void wh_batch_forget_bodies(WhDelivery *lead);

/* Moves all of it to the end of a list of single deliveries; frees all of it. */
extern void wh_batch_list(WhList *list, WhDelivery *lead);
extern void wh_batch_free(WhDelivery *lead);

#endif /* WEBHOOK_BATCH_H */
