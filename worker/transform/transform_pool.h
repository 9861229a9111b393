/*
 * transform_pool.h
 *	  The processes that call transforms, as the delivering worker sees them.
 */
#ifndef WEBHOOK_TRANSFORM_POOL_H
#define WEBHOOK_TRANSFORM_POOL_H

#include "postgres.h"

#include "postmaster/bgworker.h"

#include "transform_process.h"

#define PROCESSES_MAX 4
#define SLOTS (2 * PROCESSES_MAX)
#define MS INT64CONST(1000)
#define GRACE (500 * MS) /* for an answer after the call's time, and for its end after that */

typedef enum ProcessState
{
	NONE,     /* `owner` and `started_at` are those of the last process here */
	STARTING, /* not ready yet */
	READY,    /* idle */
	CALLING,  /* it has a delivery */
	DIED,     /* it has ended in a call; the delivery has no outcome yet */
	ENDING,   /* let go of, about to end */
	STUCK     /* should have ended, and has not */
} ProcessState;

typedef struct Process
{
	ProcessState state;
	char owner[NAMEDATALEN];
	BackgroundWorkerHandle *handle;
	WhLink link;
	int64 started_at;
	int64 since;    /* when it entered this state; of READY: when it last had a delivery */
	int64 fed_from; /* when the owner's turn began */
	int64
		until; /* STARTING, CALLING, ENDING: when that has taken too long; DIED: when the delivery gets its outcome */

	/* of CALLING and DIED: */
	uint64 token;
	WhEvent *event; /* a reference */
	char function[2 * (2 * NAMEDATALEN + 3)];
	WhRequest request;
	WhOutgoing out;
	bool answering; /* `answer` has come */
	WhAnswer answer;
	char *text;                                             /* malloc'd, with room for answer.len */
	Size filled;                                            /* of it */
	char error[sizeof(((WhLastWords *) NULL)->error) + 64]; /* why it died */
	bool late;                                              /* and that was after the call's time */
} Process;

extern Process wh_processes[SLOTS];

extern void wh_pool_set_up(void);         /* once per worker, when it is connected and has its slot */
extern const char *wh_pool_problem(void); /* why deliveries wait for a process; NULL: none do */
extern void wh_pool_end(void);            /* end the processes; the worker's exit does it too */

/* The process of this owner, or the place of its last one; NULL: none is known. */
extern Process *wh_pool_find(const char *owner);

/*
 * Make sure that there will be one; `last`: what wh_pool_find returned. If all places
 * are busy, the owner waits: see wh_pool_was_waited_for.
 */
extern void wh_pool_want(const char *owner, Process *last, int64 now);
/* Has an owner waited for a place since the last call? */
extern bool wh_pool_was_waited_for(void);

extern void wh_pool_started(Process *p, int64 now);
/* A process ended while starting, or does not come up. */
extern void wh_pool_cannot_start(const char *why, int64 now);

/* It has no delivery any more: let it end by itself, or terminate it. */
extern void wh_pool_let_go(Process *p, int64 now);
extern void wh_pool_terminate(Process *p, int64 now);

/* What time does to a process, except for calls. */
extern void wh_pool_look(Process *p, int64 now);
/* When that is due next, or a process may be started; PG_INT64_MAX: never. */
extern int64 wh_pool_due(int64 now);

#endif /* WEBHOOK_TRANSFORM_POOL_H */
