/*
 * counters.c
 *	  What a worker has counted per subscription, readable by other processes.
 *
 * See counters.h for ownership and locking.
 */
#include "postgres.h"

#include "storage/lwlock.h"

#include "counters.h"
#include "worker_slots.h"

typedef struct Segment
{
	LWLock lock;
	int32 capacity;
	int32 n;
	WhCounter rows[FLEXIBLE_ARRAY_MEMBER];
} Segment;

static dsm_segment *published = NULL;

dsm_handle
wh_counters_publish(const WhCounter *rows, int n)
{
	Segment *segment = published ? dsm_segment_address(published) : NULL;

	if (segment == NULL || segment->capacity < n)
	{
		int32 capacity = Max(64, n + n / 2);
		dsm_segment *larger = dsm_create(offsetof(Segment, rows) + capacity * sizeof(WhCounter), 0);

		dsm_pin_mapping(larger);
		if (published)
			dsm_detach(published);
		published = larger;
		segment = dsm_segment_address(larger);
		LWLockInitialize(&segment->lock, wh_lock_tranche());
		segment->capacity = capacity;
	}
	LWLockAcquire(&segment->lock, LW_EXCLUSIVE);
	segment->n = n;
	memcpy(segment->rows, rows, n * sizeof(WhCounter));
	LWLockRelease(&segment->lock);
	return dsm_segment_handle(published);
}

int
wh_counters_copy(dsm_handle handle, WhCounter **rows)
{
	dsm_segment *mapped;
	Segment *segment;
	int n;

	*rows = NULL;
	if (handle == DSM_HANDLE_INVALID || (mapped = dsm_attach(handle)) == NULL)
		return 0;
	segment = dsm_segment_address(mapped);
	LWLockAcquire(&segment->lock, LW_SHARED);
	n = segment->n;
	*rows = palloc(Max(1, n) * sizeof(WhCounter));
	memcpy(*rows, segment->rows, n * sizeof(WhCounter));
	LWLockRelease(&segment->lock);
	dsm_detach(mapped);
	return n;
}
