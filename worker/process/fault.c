/*
 * fault.c
 *	  What happens at the points of fault.h, in the library built for tests.
 *
 * One line in the file webhook.fault in the data directory says what:
 *
 *	  settling kill 3		SIGKILL at the third time that this point is passed
 *	  settling error 1		an ERROR
 *	  settling fatal 1		a FATAL error, which ends the process and cannot be caught
 *	  filter kill 0			SIGKILL each time, until the file is removed
 *	  malloc 1000			each allocation fails with a chance of 1 in 1,000,
 *							from the next point passed until the file is removed
 *
 * The first three happen once: the file is removed first. Linked with --wrap, so
 * that malloc, calloc and realloc of this library, and of nothing else in the
 * process, come through here.
 */
#include "postgres.h"

#include "fault.h"

#ifdef WEBHOOK_FAULTS

#include <signal.h>
#include <unistd.h>

#define FAULT_FILE "webhook.fault"

static unsigned int malloc_chance = 0; /* 1 in so many; 0: none fails */

void
wh_fault(const char *point)
{
	static int passed = 0;
	FILE *file = fopen(FAULT_FILE, "r");
	char at[32] = "";
	char what[32] = "";
	int n = 0;

	malloc_chance = 0;
	if (file == NULL)
		return;
	if (fscanf(file, "%31s", at) == 1 && strcmp(at, "malloc") == 0)
	{
		if (fscanf(file, "%u", &malloc_chance) != 1)
			malloc_chance = 0;
	}
	else if (fscanf(file, "%31s %d", what, &n) != 2)
		at[0] = '\0';
	fclose(file);
	if (strcmp(at, point) != 0 || ++passed < n)
		return;
	passed = 0;
	if (n > 0)
		unlink(FAULT_FILE);
	if (strcmp(what, "kill") == 0)
		kill(getpid(), SIGKILL);
	ereport(strcmp(what, "fatal") == 0 ? FATAL : ERROR, errcode(ERRCODE_INTERNAL_ERROR),
			errmsg("webhook fault point \"%s\"", point));
}

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t n, size_t size);
extern void *__real_realloc(void *old, size_t size);
extern void *__wrap_malloc(size_t size);
extern void *__wrap_calloc(size_t n, size_t size);
extern void *__wrap_realloc(void *old, size_t size);

static bool
fails_now(void)
{
	static unsigned int state = 1;

	if (malloc_chance == 0)
		return false;
	state = state * 1103515245u + 12345u;
	return (state >> 8) % malloc_chance == 0;
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

#endif /* WEBHOOK_FAULTS */
