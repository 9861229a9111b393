/*
 * worker_transform.c
 *	  Handing deliveries to the processes that call transforms.
 *
 * A transform runs in a process that belongs to its owner (transform_process.c),
 * never in this one. The engine hands out a delivery, this file passes it to the
 * process and reports the result to the engine when it has come. It never waits.
 * transform_pool.c has the processes. Nothing here runs inside a transaction, or
 * while libcurl is at work.
 *
 * A failure is the outcome of the delivery that the process had, and counts as an
 * attempt:
 *
 *	  the process answers with an error or a timeout		that
 *	  it ends (FATAL, or somebody terminated it)			failed, with its error
 *	  it is terminated, and so is this process soon			none: the delivery is put back
 *	  it does not answer within GRACE after the timeout		timeout; it is terminated
 *	  it has been stuck since an earlier call				timeout, at once
 *
 * If no process can be started, nothing counts: deliveries wait, and the status
 * says why. If several owners wait for a place, a process is fed for a TURN.
 *
 * All times here are of a monotonic clock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "mb/pg_wchar.h"
#include "postmaster/interrupt.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "monotonic.h"
#include "store.h"
#include "store_subscriptions.h"
#include "tx_guard.h"
#include "transform_pool.h"
#include "worker.h"

#define TURN (1000 * MS)        /* of an owner, while others wait for a place */
#define TOLD_WITHIN (1000 * MS) /* this process, of a stop of which others have been told */
#define EVENT_BYTES_PER_US 2    /* at least, of an event that is made a row on a busy machine */
#define PIECES_AT_ONCE 64       /* of an answer in one turn of the loop */

/* Can a delivery of this subscription go to a process, or be answered, now? */
static bool
ready(void *arg, int64_t subscription_id)
{
	const WhRoute *route = wh_route_find(wh_config_routing(), subscription_id);
	bool *others_wait = arg;
	int64 now = wh_monotonic();
	Process *p;

	if (route == NULL || route->transform == NULL)
		return false; /* the engine's copy of the subscription is about to change */
	if (route->transform_owner == NULL)
		return true;
	p = wh_pool_find(route->transform_owner);
	if (p == NULL || p->state == NONE)
	{
		wh_pool_want(route->transform_owner, p, now);
		return false;
	}
	if (p->state == READY)
		return !*others_wait || now < p->fed_from + TURN;
	return p->state == STUCK;
}

/*
 * Calls
 */

/* Until when an answer, or more of one, must come; includes the time to make the event a row. */
static int64
patience(const Process *p, int64 now)
{
	return now + WH_TRANSFORM_MS * MS + GRACE + (int64) (p->event->size / EVENT_BYTES_PER_US);
}

static void
report(uint64 token, WhOutcomeKind kind, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	wh_engine_transformed(wh_engine, token, kind, copy, copy ? strlen(copy) : 0);
}

static void
report_timeout(uint64 token)
{
	char text[64];

	snprintf(text, sizeof(text), "the transform did not return within %d ms", WH_TRANSFORM_MS);
	report(token, WH_OUT_TRANSFORM_TIMEOUT, text);
}

/* Take its delivery from a process. The caller reports an outcome for it to the engine. */
static uint64
take_back(Process *p)
{
	uint64 token = p->token;

	wh_event_release(p->event);
	p->event = NULL;
	free(p->text);
	p->text = NULL;
	p->token = 0;
	return token;
}

static void
add_text(Process *p, WhRequestText which, const char *text, Size len)
{
	p->request.len[which] = text ? len + 1 : 0;
	wh_outgoing_add(&p->out, text, p->request.len[which]);
}

#define ADD(which, text) add_text(p, which, text, (text) ? strlen(text) : 0)

