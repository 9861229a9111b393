/*
 * capture_options.c
 *	  The argument of a capture trigger: one JSON object, or none.
 *
 *	  {"entity_type": "user", "id_columns": ["id"], "columns": ["id", "email"],
 *	   "exclude_columns": ["password"], "tenant": "org_id", "keep_previous": true,
 *	   "action_types": ["new", "update", "delete"]}
 *
 * webhook.watch() writes this object, but people write triggers by hand too. Two places
 * read it: capture, during somebody's statement; and the view webhook.source, for
 * everybody. Neither may fail because of one trigger. So there is one parser, and it
 * raises no error. An argument that it cannot use has a `problem`: capture then warns
 * and makes no event, and the view shows the problem. All keys are optional; null is the
 * same as absent. capture_source.c checks whether the columns exist.
 *
 * Nothing is kept: results are in the caller's memory context.
 */
#include "postgres.h"

#include "capture_options.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "compat.h"
#include "fmgr.h"
#include "funcapi.h"
#include "json_depth.h"
#include "mb/pg_wchar.h"
#include "result_row.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(webhook_capture_argument);

#define OPERATIONAL_ENTITY_TYPE "webhook_subscription"
#define ENTITY_TYPE_MAX 200 /* characters, as webhook.watch() allows */

/* The object, and arrays of strings in it. */
#define ARGUMENT_DEPTH 2

typedef enum OptionKind
{
	OPTION_STRING,
	OPTION_STRINGS,
	OPTION_BOOLEAN
} OptionKind;

typedef enum OptionId
{
	OPTION_ENTITY_TYPE,
	OPTION_ID_COLUMNS,
	OPTION_COLUMNS,
	OPTION_EXCLUDE,
	OPTION_TENANT,
	OPTION_PREVIOUS,
	OPTION_ACTIONS,
	OPTIONS
} OptionId;

static const struct
{
	const char *name;
	OptionKind kind;
	bool is_columns; /* names columns */
	const char *expected;
} options_known[OPTIONS] = {
	[OPTION_ENTITY_TYPE] = {"entity_type", OPTION_STRING, false, "a non-empty string"},
	[OPTION_ID_COLUMNS] = {"id_columns", OPTION_STRINGS, true, "an array of column names"},
	[OPTION_COLUMNS] = {"columns", OPTION_STRINGS, true, "an array of column names"},
	[OPTION_EXCLUDE] = {"exclude_columns", OPTION_STRINGS, true, "an array of column names"},
	[OPTION_TENANT] = {"tenant", OPTION_STRING, true, "a column name"},
	[OPTION_PREVIOUS] = {"keep_previous", OPTION_BOOLEAN, false, "true or false"},
	[OPTION_ACTIONS] = {"action_types", OPTION_STRINGS, false,
						"an array of new, update, delete and truncate"},
};

typedef struct OptionValue
{
	bool given;
	List *strings; /* of char *; a string is a list of one */
	bool boolean;
} OptionValue;

typedef struct OptionParse
{
	int depth;
	int option; /* its value is being read; OPTIONS: the key is unknown */
	OptionValue values[OPTIONS];
	const char *problem; /* the first one */
} OptionParse;

/*
 * Problems
 */

static void
note_problem(OptionParse *parse, const char *problem)
{
	if (parse->problem == NULL)
		parse->problem = problem;
}

static void
note_wrong_value(OptionParse *parse)
{
	if (parse->option < OPTIONS)
		note_problem(parse, psprintf("the value of \"%s\" must be %s", options_known[parse->option].name,
									 options_known[parse->option].expected));
}

static void
note_unknown_key(OptionParse *parse, const char *key)
{
	char *shown = pnstrdup(key, pg_mbcliplen(key, strlen(key), NAMEDATALEN - 1));

	note_problem(parse, psprintf("unknown key \"%s\"", shown));
}

/*
 * The parser's callbacks
 */

static WhJsonResult
open_object(void *state)
{
	OptionParse *parse = state;

	if (parse->depth++ > 0)
		note_wrong_value(parse);
	return WH_JSON_GO_ON;
}

static WhJsonResult
open_array(void *state)
{
	OptionParse *parse = state;

	if (parse->depth == 0)
		note_problem(parse, "the argument must be a JSON object");
	else if (parse->depth > 1 ||
			 (parse->option < OPTIONS && options_known[parse->option].kind != OPTION_STRINGS))
		note_wrong_value(parse);
	else if (parse->option < OPTIONS)
		parse->values[parse->option].given = true;
	parse->depth++;
	return WH_JSON_GO_ON;
}

