/*
 * worker_transform.c
 *	  The processes that call the transforms of subscriptions.
 *
 * Called by the loop in worker.c, never while it is in a transaction or libcurl
 * is at work. A function runs in a process of its owner's (transform.c), never
 * in this one: the loop gives it a delivery that the engine hands out, and tells
 * the engine what came of it when that has come. It never waits.
 *
 * There is one process for each owner that is called for, and at most
 * PROCESSES_MAX; where another is needed, the one that has been idle for longest
 * gives way, and where all are busy, each is fed for no longer than a
 * TURN. An idle one is let go of after IDLE. They are started here, and
 * this process ends them before it ends: see wh_transform_end.
 *
 * What may go wrong is told to the engine as the outcome of the delivery that the
 * process had, which counts as an attempt:
 *
 *	  it answers with an error, or with the time being over		that
 *	  it ends (FATAL, somebody has terminated it)				failed, with its last words
 *	  it does not answer within GRACE of its time				timeout; it is terminated
 *	  it does not even end then									it is STUCK, in code that never looks
 *																for interrupts; as long as it is, all
 *																deliveries of its owner's are timeouts at once
 *
 * A stuck process is left alone: nothing but a SIGKILL could end it, for which the
 * server would restart. It does not count among the PROCESSES_MAX, but there are
 * never more than SLOTS. Where no process can be started, nothing is counted:
 * deliveries wait, and status says why.
 *
 * Owns the processes. All times here are of a monotonic clock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "mb/pg_wchar.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "store.h"
#include "transform.h"
#include "wake.h"
#include "worker.h"

#define PROCESSES_MAX 4
#define SLOTS (2 * PROCESSES_MAX)
#define MS INT64CONST(1000)
#define IDLE (10 * 1000 * MS)
#define TURN (1000 * MS)
#define GRACE (500 * MS) /* for an answer, after the call's time; and for an end, after that */
#define START_WITHIN (10 * 1000 * MS)
#define AGAIN (1000 * MS)      /* after one that could not be started */
#define START_EVERY (100 * MS) /* of one owner: a function may end its process each time */
#define LOOK_AGAIN (20 * MS)   /* while somebody waits for a place */
#define PIECES_AT_ONCE 64      /* of one answer, in one turn of the loop */

typedef enum ProcessState
{
	NONE,     /* the owner and when it was started are those of the last one */
	STARTING, /* it has not said that it is ready */
	READY,    /* idle */
	CALLING,  /* it has a delivery */
	ENDING,   /* it has been let go of, and will be gone */
	STUCK     /* it should be gone, and is not */
} ProcessState;

typedef struct Process
{
	ProcessState state;
	char owner[NAMEDATALEN];
	BackgroundWorkerHandle *handle;
	WhLink link;
	int64 started_at;
	int64 since;    /* when it came into this state; of READY: when it was last given something */
	int64 fed_from; /* when it became the owner's turn */
	int64 until;    /* of STARTING, CALLING, ENDING: when that is too long */

	/* of CALLING: */
	uint64 token;
	WhEvent *event; /* a reference */
	char function[2 * (2 * NAMEDATALEN + 3)];
	WhRequest request;
	WhOutgoing out;
	bool answering; /* `answer` has come */
	WhAnswer answer;
	char *text;  /* malloc'd, with room for answer.len */
	Size filled; /* of it */
} Process;

static Process processes[SLOTS];
static int64 not_before = 0;        /* no process is started */
static bool waiting = false;        /* somebody waits for a place */
static char problem[WH_REASON_MAX]; /* why none can be started; "": it can */