static void
give(Process *p, const WhRoute *route, const WhDelivery *d, uint64 token, int64 now)
{
	WhEvent *event = d->event;

	event->refs++;
	p->event = event;
	p->token = token;
	p->answering = false;
	p->filled = 0;
	strlcpy(p->function, route->transform, sizeof(p->function));
	p->request = (WhRequest){.ms = WH_TRANSFORM_MS,
							 .segment = event->segment,
							 .id = event->id,
							 .xid = event->xid,
							 .subscription_id = event->subscription_id,
							 .created_us = event->created_us};
	p->out = (WhOutgoing){0};
	wh_outgoing_add(&p->out, &p->request, sizeof(p->request));
	ADD(WH_REQUEST_FUNCTION, p->function);
	ADD(WH_REQUEST_OWNER, p->owner);
	ADD(WH_REQUEST_ENTITY_ID, event->entity_id);
	ADD(WH_REQUEST_ENTITY_TYPE, event->entity_type);
	ADD(WH_REQUEST_ACTION, event->action_type);
	add_text(p, WH_REQUEST_RESULT, event->result, event->result_len);
	add_text(p, WH_REQUEST_PREVIOUS, event->previous, event->previous_len);
	ADD(WH_REQUEST_TENANT, event->tenant);
	ADD(WH_REQUEST_CONTEXT, event->context);
	p->state = CALLING;
	p->since = now;
	p->until = patience(p, now);
}

/* The outcome of the delivery that a process had when it died; if this process stops too, the delivery is put back. */
static void
conclude(Process *p, int64 now)
{
	uint64 token = take_back(p);

	wh_pool_let_go(p, now);
	if (ShutdownRequestPending)
		return;
	if (p->late)
		report_timeout(token);
	else
		report(token, WH_OUT_TRANSFORM, p->error);
}

/* The process has ended. */
static void
ended(Process *p, int64 now)
{
	const WhLastWords *last = wh_link_last_words(&p->link);
	bool told_to_end = last->told_to_end;

	snprintf(p->error, sizeof(p->error), "the process of the transform has ended%s%s",
			 last->error[0] ? ": " : "", last->error);
	if (GetDatabaseEncoding() != PG_UTF8)
		(void) wh_only_ascii(p->error);
	wh_link_let_go(&p->link);
	if (p->state == CALLING)
	{
		p->state = DIED;
		p->late = now - p->since >= WH_TRANSFORM_MS * MS;
		/* a server that stops tells this process too, perhaps later */
		p->until = told_to_end ? now + TOLD_WITHIN : now;
		return;
	}
	if (p->state == STARTING)
		wh_pool_cannot_start(p->error, now);
	wh_pool_let_go(p, now);
}

/* The answer is complete. */
static void
answered(Process *p, int64 now)
{
	WhAnswer *a = &p->answer;
	char *text = p->text;

	p->text = NULL;
	p->answering = false;
	p->since = now;
	if (p->state == STARTING)
		wh_pool_started(p, now);
	else if (a->kind == WH_ANSWER_STALE)
		report(take_back(p), WH_OUT_ABORTED, NULL);
	else if (a->len > 0 && text == NULL)
		report(take_back(p), WH_OUT_INTERNAL, "out of memory");
	else
	{
		wh_engine_transformed(wh_engine, take_back(p), a->outcome, text, a->len);
		text = NULL;
	}
	free(text);
	p->state = READY;
	if (a->worn_out || a->kind == WH_ANSWER_STALE)
		wh_pool_let_go(p, now);
}

/* A piece of an answer. */
static void
take_piece(Process *p, const char *data, Size len, int64 now)
{
	if (!p->answering)
	{
		memcpy(&p->answer, data, sizeof(p->answer));
		data += sizeof(p->answer);
		len -= sizeof(p->answer);
		p->answering = true;
		p->filled = 0;
		p->text = p->answer.len > 0 ? malloc(p->answer.len + 1) : NULL;
	}
	if (p->text && len > 0)
		memcpy(p->text + p->filled, data, len);
	p->filled += len;
	if (p->state == CALLING)
		p->until = patience(p, now);
	if (p->filled == p->answer.len)
	{
		if (p->text)
			p->text[p->filled] = '\0';
		answered(p, now);
	}
}

