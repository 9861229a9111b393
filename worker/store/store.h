/*
 * store.h
 *	  Every SQL statement of the worker: rows <-> plain structs.
 *
 * store.c has the bookends of a transaction and the identity, store_rights.c
 * whose rights they have, store_sizes.c, store_subscriptions.c and store_profile.c
 * the configuration, store_read.c the outbox and the checkpoints, store_event.c the
 * events made of its rows, store_settle.c what is written about deliveries,
 * store_pending.c what is to be sent again, store_requeue.c what people have
 * asked for, store_notices.c what others are told of trouble, store_rotate.c and
 * store_carry.c the ring of segments. All of them run inside a transaction that the caller has
 * opened with wh_tx_begin; what they return outlives it, in the memory context
 * the caller was in before, or in malloc where the engine is to own it.
 */
#ifndef WEBHOOK_STORE_H
#define WEBHOOK_STORE_H

#include "postgres.h"

#include "access/transam.h"
#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"

#include "memory_limit.h"
#include "types.h"

/*
 * store.c: transactions, the extension, the identity; and store_subscriptions.c
 */

/*
 * The bookends of every transaction of the worker. `label` is what
 * pg_stat_activity shows. Between them SPI is connected, one snapshot is
 * active, and everything runs with the rights of the extension's owner. Commit with `flush`, of a transaction that has written something,
 * returns only when everything that it has seen or done is on disk.
 */
extern void wh_tx_begin(const char *label);
extern void wh_tx_commit(bool flush);

/* The memory context that was current at wh_tx_begin: where results go. */
extern MemoryContext wh_tx_results;

/* What the last wh_tx_begin was for: its label. */
extern const char *wh_tx_label;

/*
 * store_rights.c: whose rights the statements have
 */

/* From here to the end: those of the extension's owner, restricted. Holds the extension. */
extern void wh_rights_begin(void);
extern void wh_rights_end(void);
/* What a transaction that failed may have left behind. */
extern void wh_rights_release(void);
/* In a transaction: the extension's owner; InvalidOid: there is no extension, and nothing of it may be run. */
extern Oid wh_rights_owner(void);

/* The functions that were looked at, as invalidations name them. */
typedef struct WhRightsSeen
{
	int n;
	bool too_many; /* any function may be one of them */
	uint32 hashes[256];
} WhRightsSeen;

extern void wh_rights_see(WhRightsSeen *seen, uint32 hash);
/* NULL, or whose code could run in statements on these tables, and what to do about it. */
extern const char *wh_rights_problem(Oid schema, Oid internal, const Oid *tables, int n, WhRightsSeen *seen);

/*
 * schema_check.c: are our tables as the extension made them, and its owner's alone?
 */

/* Once per process: from now on no statement begins on tables that have changed before they were looked at. */
extern void wh_schema_guard(void);
/* NULL, or what is wrong with them, for people, in the results' memory. */
extern const char *wh_schema_problem(Oid schema);
/* An invalidation has come. */
extern void wh_schema_changed(Oid relid);
/* With the locks of a statement: may it be run, and its rows be read? */
extern void wh_schema_check(void);
/* Lock a segment that is about to be written, so that it is looked at before. */
extern void wh_schema_hold_segment(const char *log, int segment);

/*
 * tx_guard.c: steps that may fail
 */

/* What went wrong, for people: the message of an error, without its detail. */
typedef struct WhFailure
{
	int code; /* its SQLSTATE */
	char message[256];
} WhFailure;

/*
 * Run `step` (which opens and commits its own transactions). False where it
 * failed: it is rolled back, `failure` says why, and the caller decides what to
 * do about it. Where the server wants the process to end, that goes on.
 */
extern bool wh_tx_try(void (*step)(void *), void *arg, WhFailure *failure);

/* Was it only that a lock could not be had in time, or that a deadlock was broken? */
extern bool wh_failure_is_lock(const WhFailure *failure);

/*
 * The same for a step that others can do without: whatever goes wrong is
 * rolled back and reported as a WARNING that says `what` could not be done
 * (looked at after the step, which may have filled it in).
 */
extern bool wh_tx_try_or_warn(void (*step)(void *), void *arg, const char *what, const char *hint);

