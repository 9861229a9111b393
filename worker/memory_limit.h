/*
 * memory_limit.h
 *	  The limit of this process's memory: what happens at it, and what it counts,
 *	  is told at the top of memory_limit.c.
 */
#ifndef WEBHOOK_MEMORY_LIMIT_H
#define WEBHOOK_MEMORY_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * From now on this process has at most so many bytes; 0: as many as it had been
 * given when it started. A lower limit that somebody else has set stays. May be
 * called again, with more or less. False, with errno, where the limit could not
 * be set.
 */
extern bool wh_memory_limit_set(size_t bytes);

/*
 * From now on, and until wh_memory_limit_restore, this process may grow by at
 * most so many bytes beyond what it has, and not beyond its limit either. Does
 * not nest: the last one counts. False where it cannot be had (no /proc): then
 * the limit stays as it is.
 */
extern bool wh_memory_limit_narrow(size_t more);
extern void wh_memory_limit_restore(void);

/*
 * Threads made from now on have small stacks: for a process in which nobody but
 * libcurl makes any, because a stack counts with its whole size. Where a
 * language's threads might come, leave it.
 */
extern void wh_memory_small_stacks(void);

/* What this process may use, as it was set; SIZE_MAX: without limit. */
extern size_t wh_memory_limit(void);

/* What of it is in use, in whole pages; 0: it cannot be known. */
extern size_t wh_memory_used(void);

/*
 * The largest event that is read, in bytes of its text: an eighth of the limit,
 * since reading one takes several copies of it, and no more than a body may have.
 */
extern size_t wh_event_size_max(void);

#endif /* WEBHOOK_MEMORY_LIMIT_H */
