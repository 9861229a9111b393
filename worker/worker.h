/*
 * worker.h
 *	  What the files of the worker's loop share.
 *
 * worker.c has the loop. Each step has a file of its own, which owns the state
 * that it needs; nobody else writes that state:
 *
 *	  worker_step.c			which steps failed, and when each is tried again
 *	  worker_config.c		the engine's settings, the routes
 *	  worker_flight.c		the descriptors for connections
 *	  worker_read.c			the position: how far the outbox has been read
 *	  worker_pace.c			the pause between two reads
 *	  worker_prepared.c		whether prepared transactions are watched
 *	  worker_settle.c		what has ended and is not settled yet, the checkpoint
 *	  worker_settle_apart.c	deliveries that cannot be settled with the others
 *	  worker_rotate.c		when the next segment is emptied
 *	  worker_fetch.c		when pending deliveries are due
 *	  worker_notices.c		which breakers were announced as open
 *	  worker_log.c			what the log is still to have of subscriptions
 *	  worker_requeue.c		rows of redeliver and replay that are not deferred yet
 *	  worker_forget.c		removed subscriptions whose rows have not been looked for
 *	  worker_transform.c	the deliveries that wait for a transform
 *	  worker_suspended.c	why nothing is delivered here
 *	  worker_version.c		which version of the extension was found
 *	  worker_stat.c			what was counted and is not in the tables yet
 *	  worker_progress.c		since when something long has been under way
 *
 * worker_restore.c and worker_settings.c have no state.
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
#include "counters.h"
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

/* Memory and tables no longer agree: end after this turn; the next worker starts from the tables. */
extern void wh_start_over(void);

/* Publish the status. Wait for a latch, a signal, the engine or the time, and react to it. */
extern void wh_report(void);
extern void wh_wait_until(TimestampTz now, TimestampTz deadline);
/* Repeat a step until it succeeds: until a lock is released, or somebody has fixed the error. */
extern void wh_run_until_success(void (*step)(void *), void *arg);

/*
 * worker_suspended.c
 */

/* Why nothing is delivered here; NULL: deliveries go on, as far as is known. */
extern const char *wh_suspended_reason(void);
/* This database may not deliver: drop events that are too old, and end. */
wh_noreturn extern void wh_suspended_rest(const char *reason, uint32 generation);
/* Its tables were altered: stay until that is undone, then end. */
wh_noreturn extern void wh_wait_suspended(const char *reason);

/*
 * worker_step.c
 */

/* Run a step. False: it failed and is rolled back, or may not be tried again yet and was not run. */
extern bool wh_run_step(void (*step)(void *), void *arg);
extern TimestampTz wh_step_not_before(void (*step)(void *)); /* when it may be; 0: at any time */
/* Did it fail because of the data that it read or wrote, and not for lack of a lock, memory or disk? */
extern bool wh_step_met_content(void (*step)(void *));
/* Its work was done in another way: it is not failing any more. */
extern void wh_step_forget(void (*step)(void *));
extern TimestampTz wh_step_again(TimestampTz now); /* when the first failed step may run; or DT_NOEND */
/* The error of a failing step, unless it only waits for a lock; NULL: none fails. */
extern const char *wh_step_failing(TimestampTz now);

/*
 * worker_settings.c
 */

/* Connect to the database, without the settings of ALTER DATABASE and ALTER ROLE. */
extern void wh_settings_connect(Oid dboid);

/*
 * worker_flight.c
 */

/* How many requests may be in flight now, and how many connections may be open. */
extern int wh_flight_places(List *routes, int *connections);
/* Why there are fewer than are asked for; NULL: there are not. */
extern const char *wh_flight_problem(void);

/*
 * worker_version.c
 */

/* How the extension's version differs from the library's, as of the last transaction; NULL: it does not. */
extern const char *wh_version_problem(void);

/*
 * worker_restore.c
 */