/*
 * Run `step` in a subtransaction of the open transaction, in which it writes
 * nothing. False where it failed: `why`, in the current memory context and
 * UTF-8, says so for people, and `code` is the SQLSTATE, or WH_TIME_EXCEEDED
 * where a time limit that it had begun (time_limit.h) cancelled it. Its limits, of
 * memory too, have ended then. Where somebody wants the process to stop, that goes on.
 */
extern bool wh_tx_guarded(void (*step)(void *), void *arg, int *code, const char **why);
#define WH_TIME_EXCEEDED ERRCODE_CONFIGURATION_LIMIT_EXCEEDED

/*
 * Text of the database in UTF-8, for the engine. What cannot be converted (a
 * database in SQL_ASCII may hold any bytes) becomes "?": an event must not be
 * able to stop the worker.
 */
extern char *wh_to_utf8(char *text);

/* A plan prepared on first use and kept for good. */
typedef struct WhPlan
{
	const char *sql;
	int n_args;
	Oid args[16];
	SPIPlanPtr plan;
} WhPlan;

extern void wh_plan_run(WhPlan *plan, Datum *values, const char *nulls, int expected);

/* Is the extension here? */
typedef enum WhPresence
{
	WH_PRESENT,
	WH_ABSENT, /* no */
	WH_ANEW,   /* one is, but not the one that was found the last time */
	WH_BROKEN, /* it is, but a table of it is missing or not as it was made */
} WhPresence;

/* `why_not`: what is wrong, for people, in the results' memory; NULL where nothing is. */
extern WhPresence wh_store_find_extension(const char **why_not);
/*
 * Has anything of the configuration changed since wh_store_config_fresh? Looked
 * at inside a transaction. Fresh is given what wh_worker_generation() was
 * before the configuration was read.
 */
extern bool wh_store_config_stale(void);
extern void wh_store_config_fresh(uint32 generation);
/* What is outside the database (the key file, a secret in a file) may have changed: read all of it again. */
extern void wh_store_config_reread(void);
/* The same without a look at invalidations, outside a transaction: may say no too often. */
extern bool wh_store_config_hint(void);
/*
 * Once per process: from now on invalidations are noticed. `gone` is called at
 * the beginning of a transaction that does not find the extension present any
 * more, before any statement fails on it; it must not return. Where it is
 * broken, the transaction fails.
 */
extern void wh_store_watch_config(void (*gone)(WhPresence presence, const char *why));

/* True: this database may deliver, and `instance` is filled in. False: `reason` says why not. */
extern bool wh_store_identity(char instance[WH_INSTANCE_LEN + 1], const char **reason);

/* What of a filter decides how it is run; looked at once, when routes are made of subscriptions. */
typedef struct WhFilterShape
{
	bool pairs;   /* it compares two sequences, each value of one with each of the other */
	bool repeats; /* a sequence of it may hold a value many times */
} WhFilterShape;

/* A subscription as configured: what the engine needs, and what routing needs. */
typedef struct WhRoute
{
	WhSubscription sub;
	int64 created_us; /* microseconds since the Unix epoch */
	bool active;      /* false: matches nothing */
	int n_events;     /* -1: all */
	char **events;    /* patterns, entity_type.action_type; wh_routes_make() cuts them in two */
	char *tenant;     /* NULL: all */
	/* in the database's encoding: */
	int n_changed; /* -1: all */
	char **changed;
	int n_exclude_origins; /* -1: none */
	char **exclude_origins;
	struct varlena *filter;     /* a jsonpath; NULL: all */
	WhFilterShape filter_shape; /* set by wh_routes_make() */
	bool asked;                 /* has rows in pending that people have asked for */
	bool left_out;              /* too large: how to send is not known, and it is treated as paused */
	bool unmatched;             /* nor which events are for it */
	char *transform;            /* a function's qualified name, and the role that owned it; NULL: none */
	char *transform_owner;
} WhRoute;

/*
 * store_sizes.c: what is too large to be read, by itself or together with all
 * others, of which no more than so many bytes are to be held. Arrays, for the
 * statements that read the rest.
 */
typedef struct WhLeftOut
{
	Datum sending;  /* bigint[]: subscriptions of which the columns that say how to send are left out */
	Datum routing;  /* bigint[]: and of which those that say which events */
	Datum profiles; /* text[]: names of profiles */
} WhLeftOut;
extern WhLeftOut wh_store_left_out(Size budget);

