/*
 * segment.h
 *	  The tables of webhook.outbox: finding and describing them.
 */
#ifndef WEBHOOK_SEGMENT_H
#define WEBHOOK_SEGMENT_H

#include "postgres.h"

#include "utils/rel.h"

/* Our columns of a segment; segment.c has their names and types. */
typedef enum OutboxColumn
{
	COLUMN_ID,
	COLUMN_XID,
	COLUMN_ENTITY_ID,
	COLUMN_ENTITY_TYPE,
	COLUMN_ACTION_TYPE,
	COLUMN_RESULT,
	COLUMN_PREVIOUS,
	COLUMN_TENANT,
	COLUMN_CONTEXT,
	COLUMN_SUBSCRIPTION_ID,
	COLUMN_CREATED_AT,
	COLUMN_SEGMENT,
	OUTBOX_COLUMNS
} OutboxColumn;

/* A plain index: btree on columns, with PostgreSQL's own operators. */
typedef struct PlainIndex
{
	Oid oid;
	bool unique;
	int ncolumns;
	AttrNumber columns[INDEX_MAX_KEYS];
} PlainIndex;

/* What is known of one segment's table. */
typedef struct SegmentShape
{
	MemoryContext context; /* holds all of this */
	Oid relation;
	bool stale;
	AttrNumber attnums[OUTBOX_COLUMNS]; /* InvalidAttrNumber: the installed version has no such column */
	bool plain; /* nothing must be evaluated: no default, check, generated column, other index */
	int nindexes;
	PlainIndex *indexes; /* all indexes, if plain */

	/* what outbox_writer.c found when it last looked for room, and at which page of this backend */
	BlockNumber looked_at;
	bool looked_at_toast; /* it looked in the TOAST table, too */
	bool use_map;
} SegmentShape;

/* Open and lock a segment (RowExclusiveLock). Its shape is valid to the end of the transaction. */
extern Relation wh_open_segment(int segment, SegmentShape **shape);

/* Open and lock the sequence of event numbers (RowExclusiveLock). */
extern Relation wh_open_outbox_sequence(void);

/* Which of our columns is it? OUTBOX_COLUMNS: none; somebody added it. */
extern int wh_segment_column(const SegmentShape *shape, AttrNumber attnum);

#endif /* WEBHOOK_SEGMENT_H */
