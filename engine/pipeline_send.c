/*
 * pipeline_send.c
 *	  Sending a delivery: as a request; or, if there is no token for it, by letting
 *	  it wait for one. Owns nothing.
 */
#include "pipeline_send.h"

#include "batch.h"
#include "oauth.h"
#include "request.h"
#include "token.h"

/* Send it: start the request, or let it wait for a token. */
void
wh_pipeline_send(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t)
{
	if (wh_oauth_must_wait(endpoint, e->now_us))
	{
		wh_oauth_wait(e, endpoint, d, t);
		return;
	}
	wh_batch_started(d, e->config.now_us(), wh_pipeline_wall(e));
	t->owner = d;
	d->token = endpoint->token ? endpoint->token->number : 0;
	if (!d->test)
	{
		wh_rate_take(&endpoint->rate, d->started_us);
		wh_queue_not_before(e->queue, d->subscription_id, wh_rate_next(&endpoint->rate));
	}
	if (!wh_request_start(e->http, t, e->config.instance, endpoint, d))
	{
		wh_pipeline_conclude(e, d, t);
		wh_http_release(e->http, t);
	}
}
