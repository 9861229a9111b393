/*
 * clock.c
 *	  The worker's two clocks.
 *
 * Everything that waits in this process waits by a clock that nobody sets. The
 * system clock is for people, for receivers (signatures carry it), and for what
 * must outlive the process, above all webhook.pending.next_attempt_at. Only the
 * store converts between the two, by one difference, which follows the system
 * clock while that merely drifts. When the system clock jumps, the loop moves the
 * times in tables by as much (wh_follow_clock, wh_store_move_waits), and the
 * difference follows only with that commit.
 *
 * Owns that difference. No locking: one process.
 */
#include "postgres.h"

#include "clock.h"
#include "monotonic.h"
#include "settings.h"

#define DRIFT_US USECS_PER_SEC /* between two looks, less than this is no jump */

static TimestampTz began = 0;       /* the system clock when this began; 0: not yet */
static TimestampTz began_at = 0;    /* the same moment by the monotonic clock */
static int64 difference = 0;        /* tables' time minus ours */
static int64 ahead = 0;             /* how far the system clock was set ahead within the retention */
static TimestampTz ahead_since = 0; /* by our time */

TimestampTz
wh_now(void)
{
	if (began == 0)
	{
		began_at = wh_monotonic();
		began = GetCurrentTimestamp();
	}
	return began + (wh_monotonic() - began_at);
}

static bool
is_a_time(TimestampTz at)
{
	return at != 0 && !TIMESTAMP_NOT_FINITE(at);
}

TimestampTz
wh_table_time(TimestampTz at)
{
	return is_a_time(at) ? at + difference : at;
}

TimestampTz
wh_own_time(TimestampTz at)
{
	return is_a_time(at) ? at - difference : at;
}

int64
wh_clock_jump(void)
{
	int64 change = GetCurrentTimestamp() - wh_now() - difference;

	if (change <= -DRIFT_US || change >= DRIFT_US)
		return change;
	difference += change;
	return 0;
}

void
wh_clock_adopt(int64 jump)
{
	difference += jump;
	ahead = Max(0, ahead + jump);
	ahead_since = wh_now();
}

TimestampTz
wh_age_clock(void)
{
	if (ahead > 0 && wh_now() - ahead_since > (int64) wh_retention * USECS_PER_SEC)
		ahead = 0;
	return GetCurrentTimestamp() - ahead;
}
