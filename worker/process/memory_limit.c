/*
 * memory_limit.c
 *	  A limit of this process's memory that the kernel keeps.
 *
 * It is RLIMIT_DATA. Since Linux 4.7 that counts every private writable mapping:
 * brk, and with it malloc and palloc; whatever libcurl, OpenSSL or a procedural
 * language gets from mmap; and the stacks of threads, each with its whole size as
 * soon as it exists. It does not count memory shared with the server
 * (shared_buffers, dynamic shared memory), the code of libraries, or the stack of
 * the process itself, which has RLIMIT_STACK and max_stack_depth. RLIMIT_AS would
 * count shared_buffers, and Linux does not enforce RLIMIT_RSS.
 *
 * At the limit brk and mmap fail with ENOMEM. Then malloc returns NULL, and the
 * engine, libcurl and OpenSSL fail the operation at hand; palloc raises an ERROR
 * with the code out_of_memory, which rolls back the current step. Nothing is
 * killed. The OOM killer, whose SIGKILL of one process restarts the whole server,
 * never has a reason to look at this process.
 *
 * malloc is told to take large blocks from mmap and to keep doing so. By itself
 * it raises that threshold up to 32 MB as soon as such a block is freed, and what a
 * large event needed once would stay with the process, in pieces.
 *
 * Owns the process's soft limit. Nothing here allocates, so all of it works when
 * there is no memory left.
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

#define MMAP_FROM (1024 * 1024)        /* blocks of this size and more are mappings of their own */
#define THREAD_STACK (512 * 1024)      /* for libcurl's name look-ups, which would have 8 MB each */
#define COMING_DOWN (16 * 1024 * 1024) /* kept above what is in use while a limit comes down */
#define PAGE_MAX (8 * 1024 * 1024)

StaticAssertDecl(WH_PART_RESERVE + WH_PART_WAITING + WH_PART_FLIGHT + WH_PART_LARGE + WH_PART_EVENT +
						 WH_PART_RELOAD + WH_PART_UNSETTLED + WH_PART_PAGE <=
					 WH_MEMORY_PARTS,
				 "the parts of the memory limit are more than the whole");

static bool known = false;           /* is `before` set? */
static struct rlimit before;         /* what this process was given */
static rlim_t limit = RLIM_INFINITY; /* as it was asked to be */
static rlim_t top = RLIM_INFINITY;   /* as it is now: more, while it comes down to one below what is in use */

static bool
set_soft(rlim_t soft)
{
	struct rlimit now = {.rlim_cur = soft, .rlim_max = before.rlim_max};

	return setrlimit(RLIMIT_DATA, &now) == 0;
}

/* Without the reserve, which `top` includes. */
static rlim_t
usual(void)
{
	return top == RLIM_INFINITY ? top : top - top / WH_MEMORY_PARTS * WH_PART_RESERVE;
}

bool
wh_memory_limit_set(size_t bytes)
{
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
	/* RLIM_INFINITY is the largest number of its type, so Min() works; parts of the limit hold in any case */
	limit = bytes == 0 ? before.rlim_cur : Min((rlim_t) bytes, before.rlim_cur);
	top = Max(limit, limit == RLIM_INFINITY ? 0 : (rlim_t) wh_memory_used() + COMING_DOWN);
	top = Min(top, before.rlim_cur);
	return set_soft(usual());
}

void
wh_memory_limit_look(void)
{
	rlim_t needed;

	if (top <= limit)
		return;
	needed = (rlim_t) wh_memory_used() + COMING_DOWN;
	top = Min(top, Max(limit, needed));
	(void) set_soft(usual());
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
	/* "size resident shared text lib data": the sixth field, which includes the process's stack */
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
	return set_soft(Min((rlim_t) used + more, usual()));
}

void
wh_memory_limit_use_reserve(void)
{
	if (known)
		(void) set_soft(top);
}

void
wh_memory_limit_restore(void)
{
	if (known)
		(void) set_soft(usual());
}

size_t
wh_memory_limit(void)
{
	return limit == RLIM_INFINITY ? SIZE_MAX : (size_t) limit;
}

size_t
wh_memory_part(size_t parts, size_t most)
{
	return Min(wh_memory_limit() / WH_MEMORY_PARTS * parts, most);
}

size_t
wh_page_bytes_max(void)
{
	return wh_memory_part(WH_PART_PAGE, PAGE_MAX);
}

size_t
wh_event_size_max(void)
{
	return wh_memory_part(WH_PART_EVENT, WH_BODY_MAX);
}

bool
wh_memory_has(size_t bytes)
{
	/* a block this large is a mapping: it takes nothing from malloc's heap and leaves nothing behind */
	void *block = malloc(Max(bytes, MMAP_FROM));

	free(block);
	return block != NULL;
}
