/*
 * transform_unit.h
 *	  What the tests of bodies that the host makes share: they are the host.
 */
#ifndef TRANSFORM_UNIT_H
#define TRANSFORM_UNIT_H

#include "engine_unit.h"

/* The body of the i-th request, from 0. */
static inline const char *
server_body(int i)
{
	static ServerRequest r;

	assert_true(i < server_requests());
	r = server_request(i);
	return r.body;
}

static inline WhSubscription
transformed(int64_t id, const char *to)
{
	WhSubscription sub = subscription(id, to);

	sub.transform = true;
	return sub;
}

static inline void
subscribe_transformed(int64_t id, const char *to)
{
	WhSubscription sub = transformed(id, to);

	assert_true(wh_engine_subscribe(e, &sub));
}

static uint64_t token; /* of what was handed out last */

/* The host is ready for any. */
static inline bool
ready(void *arg, int64_t subscription_id)
{
	(void) arg;
	(void) subscription_id;
	return true;
}

static inline const WhDelivery *
to_transform(void)
{
	return wh_engine_to_transform(e, ready, NULL, &token);
}

static inline int64_t
transform_due(void)
{
	return wh_engine_transform_due(e, ready, NULL);
}

/* The engine hands this event out. */
static inline void
handed_out(int64_t id)
{
	const WhDelivery *d;

	wh_engine_run(e);
	d = to_transform();
	assert_non_null(d);
	assert_int_equal(d->event->id, id);
}

/* The host answers for what was handed out under a token. */
static inline void
answer(uint64_t of, WhOutcomeKind kind, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	assert_true(text == NULL || copy != NULL);
	wh_engine_transformed(e, of, kind, copy, text ? strlen(text) : 0);
}

static inline void
made(const char *body)
{
	answer(token, WH_OUT_DELIVERED, body);
}

static inline void
skipped(void)
{
	answer(token, WH_OUT_SKIPPED, NULL);
}

static inline void
failed(WhOutcomeKind kind, const char *why)
{
	answer(token, kind, why);
}

/* The next outcome. */
static inline WhDelivery *
ended(int64_t id, const char *word, WhDisposal disposal)
{
	WhDelivery *d = outcome();

	assert_int_equal(d->event->id, id);
	assert_true(d->attempted);
	assert_string_equal(d->word, word);
	assert_int_equal(d->disposal, disposal);
	return d;
}

/* It comes back not attempted. */
static inline void
came_back(int64_t id, WhDisposal disposal, int attempts)
{
	WhDelivery *d = wh_engine_take(e);

	assert_non_null(d);
	assert_int_equal(d->event->id, id);
	assert_false(d->attempted);
	assert_int_equal(d->disposal, disposal);
	assert_int_equal(d->attempts, attempts);
	wh_delivery_free(d);
}

static inline WhCounts
counts(void)
{
	WhCounts c;
	int64_t id;

	assert_true(wh_engine_counts(e, 0, &id, &c));
	return c;
}

static inline void
submit_batch_of(int n)
{
	for (int i = 1; i <= n; i++)
	{
		char entity[16];

		snprintf(entity, sizeof(entity), "%d", i);
		submit(1, i, entity);
	}
}

static inline void
subscribe_batch(const char *to, int n)
{
	WhSubscription sub = transformed(1, to);

	sub.batch_size = n;
	assert_true(wh_engine_subscribe(e, &sub));
}

#endif /* TRANSFORM_UNIT_H */
