/*
 * memory_limit.h
 *	  The limit of this process's memory. The top of memory_limit.c says what it
 *	  counts and what happens at it.
 */
#ifndef WEBHOOK_MEMORY_LIMIT_H
#define WEBHOOK_MEMORY_LIMIT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * What the limit is divided into, in 64ths. All of it may be in use at once, so together
 * they are the whole at most (memory_limit.c asserts it). What a process needs anyway is
 * little of the default and lies in what is not used; where it does not, an allocation
 * fails.
 */
#define WH_MEMORY_PARTS 64
#define WH_PART_RESERVE 4   /* see wh_memory_limit_use_reserve */
#define WH_PART_WAITING 11  /* events that wait */
#define WH_PART_FLIGHT 20   /* small requests in flight, and connections kept for the next ones */
#define WH_PART_LARGE 8     /* large requests in flight */
#define WH_PART_EVENT 8     /* the largest event: it is in memory more than once while it is read */
#define WH_PART_RELOAD 8    /* the configuration, while it is read again */
#define WH_PART_UNSETTLED 4 /* events of what has ended and is not written yet */
#define WH_PART_PAGE 1      /* events that are read or fetched at once */

/*
 * Limit this process to so many bytes; 0: to what it was given when it started. A
 * lower limit that somebody else has set stays. May be called again, with more or
 * less. A limit below what is in use comes down step by step in
 * wh_memory_limit_look, as memory is freed; otherwise there would be no memory to
 * free any. False, with errno: the limit could not be set.
 */
extern bool wh_memory_limit_set(size_t bytes);
extern void wh_memory_limit_look(void);

/*
 * Until wh_memory_limit_restore, this process may grow by at most so many bytes,
 * and not beyond its limit. Does not nest: the last one counts. False: not
 * possible here (no /proc), and the limit stays as it is.
 */
extern bool wh_memory_limit_narrow(size_t more);
extern void wh_memory_limit_restore(void);

/*
 * A sixteenth of the limit is a reserve: for settling, without which no memory is
 * freed, and for handling errors. It may be used until wh_memory_limit_restore.
 */
extern void wh_memory_limit_use_reserve(void);

/*
 * Threads made from now on have small stacks, because a stack counts with its
 * whole size. Only for a process in which nothing except libcurl makes threads,
 * not for one that runs procedural languages.
 */
extern void wh_memory_small_stacks(void);

/* What this process may use, as it was set; SIZE_MAX: without limit. */
extern size_t wh_memory_limit(void);

/* How much of it is in use, in whole pages; 0: unknown. */
extern size_t wh_memory_used(void);

/*
 * So many 64ths of the limit, for code that bounds itself, so that the limit itself is
 * rarely met. Never more than `most`.
 */
extern size_t wh_memory_part(size_t parts, size_t most);

/* Bytes of events that are read or fetched at once. One event always is, whatever its size. */
extern size_t wh_page_bytes_max(void);

/*
 * Is so much available now? Takes nothing. For steps that can be put off, but not
 * undone once they have begun.
 */
extern bool wh_memory_has(size_t bytes);

/*
 * The largest event that is read, in bytes of its text: an eighth of the limit,
 * since reading one takes several copies of it, and no more than a body may have.
 */
extern size_t wh_event_size_max(void);

#endif /* WEBHOOK_MEMORY_LIMIT_H */
