/*
 * worker_pace.c
 *	  When to read next: at once after silence, a moment later in a stream of commits.
 *
 * A read costs about the same whether it finds one event or fifty. So when two reads
 * that found something followed each other closely, the next one waits for PAUSE_US.
 * Meanwhile the worker is "awake" (worker_slots.h): commits only raise the flag, and
 * no process is signalled. When a pause ends without a commit, the stream is over: the
 * worker is asleep again, and the next commit wakes it at once.
 *
 * In a pause the worker also naps, that is, it does not wake for each response.
 * Whatever has arrived meanwhile is handled in one turn. Nobody waits for that, as
 * long as no delivery waits for a request to end, and no request needs several turns: a
 * TLS handshake, a large body or a long response would wait for a nap before each.
 *
 * Owns the pause.
 */
#include "postgres.h"

#include "pgstat.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "worker_slots.h"
#include "worker.h"

#define PAUSE_US 1800  /* between two reads: a commit waits for half of it, on average */
#define STREAM_US 4000 /* events that are further apart than this are no stream */
#define NAP_US 900     /* a response waits for half of it, on average */

static TimestampTz last_found = 0;
static TimestampTz pause_until = 0; /* 0: there is no pause */

void
wh_pace_after_read(bool found, TimestampTz now)
{
	bool stream = found && now <= last_found + STREAM_US;

	if (found)
		last_found = now;
	pause_until = stream ? now + PAUSE_US : 0;
	if (stream)
		wh_worker_stay_awake();
}

bool
wh_pace_woken(TimestampTz now)
{
	if (pause_until == 0)
		return wh_worker_woken(false);
	if (now < pause_until)
		return false;
	pause_until = 0;
	/* in a stream it stays awake while it reads; else it is asleep from now on, in whatever order that happens */
	return wh_worker_woken(true) || wh_worker_woken(false);
}

TimestampTz
wh_pace_until(void)
{
	return pause_until ? pause_until : DT_NOEND;
}

TimestampTz
wh_pace_nap(TimestampTz now, TimestampTz deadline)
{
	static uint32 for_events;
	static uint32 for_responses;
	TimestampTz until = Min(deadline, pause_until);

	if (pause_until == 0 || wh_engine_queued(wh_engine) > 0 || wh_engine_in_turns(wh_engine) > 0 ||
		wh_transform_busy())
		return now;
	if (wh_engine_in_flight(wh_engine) > 0)
		until = Min(until, now + NAP_US);
	if (until <= now)
		return now;
	/* a signal ends it */
	pgstat_report_wait_start(wh_engine_in_flight(wh_engine) > 0
								 ? wh_wait_event(&for_responses, "WebhookResponses")
								 : wh_wait_event(&for_events, "WebhookEvents"));
	pg_usleep((long) (until - now));
	pgstat_report_wait_end();
	return wh_now();
}
