/*
 * schema_check.h
 *	  Are our tables as the extension made them, and its owner's alone?
 */
#ifndef WEBHOOK_SCHEMA_CHECK_H
#define WEBHOOK_SCHEMA_CHECK_H

#include "postgres.h"

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

#endif /* WEBHOOK_SCHEMA_CHECK_H */
