/*
 * time_limit.h
 *	  A clock for code that somebody else has written: filters, transforms.
 */
#ifndef WEBHOOK_TIME_LIMIT_H
#define WEBHOOK_TIME_LIMIT_H

/* Once per process, when it is connected. */
extern void wh_time_limit_set_up(void);

/*
 * Between these two, what the server runs is cancelled (ERROR, query_canceled)
 * once `ms` have passed. The end may be called where the error was caught, and
 * where none has begun. It returns true where the time was exceeded, whether
 * that was noticed or not.
 */
extern void wh_time_limit_begin(int ms);
extern void wh_time_limit_begin_cpu(int ms); /* of the processor's time: for what only computes */
extern bool wh_time_limit_end(void);

#endif /* WEBHOOK_TIME_LIMIT_H */
