/*
 * store_sequence.c
 *	  The sequence of event numbers was set back, or ahead, by hand.
 *
 * Reading by position relies on a number taken later being higher. After setval()
 * that is not so: events get numbers at or below what has been read, which nobody
 * would look at again, or numbers that other events have. So each read checks the
 * sequence, and what it has read. If something is wrong it uses nothing of it. The
 * sequence is moved beyond all numbers there are, and what was captured since it
 * was set back gets new numbers in the order of capture. It is then read as what it
 * is: new.
 *
 * The position (S, N, hi), or the one that a previous worker had reached if that is
 * further, tells these apart:
 *
 *	  number <= hi, xid >= N				taken after hi was: the sequence had been
 *										set back
 *	  number <= hi, xid running in S		a usual straggler; if it was captured since
 *										the sequence was last right, as above
 *	  number > hi							not read yet; if it was captured after the
 *										first of those above it gets a new number
 *										as well, or the order would change
 *
 * Transactions that took such a number and are still open when the sequence is
 * moved are watched until they end. While they may commit, no page is read whose
 * snapshot shows a row of theirs without its new number.
 * docs/internals/reading.md has the argument.
 *
 * Owns what is being fixed, in memory only: a new worker checks everything that was
 * captured since the previous one has read.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "utils/rel.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "clock.h"
#include "store.h"
#include "store_read.h"
#include "store_sequence.h"

#define RENUMBER_AT_ONCE 5000
#define SPARE INT64CONST(1000000)       /* numbers left free for what is not committed yet */
#define FAR_AHEAD (INT64CONST(1) << 40) /* so far above any number given out: not one of ours */

/* The sequence was set back once: which numbers are too low, and of which transactions. */
typedef struct Episode
{
	int64 low;            /* numbers up to here */
	uint64 from_xid;      /* of transactions from here on */
	uint64 until_xid;     /* up to here; */
	uint64 open_xid;      /* and of older ones from here on, */
	TimestampTz right_at; /* what they captured after this; DT_NOEND: unknown */
} Episode;

#define EPISODES_MAX 8

static Episode episodes[EPISODES_MAX]; /* the newest last; the others still have open transactions */
static int n_episodes = 0;
static int64 high = 0;               /* the highest number when the sequence was moved */
static int64 next_id = 0;            /* the next new number, */
static int64 spare_until = 0;        /* up to here */
static TimestampTz since = DT_NOEND; /* when the first low one was captured; DT_NOEND: none is known */
static bool nothing_fixed = false;   /* there was nothing to fix: read what there is */

static TimestampTz right_at = DT_NOEND; /* when the sequence was last found right */
static bool looked = false; /* have events been checked that were captured before this process began? */

/* The last number given out, from the sequence's one row. */
static int64
last_id(void)
{
	Oid oid = get_relname_relid("event_number_seq", get_namespace_oid("webhook", false));
	Relation sequence = relation_open(oid, AccessShareLock);
	Buffer buffer;
	Page page;
	HeapTupleHeader tuple;
	Form_pg_sequence_data row;
	int64 last;

	if (sequence->rd_rel->relkind != RELKIND_SEQUENCE)
		ereport(ERROR, errcode(ERRCODE_WRONG_OBJECT_TYPE),
				errmsg("webhook.event_number_seq is not a sequence"));
	buffer = ReadBuffer(sequence, 0);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (PageGetMaxOffsetNumber(page) < FirstOffsetNumber)
		ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED), errmsg("webhook.event_number_seq is damaged"));
	tuple = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	row = (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
	last = row->is_called ? row->last_value : row->last_value - 1;
	UnlockReleaseBuffer(buffer);
	relation_close(sequence, NoLock);
	return last;
}

static uint64
snapshot_xmin(const char *snapshot)
{
	return strtoull(snapshot, NULL, 10);
}

/* Rows of an episode, with the parameters of low_values. event_number + 0: by the index of xid. */
/* clang-format off */
#define IS_LOW \
	"(o.xid >= $3 AND o.xid < $4 AND o.event_number + 0 <= $1" \
	" AND (o.xid >= $2 OR o.created_at > $5))"
/* clang-format on */
#define LOW_ARGS INT8OID, XID8OID, XID8OID, XID8OID, TIMESTAMPTZOID
#define N_LOW_ARGS 5

static Datum
xid_datum(uint64 xid)
{
	return FullTransactionIdGetDatum(FullTransactionIdFromU64(xid));
}

static void
low_values(const Episode *e, Datum *values)
{
	values[0] = Int64GetDatum(e->low);
	values[1] = xid_datum(e->from_xid);
	values[2] = xid_datum(e->open_xid);
	values[3] = xid_datum(e->until_xid);
	values[4] = TimestampTzGetDatum(e->right_at);
}

