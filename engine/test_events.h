/*
 * test_events.h
 *	  Test events: sent at once, one attempt, past everything else.
 */
#ifndef WEBHOOK_TEST_EVENTS_H
#define WEBHOOK_TEST_EVENTS_H

#include "queue.h"

#define WH_TESTS_MAX 100 /* waiting: the log is not read on until some have been sent */

/* Is it one? Only an event that is for a single subscription can be. */
extern bool wh_event_is_test(const WhEvent *event);

/* Take over the delivery of a test: to be sent, or, where a worker died that may have sent it, not again. */
extern void wh_tests_add(WhList *tests, WhDelivery *d, WhPushFrom from, WhList *outcomes);

/* The next one to be sent, NULL: none. Those whose subscription is gone are dropped. */
extern WhDelivery *wh_tests_next(WhList *tests, const WhQueue *queue, WhList *outcomes);

/* It has ended as `kind` tells, or was not sent: that is all that becomes of it. */
extern void wh_tests_ended(WhDelivery *d);
extern void wh_tests_drop(WhDelivery *d, WhList *outcomes);

#endif /* WEBHOOK_TEST_EVENTS_H */
