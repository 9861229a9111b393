/*
 * test_template_values.c
 *	  What variables are worth, whatever the event; values that are odd but
 *	  valid JSON; limits and memory; and that docs/profiles.md lists the
 *	  variables as they are.
 */
#include "template_unit.h"

#include <inttypes.h>

/* Every variable of an event, as an envelope has it. */
static const struct
{
	const char *name;
	const char *as_new;
	const char *as_update; /* with previous */
	const char *as_delete; /* with previous */
	const char *as_test;   /* in a sandbox, without anything else */
} variables[] = {
	{"$id", "\"evt_0123abcd_1534\"", "\"evt_0123abcd_1534\"", "\"evt_0123abcd_1534\"",
	 "\"evt_0123abcd_1534\""},
	{"$number", "1534", "1534", "1534", "1534"},
	{"$sequence", "\"0000000000000001534\"", "\"0000000000000001534\"", "\"0000000000000001534\"",
	 "\"0000000000000001534\""},
	{"$transaction_id", "\"tx_0123abcd_77\"", "\"tx_0123abcd_77\"", "\"tx_0123abcd_77\"",
	 "\"tx_0123abcd_77\""},
	{"$entity_id", "\"42\"", "\"42\"", "\"42\"", "null"},
	{"$entity_type", "\"user\"", "\"user\"", "\"user\"", "\"user\""},
	{"$entity_title", "\"User\"", "\"User\"", "\"User\"", "\"User\""},
	{"$entity", "\"user/42\"", "\"user/42\"", "\"user/42\"", "\"user\""},
	{"$action_type", "\"new\"", "\"update\"", "\"delete\"", "\"test\""},
	{"$verb", "\"created\"", "\"updated\"", "\"deleted\"", "\"test\""},
	{"$type", "\"user.created\"", "\"user.updated\"", "\"user.deleted\"", "\"user.test\""},
	{"$entity_action", "\"user.new\"", "\"user.update\"", "\"user.delete\"", "\"user.test\""},
	{"$mapped_type", "\"registration\"", "null", "7", "\"registration\""},
	{"$tenant", "null", "\"17\"", "null", "null"},
	{"$result", "{\"id\": 42}", "{\"id\": 42}", "null", "null"},
	{"$previous", "null", "{\"old\":1}", "{\"old\":1}", "null"},
	{"$changes", "null", "{\"old\":1}", "null", "null"},
	{"$object", "{\"id\": 42}", "{\"id\": 42}", "{\"old\":1}", "{}"},
	{"$timestamp", "\"2024-09-05T15:00:50.001200Z\"", "\"2024-09-05T15:00:50.001200Z\"",
	 "\"2024-09-05T15:00:50.001200Z\"", "\"2024-09-05T15:00:50.001200Z\""},
	{"$unix", "1725548450", "1725548450", "1725548450", "1725548450"},
	{"$test", "false", "false", "false", "true"},
	{"$sandbox", "false", "true", "false", "true"},
	{"$live", "true", "false", "true", "false"},
	{"$mode", "\"live\"", "\"test\"", "\"live\"", "\"test\""},
	{"$context", "null", "{\"sandbox\":true}", "null", "null"},
	{"$instance", "\"0123abcd\"", "\"0123abcd\"", "\"0123abcd\"", "\"0123abcd\""},
	{"$origin", "\"/webhook/0123abcd\"", "\"/webhook/0123abcd\"", "\"/webhook/0123abcd\"",
	 "\"/webhook/0123abcd\""},
};

static void
test_variables(void **state)
{
	Sample s;

	(void) state;
	for (size_t i = 0; i < lengthof(variables); i++)
	{
		char template[100];

		snprintf(template, sizeof(template), "\"%s\"", variables[i].name);
		sample_init(&s);
		sample_params(&s, "{\"event_types\": {\"user.new\": \"registration\", \"user.delete\": 7}}");
		sample_result(&s, "{\"id\": 42}");
		check_render(WH_TEMPLATE_ENVELOPE, template, &s, variables[i].as_new);
		s.event.action_type = "update";
		s.event.tenant = "17";
		s.event.context = "{\"sandbox\":true}";
		sample_previous(&s, "{\"old\":1}");
		check_render(WH_TEMPLATE_ENVELOPE, template, &s, variables[i].as_update);
		s.event.action_type = "delete";
		s.event.tenant = s.event.context = NULL;
		sample_result(&s, NULL);
		check_render(WH_TEMPLATE_ENVELOPE, template, &s, variables[i].as_delete);
		s.event.action_type = "test";
		s.event.entity_id = NULL;
		sample_previous(&s, NULL);
		check_render(WH_TEMPLATE_ENVELOPE, template, &s, variables[i].as_test);
	}
}

