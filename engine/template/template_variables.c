/*
 * template_variables.c
 *	  The table of variables: a name, where it may be used, and its getter.
 *
 * A variable is looked up by name when a template is compiled; its getter is called
 * when the template is rendered. docs/profiles.md has the same table for people, and a
 * test compares the two. A getter reads the values it is given and nothing else. If it
 * must compose a value, it writes it to the scratch buffer, and the value points there.
 * No variable holds a secret. Variables that differ between attempts are not allowed in
 * envelopes.
 */
#include "template_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static WhValue
null_value(void)
{
	return (WhValue){WH_VALUE_NULL, NULL, 0};
}

static WhValue
text(const char *s)
{
	return s ? (WhValue){WH_VALUE_TEXT, s, strlen(s)} : null_value();
}

/* JSON from the database; null if it is empty. */
static WhValue
json(const char *at, size_t len)
{
	return wh_json_value(len > 0 ? at : NULL, len);
}

static WhValue
boolean(bool b)
{
	return b ? (WhValue){WH_VALUE_JSON, "true", 4} : (WhValue){WH_VALUE_JSON, "false", 5};
}

/* The value composed in the scratch buffer. Out of memory: it is null, and rendering fails. */
static WhValue
scratched(const WhBuffer *scratch, WhValueKind kind)
{
	return scratch->failed ? null_value() : (WhValue){kind, scratch->data, scratch->len};
}

static WhValue
number(int64_t n, WhBuffer *scratch)
{
	char digits[32];

	wh_buffer_reset(scratch);
	wh_buffer_append(scratch, digits, (size_t) snprintf(digits, sizeof(digits), "%" PRId64, n));
	return scratched(scratch, WH_VALUE_JSON);
}

/* Up to three texts joined; NULL counts as none. */
static WhValue
joined(WhBuffer *scratch, const char *a, const char *b, const char *c)
{
	wh_buffer_reset(scratch);
	wh_buffer_puts(scratch, a ? a : "");
	wh_buffer_puts(scratch, b ? b : "");
	wh_buffer_puts(scratch, c ? c : "");
	return scratched(scratch, WH_VALUE_TEXT);
}

/* prefix, instance, "_", number */
static WhValue
identifier(WhBuffer *scratch, const char *prefix, const char *instance, uint64_t n, bool negative)
{
	char tail[WH_INSTANCE_LEN + 32];

	snprintf(tail, sizeof(tail), "%.*s_%s%" PRIu64, WH_INSTANCE_LEN, instance ? instance : "",
			 negative ? "-" : "", n);
	return joined(scratch, prefix, tail, NULL);
}

/* ISO 8601 in UTC, always with six decimals. */
static WhValue
timestamp(int64_t us, WhBuffer *scratch)
{
	int64_t rest = us % 1000000;
	time_t seconds = (time_t) (us / 1000000 - (rest < 0));
	struct tm tm;
	char out[64];

	if (gmtime_r(&seconds, &tm) == NULL)
		return null_value();
	snprintf(out, sizeof(out), "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1,
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) (rest < 0 ? rest + 1000000 : rest));
	return joined(scratch, out, NULL, NULL);
}

static WhValue
unix_seconds(int64_t us, WhBuffer *scratch)
{
	return number(us / 1000000 - (us % 1000000 < 0), scratch);
}

static bool
is_action(const WhTemplateValues *v, const char *action_type)
{
	return v->event->action_type != NULL && strcmp(v->event->action_type, action_type) == 0;
}

static const char *
verb(const WhTemplateValues *v)
{
	static const char *const verbs[][2] = {
		{"new", "created"}, {"update", "updated"}, {"delete", "deleted"}, {"truncate", "truncated"}};

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (is_action(v, verbs[i][0]))
			return verbs[i][1];
	return v->event->action_type;
}

static bool
has_result(const WhTemplateValues *v)
{
	return json(v->event->result, v->event->result_len).kind != WH_VALUE_NULL;
}

/* A test, or one that its transaction's context marks as such. */
static bool
is_sandbox(const WhTemplateValues *v)
{
	WhValue context = text(v->event->context);
	WhValue mark;

	if (is_action(v, "test"))
		return true;
	if (context.kind == WH_VALUE_NULL)
		return false;
	mark = wh_json_find(json(context.at, context.len), "sandbox", strlen("sandbox"));
	if (mark.kind != WH_VALUE_JSON)
		return false;
	return mark.len == 4 && memcmp(mark.at, "true", 4) == 0;
}

/* ---- the event ---- */

