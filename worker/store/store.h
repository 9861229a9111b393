/*
 * store.h
 *	  The worker's transactions, the helpers of its statements, and whether the
 *	  extension and the identity are what they were.
 *
 * Every SQL statement of the worker is in this folder: rows <-> plain structs.
 * Each store_*.c has one subject, which its name says, and a header of its own.
 * All of them run inside a transaction that the caller has opened with
 * wh_tx_begin. What they return outlives it: in the memory context the caller
 * was in before, or in malloc where the engine is to own it.
 */
#ifndef WEBHOOK_STORE_H
#define WEBHOOK_STORE_H

#include "postgres.h"

#include "executor/spi.h"
#include "utils/memutils.h"

#include "types.h"

/*
 * The bookends of every transaction of the worker. `label` is what
 * pg_stat_activity shows. Between them SPI is connected, one snapshot is
 * active, and everything runs with the rights of the extension's owner. A
 * commit with `flush`, of a transaction that has written something, returns
 * only when all that it has seen or done is on disk.
 */
extern void wh_tx_begin(const char *label);
extern void wh_tx_commit(bool flush);

/* The memory context that was current at wh_tx_begin: results go there. */
extern MemoryContext wh_tx_results;

/* The label of the last wh_tx_begin. */
extern const char *wh_tx_label;

/*
 * Text of the database in UTF-8, for the engine. What cannot be converted (a
 * database in SQL_ASCII may hold any bytes) becomes "?": an event must not be
 * able to stop the worker.
 */
extern char *wh_to_utf8(char *text);

/* UTF-8 in the database's encoding; NULL stays NULL. An error where it cannot be converted. */
extern char *wh_from_utf8(const char *utf8);

/* Everything that is not ASCII becomes "?", in place: for text that must not raise an error. */
extern char *wh_only_ascii(char *text);

/* As much of a text as fits in `size` bytes, in whole characters of the database's encoding; NULL counts as "". */
extern void wh_clip(char *to, int size, const char *from);

/* A plan prepared on first use and kept for good. */
typedef struct WhPlan
{
	const char *sql;
	int n_args;
	Oid args[16];
	SPIPlanPtr plan;
} WhPlan;

extern void wh_plan_run(WhPlan *plan, Datum *values, const char *nulls, int expected);

/* The same through a cursor, under the transaction's snapshot, writing nothing. */
extern Portal wh_plan_open(WhPlan *plan, Datum *values);

/* A column of a row of the last result. */
static inline Datum
wh_result(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/* The same of a bigint column; 0 where it is null. */
static inline int64
wh_result_int8(uint64 row, int column)
{
	bool isnull;
	Datum value = wh_result(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* A column's text in UTF-8, in the current memory context; NULL where it is null. */
extern char *wh_utf8_column(HeapTuple row, TupleDesc desc, int column);

/* A bigint[] for a parameter. */
extern Datum wh_int8_array(const int64 *values, int n);

/* Is the extension here? */
typedef enum WhPresence
{
	WH_PRESENT,
	WH_ABSENT,    /* it is not */
	WH_RECREATED, /* one is, but not the one that was found before */
	WH_BROKEN,    /* it is, but a table of it is missing or was altered */
} WhPresence;

/* `why_not`: what is wrong, for people, in the results' memory; NULL: nothing. */
extern WhPresence wh_store_find_extension(const char **why_not);
/*
 * Has the configuration changed since wh_store_config_fresh? In a transaction.
 * wh_store_config_fresh gets the value of wh_worker_generation() from before the
 * configuration was read.
 */
extern bool wh_store_config_stale(void);
extern void wh_store_config_fresh(uint32 generation);
/* Something outside the database (the key file, a secret in a file) may have changed: read everything again. */
extern void wh_store_config_reread(void);
/* The same without looking for invalidations, outside a transaction: may miss a change for now. */
extern bool wh_store_config_hint(void);
/*
 * Once per process: notice invalidations from now on. A transaction that no longer
 * finds the extension calls `gone`, which must not return, before any statement
 * fails. A transaction that finds it broken fails.
 */
extern void wh_store_watch_config(void (*gone)(WhPresence presence, const char *why));

/* True: this database may deliver, and `instance` is set. False: `reason` says why not. */
extern bool wh_store_identity(char instance[WH_INSTANCE_LEN + 1], const char **reason);

#endif /* WEBHOOK_STORE_H */