/* Only `true` marks an event as one of a sandbox: false does not, nor what merely looks like it. */
static void
test_sandbox(void **state)
{
	static const struct
	{
		const char *context;
		const char *body;
	} rows[] = {
		{"{\"sandbox\": true}", "[true,false,\"test\"]"},
		{"{\"sandbox\": false}", "[false,true,\"live\"]"},
		{"{\"sandbox\": null}", "[false,true,\"live\"]"},
		{"{\"sandbox\": \"true\"}", "[false,true,\"live\"]"},
		{"{\"sandbox\": 1}", "[false,true,\"live\"]"},
		{"{\"sandbox\": {\"sandbox\": true}}", "[false,true,\"live\"]"},
		{"{\"sandbox\": true, \"sandbox\": false}", "[false,true,\"live\"]"},
		{"{}", "[false,true,\"live\"]"},
	};
	Sample s;

	(void) state;
	sample_init(&s);
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		s.event.context = rows[i].context;
		check_render(WH_TEMPLATE_ENVELOPE, "[\"$sandbox\", \"$live\", \"$mode\"]", &s, rows[i].body);
	}
}

/* Of a surrogate pair both halves must be there, and be halves; else what stands there is U+FFFD and what it is. */
static void
test_surrogates(void **state)
{
	static const struct
	{
		const char *escaped;
		const char *header;
	} rows[] = {
		{"\\ud800\\udc00", "\xf0\x90\x80\x80"},         /* U+10000 */
		{"\\udbff\\udfff", "\xf4\x8f\xbf\xbf"},         /* U+10FFFF */
		{"\\ud800\\ue000", "\xef\xbf\xbd\xee\x80\x80"}, /* the first that is no half any more */
		{"\\ud800\\udbff", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\\udc00\\ud800", "\xef\xbf\xbd\xef\xbf\xbd"},
		{"\\ud7ff\\udc00", "\xed\x9f\xbf\xef\xbf\xbd"},
		{"\\ud800x", "\xef\xbf\xbdx"},
		{"\\ud800", "\xef\xbf\xbd"},
	};
	char params[64];
	Sample s;

	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		snprintf(params, sizeof(params), "{\"s\": \"%s\"}", rows[i].escaped);
		sample_init(&s);
		sample_params(&s, params);
		check_render(WH_TEMPLATE_HEADER, "{param.s}", &s, rows[i].header);
	}
}

static void
test_odd_events(void **state)
{
	Sample s;

	(void) state;
	sample_init(&s);
	s.event.id = INT64_MAX;
	s.event.xid = UINT64_MAX;
	check_render(WH_TEMPLATE_ENVELOPE, "[\"$id\",\"$number\",\"$sequence\",\"$transaction_id\"]", &s,
				 "[\"evt_0123abcd_9223372036854775807\",9223372036854775807,\"9223372036854775807\","
				 "\"tx_0123abcd_18446744073709551615\"]");
	s.event.id = INT64_MIN;
	check_render(WH_TEMPLATE_ENVELOPE, "[\"$id\",\"$number\"]", &s,
				 "[\"evt_0123abcd_-9223372036854775808\",-9223372036854775808]");

	/* text that JSON must escape, in what is joined as in what is not */
	s.event.entity_type = "a\"\\\n";
	s.event.entity_id = "\x01\xc3\xa9";
	check_render(WH_TEMPLATE_ENVELOPE, "[\"$entity_id\",\"$entity\",\"$type\",\"$object\",\"$object.id\"]",
				 &s,
				 "[\"\\u0001\xc3\xa9\",\"a\\\"\\\\\\u000a/\\u0001\xc3\xa9\",\"a\\\"\\\\\\u000a.created\","
				 "{\"id\":\"\\u0001\xc3\xa9\"},\"\\u0001\xc3\xa9\"]");
	sample_params(&s, "{\"event_types\": {\"a\\u0022\\\\\\n.new\": \"mapped\"}}");
	check_render(WH_TEMPLATE_HEADER, "{mapped_type}", &s, "mapped");

	/* a type that has no capitals, and none at all */
	s.event.entity_type = "\xc3\xa9t\xc3\xa9";
	check_render(WH_TEMPLATE_HEADER, "{entity_title}", &s, "\xc3\xa9t\xc3\xa9");
	s.event.entity_type = "";
	check_render(WH_TEMPLATE_HEADER, "{entity_title}", &s, "");
	s.event.entity_type = s.event.action_type = NULL;
	check_render(WH_TEMPLATE_ENVELOPE, "[\"$entity_type\",\"$action_type\",\"$verb\",\"$test\",\"$mode\"]",
				 &s, "[null,null,null,false,\"live\"]");
}