/* A List of WhRoute, ordered by id, palloc'd in the caller's context. */
extern List *wh_store_subscriptions(const WhLeftOut *left);

/*
 * store_profile.c: give each of them its profile and params. Takes out those
 * that have gone since they were read.
 */
extern List *wh_store_profiles(List *routes, const WhLeftOut *left);

/*
 * store_read.c: reading the outbox by position
 */

/* How far has been read. See docs/internals/overview.md, Reading. */
typedef struct WhPosition
{
	char *snapshot;             /* S: pg_snapshot as text, palloc'd */
	FullTransactionId next_xid; /* N */
	int64 hi;
	/* in the midst of a page of stragglers: */
	char *within_snapshot; /* NULL: not */
	FullTransactionId within_next_xid;
	int64 within_last; /* the last straggler read */
} WhPosition;

#define WH_PAGE_EVENTS 500
#define WH_PAGE_BYTES wh_page_bytes_max() /* of its events, and of those taken from pending at once */

/*
 * store_event.c: rows of the outbox, and the events made of them
 */

/* An event's columns in a select list whose outbox is called "o". Not cast: so what is large stays where it is. */
#define WH_EVENT_COLUMNS                                                                                     \
	"o.event_number, o.xid, o.entity_id, o.entity_type, o.action_type, o.result, o.previous, o.tenant,"      \
	" o.context, o.subscription_id, o.created_at, o.segment"

/* A row as it was read: what decides whom it is for. The rest of it is fetched when it is asked for. */
typedef struct WhRow
{
	WhEvent
		head; /* without content; its strings are in the transaction's memory, and cut where they are long */
	size_t size; /* bytes of text that the row has */
	size_t held; /* bytes that it takes as it is */
	bool cut;    /* some of the head's strings are */
	HeapTuple tuple;
	TupleDesc desc;
	int at;
	WhEvent *event;  /* made of it, with a reference that is the row's; NULL: not yet */
	WhEvent *making; /* the same, half read */
	WhEvent *light;  /* the same, without content */
} WhRow;

/* From WH_EVENT_COLUMNS that begin at column `at`; until the transaction ends. */
extern void wh_store_row(HeapTuple tuple, TupleDesc desc, int at, WhRow *row);
/* Its event, made at the first call: with its content, or with a problem where that is too large. */
extern WhEvent *wh_row_event(WhRow *row);
/* The same with this problem, and without a look at its content. */
extern WhEvent *wh_row_unread(WhRow *row, const char *problem);
/* The same for who has no use for its content now; its size is that of the whole. */
extern WhEvent *wh_row_light(WhRow *row);
extern void wh_row_release(WhRow *row);
/* Both in one; the reference is the caller's. */
extern WhEvent *wh_store_event(HeapTuple tuple, TupleDesc desc, int at);
/* What an error has left of one that was being made. */
extern void wh_store_event_drop(void);

typedef struct WhPage
{
	WhRow rows[WH_PAGE_EVENTS];
	int n;
	int max; /* rows to be read at most */
	/* how they were read, for wh_store_position */
	char *snapshot;
	FullTransactionId next_xid;
	int n_stragglers;    /* of the rows, from the beginning */
	bool all_stragglers; /* there are no more of them */
	bool all_above;      /* nor of those above */
	bool more;           /* as of the position that was asked for last: read on at once */
} WhPage;

extern WhPosition *wh_position_copy(const WhPosition *p);
extern void wh_position_free(WhPosition *p);
/* True where an event, visible or not, had been read when the position was `p`. */
extern bool wh_position_covers(const WhPosition *p, const WhEvent *event);

/* The newest checkpoint of a kind, or NULL; and the position before all events. */
extern WhPosition *wh_store_checkpoint(const char *kind);
extern WhPosition *wh_store_origin(void);
extern void wh_store_write_checkpoint(const char *kind, const WhPosition *p);
extern int64 wh_store_checkpoint_id(void); /* of the next row of webhook.checkpoint */
/* Throw old checkpoints away, where nobody else is looking at them. */
extern void wh_store_trim_checkpoints(void);

/* Locks the outbox and takes the snapshot that this transaction reads under: before wh_store_read. */
extern void wh_store_begin_reading(void);

