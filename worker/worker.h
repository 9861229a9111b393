/*
 * worker.h
 *	  What the files of the worker's loop share.
 *
 * worker.c has the loop; each step has a file of its own, which owns the state
 * that it needs and nobody else writes:
 *
 *	  worker_step.c	which steps failed, and when they are tried again
 *	  worker_config.c	the engine's settings, the routes
 *	  worker_read.c		the position: how far has been read
 *	  worker_settle.c	what has ended and is not settled yet, the checkpoint
 *	  worker_apart.c	what cannot be settled, and is set apart from the rest
 *	  worker_rotate.c	when the next segment is emptied
 *	  worker_fetch.c		when pending deliveries are due
 *	  worker_notices.c		which breakers were told to be open
 *	  worker_log.c		what the log is still to have of subscriptions
 *	  worker_requeue.c	what people have asked for and is not deferred yet
 *	  worker_transform.c	the processes that call transforms
 *
 *	  worker_suspended.c	why nothing is delivered here
 *
 * Without state: worker_restore.c, worker_settings.c.
 *
 * One process, one thread: no locking.
 */
#ifndef WEBHOOK_WORKER_H
#define WEBHOOK_WORKER_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "engine.h"
#include "route.h"
#include "store.h"
#include "store_read.h"
#include "store_rotate.h"
#include "suspect.h"

/*
 * worker.c
 */

extern WhEngine *wh_engine; /* NULL until the worker knows that it may deliver */

/* End this process in order. */
wh_noreturn extern void wh_leave(void);

/* End this process because the extension is not what it was. */
wh_noreturn extern void wh_gone(WhPresence presence, const char *why);

/* What was in memory no longer fits what is in the tables: begin anew after this turn. */
extern void wh_start_over(void);

/* Tell the status; wait until a latch, a signal, the engine or the time, and take in what has come. */
extern void wh_report(void);
extern void wh_wait_until(TimestampTz now, TimestampTz deadline);
/* A step that must succeed: wait for whoever holds the lock, or mends what is wrong. */
extern void wh_run_until_success(void (*step)(void *), void *arg);

/*
 * worker_suspended.c
 */

/* Why nothing is delivered here; NULL: it is, as far as is known. */
extern const char *wh_suspended_reason(void);
/* This database may not deliver: do what is to be done in one that does not, and leave. */
wh_noreturn extern void wh_suspended_rest(const char *reason, uint32 generation);
/* Its tables are not as they were made: stay until they are. */
wh_noreturn extern void wh_wait_suspended(const char *reason);

/*
 * worker_step.c
 */

/* Run a step; false where it failed: it is rolled back. So it is, and not run, until it may be tried again. */
extern bool wh_run_step(void (*step)(void *), void *arg);
extern TimestampTz wh_step_not_before(void (*step)(void *)); /* when it may be; 0: at any time */
/* It failed for what it found or was to write, not for want of a lock, memory or disk. */
extern bool wh_step_met_content(void (*step)(void *));
/* What it was to do was done in another way. */
extern void wh_step_forget(void (*step)(void *));
extern TimestampTz wh_step_again(TimestampTz now); /* the next time that holds of one; or DT_NOEND */
/* The error of a step that fails, other than for want of a lock; NULL: none does. */
extern const char *wh_step_failing(TimestampTz now);

/*
 * worker_settings.c
 */

/* Connect to the database, with none of the settings that it or a role has. */
extern void wh_settings_connect(Oid dboid);

/*
 * worker_restore.c
 */

/* Find what webhook.pending holds, into a List **, and tell the engine of it. May raise an error for want of memory. */
extern void wh_restore_step(void *list);
extern void wh_restore(List *list);

/*
 * worker_config.c
 */

/* What a transaction has read of the configuration, to be applied when it has committed. */
typedef struct WhLoaded
{
	WhPresence presence; /* of the extension; the rest only where it is present */
	bool may_deliver;
	const char *why_not;
	WhRoutes *routes;
	MemoryContext context;
} WhLoaded;

extern void wh_config_limit_memory(void); /* webhook.worker_memory, as it is now */
extern WhEngineConfig wh_config_engine(void);
extern void wh_config_load(WhLoaded *loaded);          /* in a transaction */
extern void wh_config_apply(WhLoaded *loaded);         /* may end the process */
extern List *wh_config_routes(void);                   /* of WhRoute, ordered by id */
extern bool wh_config_left_out(int64 subscription_id); /* too large to be used */
extern const WhRoutes *wh_config_routing(void);        /* the same, as events are matched with them */

/*
 * worker_read.c
 */

/* Read on from `from`; what `read_before` covers (may be NULL) was perhaps sent by a worker that died. */
extern void wh_read_from(WhPosition *from, WhPosition *read_before);
/* Is there something to read, as far as we know? Looks at the wake-up flag, and at the time. */
extern bool wh_read_wanted(TimestampTz now);
/* May more be taken into memory? */
extern bool wh_read_may(void);
extern TimestampTz wh_read_due(void); /* not before this, whatever is wanted */
extern void wh_read_page(void);
extern void wh_read_again(void); /* even if nothing seems to have happened */
/* Since when has something been sent that the checkpoint does not cover? 0: nothing has. To be written by a settle. */
extern TimestampTz wh_read_unwritten_since(void);
extern void wh_read_write_checkpoint(void); /* in a transaction; and when that has committed: */
extern void wh_read_checkpoint_written(void);
/* Is what a worker that died may have sent still being read? */
extern bool wh_read_recovering(void);
/* Make an event a dead letter of a subscription. `number`: of its page; 0: it has a row in pending. False without memory. */
extern bool wh_read_dead_letter(WhEvent *event, int64 subscription_id, const char *why, uint64 number,
								int attempts);