/* Send and receive what is possible now. True: something came. */
static bool
move_on(Process *p, int64 now)
{
	Size sent = p->out.sent;
	bool any = false;

	if (p->state == CALLING)
	{
		(void) wh_link_send(&p->link, &p->out, true);
		if (p->out.sent > sent)
			p->until = patience(p, now);
	}
	for (int i = 0; i < PIECES_AT_ONCE && p->link.segment; i++)
	{
		const char *data;
		Size len;
		shm_mq_result result = wh_link_receive(&p->link, &data, &len, true);

		if (result == SHM_MQ_WOULD_BLOCK)
			return any;
		any = true;
		if (result == SHM_MQ_DETACHED)
			ended(p, now);
		else
			take_piece(p, data, len, now);
	}
	return any;
}

typedef struct Look
{
	Process *process;
	int64 now;
	bool any;
} Look;

static void
look_step(void *arg)
{
	Look *look = arg;

	look->any = move_on(look->process, look->now);
}

/* Without memory for a piece the link is useless. */
static bool
look_at(Process *p, int64 now)
{
	Look look = {.process = p, .now = now};
	WhFailure failure;

	if (wh_tx_try(look_step, &look, &failure))
		return look.any;
	if (p->state == CALLING)
		report(take_back(p), WH_OUT_INTERNAL, failure.message);
	wh_pool_terminate(p, now);
	return true;
}

/* True: something came. */
static bool
look_at_all(void)
{
	int64 now = wh_monotonic();
	bool any = false;

	for (Process *p = wh_processes; p < wh_processes + SLOTS; p++)
	{
		if (p->link.segment)
			any = look_at(p, now) || any;
		if (p->state == CALLING && now >= p->until)
		{
			report_timeout(take_back(p));
			wh_pool_terminate(p, now);
			any = true;
		}
		if (p->state == DIED && (ShutdownRequestPending || now >= p->until))
		{
			conclude(p, now);
			any = true;
		}
		wh_pool_look(p, now);
	}
	return any;
}

/*
 * Pass a delivery to its process, or answer it at once. False: the process is no
 * longer ready, because another owner's may have taken its place; the engine will
 * hand the delivery out again.
 */
static bool
hand_over(const WhDelivery *d, uint64 token)
{
	const WhRoute *route = wh_route_find(wh_config_routing(), d->subscription_id);
	Process *p = route->transform_owner ? wh_pool_find(route->transform_owner) : NULL;
	int64 now = wh_monotonic();

	if (p == NULL)
		report(token, WH_OUT_TRANSFORM, "webhook.subscription.transform_owner is not set");
	else if (p->state == STUCK)
		report_timeout(token);
	else if (p->state != READY || p->link.segment == NULL)
	{
		report(token, WH_OUT_ABORTED, NULL);
		return false;
	}
	else
	{
		give(p, route, d, token, now);
		(void) look_at(p, now);
	}
	return true;
}

/*
 * For the loop
 */

bool
wh_transform_run(void)
{
	bool any = look_at_all();
	bool others_wait = wh_pool_was_waited_for();
	const WhDelivery *d;
	uint64 token;

	while ((d = wh_engine_to_transform(wh_engine, ready, &others_wait, &token)) != NULL)
	{
		any = true;
		if (!hand_over(d, token))
			break;
	}
	return any;
}

bool
wh_transform_busy(void)
{
	for (int i = 0; i < SLOTS; i++)
		if (wh_processes[i].state != NONE && wh_processes[i].state != READY)
			return true;
	return false;
}

TimestampTz
wh_transform_due(void)
{
	TimestampTz now = wh_now();
	int64 here = wh_monotonic();
	bool others_wait = wh_pool_was_waited_for();
	int64 engine_us;
	int64 due;

	/* look again: something else may have consumed the latch meanwhile */
	if (look_at_all())
		return now;
	engine_us = wh_engine_transform_due(wh_engine, ready, &others_wait);
	if (engine_us == 0)
		return now;
	due = wh_pool_due(here);
	return Min(engine_us == INT64_MAX ? DT_NOEND : wh_timestamp_of(engine_us),
			   due == PG_INT64_MAX ? DT_NOEND : now + Max(0, due - here));
}