/* Read the next page, and the position after the first `n` of its rows (palloc'd). */
extern void wh_store_read(const WhPosition *from, WhPage *page);
extern WhPosition *wh_store_position(const WhPosition *from, WhPage *page, int n);
/* Up to where must WAL be flushed so that no crash can undo any of the first `n` events of this page? */
extern XLogRecPtr wh_store_commits(const WhPage *page, int n);
/*
 * store_sequence.c: people can set the sequence of event ids. In the reading
 * transaction, before and after wh_store_read: is all as it must be for this position to be read from, and
 * does the page suit? Where not, nothing of it may be used: it is put right in a
 * transaction of its own, and then read again. When a page was read, that is told.
 */
extern bool wh_sequence_is_right(const WhPosition *position);
extern bool wh_sequence_suits(const WhPosition *position, const WhPage *page, const WhPosition *next);
extern bool wh_store_mend_sequence(const WhPosition *position);
extern void wh_sequence_read_on(const WhPosition *next);

/*
 * The event behind a row of pending, as a relation of at most one row: from
 * the segment where it was, or from wherever it has been moved to since. Where it is there twice, one of them.
 */
#define WH_EVENT_OF(event_number, in_segment)                                                                \
	"((SELECT * FROM webhook.outbox b WHERE b.event_number = " event_number " AND b.segment = " in_segment   \
	" LIMIT 1)"                                                                                              \
	" UNION ALL (SELECT * FROM webhook.outbox b WHERE b.event_number = " event_number " LIMIT 1) LIMIT 1)"

/* An event for a subscription. */
typedef struct WhPair
{
	int64 event_number;
	int64 subscription_id;
} WhPair;

/*
 * store_suspect.c: what may have ended a worker (suspect.c)
 */

typedef struct WhSuspects
{
	WhPosition *matching; /* the page that was not survived begins here; NULL: none */
	WhPair suspect;       /* the step that was not; event 0: none */
	WhPair *killed;       /* those that are not to be done any more */
	int n_killed;
} WhSuspects;

extern WhSuspects wh_store_suspects(void);
extern void wh_store_note_suspect(const char *kind, WhPair pair, const WhPosition *position);

/*
 * Which have been dealt with, by a log row, pending or dead_letter: all of the
 * pairs given that have, and perhaps others of the same events, in order.
 */
extern WhPair *wh_store_dealt_with(const WhPair *pairs, int n_pairs, int *n);
extern int wh_pair_compare(const void *a, const void *b); /* that order */

/*
 * store_settle.c: how deliveries have ended
 */

/*
 * Write down how these deliveries have ended; `logged`: also that they were
 * attempted. Those with which a subscription was disabled are marked as such.
 */
extern void wh_store_settle(WhDelivery *const *deliveries, int n, bool logged);

/*
 * store_notices.c: what others are told of subscriptions in trouble
 */

/* Make an operational event of a change of this subscription, where somebody listens. `reason` may be NULL. */
extern void wh_store_announce(int64 subscription_id, const char *change, const char *reason);
/* Disable a subscription that is active; false: it was not. */
extern bool wh_store_disable(int64 subscription_id, const char *reason);
/* Those whose breaker was told to be open, and not yet to be closed. */
extern void wh_store_troubles(void (*each)(void *arg, int64 subscription_id), void *arg);

/*
 * store_pending.c: what is to be sent again; store_requeue.c: what people have asked for
 */

/* A row of pending that webhook.redeliver() or webhook.replay() made. */
typedef struct WhRequested
{
	int64 event_number;
	uint64 lane;   /* the caller's to fill in */
	int16 segment; /* where the event is, whatever the row says */
	WhEvent
		*event; /* as much of it as decides on the lane; a reference that is the caller's; NULL: it is gone */
} WhRequested;

/* The oldest of a subscription after an event, at most `max`; and defer them, each in its lane. Return how many. */
extern int wh_store_requested(int64 subscription_id, int64 after, WhRequested *rows, int max);
extern int64 wh_store_defer_requested(int64 subscription_id, const WhRequested *rows, int n);