static int64
monotonic(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/*
 * Processes
 */

static void
cannot_start(const char *why, int64 now)
{
	if (problem[0] == '\0' || strcmp(problem, why) != 0)
		ereport(WARNING, errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				errmsg("could not start a process for transforms"), errdetail_internal("%s", why),
				errhint("Deliveries that need one wait; no events are lost. Check max_worker_processes."));
	strlcpy(problem, why, sizeof(problem));
	not_before = now + AGAIN;
}

static void
start_step(void *arg)
{
	Process *p = arg;
	BackgroundWorker worker = {0};
	WhTransformStart start = {.dboid = MyDatabaseId};
	MemoryContext old;
	bool ok;

	wh_link_create(&p->link);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(p->link.segment));
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "webhook", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, WH_TRANSFORM_MAIN, BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, WH_TRANSFORM_TYPE " for role %s", p->owner);
	strlcpy(worker.bgw_type, WH_TRANSFORM_TYPE, BGW_MAXLEN);
	strlcpy(start.owner, p->owner, NAMEDATALEN);
	memcpy(worker.bgw_extra, &start, sizeof(start));

	old = MemoryContextSwitchTo(TopMemoryContext);
	ok = RegisterDynamicBackgroundWorker(&worker, &p->handle);
	MemoryContextSwitchTo(old);
	if (!ok)
		ereport(ERROR, errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("all background worker slots are in use"));
	wh_link_for(&p->link, p->handle);
}

/* It has no delivery, or none any more. */
static void
let_go(Process *p, ProcessState state, int64 now)
{
	wh_link_let_go(&p->link);
	p->state = state;
	p->since = now;
	p->until = now + GRACE;
}

static void
terminate(Process *p, int64 now)
{
	TerminateBackgroundWorker(p->handle);
	let_go(p, ENDING, now);
}

static void
start(Process *p, const char *owner, int64 now)
{
	WhFailure failure;

	memset(p, 0, sizeof(*p));
	strlcpy(p->owner, owner, NAMEDATALEN);
	p->started_at = now;
	if (wh_tx_try(start_step, p, &failure))
	{
		p->state = STARTING;
		p->since = now;
		p->until = now + START_WITHIN;
		return;
	}
	LWLockReleaseAll();
	cannot_start(failure.message, now);
	if (p->handle)
		terminate(p, now);
	else
		wh_link_let_go(&p->link);
}

/* Of those that were let go of: is it gone? */
static void
look_whether_gone(Process *p, int64 now)
{
	pid_t pid;

	if (GetBackgroundWorkerPid(p->handle, &pid) == BGWH_STOPPED)
	{
		if (p->state == STUCK)
			ereport(LOG, errmsg("webhook transform of role \"%s\" has ended", p->owner));
		pfree(p->handle);
		p->handle = NULL;
		p->state = NONE;
	}
	else if (p->state == ENDING && now >= p->until)
	{
		/* one that is idle, or only starts, ends as soon as it has a processor */
		p->state = STUCK;
		ereport(
			WARNING, errmsg("webhook transform of role \"%s\" cannot be cancelled", p->owner),
			errdetail("Process %d runs a function that does not check for interrupts. Deliveries that need "
					  "functions of this role fail until it ends; others go on.",
					  (int) pid),
			errhint("It ends by itself when the function returns. Killing it restarts the server."));
	}
}

static Process *
find(const char *owner)
{
	Process *found = NULL;

	for (Process *p = processes; p < processes + SLOTS; p++)
		if (strcmp(p->owner, owner) == 0 && (found == NULL || found->state == NONE))
			found = p;
	return found;
}

/* A place for one more; NULL: there will be one later, or it has to be waited for. */
static Process *
find_place(int64 now)
{
	Process *place = NULL;
	Process *idle = NULL;
	int n = 0;
	bool ending = false;

	for (Process *p = processes; p < processes + SLOTS; p++)
	{
		n += p->state != NONE && p->state != STUCK;
		ending = ending || p->state == ENDING;
		if (p->state == NONE && (place == NULL || p->started_at < place->started_at))
			place = p;
		if (p->state == READY && (idle == NULL || p->since < idle->since))
			idle = p;
	}
	if (n < PROCESSES_MAX && place)
		return place;
	waiting = true;
	if (idle && !ending)
		let_go(idle, ENDING, now);
	return NULL;
}

/* See to it that there will be a process for this owner. */
static void
want(const char *owner, Process *last, int64 now)
{
	Process *place;

	if (now < not_before || (last && now < last->started_at + START_EVERY) || ShutdownRequestPending)
		return;
	place = last ? last : find_place(now);
	if (place)
		start(place, owner, now);
}

