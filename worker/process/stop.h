/*
 * stop.h
 *	  SIGTERM, also in the midst of something that takes long.
 */
#ifndef WEBHOOK_STOP_H
#define WEBHOOK_STOP_H

/* Take SIGTERM from now on. */
extern void wh_stop_set_up(void);

/*
 * Between these two, what the server runs is cancelled (ERROR, query_canceled)
 * when somebody wants the process to end, or wanted it before. The end may be called
 * where the error was caught.
 */
extern void wh_stop_may_cancel(void);
extern void wh_stop_may_not_cancel(void);

/* The process has noticed, and is ending: what it has still to do is not cancelled for that. */
extern void wh_stop_noticed(void);

#endif /* WEBHOOK_STOP_H */