/* Write down what may end the worker and is to be done next: see suspect.h. */
extern bool wh_read_note_step(WhSuspectAt at);
extern void wh_read_disable(void);     /* subscriptions whose filters exceed their limits again and again */
extern TimestampTz wh_read_last(void); /* when it was last read */
extern uint64 wh_read_events(void);    /* events read since the start */
extern int64 wh_read_to(void);         /* the highest event number read; 0: unknown */

/*
 * worker_settle.c
 */

extern void wh_settle_from(WhPosition *settled);
extern void wh_settle_collect(void);      /* take what has ended from the engine */
extern void wh_settle_add(WhDelivery *d); /* one that the engine never had */
extern void wh_settle_pages(void);        /* look whether pages have ended */
extern bool wh_settle(void);              /* write it all down; false: it could not be done now */
/* So much waits to be settled that nothing more shall be started: it would all be sent again after a crash. */
extern bool wh_settle_behind(void);
extern TimestampTz wh_settle_due(void); /* DT_NOEND: nothing to be settled */
/* A read found nothing new: if nothing is on its way either, all before this position is settled. */
extern void wh_settle_caught_up(const WhPosition *position);
extern bool wh_settle_clear(void);                 /* nothing that has ended waits to be settled */
extern const WhPosition *wh_settle_position(void); /* as last written, or later */
extern TimestampTz wh_settle_last(void);

/*
 * worker_rotate.c
 */

/* A segment of a log, each in a transaction of its own. False: it failed, which is logged with `r->doing`. */
#define WH_ROTATING "rotate its segments" /* `doing` before it is known which segment */
extern bool wh_rotate_attempt(WhRotation *r);
extern bool wh_rotate_outbox(WhRotation *r);

extern void wh_rotate(TimestampTz now);
extern TimestampTz wh_rotate_due(void);
extern void wh_rotate_soon(void); /* another segment may be current */
/* Has somebody set the wall clock? What waits in tables is moved by as much; what waits here does not notice. */
extern void wh_follow_clock(void);

/*
 * worker_apart.c
 */

/*
 * Settle these one subscription after the other, and what cannot be settled
 * together one by one: in a transaction, which fails where none can be.
 * `settled` is filled in for each.
 */
extern void wh_apart_settle(WhDelivery *const *deliveries, int n, bool *settled);
extern void wh_apart_add(WhDelivery *d); /* it could not be; tried again from now on, by itself */
extern bool wh_apart_any(void);          /* there are such: a checkpoint may not say that all is settled */
extern void wh_apart_try(void);
extern TimestampTz wh_apart_due(void); /* DT_NOEND: there are none */

/*
 * worker_fetch.c
 */

/* Take what is due, what a free lane has left, what a subscription that catches up has deferred. */
extern bool wh_fetch_pending(TimestampTz now); /* true: something was taken */
extern void wh_fetch_look_at(TimestampTz due); /* something may be due then */
extern TimestampTz wh_fetch_due(void);         /* DT_NOEND: nothing */

/*
 * worker_notices.c
 */

/* What the worker before this one has told: in a transaction, which may fail and be run again. */
extern void wh_notices_inherit(void);
/* A look at all subscriptions begins; this is one of them; and tell others what has changed. */
extern void wh_notices_look(void);
extern void wh_notices_see(int64 subscription_id, const WhCounts *counts);
extern void wh_notices_announce(void);

/*
 * worker_log.c
 */

/* How this delivery has ended is committed. */
extern void wh_log_settled(const WhDelivery *d);
/* A subscription was disabled; `why`: a sentence, which stays where it is. */
extern void wh_log_disabled(int64 subscription_id, const char *why);
/* Its breaker has opened, after a request with this outcome, or closed. */
extern void wh_log_breaker(int64 subscription_id, bool open, const char *failure);
/* Write the lines that may be written now; and, at the end, all that is left. */
extern void wh_log_write(TimestampTz now);
extern void wh_log_write_rest(void);
extern TimestampTz wh_log_due(void); /* DT_NOEND: nothing */

/*
 * worker_requeue.c
 */

/* This subscription has rows that people have asked for: from now on it is catching up. */
extern void wh_requeue_note(int64 subscription_id);
extern bool wh_requeue_defer(void);                 /* defer some; true: there were any */
extern bool wh_requeue_left(int64 subscription_id); /* are there any that are not deferred? */

/*
 * worker_transform.c
 */

extern bool wh_transform_run(void);        /* give and take; true: something came of it */
extern TimestampTz wh_transform_due(void); /* DT_NOEND: nothing is under way */

#endif /* WEBHOOK_WORKER_H */
