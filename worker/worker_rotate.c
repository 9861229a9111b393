/*
 * worker_rotate.c
 *	  The ring of segments goes round, and the system clock is followed.
 *
 * Which segment is current depends on the system clock, as the writers see it.
 * The worker waits for the next segment's turn by its own clock, and computes the
 * turn again when somebody has set the system clock.
 *
 * Owns the time of the next turn, and how far events that must be kept have been
 * carried over.
 */
#include "postgres.h"

#include <math.h>

#include "fault.h"
#include "settings.h"
#include "store.h"
#include "store_carry.h"
#include "store_restore.h"
#include "store_rotate.h"
#include "tx_guard.h"
#include "worker.h"

#define ROTATE_AGAIN_MS 10000 /* a segment that could not be emptied */
#define ROTATE_LATER_MS 60000 /* after an error */

static TimestampTz next_rotation = 0;

static void
rotate_attempt_step(void *arg)
{
	wh_tx_begin("webhook: rotating segments");
	wh_store_rotate_attempt(arg);
	wh_tx_commit(false);
}

static void
rotate_outbox_step(void *arg)
{
	wh_tx_begin("webhook: rotating segments");
	wh_store_rotate_outbox(arg, wh_settle_position());
	if (((WhRotation *) arg)->done)
		WH_FAULT("rotating");
	wh_tx_commit(false);
}

/* Each log in a transaction of its own: a problem with one does not hold up the other. */
static bool
rotate(void (*step)(void *), WhRotation *r)
{
	return wh_tx_try_or_warn(step, r, r->doing,
							 "Remove what holds the segment, such as a foreign key. The worker retries.");
}

bool
wh_rotate_attempt(WhRotation *r)
{
	return rotate(rotate_attempt_step, r);
}

bool
wh_rotate_outbox(WhRotation *r)
{
	return rotate(rotate_outbox_step, r);
}

/* How long until the next segment's turn, by the writers' clock. */
static int64
until_next_turn_ms(void)
{
	int64 width_ms = wh_segment_width() * 1000;
	int64 wall_ms = (GetCurrentTimestamp() + WH_UNIX_EPOCH_US) / 1000;

	return width_ms - wall_ms % width_ms;
}

static void
tell_of_carried(const WhCarry *carry)
{
	if (carry->moved > 0)
		ereport(
			LOG,
			errmsg("webhook worker kept " INT64_FORMAT " events older than webhook.retention", carry->moved),
			errdetail("They have pending deliveries. They are now in the current segment."));
	if (carry->gone > 0)
		ereport(WARNING, errcode(ERRCODE_DATA_CORRUPTED),
				errmsg("webhook worker dropped " INT64_FORMAT " pending deliveries", carry->gone),
				errdetail("Their events are not in webhook.outbox."),
				errhint("Do not delete rows of webhook.outbox by hand."));
}

void
wh_rotate(TimestampTz now)
{
	static WhCarry carry = {.from = -1};
	int64 width_ms = wh_segment_width() * 1000;
	WhRotation attempt = {.doing = WH_ROTATING, .done = true};
	WhRotation outbox = {.doing = WH_ROTATING, .carry = carry};
	bool carrying = carry.from >= 0 && !carry.ended;
	bool ok = carrying || wh_rotate_attempt(&attempt);

	if (ok && attempt.emptied)
		wh_stat_emptied();
	if (wh_rotate_outbox(&outbox))
	{
		if (outbox.emptied)
			wh_stat_emptied();
		carry = outbox.carry;
		wh_progress_carry(&carry, outbox.more);
		if (!outbox.more)
		{
			tell_of_carried(&carry);
			carry.moved = carry.gone = 0;
		}
	}
	else
		ok = false;
	if (ok && outbox.more)
	{
		next_rotation = now; /* the next portion, after everything else has had its turn */
		return;
	}
	wh_stat_rotation_delayed(!ok || !attempt.done || !outbox.done);
	if (!ok)
		next_rotation =
			TimestampTzPlusMilliseconds(now, Max(ROTATE_AGAIN_MS / 2, Min(ROTATE_LATER_MS, width_ms)));
	else if (attempt.done && outbox.done)
		next_rotation = TimestampTzPlusMilliseconds(now, until_next_turn_ms());
	else
	{
		next_rotation = TimestampTzPlusMilliseconds(now, Min(ROTATE_AGAIN_MS, width_ms / 4));
		wh_read_again(); /* our own position may be what holds it up */
	}
}

static void
follow_clock_step(void *arg)
{
	wh_tx_begin("webhook: following the clock");
	wh_store_move_waits(*(int64 *) arg);
	wh_tx_commit(false);
}

void
wh_follow_clock(void)
{
	int64 jump = wh_clock_jump();

	if (jump == 0 || !wh_run_step(follow_clock_step, &jump))
		return;
	wh_clock_adopt(jump);
	ereport(LOG, errmsg("webhook worker adjusted to the system clock, which was set %s by %.0f seconds",
						jump > 0 ? "ahead" : "back", fabs((double) jump) / USECS_PER_SEC));
	next_rotation = 0; /* another segment is current */
}

TimestampTz
wh_rotate_due(void)
{
	return next_rotation;
}

void
wh_rotate_soon(void)
{
	next_rotation = 0;
}