/* A delivery taken from pending, its attempt counted. */
typedef struct WhTaken
{
	WhEvent *event; /* a reference that is the caller's; NULL: its event is gone */
	int64 event_number;
	int64 subscription_id;
	uint64 lane;
	int attempts;
	TimestampTz first_attempt_at; /* 0: never */
	int64 batch;                  /* the event id of the batch's lead; 0: by itself */
	bool unjudged;                /* whether the event is for it has not been looked at */
	const char *why;              /* NULL; else why that cannot be told */
} WhTaken;

/*
 * Take what is due, at most `max`, but of those subscriptions that are held;
 * or the further rows of a lane; or deferred rows of a subscription; or its
 * oldest row, whatever that waits for (`deferred`: until it has caught up). A
 * batch is taken whole, whatever `max` says, and is together in the list, in
 * order, its lead first.
 */
extern List *wh_store_take_due(int max, const int64 *held, int n_held);
extern List *wh_store_take_lane(int64 subscription_id, uint64 lane, int max);
extern List *wh_store_take_deferred(int64 subscription_id, int max);
extern List *wh_store_take_probe(int64 subscription_id, bool *deferred);
/* When the step that took has ended: the events of its list are the caller's; or it failed, and they are let go. */
extern void wh_store_taken_over(void);
extern void wh_store_taken_in_vain(void);

/*
 * Where the deferred rows of a subscription begin, so that those taken before are
 * not passed again: it has been taken up to this event, for good; one is deferred
 * here; or nobody knows.
 */
extern void wh_store_deferred_taken(int64 subscription_id, int64 event_number);
extern void wh_store_deferred_at(int64 subscription_id, int64 event_number);
extern void wh_store_deferred_anywhere(void);

/* A subscription's endpoint is well again: what is to be tried again is due at once. */
extern void wh_store_make_due(int64 subscription_id);

/*
 * The wall clock was set by so many microseconds: what waits in tables is moved
 * by as much. And at start: what waits longer than a schedule can have made it wait, because the
 * clock was set meanwhile, does so no more.
 */
extern void wh_store_move_waits(int64 jump);
extern void wh_store_shorten_waits(void);

/* The event behind a row of pending is gone, or is not for the subscription: so is the delivery. */
extern void wh_store_forget_pending(int64 subscription_id, int64 event_number);
/* A row that was taken has been judged; or it could not be now, and is as it was. */
extern void wh_store_pending_judged(int64 subscription_id, int64 event_number);
extern void wh_store_defer_again(int64 subscription_id, int64 event_number);

/* When the next delivery is due to be tried again, but of those subscriptions; DT_NOEND: none. */
extern TimestampTz wh_store_next_due(const int64 *held, int n_held);

/* At start: bring pending in order after a crash, then report what is there. */
extern void wh_store_restore(void (*deferred)(void *arg, int64 subscription_id, int64 rows),
							 void (*lane)(void *arg, int64 subscription_id, uint64 lane, int rows),
							 void *arg);

/*
 * store_rotate.c: the ring of segments
 */

/* How far the events that are still waited for have been carried over. */
typedef struct WhCarry
{
	int from;              /* the segment; -1: of none */
	int64 subscription_id; /* rows of pending up to this one have been looked at */
	int64 event_number;
	bool ended;  /* all have */
	int64 moved; /* events */
	int64 gone;  /* rows of pending whose event is nowhere, and which were forgotten */
} WhCarry;

typedef struct WhRotation
{
	bool done;      /* the segment is empty, or holds nothing that is old */
	bool more;      /* there is more to carry over: go on soon */
	WhCarry carry;  /* the caller's to keep when the transaction has committed */
	char doing[64]; /* "empty webhook.outbox_5": filled in at once, so that it can be told after an error */
	int further;    /* not the next segment but one so many behind it */
	bool unsettled; /* nobody will read the outbox: whether settled or not, what is old goes */
	int64 bytes;    /* of events that went without having been settled, on disk */
} WhRotation;

/* store_carry.c: begin with a segment; and move the next portion, a short transaction's worth. */
extern void wh_carry_begin(WhCarry *carry, int segment);
extern void wh_store_carry(WhCarry *carry);

/* Empty the segment whose turn is next, if all in it is old and nobody holds a lock on it. */
extern void wh_store_rotate_attempt(WhRotation *r);
/* The same; and all in it must be settled, by this position. */
extern void wh_store_rotate_outbox(WhRotation *r, const WhPosition *settled);

#endif /* WEBHOOK_STORE_H */
