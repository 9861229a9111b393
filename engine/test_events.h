/*
 * test_events.h
 *	  Test events: sent at once, one attempt, past everything else.
 */
#ifndef WEBHOOK_TEST_EVENTS_H
#define WEBHOOK_TEST_EVENTS_H

#include "queue.h"

#define WH_TESTS_MAX 100 /* waiting: no more events are read until some have been sent */

/* Is it one? Only an event that is for a single subscription can be. */
extern bool wh_event_is_test(const WhEvent *event);

/*
 * Takes over the delivery of a test. If a worker died that may have sent it, it is not sent
 * again.
 */
extern void wh_tests_add(WhList *tests, WhDelivery *d, WhPushFrom from, WhList *outcomes);

/* The next one to send; NULL: none. Drops those whose subscription is gone. */
extern WhDelivery *wh_tests_next(WhList *tests, const WhQueue *queue, WhList *outcomes);

/* It has ended, or was not sent. A test is never retried. */
extern void wh_tests_ended(WhDelivery *d);
extern void wh_tests_drop(WhDelivery *d, WhList *outcomes);

#endif /* WEBHOOK_TEST_EVENTS_H */
