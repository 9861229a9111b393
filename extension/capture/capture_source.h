/*
 * capture_source.h
 *	  What capture needs to know of a source, determined once.
 */
#ifndef WEBHOOK_CAPTURE_SOURCE_H
#define WEBHOOK_CAPTURE_SOURCE_H

#include "postgres.h"

#include "capture_options.h"
#include "key_text.h"
#include "row_json.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"

/* A column whose change makes an UPDATE an event. */
typedef struct WatchedColumn
{
	AttrNumber attnum;
	int16 len;
	bool byval;
} WatchedColumn;

/* A trigger of a table above this partition. If it makes an event, this trigger makes none. */
typedef struct CaptureSuperior
{
	struct CaptureSource *source;
	int16 type;   /* its tgtype */
	char enabled; /* its tgenabled */
} CaptureSuperior;

typedef struct CaptureSource
{
	MemoryContext context; /* holds all of this */
	Oid trigger;
	Oid relation;
	Oid root;      /* topmost ancestor of a partition, else the relation itself */
	bool stale;    /* something has changed: build it again before the next use */
	bool unusable; /* the trigger's argument is invalid: no events, and the rest is undefined */

	char *entity_type;
	int action_types; /* CAPTURE_... that make events */
	bool previous;

	int nkeys; /* 0: the entity has no id */
	KeyColumn *keys;
	KeyColumn *tenant; /* NULL: none */
	int ncolumns;
	JsonColumn *columns;            /* captured: result and previous hold these */
	WatchedColumn *captured_images; /* the same columns, for comparing */
	int nwatched;
	WatchedColumn *watched;    /* all columns whose change makes an event */
	AttrNumber last_attribute; /* the highest attribute number among all of these */
	int nsuperiors;
	CaptureSuperior *superiors;

	int size_hint; /* bytes to allocate for the next result */
} CaptureSource;

/*
 * The description of the trigger's source. It is valid to the end of the transaction,
 * whatever happens meanwhile.
 */
extern CaptureSource *wh_capture_source(Relation relation, const Trigger *trigger);

#endif /* WEBHOOK_CAPTURE_SOURCE_H */
