/*
 * capture.h
 *	  The event of a row, without a change.
 *
 * PostgreSQL calls the triggers themselves. This is for sample.c, which shows a
 * receiver a row that has not changed.
 */
#ifndef WEBHOOK_CAPTURE_H
#define WEBHOOK_CAPTURE_H

#include "postgres.h"

#include "capture_source.h"
#include "executor/tuptable.h"
#include "outbox.h"

/* Fill in an event about this row, except its action type; `previous` is null. */
extern void wh_capture_row(CaptureSource *source, TupleTableSlot *row, OutboxEvent *event);

#endif /* WEBHOOK_CAPTURE_H */
