/*
 * transform_process.h
 *	  What the delivering worker and the processes that call transforms tell
 *	  each other.
 *
 * A process is started by the worker and belongs to it. They share one segment
 * of dynamic memory, the worker's, with a queue in each direction
 * (transform_link.c). The process says that it is ready; then the worker sends
 * one request after the other, each of which is answered before the next. When
 * either end lets go of the segment, the other notices.
 *
 *	  worker_transform.c	the worker's end: which processes there are
 *	  transform_process.c			the process
 *	  transform_call.c		one call
 */
#ifndef WEBHOOK_TRANSFORM_PROCESS_H
#define WEBHOOK_TRANSFORM_PROCESS_H

#include "postgres.h"

#include "postmaster/bgworker.h"
#include "storage/dsm.h"
#include "storage/shm_mq.h"

#include "types.h"

#define WH_TRANSFORM_MS 500                        /* a call's time; documented in docs/profiles.md */
#define WH_TRANSFORM_MEMORY ((Size) 256 << 20)     /* what a process may take for a call */
#define WH_TRANSFORM_TYPE "webhook transform"      /* as pg_stat_activity shows it */
#define WH_TRANSFORM_MAIN "webhook_transform_main" /* transform_process.c */

/* What a process is for: bgw_extra. */
typedef struct WhTransformStart
{
	Oid dboid;
	char owner[NAMEDATALEN];
} WhTransformStart;

/* The texts of a request, in this order, each with its NUL; those of the event are UTF-8. */
typedef enum WhRequestText
{
	WH_REQUEST_FUNCTION, /* qualified, quoted where need be */
	WH_REQUEST_OWNER,    /* the role that owned it when it was made the transform */
	WH_REQUEST_ENTITY_ID,
	WH_REQUEST_ENTITY_TYPE,
	WH_REQUEST_ACTION,
	WH_REQUEST_RESULT,
	WH_REQUEST_PREVIOUS,
	WH_REQUEST_TENANT,
	WH_REQUEST_CONTEXT,
	WH_REQUEST_TEXTS
} WhRequestText;

/* Followed by its texts. */
typedef struct WhRequest
{
	int ms; /* the call's time */
	int segment;
	int64 id;
	uint64 xid;
	int64 subscription_id;
	int64 created_us;
	Size len[WH_REQUEST_TEXTS]; /* with its NUL; 0: null */
} WhRequest;

typedef enum WhAnswerKind
{
	WH_ANSWER_READY,   /* no answer: the process has become its owner, and waits for requests */
	WH_ANSWER_OUTCOME, /* a WhOutcomeKind, and its text */
	WH_ANSWER_STALE,   /* the role of that name is not the one that the process has become */
} WhAnswerKind;

/* Followed by its text, without NUL: a body or a message, in UTF-8. */
typedef struct WhAnswer
{
	WhAnswerKind kind;
	WhOutcomeKind outcome;
	bool worn_out; /* the process is to be replaced by another */
	Size len;
} WhAnswer;

/*
 * transform_link.c
 */

/* One end of what the two share. */
typedef struct WhLink
{
	dsm_segment *segment; /* NULL: let go of */
	shm_mq_handle *out;
	shm_mq_handle *in;
} WhLink;

/* A message that is being sent: a header and texts, none of them copied before. */
typedef struct WhOutgoing
{
	shm_mq_iovec parts[1 + WH_REQUEST_TEXTS];
	int n;
	Size sent;
} WhOutgoing;

/* The worker's end; the process of the handle will have the other. May raise an error. */
extern void wh_link_create(WhLink *link);
extern void wh_link_for(WhLink *link, BackgroundWorkerHandle *handle);
/* The process's end; false where the worker has let go of it. */
extern bool wh_link_attach(WhLink *link, dsm_handle handle);
extern void wh_link_let_go(WhLink *link);

extern void wh_outgoing_add(WhOutgoing *out, const void *data, Size len);
/*
 * Send what is left of it. WOULD_BLOCK (only with `nowait`): call again when
 * this process's latch has been set; nothing of it may change until then.
 */
extern shm_mq_result wh_link_send(WhLink *link, WhOutgoing *out, bool nowait);
/* A piece of a message, the first of which has all of its header; good until the next call. */
extern shm_mq_result wh_link_receive(WhLink *link, const char **data, Size *len, bool nowait);

/* The error that the process ends with, for the worker to tell; "": none. In the database's encoding. */
extern char *wh_link_exit_error(WhLink *link);
#define WH_EXIT_ERROR_MAX 256

/*
 * transform_call.c
 */

/* Once per process, when it is connected: become the owner for good. Where there is no such role, nothing will be called. */
extern void wh_transform_become(const char *owner);

/* Call it. `text`, in the current memory context, may be NULL; never fails with an error. */
extern void wh_transform_call(const WhRequest *request, char *const *texts, WhAnswer *answer, char **text);

#endif /* WEBHOOK_TRANSFORM_PROCESS_H */
