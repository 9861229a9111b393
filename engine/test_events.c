/*
 * test_events.c
 *	  Test events: sent at once, with one attempt, bypassing everything else.
 *
 * Somebody waits for the answer to a test (webhook.test), perhaps to learn whether a
 * subscription that is paused, disabled or held by its breaker may be resumed. So a test
 * never enters the queue. It waits only for the worker's limit of requests in flight and
 * delays nothing else. It counts neither for the breaker nor in the subscription's
 * counters. However it ends, it is not sent again: it is in the log, and neither in
 * webhook.pending nor in webhook.dead_letter.
 */
#include "test_events.h"

#include <string.h>

bool
wh_event_is_test(const WhEvent *event)
{
	return event->subscription_id != 0 && strcmp(event->action_type, "test") == 0;
}

void
wh_tests_drop(WhDelivery *d, WhList *outcomes)
{
	d->disposal = WH_DO_DROP;
	d->attempted = false;
	wh_list_push(outcomes, d);
}

void
wh_tests_add(WhList *tests, WhDelivery *d, WhPushFrom from, WhList *outcomes)
{
	d->test = true;
	if (from == WH_FROM_INTERRUPTED)
		wh_tests_drop(d, outcomes);
	else
		wh_list_push(tests, d);
}

void
wh_tests_ended(WhDelivery *d)
{
	bool delivered = d->kind == WH_OUT_DELIVERED;

	/* only these two classes: a test disables nothing */
	d->class = delivered ? WH_CLASS_DELIVERED : WH_CLASS_GIVE_UP;
	d->disposal = delivered ? WH_DO_DONE : WH_DO_DROP;
}

WhDelivery *
wh_tests_next(WhList *tests, const WhQueue *queue, WhList *outcomes)
{
	WhDelivery *d;

	while ((d = wh_list_pop(tests)) != NULL)
	{
		if (wh_queue_owner(queue, d->subscription_id))
			return d;
		wh_tests_drop(d, outcomes);
	}
	return NULL;
}
