/*
 * transform_process.h
 *	  What the delivering worker and the processes that call transforms say to
 *	  each other.
 *
 * The worker starts a process and owns it. They share one segment of dynamic
 * memory, the worker's, with a queue in each direction (transform_link.c). The
 * process says that it is ready. Then the worker sends one request after the
 * other, and each is answered before the next. When either end lets go of the
 * segment, the other notices.
 *
 *	  worker_transform.c	the worker's end
 *	  transform_process.c	the process
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
#define WH_TRANSFORM_MEMORY ((Size) 256 << 20)     /* that a call may use */
#define WH_TRANSFORM_TYPE "webhook transform"      /* as pg_stat_activity shows it */
#define WH_TRANSFORM_MAIN "webhook_transform_main" /* transform_process.c */

/* What a process is for, in bgw_extra. */
typedef struct WhTransformStart
{
	Oid dboid;
	char owner[NAMEDATALEN];
} WhTransformStart;

/* The texts of a request, in this order, each with its NUL; those of the event are UTF-8. */
typedef enum WhRequestText
{
	WH_REQUEST_FUNCTION, /* qualified, quoted if necessary */
	WH_REQUEST_OWNER,    /* the role that owned it when it was set as the transform */
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
	WH_ANSWER_READY,   /* not an answer: the process has become its owner and waits for requests */
	WH_ANSWER_OUTCOME, /* a WhOutcomeKind, and its text */
	WH_ANSWER_STALE, /* the role of that name is not the one that the process has become: retry with a new process */
} WhAnswerKind;

/* Followed by its text, without NUL: a body or a message, in UTF-8. */
typedef struct WhAnswer
{
	WhAnswerKind kind;
	WhOutcomeKind outcome;
	bool worn_out; /* the process must be replaced */
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

/* A message being sent: a header and texts, none of them copied. */
typedef struct WhOutgoing
{
	shm_mq_iovec parts[1 + WH_REQUEST_TEXTS];
	int n;
	Size sent;
} WhOutgoing;

/* The worker's end, and its connection with the started process. May raise an error. */
extern void wh_link_create(WhLink *link);
extern void wh_link_for(WhLink *link, BackgroundWorkerHandle *handle);
/* The process's end. False: the worker has let go of it. */
extern bool wh_link_attach(WhLink *link, dsm_handle handle);
extern void wh_link_let_go(WhLink *link);

extern void wh_outgoing_add(WhOutgoing *out, const void *data, Size len);
/*
 * Send the rest of it. WOULD_BLOCK, only with `nowait`: call again when this
 * process's latch has been set; the message must not change until then.
 */
extern shm_mq_result wh_link_send(WhLink *link, WhOutgoing *out, bool nowait);
/* A piece of a message, valid until the next call. The first piece has the whole header. */
extern shm_mq_result wh_link_receive(WhLink *link, const char **data, Size *len, bool nowait);

/* What a process leaves behind when it ends with an error. */
typedef struct WhLastWords
{
	char error[256];  /* in the database's encoding; "": none */
	bool told_to_end; /* by SIGTERM: an administrator, the function itself, or a server that stops */
} WhLastWords;

extern WhLastWords *wh_link_last_words(WhLink *link);

/*
 * transform_call.c
 */

/* Once per process, when it is connected: become the owner for good. If there is no such role, nothing is called. */
extern void wh_transform_become(const char *owner);

/* Make one call. Never raises an error. `text` is in the current memory context; may be NULL. */
extern void wh_transform_call(const WhRequest *request, char *const *texts, WhAnswer *answer, char **text);

#endif /* WEBHOOK_TRANSFORM_PROCESS_H */
