/*
 * loop.h
 *	  The program's one thread: it waits for descriptors and for the clock.
 */
#ifndef CONSOLE_LOOP_H
#define CONSOLE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* What is called when a descriptor is ready. The owner of the descriptor owns this, too. */
typedef struct Watch
{
	int fd; /* -1: not watched */
	uint32_t events;
	void (*ready)(void *owner);
	void *owner;
} Watch;

/* Call `tick` about ten times a second, and `before_wait` each time before waiting. */
extern bool loop_start(void (*tick)(void), void (*before_wait)(void));

/* Begin, change or end watching; events are EPOLLIN, EPOLLOUT. False: errno says why. */
extern bool loop_watch(Watch *watch, int fd, uint32_t events);
extern void loop_unwatch(Watch *watch);

/* Until loop_stop is called, which a signal handler may do. */
extern void loop_run(void);
extern void loop_stop(void);

/* Seconds of a clock that nobody sets. */
extern double loop_now(void);

#endif /* CONSOLE_LOOP_H */