#define GETTER(name)                                                                                         \
	static WhValue get_##name(const WhTemplateValues *v __attribute__((unused)),                             \
							  WhBuffer *scratch __attribute__((unused)))

GETTER(id)
{
	int64_t id = v->event->id;

	return identifier(scratch, v->event_prefix, v->instance, id < 0 ? 0 - (uint64_t) id : (uint64_t) id,
					  id < 0);
}

GETTER(number)
{
	return number(v->event->id, scratch);
}

/* As wide as the largest id, so that it sorts as text in the same order as a number. */
GETTER(sequence)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%019" PRId64, v->event->id);
	return joined(scratch, digits, NULL, NULL);
}

GETTER(transaction_id)
{
	return identifier(scratch, v->transaction_prefix, v->instance, v->event->xid, false);
}

GETTER(entity_id)
{
	return text(v->event->entity_id);
}

GETTER(entity_type)
{
	return text(v->event->entity_type);
}

GETTER(entity_title)
{
	WhValue title = joined(scratch, v->event->entity_type, NULL, NULL);

	if (title.len > 0 && title.at[0] >= 'a' && title.at[0] <= 'z')
		scratch->data[0] = (char) (scratch->data[0] - 'a' + 'A');
	return title;
}

GETTER(entity)
{
	return joined(scratch, v->event->entity_type, v->event->entity_id ? "/" : NULL, v->event->entity_id);
}

GETTER(action_type)
{
	return text(v->event->action_type);
}

GETTER(verb)
{
	return text(verb(v));
}

GETTER(type)
{
	return joined(scratch, v->event->entity_type, ".", verb(v));
}

GETTER(entity_action)
{
	return joined(scratch, v->event->entity_type, ".", v->event->action_type);
}

/* The value of an object's first member whose key begins with this. */
static WhValue
first_of(WhValue object, const char *prefix, size_t len)
{
	WhMembers members;
	WhMember member;

	if (object.kind == WH_VALUE_JSON && wh_json_members(object.at, object.len, &members))
		while (wh_json_next(&members, &member))
			if (member.key.len > len && memcmp(member.key.at, prefix, len) == 0)
				return wh_json_value(member.value.at, member.value.len);
	return (WhValue){.kind = WH_VALUE_NULL};
}

/* The receiver's own name for the event's type, from "event_types" in params. */
GETTER(mapped_type)
{
	WhValue types = wh_json_find(json(v->params, v->params_len), "event_types", strlen("event_types"));
	WhValue key;
	WhValue found;

	if (types.kind == WH_VALUE_NULL)
		return types;
	wh_buffer_reset(scratch);
	wh_json_escape(scratch, v->event->entity_type ? v->event->entity_type : "",
				   v->event->entity_type ? strlen(v->event->entity_type) : 0);
	wh_buffer_puts(scratch, ".");
	wh_json_escape(scratch, v->event->action_type ? v->event->action_type : "",
				   v->event->action_type ? strlen(v->event->action_type) : 0);
	key = scratched(scratch, WH_VALUE_TEXT);
	if (key.kind == WH_VALUE_NULL)
		return key;
	found = wh_json_find(types, key.at, key.len);
	/* receivers know no type for tests, so a test is sent as a type that they know */
	if (found.kind == WH_VALUE_NULL && is_action(v, "test"))
		found = first_of(types, key.at, key.len - strlen("test"));
	return found;
}

GETTER(tenant)
{
	return text(v->event->tenant);
}

GETTER(result)
{
	return json(v->event->result, v->event->result_len);
}

GETTER(previous)
{
	return json(v->event->previous, v->event->previous_len);
}

/* With a result, previous is what an update changed. Without one, it is the whole deleted row. */
GETTER(changes)
{
	return has_result(v) ? json(v->event->previous, v->event->previous_len) : null_value();
}

/* The row: as it is, else as it was, else only its id. */
GETTER(object)
{
	if (has_result(v))
		return json(v->event->result, v->event->result_len);
	if (json(v->event->previous, v->event->previous_len).kind != WH_VALUE_NULL)
		return json(v->event->previous, v->event->previous_len);
	wh_buffer_reset(scratch);
	wh_buffer_puts(scratch, v->event->entity_id ? "{\"id\":\"" : "{");
	if (v->event->entity_id)
	{
		wh_json_escape(scratch, v->event->entity_id, strlen(v->event->entity_id));
		wh_buffer_puts(scratch, "\"");
	}
	wh_buffer_puts(scratch, "}");
	return scratched(scratch, WH_VALUE_JSON);
}

