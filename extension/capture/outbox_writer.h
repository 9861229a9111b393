/*
 * outbox_writer.h
 *	  Rows that wait and are written into a segment together.
 */
#ifndef WEBHOOK_OUTBOX_WRITER_H
#define WEBHOOK_OUTBOX_WRITER_H

#include "postgres.h"

#include "segment.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/resowner.h"

/* Rows are written when so many rows or bytes wait. */
#define WH_WAITING_ROWS 64
#define WH_WAITING_BYTES (256 * 1024)

/* An open segment, and the rows that wait to be written into it. */
typedef struct OutboxWriter
{
	MemoryContext context; /* holds arrays and slots */
	MemoryContext rows;    /* holds the rows; if it is not `context`, it is reset after writing */
	ResourceOwner owner;   /* of the open tables */
	Relation relation;     /* NULL: nothing is open */
	Relation sequence;
	int segment;
	bool none_emptied; /* there was no page that VACUUM has emptied when this writer looked */
	SegmentShape *shape;
	bool direct;   /* rows may wait, and need not go through the executor */
	Datum *values; /* of the row that is being composed, by attribute */
	bool *isnull;
	int nslots; /* made so far */
	int nrows;  /* that wait, in the first slots */
	Size bytes;
	bool wide; /* some of those that wait may go into the TOAST table */
	TupleTableSlot *slots[WH_WAITING_ROWS];
} OutboxWriter;

/*
 * Open the segment and the sequence of ids, unless they are open. If another segment is
 * open, its rows are written first.
 */
extern void wh_writer_open(OutboxWriter *writer, int segment);

/* Let the row in `values` wait. Unless `direct`, the row is inserted at once. */
extern void wh_writer_add(OutboxWriter *writer);

/* Insert the rows that wait. */
extern void wh_writer_flush(OutboxWriter *writer);

/* Insert the rows that wait, and close the tables. */
extern void wh_writer_close(OutboxWriter *writer);

#endif /* WEBHOOK_OUTBOX_WRITER_H */
