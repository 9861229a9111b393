/*
 * route.c
 *	  Which subscriptions the events of a page are for.
 *
 * The index is made when subscriptions are read. A page is matched inside its
 * transaction. The index finds the subscriptions that want an event's tenant,
 * entity type and action; the other conditions are checked here, and those on the
 * event's content in route_content.c. An event is read when the first subscription
 * may want it, and never if none does.
 *
 * Reading an event and judging its content can fail: a filter may meet values that
 * it cannot compare, or take too much time or memory. So matching runs in a
 * subtransaction, one for the whole page, and continues in another one after an
 * error. If no subscription looks at content and no row is large, there is none.
 *
 * A page ends before the event that would make it too large, or for which no time
 * is left. That may be within an event: the verdicts on it so far are kept for the
 * next page, which begins with it.
 *
 * Owns those verdicts.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "grow.h"
#include "fault.h"
#include "filter.h"
#include "clock.h"
#include "memory_limit.h"
#include "route.h"
#include "filter_strikes.h"
#include "suspect.h"
#include "store.h"
#include "store_event.h"
#include "store_read.h"
#include "store_subscriptions.h"
#include "tx_guard.h"

#define GUARD_FROM 2000 /* bytes of a row whose values may lie out of line */

/* The verdicts on the candidates of one event, in their order. */
typedef struct Verdict
{
	int64 subscription_id;
	bool is_for_it;
	const char *why;
} Verdict;

static struct
{
	int64 event_number; /* 0: none */
	int n;
	int cap;
	Verdict *list;
	MemoryContext context;
} so_far;

/* The walk over a page's events and their routes. It can continue after an error. */
typedef struct Walk
{
	const WhRoutes *routes;
	WhPage *page;
	WhMatches *out;
	MemoryContext context; /* of `out` */
	int event;
	Size bytes;        /* of the events read */
	TimestampTz until; /* events are judged until then */
	bool judged;       /* some event of this page was */
	bool begun;        /* the event's own walk: */
	int first_match;   /* of the event */
	int n_verdicts;    /* how many of the verdicts so far have been used */
	bool reading;      /* an error now comes from reading the event */
	WhRouteScan scan;
	WhContent content;
	const WhRoute *route;
} Walk;

WhRoutes *
wh_routes_make(List *all)
{
	WhRoutes *routes = palloc0(sizeof(WhRoutes));
	ListCell *lc;
	int n = 0;

	so_far.event_number = 0;
	routes->all = all;
	foreach (lc, all)
		n += Max(1, ((WhRoute *) lfirst(lc))->n_events);
	routes->index =
		wh_route_index_init(MemoryContextAllocHuge(CurrentMemoryContext, wh_route_index_size(n)), n);
	foreach (lc, all)
	{
		WhRoute *route = lfirst(lc);

		wh_strikes_reread(route->id);
		if (!route->active)
			continue;
		if (route->filter)
			route->filter_shape = wh_filter_shape(route->filter);
		wh_route_index_enter(routes->index, route->tenant, route->events, route->n_events, route);
		routes->by_content = routes->by_content || wh_content_matters(route);
	}
	return routes;
}