/* Read what webhook.pending holds into a List **; pass it to the engine, which raises an error without memory. */
extern void wh_restore_step(void *list);
extern void wh_restore(List *list);

/*
 * worker_config.c
 */

/* The configuration that a transaction has read, to be applied when it has committed. */
typedef struct WhLoaded
{
	WhPresence presence; /* of the extension; the rest only where it is present */
	bool may_deliver;
	const char *why_not;
	WhRoutes *routes;
	MemoryContext context;
	MemoryContext for_engine; /* within it: what is freed when the engine has copied it */
} WhLoaded;

extern void wh_config_limit_memory(void); /* webhook.worker_memory, as it is now */
extern WhEngineConfig wh_config_engine(void);
extern void wh_config_load(WhLoaded *loaded);          /* in a transaction */
extern void wh_config_apply(WhLoaded *loaded);         /* may end the process */
extern List *wh_config_routes(void);                   /* WhRoute, ordered by id */
extern bool wh_config_left_out(int64 subscription_id); /* too large to be used */
extern const WhRoutes *wh_config_routing(void);        /* the same, as events are matched with them */

/*
 * worker_read.c
 */

/* Read on from `from`. A worker that died may have sent what `read_before` covers; it may be NULL. */
extern void wh_read_from(WhPosition *from, WhPosition *read_before);
/* May there be something to read? Looks at the wake-up flag and at the time. */
extern bool wh_read_wanted(TimestampTz now);
/* Is there room in memory for more? */
extern bool wh_read_may(void);
extern TimestampTz wh_read_due(void); /* a page is read no earlier than this */
extern void wh_read_page(void);
extern void wh_read_again(void); /* even if nothing seems new */
/* Since when has something been sent that the checkpoint does not cover? 0: nothing. A settle writes it. */
extern TimestampTz wh_read_unwritten_since(void);
extern void wh_read_write_checkpoint(void); /* in a transaction; after its commit: */
extern void wh_read_checkpoint_written(void);
/* Are events still being read that a worker that died may have sent? */
extern bool wh_read_recovering(void);
/* Make an event a dead letter of a subscription. `number`: its page; 0: it has a row in pending. False: no memory. */
extern bool wh_read_dead_letter(WhEvent *event, int64 subscription_id, const char *why, uint64 number,
								int attempts);
/* Note the step that may end the worker before it is done: see suspect.h. */
extern bool wh_read_note_step(WhSuspectAt at);
extern void wh_read_disable(void);     /* subscriptions whose filters keep exceeding their limits */
extern TimestampTz wh_read_last(void); /* when it was last read */
extern uint64 wh_read_events(void);    /* events read since the start */
extern int64 wh_read_to(void);         /* the highest event number read; 0: unknown */

/* How many transactions have ended in this cluster: while this does not change, nothing can become visible. */
extern uint64 wh_completions(void);

/*
 * worker_prepared.c
 */

extern void wh_prepared_check(void); /* in a transaction, before it takes the snapshot that it reads with */
extern void wh_prepared_after_read(TimestampTz now); /* that has committed */
extern bool wh_prepared_look(TimestampTz now);       /* it is time to see whether anything has ended */
extern TimestampTz wh_prepared_due(void);            /* DT_NOEND: nothing is watched */

/*
 * worker_pace.c
 */

/* A read has ended, and all that it could see is read. Did it find any events? */
extern void wh_pace_after_read(bool found, TimestampTz now);
/* Have events been committed that may be read now? Not in a pause. */
extern bool wh_pace_woken(TimestampTz now);
extern TimestampTz wh_pace_until(void); /* when the pause ends; DT_NOEND: there is none */
/* In a pause, sleep without looking at responses, if nothing waits for them. Returns the time. */
extern TimestampTz wh_pace_nap(TimestampTz now, TimestampTz deadline);

/*
 * worker_settle.c
 */

