/*
 * time_limit.h
 *	  A time limit for code that others have written: filters, transforms.
 */
#ifndef WEBHOOK_TIME_LIMIT_H
#define WEBHOOK_TIME_LIMIT_H

/* Once per process, when it is connected. */
extern void wh_time_limit_set_up(void);

/*
 * Between these two, what the server runs is cancelled (ERROR, query_canceled)
 * once `ms` have passed. The second may be called where the error was caught, and
 * when no limit has begun. It returns true if the time was exceeded, whether or
 * not the code noticed.
 */
extern void wh_time_limit_begin(int ms);
extern void wh_time_limit_begin_cpu(int ms); /* processor time: for code that only computes */
extern bool wh_time_limit_end(void);

#endif /* WEBHOOK_TIME_LIMIT_H */
