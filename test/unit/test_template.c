/*
 * test_template.c
 *	  The language of templates: each construct, and each reason for which a
 *	  template is refused, with the byte where.
 */
#include "template_unit.h"

static const struct
{
	const char *template;
	const char *body;
} envelopes[] = {
	/* literals, without whitespace */
	{" { \"a\" : [ 1 , -2.5e+3 , true , false , null ] ,\n\t\"b\" : { } , \"c\" : [ ] }\r\n",
	 "{\"a\":[1,-2.5e+3,true,false,null],\"b\":{},\"c\":[]}"},
	{"\"text\"", "\"text\""},
	{"0", "0"},
	{"\"a\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t b\"", "\"a\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t b\""},
	{"[\"a$id\", \" $id\", \"{id}\", \"\"]", "[\"a$id\",\" $id\",\"{id}\",\"\"]"},
	{"{\"$id\": 1, \"$$\": 2}", "{\"$id\":1,\"$$\":2}"},
	/* a dollar sign */
	{"[\"$$\", \"$$id\", \"$$$x\", \"\\u0024id\"]", "[\"$\",\"$id\",\"$$x\",\"\\u0024id\"]"},
	/* variables */
	{"\"$number\"", "1534"},
	{"[\"$action_type\"]", "[\"new\"]"},
	{"{\"id\": \"$id\", \"r\": \"$result\"}",
	 "{\"id\":\"evt_0123abcd_1534\",\"r\":{\"a\": 1, \"s\":\"x\\ny\"}}"},
	{"{\"t\": \"$tenant\"}", "{\"t\":null}"},
	/* left out when null, wherever the comma would be */
	{"{\"t\": \"$tenant?\"}", "{}"},
	{"{\"t\": \"$tenant?\", \"a\": 1}", "{\"a\":1}"},
	{"{\"a\": 1, \"t\": \"$tenant?\"}", "{\"a\":1}"},
	{"{\"a\": 1, \"t\": \"$tenant?\", \"b\": 2}", "{\"a\":1,\"b\":2}"},
	{"{\"t\": \"$tenant?\", \"u\": \"$tenant?\", \"a\": [], \"b\": 2}", "{\"a\":[],\"b\":2}"},
	{"{\"t\": \"$tenant?\", \"n\": \"$number?\", \"u\": \"$tenant?\"}", "{\"n\":1534}"},
	{"{\"n\": \"$number?\", \"t\": \"$tenant?\", \"m\": \"$number\"}", "{\"n\":1534,\"m\":1534}"},
	{"{\"t\": \"$tenant?\", \"n\": \"$number\", \"s\": \"x\"}", "{\"n\":1534,\"s\":\"x\"}"},
	{"[\"$tenant?\", \"$number?\", \"$tenant\", \"$tenant?\", 1]", "[1534,null,1]"},
	{"[\"$tenant?\", [\"$tenant?\"], {\"x\": \"$tenant?\"}]", "[[],{}]"},
	{"{\"t\": \"$tenant?\", \"o\": {\"n\": \"$number?\", \"t\": \"$tenant?\"}, \"p\": 1}",
	 "{\"o\":{\"n\":1534},\"p\":1}"},
	/* members */
	{"[\"$result.a\", \"$result.s\", \"$result.none\", \"$result.a.b\"]", "[1,\"x\\ny\",null,null]"},
	{"[\"$param.map.k-1\", \"$param.map\", \"$param.list.0\", \"$param.zero\"]",
	 "[{\"x\":[1, 2]},{\"k-1\": {\"x\":[1, 2]}},null,null]"},
	{"[\"$context.user.name\", \"$context.twice\", \"$context.abc\"]", "[\"ada\",2,3]"},
	{"[\"$param.zero?\", \"$context.none?\"]", "[]"},
	/* alternatives */
	{"[\"$tenant|action_type\", \"$number|action_type\", \"$tenant|param.zero\", "
	 "\"$tenant|param.zero|context.twice\"]",
	 "[\"new\",1534,null,2]"},
	{"[\"$tenant|param.zero?\", \"$action_type|number:number\"]", "[1534]"},
	/* conversions */
	{"[\"$entity_id:number\", \"$action_type:number\", \"$number:number\", \"$test:number\", "
	 "\"$result:number\"]",
	 "[42,null,1534,null,null]"},
	{"[\"$param.n1:number\", \"$param.n2:number\", \"$param.n3:number\", \"$param.n4:number\"]",
	 "[-1.50e3,null,null,null]"},
	{"[\"$action_type:number?\", \"$entity_id:number?\"]", "[42]"},
	{"[\"$number:string\", \"$test:string\", \"$tenant:string\", \"$action_type:string\", "
	 "\"$result.s:string\"]",
	 "[\"1534\",\"false\",null,\"new\",\"x\\ny\"]"},
	{"[\"$param.list:string\", \"$result:string\"]",
	 "[\"[true, \\\"t\\\"]\",\"{\\\"a\\\": 1, \\\"s\\\":\\\"x\\\\ny\\\"}\"]"},
	{"[\"$test:bool\", \"$action_type:bool\", \"$tenant:bool\", \"$number:bool\", \"$result.a:bool\"]",
	 "[false,null,null,null,true]"},
	{"[\"$param.b1:bool\", \"$param.b2:bool\", \"$param.b3:bool\", \"$param.b4:bool\", \"$param.b5:bool\"]",
	 "[true,false,true,false,null]"},
	/* spread */
	{"{\"...\": \"$result\"}", "{\"a\":1,\"s\":\"x\\ny\"}"},
	{"{\"x\": 0, \"...\": \"$result\", \"y\": 0}", "{\"x\":0,\"a\":1,\"s\":\"x\\ny\",\"y\":0}"},
	{"{\"...\": \"$result\", \"a\": \"own\"}", "{\"s\":\"x\\ny\",\"a\":\"own\"}"},
	{"{\"s\": \"own\", \"...\": \"$result\", \"a\": \"$tenant?\"}", "{\"s\":\"own\"}"},
	{"{\"\\u0061\": \"own\", \"...\": \"$result\"}", "{\"\\u0061\":\"own\",\"s\":\"x\\ny\"}"},
	{"{\"...\": \"$param.none|context\"}", "{\"user\":{\"name\": \"ada\"},\"\\u0061bc\":3,\"twice\":2}"},
	{"{\"...\": \"$param.list\", \"a\": 1}", "{\"a\":1}"},
	{"{\"...\": \"$previous\", \"a\": 1}", "{\"a\":1}"},
	{"{\"...\": \"$param.map\", \"x\": {\"...\": \"$result\"}}",
	 "{\"k-1\":{\"x\":[1, 2]},\"x\":{\"a\":1,\"s\":\"x\\ny\"}}"},
	{"{\"t\": \"$tenant?\", \"...\": \"$param.map\", \"u\": \"$tenant?\", \"z\": 0}",
	 "{\"k-1\":{\"x\":[1, 2]},\"z\":0}"},
	{"{\"\\u002e..\": \"$action_type\", \"....\": \"$action_type\"}",
	 "{\"\\u002e..\":\"new\",\"....\":\"new\"}"},
	/* an object that is null without a value */
	{"{\"?\": null, \"t\": \"$tenant\", \"u\": 1}", "null"},
	{"{\"?\": null, \"t\": \"$tenant\", \"u\": \"$number\"}", "{\"t\":null,\"u\":1534}"},
	{"[{\"?\":null,\"x\":{\"?\":null,\"t\":\"$tenant\"},\"y\":\"$action_type\"}, 1]",
	 "[{\"x\":null,\"y\":\"new\"},1]"},
	{"{\"a\": {\"?\": null, \"x\": {\"y\": {\"?\": null, \"t\": \"$tenant\"}}}, \"b\": \"$number\"}",
	 "{\"a\":null,\"b\":1534}"},
	{"{\"b\": \"$number\", \"t\": \"$tenant?\", \"a\": {\"?\": null, \"...\": \"$previous\"}}",
	 "{\"b\":1534,\"a\":null}"},
	{"[\"$tenant?\", {\"?\": null, \"...\": \"$result\"}]", "[{\"a\":1,\"s\":\"x\\ny\"}]"},
	{"{\"\\u003f\": 1}", "{\"\\u003f\":1}"},
};

