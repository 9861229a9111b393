/*
 * failing_malloc.h
 *	  Make the n-th allocation fail.
 *
 * Every test is linked with failing_malloc.c and -Wl,--wrap, so that malloc,
 * calloc and realloc of the engine and of the test go through it; those inside
 * shared libraries do not, unless the library can be told to use these
 * functions (libcurl and OpenSSL can).
 */
#ifndef FAILING_MALLOC_H
#define FAILING_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* From now on, let the n-th allocation fail, and only that one; 0 for none. */
extern void fail_malloc_at(long n);

/* Stop failing; true if an allocation has failed since fail_malloc_at. */
extern bool malloc_has_failed(void);

/* What the linker puts in the place of malloc, calloc and realloc. */
extern void *__wrap_malloc(size_t size);
extern void *__wrap_calloc(size_t n, size_t size);
extern void *__wrap_realloc(void *old, size_t size);

#endif /* FAILING_MALLOC_H */
