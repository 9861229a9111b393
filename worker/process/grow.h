/*
 * grow.h
 *	  Arrays that grow.
 */
#ifndef WEBHOOK_GROW_H
#define WEBHOOK_GROW_H

#include "postgres.h"

#include "utils/memutils.h"
#include "utils/palloc.h"

/*
 * Room for more members of a growing array, in `context` from the first on;
 * returns where it now lies. `cap` changes only when there is room: whoever
 * catches the error for want of memory still has an array of the old size.
 */
static inline void *
wh_grow(MemoryContext context, void *array, int *cap, int at_first, Size each)
{
	int larger = Max(at_first, *cap * 2);

	array = array ? repalloc_huge(array, larger * each) : MemoryContextAllocHuge(context, larger * each);
	*cap = larger;
	return array;
}

#endif /* WEBHOOK_GROW_H */
