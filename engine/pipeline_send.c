/*
 * pipeline_send.c
 *	  A delivery that may go out goes out: as a request, or, where there is no
 *	  token for it, first into the line of those that wait for one.
 */
#include "pipeline_send.h"

#include "batch.h"
#include "oauth.h"
#include "request.h"
#include "token.h"

/* What there is goes out: a request starts, or, where there is no token for it, waits for one. */
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