/* Can a delivery of this subscription be given to a process, or be answered, now? */
static bool
ready(void *arg, int64_t subscription_id)
{
	const WhRoute *route = wh_route_find(wh_config_routing(), subscription_id);
	bool *others_wait = arg;
	int64 now = monotonic();
	Process *p;

	if (route == NULL || route->transform == NULL)
		return false; /* what the engine knows of it will change */
	if (route->transform_owner == NULL)
		return true;
	p = find(route->transform_owner);
	if (p == NULL || p->state == NONE)
	{
		want(route->transform_owner, p, now);
		return false;
	}
	if (p->state == READY)
		return !*others_wait || now < p->fed_from + TURN;
	return p->state == STUCK;
}

/*
 * Calls
 */

static void
say(uint64 token, WhOutcomeKind kind, const char *text)
{
	char *copy = text ? strdup(text) : NULL;

	wh_deliver_transformed(wh_engine, token, kind, copy, copy ? strlen(copy) : 0);
}

static void
say_timeout(uint64 token)
{
	char text[64];

	snprintf(text, sizeof(text), "the transform did not return within %d ms", WH_TRANSFORM_MS);
	say(token, WH_OUT_TRANSFORM_TIMEOUT, text);
}

/* What the process had is taken from it; whoever calls this tells the engine. */
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
							 .drawer = event->drawer,
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
	ADD(WH_REQUEST_ACTION, event->action);
	add_text(p, WH_REQUEST_RESULT, event->result, event->result_len);
	add_text(p, WH_REQUEST_PREVIOUS, event->previous, event->previous_len);
	ADD(WH_REQUEST_TENANT, event->tenant);
	ADD(WH_REQUEST_CONTEXT, event->context);
	p->state = CALLING;
	p->since = now;
	p->until = now + WH_TRANSFORM_MS * MS + GRACE;
}