extern void wh_settle_from(WhPosition *settled);
extern void wh_settle_collect(void);      /* take what has ended out of the engine */
extern void wh_settle_add(WhDelivery *d); /* one that the engine never had */
extern void wh_settle_pages(void);        /* look whether pages have ended */
extern bool wh_settle(void);              /* write all of it; false: not possible now */
/* Too much waits to be settled: start nothing more, because a crash would repeat all of it. */
extern bool wh_settle_behind(void);
extern TimestampTz wh_settle_due(void); /* DT_NOEND: nothing to be settled */
/* A read found nothing new. If nothing is in flight either, all before this position is settled. */
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
/* If the system clock was set, move the times in tables by as much. Times in this process are not affected. */
extern void wh_follow_clock(void);

/*
 * worker_settle_apart.c
 */

/*
 * Settle these by subscription, and one by one where a subscription's fail
 * together. Runs in a transaction, which fails if none can be settled. Fills in
 * `settled` for each.
 */
extern void wh_apart_settle(WhDelivery *const *deliveries, int n, bool *settled);
extern void wh_apart_add(WhDelivery *d); /* it could not be settled; it is now retried by itself */
extern bool wh_apart_any(void);          /* there are some: no checkpoint may say that all is settled */
extern void wh_apart_try(void);
extern TimestampTz wh_apart_due(void); /* DT_NOEND: there are none */

/*
 * worker_fetch.c
 */

/* Fetch what is due, the rest of lanes that have room, deferred rows of subscriptions that catch up. */
extern bool wh_fetch_pending(TimestampTz now); /* true: something was fetched */
extern void wh_fetch_look_at(TimestampTz due); /* something may be due then */
extern TimestampTz wh_fetch_due(void);         /* DT_NOEND: nothing */

/*
 * worker_notices.c
 */

/* What the previous worker announced. In a transaction, which may fail and be repeated. */
extern void wh_notices_inherit(void);
/* A look at all subscriptions begins; this is one of them; announce what has changed. */
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
 * worker_stat.c
 */

extern void wh_stat_count(const WhDelivery *d);     /* it has ended, and will be settled */
extern void wh_stat_take_back(const WhDelivery *d); /* it could not be settled: it is counted later */
extern void wh_stat_breaker_opened(int64 subscription_id);
extern void wh_stat_started(void);
extern void wh_stat_read(int events); /* a page */
extern void wh_stat_emptied(void);    /* a segment */
extern void wh_stat_rotation_delayed(bool delayed);
extern void wh_stat_add(void); /* in a transaction that settles, if it is time; after its commit: */
extern void wh_stat_added(void);
extern void wh_stat_hurry(void);      /* it is time */
extern TimestampTz wh_stat_due(void); /* DT_NOEND: nothing to be added */

/*
 * worker_progress.c
 */

/* A subscription as the engine counts it: how far has its catching up come? */
extern void wh_progress_see(int64 subscription_id, const WhCounts *counts, WhProgress *progress);
extern void wh_progress_replay(int64 subscription_id); /* it is told to send something again */
extern void wh_progress_carry(const WhCarry *carry, bool under_way);
extern bool wh_progress_rotation(WhProgress *progress); /* false: nothing is carried over */

/*
 * worker_requeue.c
 */

/* This subscription has requested rows: from now on it is catching up. */
extern void wh_requeue_note(int64 subscription_id);
extern bool wh_requeue_defer(void);                 /* defer some; true: there were some */
extern bool wh_requeue_left(int64 subscription_id); /* has it rows that are not deferred yet? */

/*
 * worker_forget.c
 */

/* A subscription was removed; delete what still waits for those that were. */
extern void wh_forget_note(int64 subscription_id);
extern void wh_forget_removed(void);

/*
 * worker_transform.c
 */

extern bool wh_transform_run(void);        /* exchange with the processes; true: something happened */
extern TimestampTz wh_transform_due(void); /* DT_NOEND: nothing is under way */
extern bool wh_transform_busy(void);       /* a process is to answer, to start or to end */

#endif /* WEBHOOK_WORKER_H */
