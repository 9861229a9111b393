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
 * The time by which the worker waits. It starts as the system clock's when the
 * process does; from then on nobody sets it.
 */
extern TimestampTz wh_now(void);

/* Convert between that time and the one in our tables. 0 ("never") and the infinities stay. */
extern TimestampTz wh_table_time(TimestampTz at);
extern TimestampTz wh_own_time(TimestampTz at);

/*
 * By how many microseconds the system clock was set, or 0. Until wh_clock_adopt()
 * times in tables still count by the clock as it was: the caller moves those times
 * and adopts the jump together, or does neither.
 */
extern int64 wh_clock_jump(void);
extern void wh_clock_adopt(int64 jump);

/*
 * Now, for the age of rows: the system clock, minus what it was set ahead within
 * the retention. So no row becomes old because somebody has just set the clock.
 */
extern TimestampTz wh_age_clock(void);

#endif /* WEBHOOK_CLOCK_H */
