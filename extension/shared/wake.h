/*
 * wake.h
 *	  What the commit of a transaction means to this database's worker: it is
 *	  woken, or asked for.
 */
#ifndef WEBHOOK_WAKE_H
#define WEBHOOK_WAKE_H

/*
 * Remember that the current transaction captured an event: when it commits,
 * the worker of this database is woken. Cheap; throws only at the first call
 * in a backend, where shared memory cannot be had.
 */
extern void wh_wake_at_commit(void);

/*
 * The same, and that what it changed concerns the worker's configuration. The
 * invalidations that a commit sends may arrive after the wake-up; the
 * generation tells the worker at once.
 */
extern void wh_config_changed_at_commit(void);

/*
 * Remember that the current transaction wants a worker here, or its launcher,
 * to look around when it commits: at once, whatever the worker waits for.
 */
extern void wh_want_worker_at_commit(void);

#endif /* WEBHOOK_WAKE_H */
