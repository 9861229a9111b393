/*
 * pipeline_send.h
 *	  Sends a delivery whose turn it is.
 */
#ifndef WEBHOOK_PIPELINE_SEND_H
#define WEBHOOK_PIPELINE_SEND_H

#include "pipeline_core.h"

/*
 * Starts its request, or fails to, or lets it wait for a token. The transfer was
 * acquired for it.
 */
extern void wh_pipeline_send(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t);

#endif /* WEBHOOK_PIPELINE_SEND_H */
