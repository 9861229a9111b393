/*
 * outbox_id.c
 *	  The ids of events: values of the sequence webhook.event_number_seq.
 *
 * The obvious nextval() would become what lastval() returns in the
 * application's session, and there are libraries (PHP's PDO::lastInsertId(),
 * hence Doctrine) that insert a row and then ask lastval() for its key:
 * watching a table must not give them the number of an event instead.
 * PostgreSQL offers no way to take a value without being remembered for it, so
 * it is taken here, from the sequence's one row.
 *
 * The row keeps the meaning it has in sequence.c, so that setval(), ALTER
 * SEQUENCE and pg_dump do with it what they always do: a value is logged some
 * way ahead of those given out, and a crash skips the rest of them. The
 * buffer's exclusive lock makes values unique and ascending; it is held for
 * this alone, and nothing in between can fail but in a critical section.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "miscadmin.h"
#include "outbox_id.h"
#include "storage/bufmgr.h"

/* Values logged ahead, one WAL record for as many events. */
#define IDS_AHEAD 32

/* The sequence's row, in its exclusively locked buffer. */
static Form_pg_sequence_data
sequence_row(Relation sequence, Page page)
{
	ItemId item;
	HeapTupleHeader tuple;

	if (sequence->rd_rel->relkind != RELKIND_SEQUENCE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a sequence", RelationGetRelationName(sequence))));
	item = PageGetItemId(page, FirstOffsetNumber);
	if (PageGetMaxOffsetNumber(page) < FirstOffsetNumber || !ItemIdIsNormal(item))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("sequence \"%s\" is damaged", RelationGetRelationName(sequence))));
	tuple = (HeapTupleHeader) PageGetItem(page, item);
	return (Form_pg_sequence_data) ((char *) tuple + tuple->t_hoff);
}

static int64
value_after(Relation sequence, const FormData_pg_sequence_data *row)
{
	int64 value = row->last_value;

	if (row->is_called && pg_add_s64_overflow(value, 1, &value))
		ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
						errmsg("sequence \"%s\" has reached its end", RelationGetRelationName(sequence))));
	return value;
}

int64
wh_next_outbox_id(Relation sequence)
{
	Buffer buffer = ReadBuffer(sequence, 0);
	Page page = BufferGetPage(buffer);
	Form_pg_sequence_data row;
	int64 value;
	bool log;

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	row = sequence_row(sequence, page);
	value = value_after(sequence, row);

	/*
	 * The first value after a checkpoint is logged too: replay starts there,
	 * and the page on disk may lag behind.
	 */
	log = !row->is_called || row->log_cnt < 1 || PageGetLSN(page) <= GetRedoRecPtr();

	START_CRIT_SECTION();
	MarkBufferDirty(buffer);
	if (log && RelationNeedsWAL(sequence))
	{
		row->last_value = value + IDS_AHEAD;
		row->is_called = true;
		row->log_cnt = 0;
		(void) log_newpage_buffer(buffer, true);
	}
	row->last_value = value;
	row->is_called = true;
	row->log_cnt = log ? IDS_AHEAD : row->log_cnt - 1;
	END_CRIT_SECTION();

	UnlockReleaseBuffer(buffer);
	return value;
}