static WhJsonResult
close_container(void *state)
{
	((OptionParse *) state)->depth--;
	return WH_JSON_GO_ON;
}

/* Of duplicate keys the last one counts, as in jsonb. */
static WhJsonResult
start_member(void *state, char *key, bool isnull)
{
	OptionParse *parse = state;

	if (parse->depth > 1)
		return WH_JSON_GO_ON;
	for (parse->option = 0; parse->option < OPTIONS; parse->option++)
		if (strcmp(options_known[parse->option].name, key) == 0)
			break;
	if (parse->option < OPTIONS)
		memset(&parse->values[parse->option], 0, sizeof(OptionValue));
	else if (!isnull)
		note_unknown_key(parse, key);
	return WH_JSON_GO_ON;
}

static WhJsonResult
take_scalar(void *state, char *token, JsonTokenType type)
{
	OptionParse *parse = state;
	const bool is_string = type == JSON_TOKEN_STRING && token[0] != '\0';
	const bool is_boolean = type == JSON_TOKEN_TRUE || type == JSON_TOKEN_FALSE;
	OptionValue *value;
	OptionKind kind;

	if (parse->depth == 0)
		note_problem(parse, "the argument must be a JSON object");
	if (parse->depth == 0 || parse->option == OPTIONS || (parse->depth == 1 && type == JSON_TOKEN_NULL))
		return WH_JSON_GO_ON;
	value = &parse->values[parse->option];
	kind = options_known[parse->option].kind;
	if (is_string && kind == (parse->depth == 1 ? OPTION_STRING : OPTION_STRINGS))
	{
		value->given = true;
		value->strings = lappend(value->strings, token);
	}
	else if (is_boolean && kind == OPTION_BOOLEAN && parse->depth == 1)
	{
		value->given = true;
		value->boolean = type == JSON_TOKEN_TRUE;
	}
	else
		note_wrong_value(parse);
	return WH_JSON_GO_ON;
}

static void
parse_object(OptionParse *parse, const char *text)
{
	JsonLexContext *lex;
	JsonSemAction action_types = {.semstate = parse,
								  .object_start = open_object,
								  .object_end = close_container,
								  .array_start = open_array,
								  .array_end = close_container,
								  .object_field_start = start_member,
								  .scalar = take_scalar};

	/* the server's parser raises an error if the nesting is too deep for its stack */
	if (wh_json_depth(text) > ARGUMENT_DEPTH)
	{
		parse->problem = "the argument is nested too deeply";
		return;
	}
	lex = wh_make_json_lex(text, strlen(text), GetDatabaseEncoding(), true);
	if (pg_parse_json(lex, &action_types) != JSON_SUCCESS)
		parse->problem = "the argument is not JSON";
}

/*
 * What the values mean
 */

/* No column has a name that long. Truncated, it could become the name of one. */
static void
check_column_names(OptionParse *parse)
{
	ListCell *cell;

	for (parse->option = 0; parse->option < OPTIONS; parse->option++)
	{
		if (!options_known[parse->option].is_columns)
			continue;
		foreach (cell, parse->values[parse->option].strings)
			if (strlen(lfirst(cell)) >= NAMEDATALEN)
				note_problem(parse, psprintf("a column name in \"%s\" is longer than a name can be",
											 options_known[parse->option].name));
	}
	if (parse->values[OPTION_ID_COLUMNS].given && parse->values[OPTION_ID_COLUMNS].strings == NIL)
		note_problem(parse, "\"id_columns\" must name at least one column");
}

static int
parse_actions(OptionParse *parse)
{
	int action_types = 0;
	ListCell *cell;

	parse->option = OPTION_ACTIONS;
	foreach (cell, parse->values[OPTION_ACTIONS].strings)
	{
		const char *name = lfirst(cell);

		if (strcmp(name, "new") == 0)
			action_types |= CAPTURE_NEW;
		else if (strcmp(name, "update") == 0)
			action_types |= CAPTURE_UPDATE;
		else if (strcmp(name, "delete") == 0)
			action_types |= CAPTURE_DELETE;
		else if (strcmp(name, "truncate") != 0) /* TRUNCATE has a trigger of its own */
			note_wrong_value(parse);
	}
	return action_types;
}