GETTER(timestamp)
{
	return timestamp(v->event->created_us, scratch);
}

GETTER(unix)
{
	return unix_seconds(v->event->created_us, scratch);
}

GETTER(test)
{
	return boolean(is_action(v, "test"));
}

GETTER(sandbox)
{
	return boolean(is_sandbox(v));
}

GETTER(live)
{
	return boolean(!is_sandbox(v));
}

GETTER(mode)
{
	return text(is_sandbox(v) ? "test" : "live");
}

GETTER(context)
{
	const char *context = v->event->context;

	return context ? json(context, strlen(context)) : null_value();
}

/* ---- the subscription and the database ---- */

GETTER(param)
{
	return json(v->params, v->params_len);
}

GETTER(instance)
{
	return joined(scratch, v->instance, NULL, NULL);
}

GETTER(origin)
{
	return joined(scratch, "/webhook/", v->instance, NULL);
}

/* ---- the attempt ---- */

GETTER(attempt)
{
	return number(v->attempt, scratch);
}

GETTER(attempt_timestamp)
{
	return timestamp(v->attempt_us, scratch);
}

GETTER(attempt_unix)
{
	return unix_seconds(v->attempt_us, scratch);
}

#define HEADERS (1 << WH_TEMPLATE_HEADER)
#define ALL (HEADERS | 1 << WH_TEMPLATE_ENVELOPE)

static const WhVariable variables[] = {
	{"id", ALL, WH_SHAPE_SCALAR, get_id},
	{"number", ALL, WH_SHAPE_SCALAR, get_number},
	{"sequence", ALL, WH_SHAPE_SCALAR, get_sequence},
	{"transaction_id", ALL, WH_SHAPE_SCALAR, get_transaction_id},
	{"entity_id", ALL, WH_SHAPE_SCALAR, get_entity_id},
	{"entity_type", ALL, WH_SHAPE_SCALAR, get_entity_type},
	{"entity_title", ALL, WH_SHAPE_SCALAR, get_entity_title},
	{"entity", ALL, WH_SHAPE_SCALAR, get_entity},
	{"action_type", ALL, WH_SHAPE_SCALAR, get_action_type},
	{"verb", ALL, WH_SHAPE_SCALAR, get_verb},
	{"type", ALL, WH_SHAPE_SCALAR, get_type},
	{"entity_action", ALL, WH_SHAPE_SCALAR, get_entity_action},
	{"mapped_type", ALL, WH_SHAPE_SCALAR, get_mapped_type},
	{"tenant", ALL, WH_SHAPE_SCALAR, get_tenant},
	{"result", ALL, WH_SHAPE_JSON, get_result},
	{"previous", ALL, WH_SHAPE_JSON, get_previous},
	{"changes", ALL, WH_SHAPE_JSON, get_changes},
	{"object", ALL, WH_SHAPE_JSON, get_object},
	{"timestamp", ALL, WH_SHAPE_SCALAR, get_timestamp},
	{"unix", ALL, WH_SHAPE_SCALAR, get_unix},
	{"test", ALL, WH_SHAPE_SCALAR, get_test},
	{"sandbox", ALL, WH_SHAPE_SCALAR, get_sandbox},
	{"live", ALL, WH_SHAPE_SCALAR, get_live},
	{"mode", ALL, WH_SHAPE_SCALAR, get_mode},
	{"context", ALL, WH_SHAPE_JSON, get_context},
	{"param", ALL, WH_SHAPE_JSON, get_param},
	{"instance", ALL, WH_SHAPE_SCALAR, get_instance},
	{"origin", ALL, WH_SHAPE_SCALAR, get_origin},
	{"attempt", HEADERS, WH_SHAPE_SCALAR, get_attempt},
	{"attempt_timestamp", HEADERS, WH_SHAPE_SCALAR, get_attempt_timestamp},
	{"attempt_unix", HEADERS, WH_SHAPE_SCALAR, get_attempt_unix},
};

#define N_VARIABLES (sizeof(variables) / sizeof(variables[0]))

const WhVariable *
wh_variable_find(const char *name, size_t len)
{
	for (size_t i = 0; i < N_VARIABLES; i++)
		if (strlen(variables[i].name) == len && memcmp(variables[i].name, name, len) == 0)
			return &variables[i];
	return NULL;
}

const char *
wh_template_variable(size_t i, unsigned int *kinds)
{
	if (i >= N_VARIABLES)
		return NULL;
	*kinds = variables[i].kinds;
	return variables[i].name;
}