static void
rich_sample(Sample *s)
{
	sample_init(s);
	sample_result(s, "{\"a\": 1, \"s\":\"x\\ny\"}");
	s->event.context = " {\"user\": {\"name\": \"ada\"}, \"twice\": 1, \"\\u0061bc\": 3, \"twice\" : 2 } ";
	sample_params(s, "{\"map\": {\"k-1\": {\"x\":[1, 2]}}, \"list\": [true, \"t\"], \"zero\": null,"
					 " \"n1\": \"-1.50e3\", \"n2\": \"01\", \"n3\": \" 1\", \"n4\": \"\","
					 " \"b1\": \"t\", \"b2\": \"f\", \"b3\": \"1\", \"b4\": 0, \"b5\": \"yes\"}");
}

static void
test_envelopes(void **state)
{
	Sample s;

	(void) state;
	rich_sample(&s);
	for (size_t i = 0; i < lengthof(envelopes); i++)
		check_render(WH_TEMPLATE_ENVELOPE, envelopes[i].template, &s, envelopes[i].body);
}

static const struct
{
	WhTemplateKind kind;
	const char *template;
	const char *text; /* NULL: absent */
} texts[] = {
	{WH_TEMPLATE_HEADER, "", ""},
	{WH_TEMPLATE_HEADER, "plain text", "plain text"},
	{WH_TEMPLATE_HEADER, "{{{action_type}}} }}{{", "{new} }{"},
	{WH_TEMPLATE_HEADER, "a{id}b{number}c", "aevt_0123abcd_1534b1534c"},
	{WH_TEMPLATE_HEADER, "<{tenant}>", "<>"},
	{WH_TEMPLATE_HEADER, "<{tenant?}>", NULL},
	{WH_TEMPLATE_HEADER, "<{tenant|action_type?}>", "<new>"},
	{WH_TEMPLATE_HEADER, "{param.none}{context.none}{result.zero}", ""},
	{WH_TEMPLATE_HEADER, "{result.list} {result.yes} {result.n}", "[1, \"\\n\"] true -1e5"},
	{WH_TEMPLATE_HEADER, "{result.s}", "a \"%\xc3\xa9 \xf0\x9f\x98\x80\xef\xbf\xbd%0D%0A%00%7F%"},
	{WH_TEMPLATE_HEADER, "{result.s:percent}", "a%20%22%25%C3%A9%20%F0%9F%98%80%EF%BF%BD%0D%0A%00%7F%25"},
	{WH_TEMPLATE_HEADER, "{result.empty}", ""},
	{WH_TEMPLATE_HEADER, "{result.empty?}", ""},
	{WH_TEMPLATE_HEADER, "{attempt} {attempt_unix} {attempt_timestamp}",
	 "1 1725548460 2024-09-05T15:01:00.001200Z"},
	{WH_TEMPLATE_HEADER, "X-Name: {result.crlf}", "X-Name: %0D%0A"},
	{WH_TEMPLATE_HEADER, "{result.crlf:percent}", "%0D%0A"},
};