static void
test_times(void **state)
{
	static const struct
	{
		int64_t us;
		const char *text;
	} times[] = {
		{0, "1970-01-01T00:00:00.000000Z 0"},
		{-1, "1969-12-31T23:59:59.999999Z -1"},
		{-1000000, "1969-12-31T23:59:59.000000Z -1"},
		{INT64_C(951782400999999), "2000-02-29T00:00:00.999999Z 951782400"},
		{INT64_C(253402300799000000), "9999-12-31T23:59:59.000000Z 253402300799"},
	};
	Sample s;

	(void) state;
	sample_init(&s);
	for (size_t i = 0; i < lengthof(times); i++)
	{
		s.event.created_us = s.values.attempt_us = times[i].us;
		check_render(WH_TEMPLATE_HEADER, "{timestamp} {unix}", &s, times[i].text);
		check_render(WH_TEMPLATE_HEADER, "{attempt_timestamp} {attempt_unix}", &s, times[i].text);
	}
}

/* Valid JSON that is not as one would write it. */
static void
test_odd_json(void **state)
{
	Sample s;

	(void) state;
	sample_init(&s);
	sample_result(&s, "\n { \"a\\\"}\" :\t[ \"]\", {\"x\":\"}\\\\\"} ] , \"\" : \"\" "
					  ",\"a\":1,\"b\":2,\"a\":3 , \"n\":null} ");
	check_render(WH_TEMPLATE_ENVELOPE, "{\"...\":\"$result\",\"z\":0}", &s,
				 "{\"a\\\"}\":[ \"]\", {\"x\":\"}\\\\\"} ],\"\":\"\",\"b\":2,\"a\":3,\"n\":null,\"z\":0}");
	check_render(WH_TEMPLATE_ENVELOPE, "[\"$result.a\",\"$result.n\",\"$result.n?\",\"$result.b\"]", &s,
				 "[3,null,2]");
	check_render(
		WH_TEMPLATE_ENVELOPE, "{\"r\":\"$result\"}", &s,
		"{\"r\":\n { \"a\\\"}\" :\t[ \"]\", {\"x\":\"}\\\\\"} ] , \"\" : \"\" ,\"a\":1,\"b\":2,\"a\":3 , "
		"\"n\":null} }");

	/* null, and nothing, are the same; what is no object has no members */
	sample_result(&s, " null ");
	check_render(WH_TEMPLATE_ENVELOPE, "{\"r\":\"$result?\",\"s\":\"$result\",\"o\":\"$object\"}", &s,
				 "{\"s\":null,\"o\":{\"id\":\"42\"}}");
	sample_result(&s, "");
	check_render(WH_TEMPLATE_ENVELOPE, "{\"r\":\"$result?\",\"s\":\"$result\"}", &s, "{\"s\":null}");
	sample_result(&s, " \"nullify\" ");
	check_render(WH_TEMPLATE_ENVELOPE, "{\"...\":\"$result\",\"a\":\"$result.a\",\"r\":\"$result\"}", &s,
				 "{\"a\":null,\"r\": \"nullify\" }");
	check_render(WH_TEMPLATE_HEADER, "{result}", &s, "nullify");
	sample_result(&s, "[]");
	check_render(WH_TEMPLATE_ENVELOPE, "{\"...\":\"$result\",\"a\":\"$result.a\",\"r\":\"$result\"}", &s,
				 "{\"a\":null,\"r\":[]}");
	/* as long as it says, not as its first NUL */
	sample_result(&s, "{}, garbage");
	s.event.result_len = 2;
	check_render(WH_TEMPLATE_ENVELOPE, "[\"$result\",\"$object.a\"]", &s, "[{},null]");
}