/* Case and surrounding blanks are ignored: a receiver may not see the difference. */
bool
wh_is_reserved_entity_type(const char *entity_type)
{
	static const char blanks[] = " \t\n\v\f\r";
	const char *start = entity_type + strspn(entity_type, blanks);
	const size_t len = strlen(OPERATIONAL_ENTITY_TYPE);

	return pg_strncasecmp(start, OPERATIONAL_ENTITY_TYPE, len) == 0 &&
		   start[len + strspn(start + len, blanks)] == '\0';
}

static void
check_entity_type(OptionParse *parse, const char *entity_type)
{
	if (pg_mbstrlen(entity_type) > ENTITY_TYPE_MAX)
		note_problem(parse, psprintf("the entity type has more than %d characters", ENTITY_TYPE_MAX));
	else if (wh_is_reserved_entity_type(entity_type))
		note_problem(parse, psprintf("the entity type \"%s\" is reserved for operational events of "
									 "subscriptions",
									 entity_type));
}

static const char *
string_of(const OptionValue *value)
{
	return value->strings == NIL ? NULL : linitial(value->strings);
}

void
wh_parse_capture_options(CaptureOptions *options, int nargs, const char *argument, const char *table_name)
{
	OptionParse parse = {.option = OPTIONS};
	const OptionValue *values = parse.values;

	memset(options, 0, sizeof(*options));
	if (nargs > 1)
		parse.problem = "there must be at most one argument, a JSON object";
	else if (nargs == 1)
		parse_object(&parse, argument);
	check_column_names(&parse);

	options->entity_type = string_of(&values[OPTION_ENTITY_TYPE]);
	if (options->entity_type == NULL)
		options->entity_type = table_name;
	check_entity_type(&parse, options->entity_type);
	options->id_columns = values[OPTION_ID_COLUMNS].strings;
	options->only_columns = values[OPTION_COLUMNS].given;
	options->columns = values[OPTION_COLUMNS].strings;
	options->has_exclude = values[OPTION_EXCLUDE].given;
	options->exclude_columns = values[OPTION_EXCLUDE].strings;
	options->tenant = string_of(&values[OPTION_TENANT]);
	options->previous = values[OPTION_PREVIOUS].boolean;
	options->only_actions = values[OPTION_ACTIONS].given;
	options->action_types = parse_actions(&parse);
	options->problem = parse.problem;
}

/*
 * The same for webhook.source
 */

static Datum
names_datum(List *names)
{
	Datum *elements = palloc(sizeof(Datum) * Max(list_length(names), 1));
	int n = 0;
	ListCell *cell;

	foreach (cell, names)
		elements[n++] = DirectFunctionCall1(namein, CStringGetDatum(lfirst(cell)));
	return PointerGetDatum(construct_array(elements, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
}

static Datum
actions_datum(int action_types)
{
	Datum elements[3];
	int n = 0;

	if (action_types & CAPTURE_NEW)
		elements[n++] = CStringGetTextDatum("new");
	if (action_types & CAPTURE_UPDATE)
		elements[n++] = CStringGetTextDatum("update");
	if (action_types & CAPTURE_DELETE)
		elements[n++] = CStringGetTextDatum("delete");
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* pg_trigger's tgnargs and tgargs, the table's name -> the argument's values, or its problem */
Datum
webhook_capture_argument(PG_FUNCTION_ARGS)
{
	bytea *args = PG_GETARG_BYTEA_PP(1);
	CaptureOptions options;
	TupleDesc desc;
	Datum values[8] = {0};
	bool nulls[lengthof(values)] = {true, true, true, true, true, true, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* each argument ends with a zero byte; text_to_cstring adds one if the caller gave none */
	wh_parse_capture_options(&options, PG_GETARG_INT16(0), text_to_cstring((text *) args),
							 NameStr(*PG_GETARG_NAME(2)));
	if (options.problem == NULL)
	{
		values[0] = CStringGetTextDatum(options.entity_type);
		values[1] = names_datum(options.id_columns);
		values[2] = actions_datum(options.action_types);
		values[3] = names_datum(options.columns);
		values[4] = names_datum(options.exclude_columns);
		if (options.tenant != NULL)
			values[5] = DirectFunctionCall1(namein, CStringGetDatum(options.tenant));
		values[6] = BoolGetDatum(options.previous);
		nulls[0] = nulls[6] = false;
		nulls[1] = options.id_columns == NIL;
		nulls[2] = !options.only_actions;
		nulls[3] = !options.only_columns;
		nulls[4] = !options.has_exclude;
		nulls[5] = options.tenant == NULL;
	}
	else
	{
		values[7] = CStringGetTextDatum(options.problem);
		nulls[7] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(wh_result_row(BlessTupleDesc(desc), values, nulls, lengthof(values))));
}
