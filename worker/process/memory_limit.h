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
 * called again, with more or less: one that is lower than what is in use comes
 * down as that gets free, looked at by wh_memory_limit_look; else nothing could
 * be done to free it. False, with errno, where the limit could not be set.
 */
extern bool wh_memory_limit_set(size_t bytes);
extern void wh_memory_limit_look(void);

/*
 * From now on, and until wh_memory_limit_restore, this process may grow by at
 * most so many bytes beyond what it has, and not beyond its limit either. Does
 * not nest: the last one counts. False where it cannot be had (no /proc): then
 * the limit stays as it is.
 */
extern bool wh_memory_limit_narrow(size_t more);
extern void wh_memory_limit_restore(void);

/*
 * A part of the limit, a sixteenth, is kept back: for writing down what has
 * ended, without which nothing else gets free, and for what is to be done about
 * an error. Until wh_memory_limit_restore it may be used.
 */
extern void wh_memory_limit_use_reserve(void);

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
 * What a part of the limit is, for whoever keeps to it by himself: so that the
 * limit itself is rarely met. Never more than `most`.
 */
extern size_t wh_memory_part(size_t part, size_t most);

/* Bytes of events that are read, or taken, at once; one event is, whatever its size. */
extern size_t wh_page_bytes_max(void);

/*
 * Could so much be had now? Nothing is taken. For steps that cannot be undone
 * once they have begun, and can be put off.
 */
extern bool wh_memory_has(size_t bytes);

/*
 * The largest event that is read, in bytes of its text: an eighth of the limit,
 * since reading one takes several copies of it, and no more than a body may have.
 */
extern size_t wh_event_size_max(void);

#endif /* WEBHOOK_MEMORY_LIMIT_H */