static void
test_texts(void **state)
{
	Sample s;

	(void) state;
	sample_init(&s);
	sample_result(&s, "{\"list\": [1, \"\\n\"] , \"yes\": true, \"n\": -1e5, \"empty\": \"\", \"zero\": null,"
					  " \"crlf\": \"\\r\\n\","
					  " \"s\": \"a \\\"\\u0025\\u00E9 \\ud83d\\ude00\\udc00\\r\\n\\u0000\x7f%\"}");
	for (size_t i = 0; i < lengthof(texts); i++)
		check_render(texts[i].kind, texts[i].template, &s, texts[i].text);
}

/* A # stands before the byte that the error names, and is taken out. */
static const struct
{
	WhTemplateKind kind;
	const char *template;
	const char *why;
} refused[] = {
	/* not JSON */
	{WH_TEMPLATE_ENVELOPE, "#", "not JSON: a value is missing"},
	{WH_TEMPLATE_ENVELOPE, "  #", "not JSON: a value is missing"},
	{WH_TEMPLATE_ENVELOPE, "#nul", "not JSON: neither a number nor true, false or null"},
	{WH_TEMPLATE_ENVELOPE, "#01", "not JSON: neither a number nor true, false or null"},
	{WH_TEMPLATE_ENVELOPE, "[#'a']", "not JSON: neither a number nor true, false or null"},
	{WH_TEMPLATE_ENVELOPE, "[1,#]", "not JSON: a value is missing"},
	{WH_TEMPLATE_ENVELOPE, "[#,1]", "not JSON: a value is missing"},
	{WH_TEMPLATE_ENVELOPE, "[1#", "not JSON: a comma or closing bracket expected at its end"},
	{WH_TEMPLATE_ENVELOPE, "[1 #2]", "not JSON: a comma or closing bracket expected"},
	{WH_TEMPLATE_ENVELOPE, "{#1:2}", "not JSON: a key in quotes expected"},
	{WH_TEMPLATE_ENVELOPE, "{\"a\":1,#}", "not JSON: a key in quotes expected"},
	{WH_TEMPLATE_ENVELOPE, "{\"a\"#,1}", "not JSON: a colon expected"},
	{WH_TEMPLATE_ENVELOPE, "{\"a\":#}", "not JSON: a value is missing"},
	{WH_TEMPLATE_ENVELOPE, "{\"a\":1#", "not JSON: a comma or closing brace expected at its end"},
	{WH_TEMPLATE_ENVELOPE, "{\"a\":1 #\"b\":2}", "not JSON: a comma or closing brace expected"},
	{WH_TEMPLATE_ENVELOPE, "{} #{}", "not JSON: unexpected text after the end"},
	{WH_TEMPLATE_ENVELOPE, "[#\"abc", "not JSON: unterminated string"},
	{WH_TEMPLATE_ENVELOPE, "[#\"abc\\\"]", "not JSON: unterminated string"},
	{WH_TEMPLATE_ENVELOPE, "[\"a#\n\"]", "not JSON: control character in a string"},
	{WH_TEMPLATE_ENVELOPE, "[\"a#\\x\"]", "not JSON: unknown escape in a string"},
	{WH_TEMPLATE_ENVELOPE, "[\"#\\u12g4\"]", "not JSON: four hex digits expected after \\u"},
	{WH_TEMPLATE_ENVELOPE, "[\"#\\u12", "not JSON: unknown escape in a string"},
	/* keys */
	{WH_TEMPLATE_ENVELOPE, "{\"a\":1,\"b\":2,\"#a\":3}", "duplicate key in an object"},
	{WH_TEMPLATE_ENVELOPE, "{\"a\":1,\"#\\u0061\":\"$tenant?\"}", "duplicate key in an object"},
	{WH_TEMPLATE_ENVELOPE, "[{\"x\":{\"\":1,\"#\":3}}]", "duplicate key in an object"},
	/* references */
	{WH_TEMPLATE_ENVELOPE, "\"$#\"", "the name of a variable is missing; $$ stands for a dollar sign"},
	{WH_TEMPLATE_ENVELOPE, "\"$# id\"", "the name of a variable is missing; $$ stands for a dollar sign"},
	{WH_TEMPLATE_ENVELOPE, "\"$#5\"", "unknown variable \"5\""},
	{WH_TEMPLATE_ENVELOPE, "{\"a\":\"$#entity_ids\"}", "unknown variable \"entity_ids\""},
	{WH_TEMPLATE_ENVELOPE, "\"$#abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\"",
	 "unknown variable \"abcdefghijklmnopqrstuvwxyzabcdefghijklmn\""},
	{WH_TEMPLATE_ENVELOPE, "\"$#secret\"", "unknown variable \"secret\""},
	{WH_TEMPLATE_ENVELOPE, "\"$#attempt_unix\"",
	 "the variable \"attempt_unix\" cannot be used in an envelope"},
	{WH_TEMPLATE_ENVELOPE, "\"$id# \"", "unexpected character in a reference to a variable"},
	{WH_TEMPLATE_ENVELOPE, "\"$id?#?\"", "unexpected character in a reference to a variable"},
	{WH_TEMPLATE_ENVELOPE, "\"$id?#:string\"", "unexpected character in a reference to a variable"},
	{WH_TEMPLATE_ENVELOPE, "\"$id#.x\"", "the variable \"id\" has no members"},
	{WH_TEMPLATE_ENVELOPE, "\"$param.#\"", "the name of a member is missing"},
	{WH_TEMPLATE_ENVELOPE, "\"$param.a.#.b\"", "the name of a member is missing"},
	{WH_TEMPLATE_ENVELOPE, "\"$id|#\"", "the name of a variable is missing; $$ stands for a dollar sign"},
	{WH_TEMPLATE_ENVELOPE, "\"$id|id|id|id|#id\"", "more than 4 alternatives"},
	{WH_TEMPLATE_ENVELOPE, "\"$id:#int\"", "unknown conversion \"int\"; use number, string or bool"},
	{WH_TEMPLATE_ENVELOPE, "\"$id:#\"", "unknown conversion \"\"; use number, string or bool"},
	{WH_TEMPLATE_ENVELOPE, "\"$id:#percent\"", "unknown conversion \"percent\"; use number, string or bool"},
	{WH_TEMPLATE_ENVELOPE, "\"#$id?\"", "the whole envelope cannot be optional"},
	/* spread, and null when empty */
	{WH_TEMPLATE_ENVELOPE, "{\"...\":\"#$id\"}", "only an object can be spread, and this is never one"},
	{WH_TEMPLATE_ENVELOPE, "{\"...\":\"#$result|id\"}",
	 "only an object can be spread, and this is never one"},
	{WH_TEMPLATE_ENVELOPE, "{\"...\":\"#$result:string\"}",
	 "only an object can be spread, and this is never one"},
	{WH_TEMPLATE_ENVELOPE, "{\"...\":#1}", "a spread needs a variable: \"...\": \"$name\""},
	{WH_TEMPLATE_ENVELOPE, "{\"...\":#\"x\"}", "a spread needs a variable: \"...\": \"$name\""},
	{WH_TEMPLATE_ENVELOPE, "{\"...\":#\"$$x\"}", "a spread needs a variable: \"...\": \"$name\""},
	{WH_TEMPLATE_ENVELOPE, "{\"...\":\"$result\",\"...\":#\"$context\"}", "a second spread in one object"},
	{WH_TEMPLATE_ENVELOPE, "{\"a\":1,\"#?\":null}", "\"?\" must be the first member of its object"},
	{WH_TEMPLATE_ENVELOPE, "{\"?\":#1,\"a\":1}", "\"?\" can only be null"},
	{WH_TEMPLATE_ENVELOPE, "{\"?\":null#}", "not JSON: a further member expected"},
	/* texts */
	{WH_TEMPLATE_HEADER, "a#\nb", "control character"},
	{WH_TEMPLATE_HEADER, "a#\rb", "control character"},
	{WH_TEMPLATE_HEADER, "a#\x7f", "control character"},
	{WH_TEMPLATE_HEADER, "a#}b", "closing brace without an opening one; }} stands for a brace"},
	{WH_TEMPLATE_HEADER, "a#{id", "opening brace without a closing one; {{ stands for a brace"},
	{WH_TEMPLATE_HEADER, "{#}", "the name of a variable is missing"},
	{WH_TEMPLATE_HEADER, "{# id}", "the name of a variable is missing"},
	{WH_TEMPLATE_HEADER, "{#nope}", "unknown variable \"nope\""},
	{WH_TEMPLATE_HEADER, "{#body}", "unknown variable \"body\""},
	{WH_TEMPLATE_HEADER, "{#signature}", "unknown variable \"signature\""},
	{WH_TEMPLATE_HEADER, "{#secret}", "unknown variable \"secret\""},
	{WH_TEMPLATE_HEADER, "{id:#number}", "unknown conversion \"number\"; use percent"},
	{WH_TEMPLATE_HEADER, "{id# }", "unexpected character in a reference to a variable"},
};

