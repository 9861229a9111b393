/*
 * capture.h
 *	  A row as capture would tell of it.
 *
 * The triggers themselves are called by PostgreSQL; this is for sample.c, which
 * shows a receiver a row that has not changed.
 */
#ifndef WEBHOOK_CAPTURE_H
#define WEBHOOK_CAPTURE_H

#include "postgres.h"

#include "capture_source.h"
#include "executor/tuptable.h"
#include "outbox.h"

/* Fill in everything of an event about this row but its action; with `previous` null. */
extern void wh_capture_row(CaptureSource *source, TupleTableSlot *row, OutboxEvent *event);

#endif /* WEBHOOK_CAPTURE_H */
