/*
 * memory_limit.c
 *	  A limit of this process's memory that the kernel keeps.
 *
 * It is RLIMIT_DATA. Since Linux 4.7 that counts every private mapping that can
 * be written: brk, and with it malloc and palloc, whatever mmap is called for
 * by them, by libcurl, OpenSSL or a procedural language, and the stacks of
 * threads, each with its whole size as soon as it exists. It does not count
 * memory shared with the server (shared_buffers, dynamic shared memory), the
 * code of libraries, and the stack of the process itself, which has
 * RLIMIT_STACK and max_stack_depth. RLIMIT_AS would count shared_buffers, and
 * RLIMIT_RSS is not kept by Linux at all.
 *
 * At the limit brk and mmap fail with ENOMEM. So malloc returns NULL, which the
 * engine, libcurl and OpenSSL take for the failure of what they were doing, and
 * palloc raises an ERROR with the code out_of_memory, which rolls back the step
 * it is met in. Nothing is killed; the OOM killer, whose SIGKILL of one process
 * restarts the whole server, never has a reason to look at this one.
 *
 * malloc is told to take large blocks from mmap and to keep to that. By itself
 * it moves that bound up to 32 MB as soon as such a block is freed, and what was
 * once needed for a large event would stay with the process, in pieces.
 *
 * Owns the process's soft limit. Calls nothing that allocates, so that all of
 * it may be used when there is no memory left. Used by the worker, and by
 * whatever process of ours runs what it cannot trust.
 */
#include "postgres.h"

#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#include <pthread.h>
#endif
#include <sys/resource.h>
#include <unistd.h>

#include "http.h"
#include "memory_limit.h"

#define MMAP_FROM (1024 * 1024)   /* blocks of this size and more are mappings of their own */
#define THREAD_STACK (512 * 1024) /* of libcurl's look-ups of names, which would be 8 MB each */
#define EVENTS_PER_LIMIT 8

static bool known = false;             /* is `before`? */
static struct rlimit before;           /* what this process was given */
static size_t limit = SIZE_MAX;        /* what was asked for */
static rlim_t current = RLIM_INFINITY; /* the soft limit that restoring goes back to */

static bool
set_soft(rlim_t soft)
{
	struct rlimit now = {.rlim_cur = soft, .rlim_max = before.rlim_max};

	return setrlimit(RLIMIT_DATA, &now) == 0;
}

bool
wh_memory_limit_set(size_t bytes)
{
	rlim_t soft;

	if (!known)
	{
		if (getrlimit(RLIMIT_DATA, &before) != 0)
			return false;
		known = true;
#ifdef __GLIBC__
		mallopt(M_MMAP_THRESHOLD, MMAP_FROM);
		mallopt(M_TRIM_THRESHOLD, 2 * MMAP_FROM);
#endif
	}
	/* RLIM_INFINITY is the largest number of its type */
	soft = bytes == 0 ? before.rlim_cur : Min((rlim_t) bytes, before.rlim_cur);
	if (!set_soft(soft))
		return false;
	current = soft;
	limit = soft == RLIM_INFINITY ? SIZE_MAX : (size_t) soft;
	return true;
}

void
wh_memory_small_stacks(void)
{
#ifdef __GLIBC__
	pthread_attr_t attr;

	if (pthread_attr_init(&attr) != 0)
		return;
	if (pthread_attr_setstacksize(&attr, THREAD_STACK) == 0)
		(void) pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
#endif
}

size_t
wh_memory_used(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n;
	char *at = text;
	size_t pages;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* size resident shared text lib data: the sixth, which has the process's stack in it as well */
	for (int field = 0; field < 5; field++)
	{
		at = strchr(at, ' ');
		if (at == NULL)
			return 0;
		at++;
	}
	pages = strtoull(at, NULL, 10);
	return pages * (size_t) sysconf(_SC_PAGESIZE);
}

bool
wh_memory_limit_narrow(size_t more)
{
	size_t used = wh_memory_used();

	if (used == 0 || !known)
		return false;
	return set_soft(Min((rlim_t) used + more, current));
}

void
wh_memory_limit_restore(void)
{
	if (known)
		(void) set_soft(current);
}

size_t
wh_memory_limit(void)
{
	return limit;
}

size_t
wh_event_size_max(void)
{
	return Min(limit / EVENTS_PER_LIMIT, (size_t) WH_BODY_MAX);
}