/* It has ended, by itself or because somebody wanted it to. */
static void
ended(Process *p, int64 now)
{
	char words[WH_LAST_WORDS_MAX + 64];
	ProcessState state = p->state;
	int64 took = now - p->since;

	snprintf(words, sizeof(words), "the process of the transform has ended%s%s",
			 wh_link_last_words(&p->link)[0] ? ": " : "", wh_link_last_words(&p->link));
	for (char *c = words; GetDatabaseEncoding() != PG_UTF8 && *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	let_go(p, ENDING, now);
	if (state == STARTING)
		cannot_start(words, now);
	if (state != CALLING)
		return;
	if (ShutdownRequestPending) /* so it was meant, and the delivery will be put back */
		(void) take_back(p);
	else if (took >= WH_TRANSFORM_MS * MS)
		say_timeout(take_back(p));
	else
		say(take_back(p), WH_OUT_TRANSFORM, words);
}

/* All of the answer is there. */
static void
answered(Process *p, int64 now)
{
	WhAnswer *a = &p->answer;
	char *text = p->text;

	p->text = NULL;
	p->answering = false;
	if (p->state == STARTING)
	{
		p->fed_from = now;
		problem[0] = '\0';
	}
	else if (a->kind == WH_ANSWER_STALE)
		say(take_back(p), WH_OUT_ABORTED, NULL);
	else if (a->len > 0 && text == NULL)
		say(take_back(p), WH_OUT_INTERNAL, "out of memory");
	else
	{
		wh_deliver_transformed(wh_engine, take_back(p), a->outcome, text, a->len);
		text = NULL;
	}
	free(text);
	p->state = READY;
	p->since = now;
	if (a->worn_out || a->kind == WH_ANSWER_STALE)
		let_go(p, ENDING, now);
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
	p->until = now + WH_TRANSFORM_MS * MS + GRACE;
	if (p->filled == p->answer.len)
	{
		if (p->text)
			p->text[p->filled] = '\0';
		answered(p, now);
	}
}

/* Send and receive what can be now. True: something came. */
static bool
move_on(Process *p, int64 now)
{
	Size sent = p->out.sent;
	bool any = false;

	if (p->state == CALLING)
	{
		(void) wh_link_send(&p->link, &p->out, true);
		if (p->out.sent > sent)
			p->until = now + WH_TRANSFORM_MS * MS + GRACE;
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

/* Without memory for a piece, the link is of no use any more. */
static bool
look_at(Process *p, int64 now)
{
	Look look = {.process = p, .now = now};
	WhFailure failure;

	if (wh_tx_try(look_step, &look, &failure))
		return look.any;
	if (p->state == CALLING)
		say(take_back(p), WH_OUT_INTERNAL, failure.message);
	terminate(p, now);
	return true;
}

static void
too_long(Process *p, int64 now)
{
	if (p->state == CALLING)
		say_timeout(take_back(p));
	else
		cannot_start("the process does not come up", now);
	terminate(p, now);
}

/* True: something came. */
static bool
look_at_all(void)
{
	int64 now = monotonic();
	bool any = false;

	for (Process *p = processes; p < processes + SLOTS; p++)
	{
		if (p->link.segment)
			any = look_at(p, now) || any;
		if ((p->state == STARTING || p->state == CALLING) && now >= p->until)
		{
			too_long(p, now);
			any = true;
		}
		else if (p->state == READY && now >= p->since + IDLE)
			let_go(p, ENDING, now);
		if (p->state == ENDING || p->state == STUCK)
			look_whether_gone(p, now);
	}
	return any;
}

/* What the engine hands out goes to its process, or has an answer at once. */
static void
hand_over(const WhDelivery *d, uint64 token)
{
	const WhRoute *route = wh_route_find(wh_config_routing(), d->subscription_id);
	Process *p = route->transform_owner ? find(route->transform_owner) : NULL;
	int64 now = monotonic();

	if (p == NULL)
		say(token, WH_OUT_TRANSFORM, "webhook.subscription.transform_owner is not set");
	else if (p->state == STUCK)
		say_timeout(token);
	else
	{
		give(p, route, d, token, now);
		(void) look_at(p, now);
	}
}

/*
 * For the loop
 */

bool
wh_transform_run(void)
{
	bool any = look_at_all();
	bool others_wait = waiting;
	const WhDelivery *d;
	uint64 token;

	waiting = false;
	while ((d = wh_deliver_to_transform(wh_engine, ready, &others_wait, &token)) != NULL)
	{
		hand_over(d, token);
		any = true;
	}
	return any;
}

/* When something is to be done about this process by itself. */
static int64
process_due(const Process *p)
{
	switch (p->state)
	{
		case STARTING:
		case CALLING:
		case ENDING:
			return p->until;
		case READY:
			return p->since + IDLE;
		case NONE:
		case STUCK:
			break;
	}
	return PG_INT64_MAX;
}

TimestampTz
wh_transform_due(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 here = monotonic();
	int64 due = PG_INT64_MAX;
	bool others_wait = waiting;
	int64 engine_us;

	/* once more: what has set the latch may have been waited for by something else in between */
	if (look_at_all())
		return now;
	engine_us = wh_deliver_transform_due(wh_engine, ready, &others_wait);
	if (engine_us == 0)
		return now;
	for (const Process *p = processes; p < processes + SLOTS; p++)
	{
		due = Min(due, process_due(p));
		if (p->state == NONE && p->owner[0] && here < p->started_at + START_EVERY)
			due = Min(due, p->started_at + START_EVERY);
	}
	if (here < not_before)
		due = Min(due, not_before);
	if (waiting)
		due = Min(due, here + LOOK_AGAIN);
	return Min(engine_us == INT64_MAX ? DT_NOEND : wh_timestamp_of(engine_us),
			   due == PG_INT64_MAX ? DT_NOEND : now + Max(0, due - here));
}

const char *
wh_transform_problem(void)
{
	return problem[0] ? problem : NULL;
}

static void
at_exit(int code, Datum arg)
{
	wh_transform_end();
}

void
wh_transform_set_up(void)
{
	before_shmem_exit(at_exit, (Datum) 0);
}

static bool
all_gone(int64 now)
{
	bool gone = true;

	for (Process *p = processes; p < processes + SLOTS; p++)
	{
		if (p->state == ENDING)
			look_whether_gone(p, now);
		gone = gone && p->state != ENDING;
	}
	return gone;
}

void
wh_transform_end(void)
{
	int64 now = monotonic();

	for (Process *p = processes; p < processes + SLOTS; p++)
	{
		if (p->state == STARTING || p->state == CALLING)
			terminate(p, now);
		else if (p->state == READY)
			let_go(p, ENDING, now);
	}
	while (!all_gone(monotonic()))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
