/*
 * transform_link.c
 *	  The memory that the delivering worker shares with a process that calls
 *	  transforms, and messages of any size through it.
 *
 * Two queues of RING bytes. A message is sent in pieces of at most PIECE bytes, each
 * a message of shm_mq, so neither end needs a buffer for more than a piece: the
 * sender gathers a piece from where the texts lie, the receiver copies it to its
 * final place. The error that ends the process lies beside the queues: the process
 * writes it before it lets go, the worker reads it after that.
 *
 * Both ends use this. Owns no state except the WhLink.
 */
#include "postgres.h"

#include "storage/proc.h"
#include "utils/memutils.h"

#include "transform_process.h"

#define RING ((Size) 128 * 1024)
#define PIECE ((Size) 16 * 1024)

typedef struct Segment
{
	WhLastWords last_words;
} Segment;

#define REQUESTS MAXALIGN(sizeof(Segment))
#define ANSWERS (REQUESTS + RING)
#define ALL (ANSWERS + RING)

static shm_mq *
queue_at(const WhLink *link, Size offset)
{
	return (shm_mq *) ((char *) dsm_segment_address(link->segment) + offset);
}

void
wh_link_create(WhLink *link)
{
	link->segment = dsm_create(ALL, 0);
	dsm_pin_mapping(link->segment);
	memset(dsm_segment_address(link->segment), 0, sizeof(Segment));
	shm_mq_set_sender(shm_mq_create(queue_at(link, REQUESTS), RING), MyProc);
	shm_mq_set_receiver(shm_mq_create(queue_at(link, ANSWERS), RING), MyProc);
}

/* For as long as the link lives, whatever the caller's memory context is. */
static void
attach_queues(WhLink *link, Size out, Size in, BackgroundWorkerHandle *handle)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	link->out = shm_mq_attach(queue_at(link, out), link->segment, handle);
	link->in = shm_mq_attach(queue_at(link, in), link->segment, handle);
	MemoryContextSwitchTo(old);
}

void
wh_link_for(WhLink *link, BackgroundWorkerHandle *handle)
{
	attach_queues(link, REQUESTS, ANSWERS, handle);
}

bool
wh_link_attach(WhLink *link, dsm_handle handle)
{
	*link = (WhLink){.segment = dsm_attach(handle)};
	if (link->segment == NULL)
		return false;
	dsm_pin_mapping(link->segment);
	shm_mq_set_receiver(queue_at(link, REQUESTS), MyProc);
	shm_mq_set_sender(queue_at(link, ANSWERS), MyProc);
	attach_queues(link, ANSWERS, REQUESTS, NULL);
	return true;
}

void
wh_link_let_go(WhLink *link)
{
	if (link->out)
		shm_mq_detach(link->out);
	if (link->in)
		shm_mq_detach(link->in);
	if (link->segment)
		dsm_detach(link->segment);
	*link = (WhLink){0};
}

void
wh_outgoing_add(WhOutgoing *out, const void *data, Size len)
{
	if (len > 0)
		out->parts[out->n++] = (shm_mq_iovec){.data = data, .len = len};
}

/* The piece that begins after what was sent; returns its length. */
static Size
next_piece(const WhOutgoing *out, shm_mq_iovec *piece, int *n)
{
	Size skip = out->sent;
	Size len = 0;

	*n = 0;
	for (int i = 0; i < out->n && len < PIECE; i++)
	{
		Size there = out->parts[i].len;

		if (skip >= there)
		{
			skip -= there;
			continue;
		}
		there = Min(there - skip, PIECE - len);
		piece[(*n)++] = (shm_mq_iovec){.data = out->parts[i].data + skip, .len = there};
		len += there;
		skip = 0;
	}
	return len;
}

shm_mq_result
wh_link_send(WhLink *link, WhOutgoing *out, bool nowait)
{
	shm_mq_iovec piece[1 + WH_REQUEST_TEXTS];
	int n;
	Size len;

	while ((len = next_piece(out, piece, &n)) > 0)
	{
		shm_mq_result result = shm_mq_sendv(link->out, piece, n, nowait, true);

		if (result != SHM_MQ_SUCCESS)
			return result;
		out->sent += len;
	}
	return SHM_MQ_SUCCESS;
}

shm_mq_result
wh_link_receive(WhLink *link, const char **data, Size *len, bool nowait)
{
	void *at;
	shm_mq_result result = shm_mq_receive(link->in, len, &at, nowait);

	*data = at;
	return result;
}

WhLastWords *
wh_link_last_words(WhLink *link)
{
	return &((Segment *) dsm_segment_address(link->segment))->last_words;
}
