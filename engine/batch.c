/*
 * batch.c
 *	  The deliveries of one request: they are made, collected, sent under one id,
 *	  and share one result.
 *
 * Here a single delivery is a batch without others. The queue decides which deliveries
 * go together. Owns nothing.
 */
#include "batch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "retry.h"

WhDelivery *
wh_batch_delivery(const WhSubmit *submit, const Endpoint *endpoint)
{
	WhDelivery *d = calloc(1, sizeof(WhDelivery));

	if (d == NULL)
		return NULL;
	d->event = submit->event;
	d->subscription_id = submit->subscription_id;
	d->page = submit->page;
	d->keep = submit->keep;
	d->unjudged = submit->unjudged;
	d->stored = submit->from == WH_FROM_STORED || submit->from == WH_FROM_DEFERRED;
	d->lane = d->stored ? submit->lane : wh_endpoint_lane(endpoint, submit->event);
	d->attempts = d->stored ? submit->attempts : 1;
	d->first_us = submit->first_us;
	d->batch = submit->batch;
	submit->event->refs++;
	return d;
}

bool
wh_batch_assemble(WhDelivery **coming, WhDelivery *d, bool more, WhDelivery **lead)
{
	*lead = NULL;
	if (*coming == NULL && d->event->id == d->batch)
		*coming = d;
	else if (*coming && (*coming)->batch == d->batch && (*coming)->subscription_id == d->subscription_id)
		wh_list_push(&(*coming)->others, d);
	else
		return false;
	if (!more)
	{
		*lead = *coming;
		*coming = NULL;
	}
	return true;
}

void
wh_batch_id(const char *instance, const WhDelivery *lead, char out[WH_BATCH_ID_MAX])
{
	uint64_t hash = 0;

	/* each step maps one to one, so the order of the events counts too */
	for (const WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
		hash = wh_hash_mix((hash ^ (uint64_t) d->event->id) + UINT64_C(0x9e3779b97f4a7c15));
	snprintf(out, WH_BATCH_ID_MAX, "bat_%.*s_%" PRId64 "_%016" PRIx64, WH_INSTANCE_LEN, instance,
			 lead->event->id, hash);
}

void
wh_batch_started(WhDelivery *lead, int64_t now_us, int64_t wall_us)
{
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		d->started_us = now_us;
		d->wall_us = wall_us;
		if (d->first_us == 0)
			d->first_us = now_us;
	}
}

/*
 * Decide what happens to it next. A batch counts the attempts of the member with the
 * fewest, and its age from the latest first attempt, so that none is given up too early.
 */
static void
decide(WhDelivery *lead, const WhRetryPolicy *policy, int64_t now_us, int64_t asked_us, double rand)
{
	WhVerdict verdict = {WH_CLASS_RETRY, 0};
	int attempts = lead->attempts;
	int64_t first_us = lead->first_us;

	for (const WhDelivery *d = lead->others.head; d; d = d->next)
	{
		attempts = d->attempts < attempts ? d->attempts : attempts;
		first_us = d->first_us > first_us ? d->first_us : first_us;
	}
	if (policy)
		verdict = wh_retry_verdict(policy, lead->kind, attempts, first_us, now_us, asked_us, rand);
	else if (lead->kind == WH_OUT_DELIVERED)
		verdict.class = WH_CLASS_DELIVERED;
	lead->class = verdict.class;
	switch (verdict.class)
	{
		case WH_CLASS_DELIVERED:
			lead->disposal = WH_DO_DONE;
			break;
		case WH_CLASS_GIVE_UP:
			lead->disposal = WH_DO_DEAD_LETTER;
			break;
		case WH_CLASS_RETRY:
		case WH_CLASS_ENDPOINT:
		case WH_CLASS_DISABLE:
		case WH_CLASS_ABORTED:
			lead->disposal = WH_DO_RETRY;
			lead->due_us = now_us + verdict.delay_us;
			break;
	}
}

/* The request was successful, but did not contain this one. */
static void
leave_out(WhDelivery *d)
{
	d->word = wh_outcome_word(WH_OUT_SKIPPED);
	d->http_status = 0;
	free(d->response);
	d->response = NULL;
}

/*
 * The log has a row for each delivery. The response of a failure is in all of them,
 * because people look for it by the entity that did not arrive. The response of a
 * success is only in the lead's row, not in a hundred.
 */
static void
share_end(WhDelivery *lead)
{
	bool well = lead->class == WH_CLASS_DELIVERED;

	for (WhDelivery *d = lead->others.head; d; d = d->next)
	{
		d->attempted = lead->attempted;
		d->kind = lead->kind;
		d->word = lead->word;
		d->class = lead->class;
		d->disposal = lead->disposal;
		d->http_status = lead->http_status;
		d->duration_us = lead->duration_us;
		/* NULL also without memory */
		d->response = well || lead->response == NULL ? NULL : strdup(lead->response);
		d->headers = lead->headers ? strdup(lead->headers) : NULL;
		(void) wh_delivery_set_error(d, wh_delivery_error(lead), strlen(wh_delivery_error(lead)));
	}
	for (WhDelivery *d = lead; d && lead->kind == WH_OUT_DELIVERED; d = wh_batch_next(lead, d))
		if (d->transformed == WH_LEFT_OUT)
			leave_out(d);
}

void
wh_batch_ended(WhDelivery *lead, WhTransfer *t, const WhRetryPolicy *policy, int64_t now_us, int64_t asked_us,
			   double rand)
{
	lead->attempted = true;
	lead->kind = t->kind == WH_OUT_HTTP_ERROR ? wh_outcome_of_status(t->http_status) : t->kind;
	lead->word = wh_outcome_word(lead->kind);
	lead->http_status = t->http_status;
	lead->duration_us = t->duration_us;
	lead->response = t->response;
	t->response = NULL;
	(void) wh_delivery_set_error(lead, t->error, strlen(t->error));
	decide(lead, policy, now_us, asked_us, rand);
	if (lead->class != WH_CLASS_DELIVERED)
		lead->headers = wh_http_response_headers(t);
	share_end(lead);
}

void
wh_batch_list(WhList *list, WhDelivery *lead)
{
	WhList others = lead->others;

	lead->others = (WhList){0};
	for (WhDelivery *d = lead; d; d = wh_list_pop(&others))
		wh_list_push(list, d);
}

void
wh_batch_free(WhDelivery *lead)
{
	WhList all = {0};
	WhDelivery *d;

	if (lead)
		wh_batch_list(&all, lead);
	while ((d = wh_list_pop(&all)) != NULL)
		wh_delivery_free(d);
}

void
wh_batch_forget_bodies(WhDelivery *lead)
{
	for (WhDelivery *d = lead; d; d = wh_batch_next(lead, d))
	{
		wh_delivery_set_body(d, NULL, 0);
		d->transformed = WH_NOT_TRANSFORMED;
	}
}
