/*
 * loop.c
 *	  The program's one thread: it waits for descriptors and for the clock.
 *
 * One epoll descriptor holds all others: microhttpd's own, and a socket for each
 * connection to the database. Events are taken one at a time, so that what is called for
 * one may close any other.
 */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define TICK 0.1

static int epoll = -1;
static volatile sig_atomic_t stopped;
static void (*on_tick)(void);
static void (*on_wait)(void);

bool
loop_start(void (*tick)(void), void (*before_wait)(void))
{
	on_tick = tick;
	on_wait = before_wait;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	return epoll >= 0;
}

bool
loop_watch(Watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	if (watch->fd == fd && watch->events == events)
		return true;
	if (watch->fd != fd)
		loop_unwatch(watch);
	if (epoll_ctl(epoll, watch->fd == fd ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0)
		return false;
	watch->fd = fd;
	watch->events = events;
	return true;
}

void
loop_unwatch(Watch *watch)
{
	/* libpq may have closed it, and opened another of the same number */
	if (watch->fd >= 0)
		(void) epoll_ctl(epoll, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->fd = -1;
	watch->events = 0;
}

double
loop_now(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

void
loop_run(void)
{
	double next = loop_now() + TICK;

	while (!stopped)
	{
		struct epoll_event event;
		double left;

		on_wait();
		left = next - loop_now();
		if (left <= 0)
		{
			on_tick();
			next = loop_now() + TICK;
			continue;
		}
		if (epoll_wait(epoll, &event, 1, (int) (left * 1000) + 1) == 1)
		{
			Watch *watch = event.data.ptr;

			watch->ready(watch->owner);
		}
	}
	(void) close(epoll);
}

void
loop_stop(void)
{
	stopped = 1;
}
