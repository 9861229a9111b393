/*
 * oauth.c
 *	  OAuth 2 client credentials (RFC 6749, section 4.4): the deliveries that
 *	  wait for a token.
 *
 * A delivery that has no token waits in a list of the engine, without a transfer; for
 * the queue it is in flight. The first such delivery requests a token (token.c), with a
 * request of the engine's own. A delivery that is answered with 401 is sent once more
 * with another token, as soon as its subscription's rate limit allows it.
 */
#include "oauth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "request_auth.h"
#include "batch.h"
#include "test_events.h"
#include "token.h"

#define LOOK_US 1000000 /* how often one more delivery joins those that wait for the same token */

/*
 * Request a token with this transfer, unless a request is in flight. False: the transfer
 * is not used; if there is no request, `problem` says why.
 */
static bool
ask(WhEngine *e, WhTransfer *t, Endpoint *endpoint)
{
	Token *token = endpoint->token;

	if (token == NULL)
	{
		if ((token = calloc(1, sizeof(Token))) == NULL)
			return false;
		token->refs = 1;
		token->subscription_id = endpoint->sub.id;
		endpoint->token = token;
	}
	if (token->asking)
		return false;
	t->private = true;
	if (!wh_token_request(e->http, t, &endpoint->sub))
	{
		snprintf(token->problem, sizeof(token->problem), "%s", t->error);
		token->kind = WH_OUT_INTERNAL;
		return false;
	}
	t->owner = token;
	token->refs++;
	token->asking = true;
	e->asking++;
	return true;
}

bool
wh_oauth_must_wait(const Endpoint *endpoint, int64_t now_us)
{
	const Token *token = endpoint->token;

	return wh_access_value(&endpoint->sub, WH_TOKEN_CREDENTIAL) != NULL &&
		   (token == NULL || token->header == NULL || token->until_us <= now_us);
}

/* Take out a waiting delivery of a subscription (0: of any); NULL: there is none any more. */
static WhDelivery *
take_of(WhList *waiting, int64_t subscription_id)
{
	WhList others = {0};
	WhDelivery *found = NULL;
	WhDelivery *d;

	while ((d = wh_list_pop(waiting)) != NULL)
	{
		if (found == NULL && (subscription_id == 0 || d->subscription_id == subscription_id))
			found = d;
		else
			wh_list_push(&others, d);
	}
	*waiting = others;
	return found;
}

static void
end_one_without(WhEngine *e, const Endpoint *endpoint, WhDelivery *d, int64_t duration_us)
{
	WhTransfer none = {.kind = endpoint->token ? endpoint->token->kind : WH_OUT_INTERNAL,
					   .duration_us = duration_us};

	snprintf(none.error, sizeof(none.error), "%s",
			 endpoint->token ? endpoint->token->problem : "out of memory");
	wh_batch_started(d, e->now_us, wh_pipeline_wall(e));
	wh_pipeline_conclude(e, d, &none);
}

/*
 * There is no token for the deliveries that wait for this endpoint's. One request has
 * failed, so one delivery ends with its failure (the probe, if it is among them), and so
 * does each test. The others were not attempted.
 */
static void
end_without(WhEngine *e, Endpoint *endpoint, int64_t duration_us)
{
	WhList others = {0};
	WhDelivery *ended = NULL;
	WhDelivery *d;

	while ((d = take_of(&e->waiting, endpoint->sub.id)) != NULL)
	{
		if (d->test)
			end_one_without(e, endpoint, d, duration_us);
		else if (ended == NULL || d->probe)
		{
			if (ended)
				wh_list_push(&others, ended);
			ended = d;
		}
		else
			wh_list_push(&others, d);
	}
	if (ended)
		end_one_without(e, endpoint, ended, duration_us);
	while ((d = wh_list_pop(&others)) != NULL)
		wh_pipeline_put_back(e, endpoint, d);
}

void
wh_oauth_wait(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t)
{
	wh_list_push(&e->waiting, d);
	/* hold back the subscription's others: here they would only wait, and count as in flight */
	wh_queue_not_before(e->queue, endpoint->sub.id, e->now_us + LOOK_US);
	if (ask(e, t, endpoint))
		return;
	wh_http_release(e->http, t);
	if (endpoint->token == NULL || !endpoint->token->asking)
		end_without(e, endpoint, 0);
}

void
wh_oauth_answered(WhEngine *e, WhTransfer *t)
{
	Token *token = t->owner;
	Endpoint *endpoint = wh_queue_owner(e->queue, token->subscription_id);

	token->asking = false;
	e->asking--;
	wh_token_take(token, t, e->now_us);
	/* the endpoint may have other credentials by now, and need another token */
	if (endpoint && endpoint->token == token)
	{
		wh_queue_not_before(e->queue, endpoint->sub.id,
							token->header ? wh_rate_next(&endpoint->rate) : e->now_us + LOOK_US);
		if (token->header == NULL)
			end_without(e, endpoint, t->duration_us);
	}
	wh_token_let_go(token);
}

void
wh_oauth_broken_off(WhEngine *e, WhTransfer *t)
{
	Token *token = t->owner;

	token->asking = false;
	e->asking--;
	wh_token_let_go(token);
}

bool
wh_oauth_refused(WhEngine *e, WhDelivery *d, const WhTransfer *t)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);

	if (d->token == 0 || endpoint == NULL || wh_access_value(&endpoint->sub, WH_TOKEN_CREDENTIAL) == NULL)
		return false;
	wh_token_learn(endpoint->token, d, t->http_status, e->now_us);
	if (t->http_status != 401 || d->refused || e->draining ||
		(endpoint->token && endpoint->token->number == d->token &&
		 wh_token_is_patient(endpoint->token, e->now_us)))
		return false;
	d->refused = true;
	/* another delivery may have led to a new token meanwhile */
	if (endpoint->token && endpoint->token->number == d->token)
		wh_token_forget(endpoint->token);
	wh_list_push(&e->waiting, d);
	return true;
}

/* When it may be sent, or request a token; INT64_MAX: it waits for an answer. */
static int64_t
due(const WhEngine *e, const WhDelivery *d)
{
	const Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);

	if (wh_oauth_must_wait(endpoint, e->now_us))
		return endpoint->token && endpoint->token->asking ? INT64_MAX : 0;
	return d->test ? 0 : wh_pipeline_may_go_at(e, endpoint);
}

WhDelivery *
wh_oauth_next(WhEngine *e)
{
	WhList others = {0};
	WhDelivery *found = NULL;
	WhDelivery *d;

	while ((d = wh_list_pop(&e->waiting)) != NULL)
	{
		Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);

		if (wh_pipeline_must_stay(endpoint, d))
			wh_pipeline_put_back(e, endpoint, d);
		else if (found == NULL && due(e, d) <= e->now_us)
			found = d;
		else
			wh_list_push(&others, d);
	}
	e->waiting = others;
	return found;
}

int64_t
wh_oauth_due(const WhEngine *e)
{
	int64_t first = INT64_MAX;

	/* one that is due already waits for a place, and starts when one is free */
	for (const WhDelivery *d = e->waiting.head; d; d = d->next)
	{
		int64_t at = due(e, d);

		first = at > e->now_us && at < first ? at : first;
	}
	return first;
}

void
wh_oauth_put_back(WhEngine *e, int64_t subscription_id)
{
	WhDelivery *d;

	while ((d = take_of(&e->waiting, subscription_id)) != NULL)
	{
		if (d->test)
			wh_tests_drop(d, &e->outcomes);
		else
			wh_queue_abort(e->queue, d);
	}
}
