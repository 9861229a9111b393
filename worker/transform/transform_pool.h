/*
 * transform_pool.h
 *	  The processes that call transforms, as the delivering worker has them.
 *
 * For worker_transform.c.
 */
#ifndef WEBHOOK_TRANSFORM_POOL_H
#define WEBHOOK_TRANSFORM_POOL_H

#include "postgres.h"

#include "postmaster/bgworker.h"

#include "transform_process.h"

#define PROCESSES_MAX 4
#define SLOTS (2 * PROCESSES_MAX)
#define MS INT64CONST(1000)
#define GRACE (500 * MS) /* for an answer, after the call's time; and for an end, after that */

typedef enum ProcessState
{
	NONE,     /* the owner and when it was started are those of the last one */
	STARTING, /* it has not said that it is ready */
	READY,    /* idle */
	CALLING,  /* it has a delivery */
	ENDING,   /* it has been let go of, and will be gone */
	STUCK     /* it should be gone, and is not */
} ProcessState;

typedef struct Process
{
	ProcessState state;
	char owner[NAMEDATALEN];
	BackgroundWorkerHandle *handle;
	WhLink link;
	int64 started_at;
	int64 since;    /* when it came into this state; of READY: when it was last given something */
	int64 fed_from; /* when it became the owner's turn */
	int64 until;    /* of STARTING, CALLING, ENDING: when that is too long */

	/* of CALLING: */
	uint64 token;
	WhEvent *event; /* a reference */
	char function[2 * (2 * NAMEDATALEN + 3)];
	WhRequest request;
	WhOutgoing out;
	bool answering; /* `answer` has come */
	WhAnswer answer;
	char *text;  /* malloc'd, with room for answer.len */
	Size filled; /* of it */
} Process;

extern Process wh_processes[SLOTS];

extern void wh_pool_set_up(void);         /* once per worker, when it is connected and has its slot */
extern const char *wh_pool_problem(void); /* why deliveries wait for a process; NULL: none does */
extern void wh_pool_end(void);            /* end the processes; also done when the worker exits */

/* The process of this owner, or the place where the last one was; NULL: none is known. */
extern Process *wh_pool_find(const char *owner);

/*
 * See to it that there will be one; `last`: what was found. Where others would have
 * to make place and are busy, somebody waits until this has been asked for the last time.
 */
extern void wh_pool_want(const char *owner, Process *last, int64 now);
/* Did somebody wait since this was called last? */
extern bool wh_pool_was_waited_for(void);

extern void wh_pool_started(Process *p, int64 now);
/* It has ended without having started, or does not come up. */
extern void wh_pool_cannot_start(const char *why, int64 now);

/* It has no delivery, or none any more: it ends when it notices, or is made to. */
extern void wh_pool_let_go(Process *p, int64 now);
extern void wh_pool_terminate(Process *p, int64 now);

/* What time does to them, but for calls. */
extern void wh_pool_look(Process *p, int64 now);
/* When that is to be done next, or a process may be started; PG_INT64_MAX: nobody knows. */
extern int64 wh_pool_due(int64 now);

#endif /* WEBHOOK_TRANSFORM_POOL_H */