/* Does this transaction's snapshot show any? Notes when the first of them was captured. */
static bool
shows_low(const Episode *e)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"SELECT min(o.created_at) FROM webhook.outbox o WHERE " IS_LOW,
		N_LOW_ARGS,
		{LOW_ARGS}};
	/* clang-format on */
	Datum values[N_LOW_ARGS];
	Datum first;
	bool isnull;

	low_values(e, values);
	wh_plan_run(&plan, values, NULL, SPI_OK_SELECT);
	first = wh_result(0, 1, &isnull);
	if (!isnull)
		since = Min(since, DatumGetTimestampTz(first));
	return !isnull;
}

static bool
any_shows_low(void)
{
	for (int i = 0; i < n_episodes; i++)
		if (shows_low(&episodes[i]))
			return true;
	return false;
}

static Episode
episode_at(const WhPosition *position)
{
	uint64 from = U64FromFullTransactionId(position->next_xid);

	return (Episode){.low = position->hi,
					 .from_xid = from,
					 .open_xid = Min(snapshot_xmin(position->snapshot), from),
					 .until_xid = U64FromFullTransactionId(ReadNextFullTransactionId()),
					 .right_at = right_at};
}

/* The same episode goes on if nothing has been read meanwhile. */
static void
begin(const WhPosition *position)
{
	Episode e = episode_at(position);

	if (n_episodes > 0 && episodes[n_episodes - 1].from_xid == e.from_xid)
	{
		episodes[n_episodes - 1].until_xid = e.until_xid;
		return;
	}
	if (n_episodes == EPISODES_MAX)
		memmove(episodes, episodes + 1, --n_episodes * sizeof(Episode));
	episodes[n_episodes++] = e;
	since = DT_NOEND;
	high = 0;
}

bool
wh_sequence_is_right(const WhPosition *position)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 last = last_id();
	Episode before = episode_at(position);

	if (nothing_fixed)
		return true;
	looked = looked || position->hi == 0; /* nothing is below it */
	if (last < position->hi || (!looked && shows_low(&before)))
	{
		begin(position);
		looked = true;
		(void) shows_low(&episodes[n_episodes - 1]);
		return false;
	}
	looked = true;
	if (any_shows_low())
		return false;
	right_at = now;
	return true;
}

/* Are there two different events with one number, or a number that the sequence has not given out? */
bool
wh_sequence_suits(const WhPosition *position, const WhPage *page, const WhPosition *next)
{
	/* clang-format off */
	static WhPlan again = {
		.sql =
		"SELECT count(DISTINCT (o.xid, o.created_at)), max(o.created_at)"
		"  FROM webhook.outbox o"
		" WHERE o.event_number = $1",
		1,
		{INT8OID}};
	/* clang-format on */
	Datum value = Int64GetDatum(next->hi);
	TimestampTz twice = DT_NOEND;
	bool isnull;

	if (nothing_fixed)
	{
		nothing_fixed = false;
		return true;
	}
	for (int i = 1; i < page->n; i++)
	{
		const WhEvent *a = &page->rows[i - 1].head;
		const WhEvent *b = &page->rows[i].head;

		if (a->id == b->id && (a->xid != b->xid || a->created_us != b->created_us))
			twice = Min(twice, Max(a->created_us, b->created_us) - WH_UNIX_EPOCH_US);
	}
	if (twice == DT_NOEND && page->more && next->hi > position->hi)
	{
		/* the page may end between the two */
		wh_plan_run(&again, &value, NULL, SPI_OK_SELECT);
		if (wh_result_int8(0, 1) > 1)
			twice = DatumGetTimestampTz(wh_result(0, 2, &isnull));
	}
	if (twice == DT_NOEND && next->hi <= last_id())
		return true;
	begin(position);
	since = Min(since, twice);
	return false;
}

/* Move the sequence beyond all numbers there are, leaving room for the new ones. */
static void
move_sequence(const WhPosition *position)
{
	/* clang-format off */
	static WhPlan highest = {
		.sql =
		"SELECT max(o.event_number), count(*)"
		"  FROM webhook.outbox o"
		" WHERE o.event_number > $1 AND o.event_number <= $2",
		2,
		{INT8OID, INT8OID}};
	/* clang-format on */
	/* clang-format off */
	static WhPlan set = {
		.sql =
		"SELECT setval('webhook.event_number_seq', $1)",
		1,
		{INT8OID}};
	/* clang-format on */
	int64 base = Max(position->hi, last_id());
	int64 far = base > PG_INT64_MAX - FAR_AHEAD ? PG_INT64_MAX : base + FAR_AHEAD;
	Datum values[2] = {Int64GetDatum(position->hi), Int64GetDatum(far)};
	int64 room = SPARE;
	Datum value;
	bool isnull;

	wh_plan_run(&highest, values, NULL, SPI_OK_SELECT);
	value = wh_result(0, 1, &isnull);
	if (!isnull)
		base = Max(base, DatumGetInt64(value));
	room += wh_result_int8(0, 2);
	/* it is unknown which numbers open transactions took before it was set back */
	base += Min(SPARE, PG_INT64_MAX - base);
	room = Min(room, PG_INT64_MAX - base);
	value = Int64GetDatum(base + room);
	wh_plan_run(&set, &value, NULL, SPI_OK_SELECT);
	ereport(
		LOG,
		errmsg("webhook worker moved the sequence webhook.event_number_seq to " INT64_FORMAT, base + room),
		errdetail("It was set by hand, so events after " INT64_FORMAT
				  " did not get higher numbers. They get new ones.",
				  position->hi),
		errhint("Do not set this sequence: event numbers must ascend."));
	high = base;
	next_id = base + 1;
	spare_until = base + room;
	/* a transaction that has taken a number already has its xid */
	episodes[n_episodes - 1].until_xid = U64FromFullTransactionId(ReadNextFullTransactionId());
}

