/*
 * capture_options.h
 *	  The argument of a capture trigger, as given.
 */
#ifndef WEBHOOK_CAPTURE_OPTIONS_H
#define WEBHOOK_CAPTURE_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* Action types of rows, as a set of bits. */
#define CAPTURE_NEW (1 << 0)
#define CAPTURE_UPDATE (1 << 1)
#define CAPTURE_DELETE (1 << 2)

/* The argument's values. Lists are of char *. What was not given is NULL, NIL, 0 or false. */
typedef struct CaptureOptions
{
	const char *problem; /* why the argument is invalid (the rest is undefined); NULL: it is not */
	const char *entity_type;
	List *id_columns;
	bool only_columns; /* columns was given, perhaps empty */
	List *columns;
	bool has_exclude; /* exclude_columns was given, perhaps empty */
	List *exclude_columns;
	const char *tenant;
	bool previous;
	bool only_actions; /* action_types was given, perhaps empty */
	int action_types;  /* CAPTURE_... */
} CaptureOptions;

/*
 * Parse into the current memory context. Never raises an error: a trigger that was not
 * made by webhook.watch() may hold anything. argument: the first one, if nargs > 0.
 * table_name: the entity type, if the argument names none.
 */
extern void wh_parse_capture_options(CaptureOptions *options, int nargs, const char *argument,
									 const char *table_name);

/* Is this the entity type of operational events, or might a receiver take it for that? */
extern bool wh_is_reserved_entity_type(const char *entity_type);

#endif /* WEBHOOK_CAPTURE_OPTIONS_H */
