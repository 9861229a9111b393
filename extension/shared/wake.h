/*
 * wake.h
 *	  What the commit of a transaction does for this database's worker: it wakes
 *	  it, or requests one.
 */
#ifndef WEBHOOK_WAKE_H
#define WEBHOOK_WAKE_H

/*
 * The current transaction captured an event: its commit wakes the worker of this
 * database. Cheap; raises an error only at the first call in a backend, if there
 * is no shared memory.
 */
extern void wh_wake_at_commit(void);

/*
 * The same, for a change of the worker's configuration. The invalidations that a
 * commit sends may arrive after the wake-up; the generation informs the worker at
 * once.
 */
extern void wh_config_changed_at_commit(void);

/*
 * Another transaction's events may have just been committed by this process, which is
 * still in a transaction. Looks into the catalog if this database has no worker. Without
 * preload it does nothing in a session that has captured no event.
 */
extern void wh_wake_now(void);

/*
 * The current transaction wants the worker here, or the launcher, to check
 * everything when it commits: at once, whatever the worker waits for.
 */
extern void wh_want_worker_at_commit(void);

#endif /* WEBHOOK_WAKE_H */