/* Give the rows of a statement (segment, ctid, number) new numbers, in its order. Returns how many. */
static uint64
renumber(WhPlan *rows, Datum *values)
{
	/* clang-format off */
	static WhPlan plan = {
		.sql =
		"UPDATE webhook.outbox o SET event_number = $1"
		" WHERE o.segment = $2 AND o.ctid = $3 AND o.event_number = $4",
		4,
		{INT8OID, INT2OID, TIDOID, INT8OID}};
	/* clang-format on */
	SPITupleTable *table;
	uint64 n;

	wh_plan_run(rows, values, NULL, SPI_OK_SELECT);
	table = SPI_tuptable;
	n = SPI_processed;
	for (uint64 i = 0; i < n && next_id < PG_INT64_MAX; i++)
	{
		Datum row[4];
		bool isnull;

		row[0] = Int64GetDatum(next_id++);
		for (int column = 1; column <= 3; column++)
			row[column] = SPI_getbinval(table->vals[i], table->tupdesc, column, &isnull);
		wh_plan_run(&plan, row, NULL, SPI_OK_UPDATE);
	}
	return n;
}

bool
wh_store_fix_sequence(const WhPosition *position)
{
	/* clang-format off */
	static WhPlan low = {
		.sql =
		"SELECT o.segment, o.ctid, o.event_number"
		"  FROM webhook.outbox o"
		" WHERE " IS_LOW
		" ORDER BY o.created_at, o.event_number"
		" LIMIT 5000",
		N_LOW_ARGS,
		{LOW_ARGS}};
	/* clang-format on */
	/* of the newest episode, with what was captured after its first row and is not read yet */
	/* clang-format off */
	static WhPlan newest = {
		.sql =
		"SELECT o.segment, o.ctid, o.event_number"
		"  FROM webhook.outbox o"
		" WHERE o.xid >= $3"
		"   AND (" IS_LOW
		"        OR (o.event_number + 0 > $8 AND o.event_number + 0 <= $6 AND o.created_at >= $7))"
		" ORDER BY o.created_at, o.event_number"
		" LIMIT 5000",
		8,
		{LOW_ARGS, INT8OID, TIMESTAMPTZOID, INT8OID}};
	/* clang-format on */
	/* clang-format off */
	static WhPlan far = {
		.sql =
		"SELECT o.segment, o.ctid, o.event_number"
		"  FROM webhook.outbox o"
		" WHERE o.event_number > $1"
		" ORDER BY o.created_at, o.event_number"
		" LIMIT 5000",
		1,
		{INT8OID}};
	/* clang-format on */
	bool move = high == 0 || last_id() < Max(high, position->hi) || next_id > spare_until - SPARE / 2;
	Datum values[8];
	uint64 n = 0;

	StaticAssertStmt(RENUMBER_AT_ONCE == 5000, "the statements' literal limit differs");
	if (n_episodes == 0)
		begin(position);
	if (move)
		move_sequence(position);
	for (int i = 0; i < n_episodes; i++)
	{
		low_values(&episodes[i], values);
		values[5] = Int64GetDatum(high);
		values[6] = TimestampTzGetDatum(since);
		values[7] = Int64GetDatum(position->hi);
		n += renumber(i == n_episodes - 1 ? &newest : &low, values);
	}
	values[0] = Int64GetDatum(high > PG_INT64_MAX - FAR_AHEAD ? PG_INT64_MAX : high + FAR_AHEAD);
	n += renumber(&far, values);
	nothing_fixed = n == 0 && !move;
	return n > 0 || move;
}

void
wh_sequence_read_on(const WhPosition *next)
{
	int left = 0;

	/* when all have ended that took a number before the sequence was moved, no more can come */
	for (int i = 0; i < n_episodes; i++)
		if (snapshot_xmin(next->snapshot) < episodes[i].until_xid)
			episodes[left++] = episodes[i];
	n_episodes = left;
	if (left == 0)
	{
		since = DT_NOEND;
		high = 0;
	}
}
