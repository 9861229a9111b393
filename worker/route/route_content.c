/*
 * route_content.c
 *	  Is an event for a subscription, by its content: filter, changed_columns,
 *	  exclude_origins?
 *
 * Runs in a subtransaction: what is called here may raise errors. Only filters have
 * a time limit (filter.c). Making jsonb of an event's JSON takes as long as it is
 * large, and like the rest it is bounded by the memory for judging. It is done once
 * per event, however many subscriptions look at it. All text here is in the
 * database's encoding, as are the names and filters that it is compared with.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "filter.h"
#include "route_content.h"
#include "settings.h"
#include "store.h"
#include "store_subscriptions.h"
#include "tx_guard.h"

static const char *const could_not[] = {[WH_PART_WHOLE] = "filter could not be evaluated",
										[WH_PART_PREVIOUS] = "changed columns could not be determined",
										[WH_PART_CONTEXT] = "origin could not be determined",
										[WH_PARTS] = "filter could not be evaluated"};

bool
wh_content_matters(const WhRoute *route)
{
	return route->filter || route->n_changed >= 0 || route->n_exclude_origins >= 0 || route->unmatched;
}

void
wh_content_open(WhContent *content, MemoryContext parent)
{
	memset(content, 0, sizeof(*content));
	content->context = AllocSetContextCreate(parent, "webhook event", ALLOCSET_DEFAULT_SIZES);
	content->scratch = AllocSetContextCreate(parent, "webhook filter", ALLOCSET_DEFAULT_SIZES);
}

void
wh_content_close(WhContent *content)
{
	MemoryContextDelete(content->context);
	MemoryContextDelete(content->scratch);
}

void
wh_content_begin(WhContent *content, const WhEvent *event)
{
	if (content->event == event)
		return;
	if (content->event)
		MemoryContextReset(content->context);
	content->event = event;
	memset(content->part, 0, sizeof(content->part));
	content->making = WH_PARTS;
}

static void
append_json(StringInfo out, const char *key, const char *json)
{
	appendStringInfo(out, ", \"%s\": %s", key, json ? wh_from_utf8(json) : "null");
}

static void
append_string(StringInfo out, const char *key, const char *string)
{
	appendStringInfo(out, ", \"%s\": ", key);
	if (string)
		escape_json(out, wh_from_utf8(string));
	else
		appendStringInfoString(out, "null");
}

/* The JSON text of a part; NULL: the event has none. */
static char *
part_text(const WhEvent *event, WhPart part)
{
	const char *json = part == WH_PART_PREVIOUS ? event->previous : event->context;
	StringInfoData out;

	if (part != WH_PART_WHOLE)
		return wh_from_utf8(json);
	initStringInfo(&out);
	append_json(&out, "result", event->result);
	append_json(&out, "previous", event->previous);
	append_string(&out, "entity_type", event->entity_type);
	append_string(&out, "action_type", event->action_type);
	append_string(&out, "tenant", event->tenant);
	append_json(&out, "context", event->context);
	appendStringInfoChar(&out, '}');
	out.data[0] = '{'; /* where the first comma was */
	return out.data;
}

static const Jsonb *
part_of(WhContent *content, WhPart part)
{
	if (!content->part[part].made)
	{
		MemoryContext old = MemoryContextSwitchTo(content->context);
		char *text;

		content->making = part;
		text = part_text(content->event, part);
		if (text)
			content->part[part].jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
		if (text && part == WH_PART_WHOLE)
			pfree(text);
		content->part[part].made = true;
		content->making = WH_PARTS;
		MemoryContextSwitchTo(old);
	}
	return content->part[part].jsonb;
}

/* The value of a key of a JSON object; NULL where it has no such key, or is no object. */
static JsonbValue *
value_of(const Jsonb *jsonb, const char *key, JsonbValue *value)
{
	if (jsonb == NULL || !JB_ROOT_IS_OBJECT(jsonb))
		return NULL;
	return getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &jsonb->root), key, strlen(key), value);
}

static bool
from_excluded_origin(const Jsonb *context, const WhRoute *route)
{
	JsonbValue origin;

	if (value_of(context, "origin", &origin) == NULL || origin.type != jbvString)
		return false;
	for (int i = 0; i < route->n_exclude_origins; i++)
		if ((size_t) origin.val.string.len == strlen(route->exclude_origins[i]) &&
			memcmp(origin.val.string.val, route->exclude_origins[i], origin.val.string.len) == 0)
			return true;
	return false;
}

/* If the source does not keep old values, this is unknown: the update is sent rather than missed. */
static bool
changed_one_of_them(const Jsonb *previous, const WhRoute *route)
{
	JsonbValue value;

	if (previous == NULL)
		return true;
	for (int i = 0; i < route->n_changed; i++)
		if (value_of(previous, route->changed[i], &value))
			return true;
	return false;
}

static bool
filter_is_true(WhContent *content, const WhRoute *route)
{
	const Jsonb *whole = part_of(content, WH_PART_WHOLE);
	MemoryContext old;
	bool is_true;

	MemoryContextReset(content->scratch); /* a filter that failed has left it full */
	old = MemoryContextSwitchTo(content->scratch);
	is_true = wh_filter_is_true(route->filter, route->filter_shape, whole);
	MemoryContextSwitchTo(old);
	MemoryContextReset(content->scratch);
	return is_true;
}

bool
wh_content_matches(WhContent *content, const WhRoute *route, const char **why)
{
	bool is_update = strcmp(content->event->action_type, "update") == 0;

	*why = route->unmatched ? "the subscription is too large to be matched with events" : NULL;
	if (*why)
		return true;
	if (route->n_exclude_origins >= 0)
	{
		if ((*why = content->part[WH_PART_CONTEXT].why) != NULL)
			return true;
		if (from_excluded_origin(part_of(content, WH_PART_CONTEXT), route))
			return false;
	}
	if (route->n_changed >= 0 && is_update)
	{
		if ((*why = content->part[WH_PART_PREVIOUS].why) != NULL)
			return true;
		if (!changed_one_of_them(part_of(content, WH_PART_PREVIOUS), route))
			return false;
	}
	if (route->filter == NULL)
		return true;
	*why = content->part[WH_PART_WHOLE].why;
	return *why || filter_is_true(content, route);
}

const char *
wh_content_failed(WhContent *content, int code, const char *why)
{
	const char *reason;

	MemoryContextReset(content->scratch);
	if (code == WH_TIME_EXCEEDED)
		why = psprintf("it took more than %d ms", wh_filter_timeout);
	else if (code == ERRCODE_OUT_OF_MEMORY)
		why = psprintf("it needs more than %d MB of memory", WH_FILTER_MEMORY / 1024 / 1024);
	reason = psprintf("%s: %s", could_not[content->making], why);

	if (content->making < WH_PARTS)
	{
		/* what is half made may be large; the reason is kept, so that not every subscription tries again */
		MemoryContextReset(content->context);
		for (int i = 0; i < WH_PARTS; i++)
			content->part[i].made = false;
		content->part[content->making].why =
			MemoryContextStrdup(MemoryContextGetParent(content->context), reason);
	}
	content->making = WH_PARTS;
	return reason;
}
