/*
 * outbox_id.c
 *	  The ids of events: values of the sequence webhook.event_number_seq.
 *
 * With nextval(), lastval() in the application's session would return the event's
 * number. Some libraries (PHP's PDO::lastInsertId(), hence Doctrine) insert a row and
 * then ask lastval() for its key. Watching a table must not give them the number of an
 * event instead. PostgreSQL has no way to take a value without changing lastval(). So
 * this file takes it from the sequence's only row.
 *
 * The row keeps the meaning that it has in sequence.c, so that setval(), ALTER SEQUENCE
 * and pg_dump work as usual: the value in the WAL is ahead of those given out, and a
 * crash skips the rest. The buffer's exclusive lock makes values unique and ascending.
 * It is held only for this, and whatever could fail meanwhile does so before the row
 * changes, or in a critical section. With webhook.debug_plain_insert it is nextval().
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
#include "settings.h"
#include "storage/bufmgr.h"

/* How many values are logged ahead: one WAL record for so many events. */
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
	Buffer buffer;
	Page page;
	Form_pg_sequence_data row;
	int64 value;
	bool log;

	if (wh_debug_plain_insert)
		return nextval_internal(RelationGetRelid(sequence), false);
	buffer = ReadBuffer(sequence, 0);
	page = BufferGetPage(buffer);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	row = sequence_row(sequence, page);
	value = value_after(sequence, row);

	/*
	 * The first value after a checkpoint is logged too: replay starts at the
	 * checkpoint, and the page on disk may be older.
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