/* Deeper than any stack, and with more members than anyone would compare with each other. */
static void
test_huge_json(void **state)
{
	enum
	{
		DEPTH = 200000,
		MEMBERS = 30000
	};
	size_t size = DEPTH * 2 + MEMBERS * 40 + 100;
	char *json = malloc(size);
	WhTemplate *t = compiled(WH_TEMPLATE_ENVELOPE, "{\"...\":\"$result\",\"k7\":\"$result.last\"}");
	Sample s;
	WhBuffer out;
	char *p = json;
	size_t n = 0;

	(void) state;
	assert_non_null(json);
	p += sprintf(p, "{\"deep\":");
	memset(p, '[', DEPTH);
	memset(p + DEPTH, ']', DEPTH);
	p += DEPTH * 2;
	for (int i = 0; i < MEMBERS; i++)
		p += sprintf(p, ",\"k%d\":%d", i % (MEMBERS / 2), i);
	sprintf(p, ",\"last\":1}");
	sample_init(&s);
	sample_result(&s, json);
	wh_buffer_init(&out, size);
	assert_int_equal(wh_template_render(t, &s.values, &out), WH_RENDERED);
	/* each key once, with its later value, except the template's own */
	for (p = out.data; (p = strstr(p, "\"k")) != NULL; p++, n++)
	{
		int key;
		int value;

		assert_int_equal(sscanf(p, "\"k%d\":%d", &key, &value), 2);
		assert_int_equal(value, key == 7 ? 1 : key + MEMBERS / 2);
	}
	assert_int_equal(n, MEMBERS / 2);
	wh_buffer_free(&out);
	wh_template_free(t);
	free(json);
}

#define EVERYTHING                                                                                           \
	"{\"t\":\"$tenant?\",\"id\":\"$id\",\"o\":{\"?\":null,\"x\":\"$param.a|result.s:string\"},\"a\":"        \
	"{\"...\":\"$result\",\"q\":[\"$object.id\",\"$number:string\"]},\"m\":\"$mapped_type\"}"

static void
everything(Sample *s)
{
	sample_init(s);
	sample_result(s, "{\"s\": \"a\\u0062\", \"t\": [1, 2, 3]}");
	sample_params(s, "{\"event_types\": {\"user.new\": \"x\"}}");
}

/* With every limit short of the whole nothing is left of it, and what was there before is. */
static void
test_limits(void **state)
{
	static const struct
	{
		WhTemplateKind kind;
		const char *template;
	} rows[] = {{WH_TEMPLATE_ENVELOPE, EVERYTHING},
				{WH_TEMPLATE_HEADER, "a {id} {result.s} {result:percent} {tenant}"}};
	Sample s;

	(void) state;
	everything(&s);
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhTemplate *t = compiled(rows[i].kind, rows[i].template);
		WhBuffer whole;

		wh_buffer_init(&whole, TEMPLATE_LIMIT);
		assert_int_equal(wh_template_render(t, &s.values, &whole), WH_RENDERED);
		for (size_t limit = 2; limit <= whole.len + 4; limit++)
		{
			WhBuffer out;
			bool fits;

			wh_buffer_init(&out, limit);
			assert_true(wh_buffer_puts(&out, "[\n"));
			fits = wh_template_render(t, &s.values, &out) == WH_RENDERED;
			assert_int_equal(fits, limit >= whole.len + 2);
			assert_int_equal(out.failed, !fits);
			assert_int_equal(out.len, fits ? whole.len + 2 : 2);
			assert_memory_equal(out.data, "[\n", 2);
			assert_string_equal(out.data + 2, fits ? whole.data : "");
			wh_buffer_free(&out);
		}
		wh_buffer_free(&whole);
		wh_template_free(t);
	}
}

/* A header that is left out leaves nothing behind either. */
static void
test_absent(void **state)
{
	WhTemplate *t = compiled(WH_TEMPLATE_HEADER, "{id} is written before {tenant?}");
	Sample s;
	WhBuffer out;

	(void) state;
	sample_init(&s);
	wh_buffer_init(&out, TEMPLATE_LIMIT);
	assert_true(wh_buffer_puts(&out, "X: "));
	assert_int_equal(wh_template_render(t, &s.values, &out), WH_RENDER_ABSENT);
	assert_string_equal(out.data, "X: ");
	assert_false(out.failed);
	wh_buffer_free(&out);
	wh_template_free(t);
}

