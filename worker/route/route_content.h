/*
 * route_content.h
 *	  Is an event for a subscription, by what it holds: filter, changed,
 *	  exclude_origins?
 */
#ifndef WEBHOOK_ROUTE_CONTENT_H
#define WEBHOOK_ROUTE_CONTENT_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "store_subscriptions.h"

/* What of an event is made jsonb, each when it is first asked for. */
typedef enum WhPart
{
	WH_PART_WHOLE,    /* what a filter looks at */
	WH_PART_PREVIOUS, /* whose keys are the columns that an update changed */
	WH_PART_CONTEXT,  /* which has the origin */
	WH_PARTS
} WhPart;

typedef struct WhContent
{
	MemoryContext context; /* all in it is for one event, and reset with it */
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

/* Its contexts, within this one; and away with them. */
extern void wh_content_open(WhContent *content, MemoryContext parent);
extern void wh_content_close(WhContent *content);

/* Does this subscription ask for content at all? */
extern bool wh_content_matters(const WhRoute *route);

/* What is judged is this event; may be said again. */
extern void wh_content_begin(WhContent *content, const WhEvent *event);

/*
 * Is the event for it? Also where that cannot be told because of a part that
 * failed before: then `why` says so. An error is to be reported to
 * wh_content_failed, which makes a reason for people of it, in the current
 * memory context.
 */
extern bool wh_content_matches(WhContent *content, const WhRoute *route, const char **why);
extern const char *wh_content_failed(WhContent *content, int code, const char *why);

#endif /* WEBHOOK_ROUTE_CONTENT_H */
