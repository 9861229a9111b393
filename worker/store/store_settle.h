/*
 * store_settle.h
 *	  What is written about deliveries that have ended or must be kept.
 */
#ifndef WEBHOOK_STORE_SETTLE_H
#define WEBHOOK_STORE_SETTLE_H

#include "postgres.h"

#include "types.h"

/*
 * Write how these deliveries have ended; `logged`: with their rows in
 * webhook.attempt. Marks those with which a subscription was disabled.
 */
extern void wh_store_settle(WhDelivery *const *deliveries, int n, bool logged);

#endif /* WEBHOOK_STORE_SETTLE_H */