/* Render with the n-th allocation failing, for each n there is; returns how many there are. */
static long
render_without_memory(const WhTemplate *t, const Sample *s)
{
	for (long n = 1;; n++)
	{
		WhBuffer out;
		WhRendered rendered;
		bool failed;

		wh_buffer_init(&out, TEMPLATE_LIMIT);
		fail_malloc_at(n);
		rendered = wh_template_render(t, &s->values, &out);
		failed = malloc_has_failed();
		assert_int_equal(rendered, failed ? WH_RENDER_FAILED : WH_RENDERED);
		assert_int_equal(out.failed, failed);
		assert_int_equal(out.len > 0, !failed);
		wh_buffer_free(&out);
		if (!failed)
			return n - 1;
	}
}

/* Whichever allocation fails, in compiling or in rendering: nothing is half made. */
static void
test_no_memory(void **state)
{
	WhTemplateError error;
	WhTemplate *t = NULL;
	Sample s;
	long n;

	(void) state;
	everything(&s);
	for (n = 1;; n++)
	{
		fail_malloc_at(n);
		t = wh_template_compile(WH_TEMPLATE_ENVELOPE, EVERYTHING, strlen(EVERYTHING), &error);
		if (!malloc_has_failed())
			break;
		assert_null(t);
		assert_true(error.no_memory);
		assert_string_equal(error.why, "out of memory");
	}
	assert_non_null(t);
	assert_true(n > 6);                             /* the template, its five arrays and the stack of keys */
	assert_true(render_without_memory(t, &s) >= 3); /* the body, the scratch buffer, the spread members */
	wh_template_free(t);

	t = compiled(WH_TEMPLATE_HEADER, "{result.s}{id}{result.s}");
	assert_true(render_without_memory(t, &s) >= 3); /* the header, what is put together, what is unescaped */
	wh_template_free(t);
}

/* docs/profiles.md has a row for each variable, with where it may stand, in the same order. */
static void
test_docs(void **state)
{
	static const char letters[] = "EH"; /* as WhTemplateKind */
	FILE *doc = fopen(DOCS "/profiles.md", "r");
	char line[1024];
	size_t n = 0;
	unsigned int kinds;

	(void) state;
	assert_non_null(doc);
	while (fgets(line, sizeof(line), doc))
	{
		char name[32];
		char where[8];
		char right[8] = "";

		if (sscanf(line, "| `%31[a-z_]` | %7[EH] |", name, where) != 2)
			continue;
		check_row(name, wh_template_variable(n, &kinds) != NULL);
		assert_string_equal(name, wh_template_variable(n, &kinds));
		for (int kind = 0; kind < WH_TEMPLATE_KINDS; kind++)
			if (kinds & 1u << kind)
				strncat(right, &letters[kind], 1);
		check_row(name, strcmp(where, right) == 0);
		n++;
	}
	fclose(doc);
	assert_null(wh_template_variable(n, &kinds));
}

/* Only what lies in the event whole is lent. An event with a problem counts bytes that are not its own. */
static void
test_lent(void **state)
{
	struct
	{
		Sample sample;
		char json[2 * WH_LENT_MIN];
	} together;
	Sample *s = &together.sample;
	size_t all = sizeof(together) - offsetof(Sample, event);
	const struct
	{
		size_t size;
		const char *problem;
		size_t lent;
	} rows[] = {
		{all, NULL, 1},
		{all - 1, NULL, 0},
		{all - sizeof(together.json), NULL, 0},
		{all, "its content was not read", 0},
	};
	WhTemplate *t = compiled(WH_TEMPLATE_ENVELOPE, "\"$object\"");

	(void) state;
	sample_init(s);
	memset(together.json, '1', sizeof(together.json));
	s->event.result = together.json;
	s->event.result_len = sizeof(together.json);
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhBuffer out;

		wh_buffer_init(&out, 10 * sizeof(together.json));
		out.lends = true;
		s->event.size = rows[i].size;
		s->event.problem = rows[i].problem;
		assert_int_equal(wh_template_render(t, &s->values, &out), WH_RENDERED);
		assert_int_equal(out.n_lent, rows[i].lent);
		wh_buffer_free(&out);
	}
	wh_template_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_variables),  cmocka_unit_test(test_sandbox), cmocka_unit_test(test_surrogates),
		cmocka_unit_test(test_odd_events), cmocka_unit_test(test_times),   cmocka_unit_test(test_odd_json),
		cmocka_unit_test(test_huge_json),  cmocka_unit_test(test_limits),  cmocka_unit_test(test_absent),
		cmocka_unit_test(test_no_memory),  cmocka_unit_test(test_lent),    cmocka_unit_test(test_docs),
	};

	return cmocka_run_group_tests_name("template_values", tests, NULL, NULL);
}
