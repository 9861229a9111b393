/*
 * stop.h
 *	  SIGTERM, even during something that takes long.
 */
#ifndef WEBHOOK_STOP_H
#define WEBHOOK_STOP_H

/* Take SIGTERM from now on. */
extern void wh_stop_set_up(void);

/*
 * Between these two, what the server runs is cancelled (ERROR, query_canceled) if
 * somebody wants the process to end, or wanted that before. The second may be
 * called where the error was caught.
 */
extern void wh_stop_may_cancel(void);
extern void wh_stop_may_not_cancel(void);

/* The process is stopping: what it still has to do is not cancelled any more. */
extern void wh_stop_noticed(void);

#endif /* WEBHOOK_STOP_H */
