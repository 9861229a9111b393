/*
 * route_content.h
 *	  Is an event for a subscription, by its content: filter, changed_columns,
 *	  exclude_origins?
 */
#ifndef WEBHOOK_ROUTE_CONTENT_H
#define WEBHOOK_ROUTE_CONTENT_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "store_subscriptions.h"

/* The parts of an event that are made jsonb, each when it is first needed. */
typedef enum WhPart
{
	WH_PART_WHOLE,    /* what a filter looks at */
	WH_PART_PREVIOUS, /* whose keys are the columns that an update changed */
	WH_PART_CONTEXT,  /* which has the origin */
	WH_PARTS
} WhPart;

typedef struct WhContent
{
	MemoryContext context; /* for one event, reset with it */
	MemoryContext scratch; /* for one filter */
	const WhEvent *event;
	struct
	{
		bool made;
		Jsonb *jsonb;    /* NULL: the event has none */
		const char *why; /* NULL; else why it could not be made */
	} part[WH_PARTS];
	int making; /* the part under way; WH_PARTS: a filter is evaluated */
} WhContent;

/* Create its contexts within this one; delete them. */
extern void wh_content_open(WhContent *content, MemoryContext parent);
extern void wh_content_close(WhContent *content);

/* Does this subscription look at content at all? */
extern bool wh_content_matters(const WhRoute *route);

/* This event is judged from now on; may be called again for the same one. */
extern void wh_content_begin(WhContent *content, const WhEvent *event);

/*
 * Is the event for it? True with `why` set if that cannot be determined, because a
 * part failed before. The caller passes an error to wh_content_failed, which makes
 * a reason for people of it, in the current memory context.
 */
extern bool wh_content_matches(WhContent *content, const WhRoute *route, const char **why);
extern const char *wh_content_failed(WhContent *content, int code, const char *why);

#endif /* WEBHOOK_ROUTE_CONTENT_H */