static void
test_refused(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(refused); i++)
	{
		const char *mark = strchr(refused[i].template, '#');
		size_t at = (size_t) (mark - refused[i].template);
		WhTemplateError error;
		char text[200];
		WhTemplate *t;

		snprintf(text, sizeof(text), "%.*s%s", (int) at, refused[i].template, mark + 1);
		t = wh_template_compile(refused[i].kind, text, strlen(text), &error);
		if (t != NULL)
			fail_msg("%s: not refused", text);
		if (error.at != at || strcmp(error.why, refused[i].why) != 0)
			fail_msg("%s\nrefused at %zu (not %zu): %s\nnot: %s", text, error.at, at, error.why,
					 refused[i].why);
		check_row(text, !error.no_memory);
	}
}

/* A NUL is no end of a template but an error in it. */
static void
test_refused_nul(void **state)
{
	static const struct
	{
		WhTemplateKind kind;
		const char *bytes;
		size_t len;
		size_t at;
	} rows[] = {{WH_TEMPLATE_ENVELOPE, "1\0", 2, 1},
				{WH_TEMPLATE_ENVELOPE, "\"\0\"", 3, 1},
				{WH_TEMPLATE_ENVELOPE, "\"\\\0\"", 4, 1},
				{WH_TEMPLATE_ENVELOPE,
				 "\"\\u00\0"
				 "0\"",
				 8, 1},
				{WH_TEMPLATE_ENVELOPE, "\0", 1, 0},
				{WH_TEMPLATE_HEADER, "a\0b", 3, 1}};

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhTemplateError error;

		assert_null(wh_template_compile(rows[i].kind, rows[i].bytes, rows[i].len, &error));
		assert_int_equal(error.at, rows[i].at);
	}
}

