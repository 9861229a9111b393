/*
 * capture_options.c
 *	  The argument of a capture trigger: one JSON object, or none at all.
 *
 *	  {"entity_type": "user", "id_columns": ["id"], "columns": ["id", "email"], "exclude": ["password"],
 *	   "tenant": "org_id", "previous": true, "actions": ["new", "update", "delete"]}
 *
 * Called by capture_source.c when it builds its cached description of a
 * source. webhook.watch() writes this object, but triggers are written by hand
 * too, so every mistake has its message. All keys are optional, and null is
 * the same as absent. Names are only read here; whether such columns exist is
 * capture_source.c's question, and never an error.
 *
 * Nothing is kept: results live in the caller's memory context.
 */
#include "postgres.h"

#include "capture_options.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

/* Whose argument is being read, for messages. */
typedef struct OptionContext
{
	Relation relation;
	const Trigger *trigger;
} OptionContext;

#define OPTION_HINT                                                                                          \
	"Let webhook.watch() make the trigger. The keys are entity_type, id_columns, columns, exclude, tenant, " \
	"previous and actions."

static void
option_error_context(void *arg)
{
	OptionContext *context = arg;

	errcontext("argument of trigger \"%s\" on table \"%s\"", context->trigger->tgname,
			   RelationGetRelationName(context->relation));
}

static void
reject_option(const char *key, const char *expected)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid argument of webhook's capture trigger"),
					errdetail("The value of \"%s\" must be %s.", key, expected), errhint(OPTION_HINT)));
}

static char *
option_string(const char *key, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0)
		reject_option(key, "a string that is not empty");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static List *
option_strings(const char *key, const JsonbValue *value)
{
	List *strings = NIL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue element;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		reject_option(key, "an array of strings");
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (element.type != jbvString)
			reject_option(key, "an array of strings");
		strings = lappend(strings, option_string(key, &element));
	}
	return strings;
}

static int
option_actions(const char *key, const JsonbValue *value)
{
	int actions = 0;
	ListCell *cell;

	foreach (cell, option_strings(key, value))
	{
		const char *name = lfirst(cell);

		if (strcmp(name, "new") == 0)
			actions |= CAPTURE_NEW;
		else if (strcmp(name, "update") == 0)
			actions |= CAPTURE_UPDATE;
		else if (strcmp(name, "delete") == 0)
			actions |= CAPTURE_DELETE;
		else if (strcmp(name, "truncate") !=
				 0) /* has its own trigger, which makes an event whenever it fires */
			reject_option(key, "an array of actions: new, update, delete, truncate");
	}
	return actions;
}

static void
set_option(CaptureOptions *options, const char *key, const JsonbValue *value)
{
	if (value->type == jbvNull)
		return;
	if (strcmp(key, "entity_type") == 0)
		options->entity_type = option_string(key, value);
	else if (strcmp(key, "id_columns") == 0)
	{
		options->id_columns = option_strings(key, value);
		if (options->id_columns == NIL)
			reject_option(key, "an array of at least one column name");
	}
	else if (strcmp(key, "columns") == 0)
	{
		options->only_columns = true;
		options->columns = option_strings(key, value);
	}
	else if (strcmp(key, "exclude") == 0)
		options->exclude = option_strings(key, value);
	else if (strcmp(key, "tenant") == 0)
		options->tenant = option_string(key, value);
	else if (strcmp(key, "previous") == 0)
	{
		if (value->type != jbvBool)
			reject_option(key, "true or false");
		options->previous = value->val.boolean;
	}
	else if (strcmp(key, "actions") == 0)
	{
		options->only_actions = true;
		options->actions = option_actions(key, value);
	}
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid argument of webhook's capture trigger"),
						errdetail("There is no key \"%s\".", key), errhint(OPTION_HINT)));
}

static void
parse_object(CaptureOptions *options, const char *text)
{
	Jsonb *jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue value;
	char *key = NULL;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid argument of webhook's capture trigger"),
						errdetail("The argument must be a JSON object."), errhint(OPTION_HINT)));
	iterator = JsonbIteratorInit(&jsonb->root);
	/* The first token opens the object; after it, nested containers come whole. */
	(void) JsonbIteratorNext(&iterator, &value, false);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			set_option(options, key, &value);
	}
}

void
wh_parse_capture_options(CaptureOptions *options, Relation relation, const Trigger *trigger)
{
	OptionContext context = {relation, trigger};
	ErrorContextCallback callback = {error_context_stack, option_error_context, &context};

	memset(options, 0, sizeof(*options));
	if (trigger->tgnargs == 0)
		return;
	error_context_stack = &callback;
	if (trigger->tgnargs > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid argument of webhook's capture trigger"),
				 errdetail("There must be one argument, a JSON object, or none."), errhint(OPTION_HINT)));
	parse_object(options, trigger->tgargs[0]);
	error_context_stack = callback.previous;
}