const WhRoute *
wh_route_find(const WhRoutes *routes, int64 id)
{
	int low = 0;
	int high = list_length(routes->all);

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		const WhRoute *route = list_nth(routes->all, middle);

		if (route->id == id)
			return route;
		if (route->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* An operational event is not for the subscription that it is about. */
static bool
is_about(const WhEvent *event, const WhRoute *route)
{
	return event->entity_id && strcmp(event->entity_id, route->name) == 0;
}

static void
add(Walk *walk, const char *why, bool keep)
{
	WhMatches *out = walk->out;

	if (out->n == out->cap)
		out->list = wh_grow(walk->context, out->list, &out->cap, 1024, sizeof(WhMatch));
	out->list[out->n++] = (WhMatch){.event = walk->event,
									.route = walk->route,
									.why = why,
									.keep = keep,
									.unjudged = keep && wh_content_matters(walk->route)};
}

/*
 * Verdicts
 */

/* Forgets those of another event. */
static void
begin_verdicts(int64 event_number)
{
	if (so_far.event_number == event_number)
		return;
	if (so_far.context == NULL)
		so_far.context = AllocSetContextCreate(TopMemoryContext, "webhook verdicts", ALLOCSET_SMALL_SIZES);
	if (so_far.n > 0)
	{
		MemoryContextReset(so_far.context);
		so_far.list = NULL;
		so_far.n = so_far.cap = 0;
	}
	so_far.event_number = event_number;
}

static void
note_verdict(const WhRoute *route, bool is_for_it, const char *why)
{
	if (so_far.n == so_far.cap)
		so_far.list = wh_grow(so_far.context, so_far.list, &so_far.cap, 16, sizeof(Verdict));
	so_far.list[so_far.n++] = (Verdict){.subscription_id = route->id,
										.is_for_it = is_for_it,
										.why = why ? MemoryContextStrdup(so_far.context, why) : NULL};
}

static void
take_verdict(Walk *walk, const Verdict *verdict)
{
	if (verdict->why)
		add(walk, MemoryContextStrdup(walk->context, verdict->why), false);
	else if (verdict->is_for_it)
		add(walk, NULL, false);
}

/*
 * The walk
 */

/* Read the event. False: not now, the page ends before it. */
static bool
read_event(Walk *walk)
{
	WhRow *row = &walk->page->rows[walk->event];
	const char *why;

	if (row->event)
		return true;
	if ((why = wh_suspect_why(row->head.id, 0)) != NULL)
	{
		wh_row_unread(row, why);
		return true;
	}
	if (walk->bytes > 0 && walk->bytes + row->size > WH_PAGE_BYTES)
		return false;
	if (!wh_suspect_may(&row->head, 0))
		return false;
	walk->reading = true;
	if (row->size > WH_PAGE_BYTES / 8)
	{
		WH_FAULT("large");
		wh_memory_limit_restore(); /* its memory does not count for the filters */
	}
	walk->bytes += wh_row_event(row)->size;
	if (row->size > WH_PAGE_BYTES / 8 && walk->routes->by_content)
		wh_memory_limit_narrow(WH_FILTER_MEMORY);
	walk->reading = false;
	return true;
}

/* Judge the event by its content. False: not now. */
static bool
judge(Walk *walk)
{
	const WhEvent *event = walk->page->rows[walk->event].event;
	const WhRoute *route = walk->route;
	const char *why;
	bool is_for_it;

	/* verdicts are in the order of the candidates; if that has changed, the rest is void */
	if (walk->n_verdicts < so_far.n)
	{
		const Verdict *verdict = &so_far.list[walk->n_verdicts];

		if (verdict->subscription_id == route->id)
		{
			walk->n_verdicts++;
			take_verdict(walk, verdict);
			return true;
		}
		so_far.n = walk->n_verdicts;
	}
	if ((why = wh_suspect_why(event->id, route->id)) == NULL)
	{
		if (walk->judged && wh_now() >= walk->until)
			return false;
		if (!wh_suspect_may(event, route->id))
			return false;
		walk->judged = true;
		wh_content_begin(&walk->content, event);
		is_for_it = wh_content_matches(&walk->content, route, &why);
		wh_strikes_forget(route->id);
	}
	else
		is_for_it = false;
	note_verdict(route, is_for_it, why);
	take_verdict(walk, &so_far.list[walk->n_verdicts++]);
	return true;
}

/* A route that the index has found. False: the page ends before this event. */
static bool
candidate(Walk *walk)
{
	WhRow *row = &walk->page->rows[walk->event];
	const WhRoute *route = walk->route;
	bool direct = row->head.subscription_id != 0;

	if (!direct && walk->scan.operational && is_about(&row->head, route))
		return true;
	if (!direct && (route->paused || wh_strikes_out(route->id)))
	{
		wh_row_light(row);
		add(walk, NULL, true);
		return true;
	}
	if (!read_event(walk))
		return false;
	if (direct || !wh_content_matters(route))
		add(walk, NULL, false);
	else if (row->event->problem)
		add(walk, row->event->problem, false);
	else
		return judge(walk);
	return true;
}

static const WhRoute *
next_candidate(Walk *walk)
{
	/* an event for one subscription alone has one candidate */
	return walk->page->rows[walk->event].head.subscription_id != 0 ? NULL : wh_route_scan_next(&walk->scan);
}

static bool
route_event(Walk *walk)
{
	const WhEvent *head = &walk->page->rows[walk->event].head;

	if (!walk->begun)
	{
		walk->first_match = walk->out->n;
		walk->n_verdicts = 0;
		if (walk->routes->by_content)
			begin_verdicts(head->id);
		if (head->subscription_id != 0)
			walk->route = wh_route_find(walk->routes, head->subscription_id);
		else
		{
			wh_route_scan_begin(&walk->scan, walk->routes->index, head->tenant, head->entity_type,
								head->action_type);
			walk->route = wh_route_scan_next(&walk->scan);
		}
		walk->begun = true;
	}
	for (; walk->route; walk->route = next_candidate(walk))
		if (!candidate(walk))
		{
			walk->out->n = walk->first_match;
			return false;
		}
	if (head->subscription_id == 0)
		walk->out->n_looked_at += walk->scan.looked_at;
	return true;
}

static void
route_on(void *arg)
{
	Walk *walk = arg;

	if (walk->routes->by_content)
		wh_memory_limit_narrow(WH_FILTER_MEMORY);
	for (; walk->event < walk->page->n && walk->out->n < WH_MATCHES_MAX; walk->event++)
	{
		if (!route_event(walk))
			break;
		walk->begun = false;
	}
	wh_memory_limit_restore();
}

/* Was a limit exceeded? */
static bool
is_limit(int code)
{
	return code == WH_TIME_EXCEEDED || code == ERRCODE_OUT_OF_MEMORY;
}

/* After an error. True: continue where it happened. False: the page ends before this event. */
static bool
after_error(Walk *walk, int code, const char *why)
{
	/* making jsonb of a large event does not count against the filter */
	bool filter = walk->content.making == WH_PARTS;

	if (walk->reading)
	{
		walk->reading = false;
		if ((code == ERRCODE_OUT_OF_MEMORY || wh_code_is_lock(code)) && walk->event > 0)
		{
			/* it may fit when it is the first of a page; and what is before it waits for nobody's lock */
			walk->out->n = walk->first_match;
			return false;
		}
		if (wh_code_is_lock(code)) /* nothing is wrong with the event: the step waits */
			ereport(ERROR, errcode(code), errmsg_internal("%s", why));
		wh_row_unread(&walk->page->rows[walk->event], psprintf("the event could not be read: %s", why));
		return true;
	}
	if (!walk->routes->by_content)
		/* neither reading nor judging: the step has failed, and is repeated */
		ereport(ERROR, errcode(code), errmsg_internal("%s", why));
	why = wh_content_failed(&walk->content, code, why);
	note_verdict(walk->route, false, why);
	take_verdict(walk, &so_far.list[walk->n_verdicts++]);
	if (filter && is_limit(code))
		wh_strike(walk->route->id, walk->page->rows[walk->event].head.id, why);
	walk->route = next_candidate(walk);
	return true;
}

static bool
needs_guard(const WhRoutes *routes, const WhPage *page)
{
	if (routes->by_content)
		return true;
	for (int i = 0; i < page->n; i++)
		if (page->rows[i].size > GUARD_FROM || page->rows[i].claims)
			return true;
	return false;
}

void
wh_route_page(const WhRoutes *routes, WhPage *page, WhMatches *out)
{
	Walk walk = {.routes = routes, .page = page, .out = out, .context = CurrentMemoryContext};
	const char *why;
	int code;

	memset(out, 0, sizeof(*out));
	if (!needs_guard(routes, page))
		route_on(&walk);
	else
	{
		walk.until = TimestampTzPlusMilliseconds(wh_now(), WH_JUDGING_MS);
		wh_content_open(&walk.content, CurrentMemoryContext);
		while (!wh_tx_guarded(route_on, &walk, &code, &why) && after_error(&walk, code, why))
			;
		wh_content_close(&walk.content);
	}
	out->n_events = walk.event;
}

/*
 * One event for one subscription
 */

typedef struct Judging
{
	WhContent content;
	const WhRoute *route;
	const WhEvent *event;
	bool is_for_it;
	const char *why;
} Judging;

static void
judge_one(void *arg)
{
	Judging *j = arg;

	wh_memory_limit_narrow(WH_FILTER_MEMORY);
	wh_content_begin(&j->content, j->event);
	j->is_for_it = wh_content_matches(&j->content, j->route, &j->why);
	wh_memory_limit_restore();
}

WhJudgement
wh_route_judge(const WhRoutes *routes, const WhEvent *event, int64 subscription_id, const char **why)
{
	Judging j = {.route = wh_route_find(routes, subscription_id), .event = event};
	bool filter;
	int code;

	if (j.route == NULL || !wh_content_matters(j.route))
		return WH_IS_FOR_IT; /* by what it wants now */
	if (event->problem || (*why = wh_suspect_why(event->id, subscription_id)) != NULL)
	{
		*why = event->problem ? event->problem : *why;
		return WH_CANNOT_JUDGE;
	}
	if (wh_strikes_out(subscription_id) || !wh_suspect_may_put_off(event, subscription_id))
		return WH_NOT_NOW;
	wh_content_open(&j.content, CurrentMemoryContext);
	if (!wh_tx_guarded(judge_one, &j, &code, &j.why))
	{
		filter = j.content.making == WH_PARTS;
		j.why = wh_content_failed(&j.content, code, j.why);
		if (filter && is_limit(code))
			wh_strike(subscription_id, event->id, j.why);
		wh_content_close(&j.content);
		*why = j.why;
		return WH_CANNOT_JUDGE;
	}
	wh_content_close(&j.content);
	wh_strikes_forget(subscription_id);
	*why = j.why;
	return j.why ? WH_CANNOT_JUDGE : j.is_for_it ? WH_IS_FOR_IT : WH_IS_NOT_FOR_IT;
}