/* As deep and as long as allowed, and one more. */
static void
test_bounds(void **state)
{
	WhTemplateError error;
	char deep[200] = "";
	char *longest = malloc(WH_TEMPLATE_MAX + 1);
	WhTemplate *t;

	(void) state;
	assert_non_null(longest);
	for (int n = 32; n <= 33; n++)
	{
		for (int i = 0; i < n; i++)
			deep[i] = '[';
		for (int i = 0; i < n; i++)
			deep[n + i] = ']';
		t = wh_template_compile(WH_TEMPLATE_ENVELOPE, deep, (size_t) n * 2, &error);
		assert_int_equal(t != NULL, n == 32);
		wh_template_free(t);
	}
	assert_int_equal(error.at, 32);
	assert_string_equal(error.why, "objects and arrays are nested more than 32 deep");

	memset(longest, '1', WH_TEMPLATE_MAX + 1);
	t = wh_template_compile(WH_TEMPLATE_ENVELOPE, longest, WH_TEMPLATE_MAX, &error);
	assert_non_null(t);
	wh_template_free(t);
	assert_null(wh_template_compile(WH_TEMPLATE_ENVELOPE, longest, WH_TEMPLATE_MAX + 1, &error));
	assert_int_equal(error.at, WH_TEMPLATE_MAX);
	assert_string_equal(error.why, "longer than 16384 bytes");
	/* nothing but references, as close together as they can be, is no more than is held */
	for (size_t i = 0; i + 4 <= WH_TEMPLATE_MAX; i += 4)
		memcpy(longest + i, "{id}", 4);
	t = wh_template_compile(WH_TEMPLATE_HEADER, longest, WH_TEMPLATE_MAX, &error);
	assert_non_null(t);
	wh_template_free(t);
	free(longest);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_envelopes),   cmocka_unit_test(test_texts),  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_nul), cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
