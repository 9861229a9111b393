/*
 * clock.h
 *	  The worker's two clocks: one to wait by, one for people and for tables.
 */
#ifndef WEBHOOK_CLOCK_H
#define WEBHOOK_CLOCK_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/timestamp.h"

#define WH_UNIX_EPOCH_US ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* A time as microseconds since the Unix epoch and back; 0 stands for "never" in both. */
static inline int64
wh_unix_of(TimestampTz at)
{
	return at == 0 ? 0 : at + WH_UNIX_EPOCH_US;
}

static inline TimestampTz
wh_timestamp_of(int64 unix_us)
{
	return unix_us == 0 ? 0 : unix_us - WH_UNIX_EPOCH_US;
}

/*
 * The time by which the worker waits. It begins as the wall clock's when the
 * process does, and from then on nobody sets it.
 */
extern TimestampTz wh_now(void);

/* Between that time and the one in our tables; 0 ("never") and the infinities stay what they are. */
extern TimestampTz wh_table_time(TimestampTz at);
extern TimestampTz wh_own_time(TimestampTz at);

/*
 * Has somebody set the wall clock? By how much (microseconds), or 0. Until
 * wh_clock_adopt() the times in tables are still reckoned by the wall clock as it
 * was: what waits there is moved, and both agree, or neither has happened.
 */
extern int64 wh_clock_jump(void);
extern void wh_clock_adopt(int64 jump);

/*
 * Now, for the question how old a row is: the wall clock, but without what it
 * has been set ahead within the retention. So nothing is old because somebody
 * has moved the clock a moment ago.
 */
extern TimestampTz wh_age_clock(void);

#endif /* WEBHOOK_CLOCK_H */
