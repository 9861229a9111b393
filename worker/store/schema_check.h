/*
 * schema_check.h
 *	  Are our tables as the extension made them, and its owner's alone?
 */
#ifndef WEBHOOK_SCHEMA_CHECK_H
#define WEBHOOK_SCHEMA_CHECK_H

#include "postgres.h"

/* Once per process: from now on, no statement begins on tables that were altered and not checked since. */
extern void wh_schema_guard(void);
/* NULL, or what is wrong with our tables, for people. */
extern const char *wh_schema_problem(Oid schema);
/* An invalidation for this relation has come. */
extern void wh_schema_changed(Oid relid);
/* With the locks of a statement: may it run, and may its rows be read? Else an error. */
extern void wh_schema_check(void);

#endif /* WEBHOOK_SCHEMA_CHECK_H */
