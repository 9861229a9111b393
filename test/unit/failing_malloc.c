/*
 * failing_malloc.c
 *	  Make the n-th allocation fail; see failing_malloc.h. Keeps no memory of
 *	  its own, and is for one thread.
 */
#include "failing_malloc.h"

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t n, size_t size);
extern void *__real_realloc(void *old, size_t size);

static long countdown; /* allocations until the one that fails; 0: none will */
static bool failed;

void
fail_malloc_at(long n)
{
	countdown = n;
	failed = false;
}

bool
malloc_has_failed(void)
{
	countdown = 0;
	return failed;
}

static bool
fails_now(void)
{
	if (countdown == 0 || --countdown > 0)
		return false;
	failed = true;
	return true;
}

void *
__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}
