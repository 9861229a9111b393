/*
 * page_tracker.c
 *	  Which pages have been read and not yet settled.
 *
 * Pages are read in order and end in any order. The checkpoint may move to the
 * end of a page only when all pages before it have ended as well. So the open
 * pages form a ring, numbered consecutively, each with the number of its
 * deliveries that have not ended. One owner: the worker's loop.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "page_tracker.h"
#include "store_read.h"

typedef struct OpenPage
{
	WhPosition *end;
	int outstanding;
} OpenPage;

static OpenPage *pages = NULL; /* a ring of `cap` */
static int cap = 0;
static int n_pages = 0;
static uint64 first = 1; /* number of the oldest open page; 0 stands for "no page" */
static MemoryContext context = NULL;

static OpenPage *
page_of(uint64 number)
{
	Assert(number >= first && number < first + n_pages);
	return &pages[number % cap];
}

static void
grow(void)
{
	int larger = cap ? cap * 2 : 64;
	OpenPage *ring;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "webhook pages", ALLOCSET_DEFAULT_SIZES);
	ring = MemoryContextAllocZero(context, larger * sizeof(OpenPage));
	for (uint64 number = first; number < first + n_pages; number++)
		ring[number % larger] = pages[number % cap];
	if (pages)
		pfree(pages);
	pages = ring;
	cap = larger;
}

uint64
wh_pages_open(const WhPosition *end)
{
	MemoryContext old;
	uint64 number;

	if (n_pages == cap)
		grow();
	old = MemoryContextSwitchTo(context);
	number = first + n_pages++;
	*page_of(number) = (OpenPage){.end = wh_position_copy(end)};
	MemoryContextSwitchTo(old);
	return number;
}

void
wh_pages_add(uint64 page)
{
	page_of(page)->outstanding++;
}

void
wh_pages_ended(uint64 page)
{
	if (page == 0)
		return;
	Assert(page_of(page)->outstanding > 0);
	page_of(page)->outstanding--;
}

WhPosition *
wh_pages_settled(void)
{
	WhPosition *end = NULL;

	while (n_pages > 0 && page_of(first)->outstanding == 0)
	{
		wh_position_free(end);
		end = page_of(first)->end;
		first++;
		n_pages--;
	}
	return end;
}

bool
wh_pages_all_ended(void)
{
	return n_pages == 0;
}
