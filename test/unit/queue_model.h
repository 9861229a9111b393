/*
 * queue_model.h
 *	  A model of everything around the queue, for test_queue_model.c: what is
 *	  in tables, what has really happened, what the worker and the engine hold.
 *
 * queue_model.c does what engine.c and the network do, test_queue_model.c
 * what the worker and its store do.
 */
#ifndef QUEUE_MODEL_H
#define QUEUE_MODEL_H

#include "unit.h"

/* so small that all of them are met */
#define WH_QUEUE_FULL 24
#define WH_QUEUE_TOTAL 36
#define WH_FETCH_MAX 8
#define WH_FETCH_MIN 2
#define WH_BLOCKED_LANES_MAX 6
#define WH_BATCH_WAIT_US 12
#define BATCH_MAX 5

#include "queue.h"

#define EVENTS 240
#define SUBS 3
#define STRICT_SUB 2  /* all of it is one lane */
#define LIMITED_SUB 0 /* it may start one in so many microseconds */
#define RATE_INTERVAL 2
#define ENTITIES 20
#define IN_FLIGHT_MAX 6

typedef enum RowState
{
	NONE,
	RETRY,
	BEHIND,
	DEFERRED,
	SENDING
} RowState;

/* What is in tables. */
typedef struct Db
{
	struct
	{
		RowState state;
		int attempts;
		int64_t due_us;
		int batch;     /* event of its lead, plus one */
		bool logged;   /* has a row in attempt */
		bool finished; /* delivered or dead */
	} rows[SUBS][EVENTS];
	bool exists[SUBS];
	bool live[SUBS];
	int read; /* the checkpoints: events before these */
	int settled;
} Db;

typedef struct Model
{
	unsigned seed;
	uint64_t random;
	bool crashes; /* in this seed */
	Db db;
	Db durable; /* what the last flushed commit left behind */

	/* the endpoints */
	int fail_percent[SUBS];
	int end_percent[SUBS]; /* requests that end in a turn */
	bool calm;             /* no failures, pauses and crashes any more */

	/* what has really happened */
	bool done[SUBS][EVENTS];
	int ended_times[SUBS][EVENTS];
	int starts[SUBS][EVENTS];
	uint64_t batch_is[SUBS][EVENTS]; /* by its lead: a hash of what failed together */

	/* the worker */
	int64_t now_us;
	int written; /* events in the log */
	int entity[EVENTS];
	WhEvent *events[EVENTS];
	int position;
	int read_at_start; /* events before this may be lost; 0: not recovering */
	int64_t next_due;
	WhList ended; /* collected, not settled */
	int page_end[EVENTS + 2];
	int page_outstanding[EVENTS + 2];
	int first_page;
	int n_pages;

	/* the engine */
	WhQueue *q;
	bool subscribed[SUBS];
	bool live[SUBS];
	int batch_size[SUBS]; /* as the queue was told */
	int new_batch_size[SUBS];
	bool held[SUBS];  /* its breaker is not closed */
	bool admit[SUBS]; /* one of it may be started */
	int64_t not_before[SUBS];
	int under_way[SUBS];
	bool hurry[SUBS]; /* its retries are to be made due */
	int opened;       /* breakers, in all seeds */
	int probed;
	int batches; /* started, of more than one */
	int kept;    /* of those, again */
	int leads_lost;
	WhList outcomes;
	WhDelivery *n_in_flight[IN_FLIGHT_MAX];
	int n_flying;
} Model;

extern Model m;

#define check(condition)                                                                                     \
	do                                                                                                       \
	{                                                                                                        \
		if (!(condition))                                                                                    \
			fail_msg("seed %u at %lld: not so: %s", m.seed, (long long) m.now_us, #condition);               \
	} while (0)

extern unsigned below(unsigned n); /* random, less than n */
extern bool percent(int n);        /* true so often */
extern uint64_t lane_of(int s, int e);
extern int sub_of(const WhDelivery *d);
extern int event_of(const WhDelivery *d);

extern void take_back(WhList *list);
extern void submit(int s, int e, WhPushFrom from, int attempts, uint64_t page);
extern void submit_batch(int s, int lead);
extern void start_some(void);
extern void end_some(void);
extern void close_breaker(int s);
extern void stop_engine(void);
extern bool has_room(void);
extern void compare_counts(void); /* when all is settled, the queue counts what is in the table */

#endif /* QUEUE_MODEL_H */
