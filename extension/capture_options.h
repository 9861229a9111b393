/*
 * capture_options.h
 *	  The argument of a capture trigger, as given.
 */
#ifndef WEBHOOK_CAPTURE_OPTIONS_H
#define WEBHOOK_CAPTURE_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

/* Actions of rows as a set of bits. */
#define CAPTURE_NEW (1 << 0)
#define CAPTURE_UPDATE (1 << 1)
#define CAPTURE_DELETE (1 << 2)

/* What the argument says; lists are of char *, and what was not given is NULL, NIL, 0 or false. */
typedef struct CaptureOptions
{
	char *entity_type;
	List *id_columns;
	bool only_columns; /* columns was given, be it empty */
	List *columns;
	List *exclude;
	char *tenant;
	bool previous;
	bool only_actions; /* actions was given, be it empty */
	int actions;       /* CAPTURE_... */
} CaptureOptions;

/* Parse into the current memory context. A trigger that was not made by webhook.watch() may hold anything. */
extern void wh_parse_capture_options(CaptureOptions *options, Relation relation, const Trigger *trigger);

#endif /* WEBHOOK_CAPTURE_OPTIONS_H */
