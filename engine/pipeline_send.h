/*
 * pipeline_send.h
 *	  A delivery that may go out goes out.
 */
#ifndef WEBHOOK_PIPELINE_SEND_H
#define WEBHOOK_PIPELINE_SEND_H

#include "pipeline_core.h"

/*
 * What there is goes out: a request starts, or has failed to, or waits for a
 * token. The transfer is one that was acquired for it.
 */
extern void wh_pipeline_send(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t);

#endif /* WEBHOOK_PIPELINE_SEND_H */
