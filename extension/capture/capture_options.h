/*
 * capture_options.h
 *	  The argument of a capture trigger, as given.
 */
#ifndef WEBHOOK_CAPTURE_OPTIONS_H
#define WEBHOOK_CAPTURE_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* Actions of rows as a set of bits. */
#define CAPTURE_NEW (1 << 0)
#define CAPTURE_UPDATE (1 << 1)
#define CAPTURE_DELETE (1 << 2)

/* What the argument says; lists are of char *, and what was not given is NULL, NIL, 0 or false. */
typedef struct CaptureOptions
{
	const char *problem; /* why the argument cannot be used; the rest then means nothing. NULL: it can */
	const char *entity_type;
	List *id_columns;
	bool only_columns; /* columns was given, be it empty */
	List *columns;
	bool has_exclude; /* exclude_columns was given, be it empty */
	List *exclude_columns;
	const char *tenant;
	bool previous;
	bool only_actions; /* action_types was given, be it empty */
	int action_types;  /* CAPTURE_... */
} CaptureOptions;

/*
 * Parse into the current memory context. A trigger that was not made by
 * webhook.watch() may hold anything: whatever it holds, there is no error.
 * argument: the first one, where there is one. table_name: the entity type
 * where the argument names none.
 */
extern void wh_parse_capture_options(CaptureOptions *options, int nargs, const char *argument,
									 const char *table_name);

/* Is this the entity type of operational events, or one that a receiver might take for it? */
extern bool wh_is_reserved_entity_type(const char *entity_type);

#endif /* WEBHOOK_CAPTURE_OPTIONS_H */
