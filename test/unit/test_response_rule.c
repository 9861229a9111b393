/*
 * test_response_rule.c
 *	  What a response says: the rule by which a 2xx is a failure, over answers
 *	  whole, cut and none, and the error text made of it.
 */
#include "unit.h"

#include "response_rule.h"

#define ERROR "{\"status\": \"error\"}"

static const struct
{
	const char *rule;
	const char *answer;
	bool matches;
} rows[] = {
	{ERROR, "{\"status\": \"error\", \"code\": \"not_found\"}", true},
	{ERROR, "{\"status\":\"ok\"}", false},
	{ERROR, " \r\n\t{ \"code\" : 1 , \"status\" : \"error\" } ", true},
	{ERROR, "{\"st\\u0061tus\":\"\\u0065rror\"}", true},
	{ERROR, "{\"status\":\"error\\u0000\"}", false},
	{ERROR, "{\"status\":\"Error\"}", false},
	{ERROR, "{\"status\":error}", false},
	{ERROR, "{\"status\":[\"error\"]}", false},
	{ERROR, "{\"state\":\"error\"}", false},
	/* of a member that is there twice, the last */
	{ERROR, "{\"status\":\"ok\",\"status\":\"error\"}", true},
	{ERROR, "{\"status\":\"error\",\"status\":\"ok\"}", false},
	/* only of the outermost object */
	{ERROR, "{\"data\":{\"status\":\"error\"}}", false},
	{ERROR, "[{\"status\":\"error\"}]", false},
	{ERROR, "\"{\\\"status\\\":\\\"error\\\"}\"", false},
	/* cut: what stands whole counts */
	{ERROR, "{\"status\":\"error\",\"details\":[{\"a\":\"", true},
	{ERROR, "{\"details\":[{\"a\":1},\"status\":\"error\"", false},
	{ERROR, "{\"status\":\"error\"", false},
	{ERROR, "{\"status\":\"error", false},
	{ERROR, "{\"status\":", false},
	{ERROR, "{\"status\"", false},
	{ERROR, "{", false},
	/* none */
	{ERROR, "", false},
	{ERROR, "status: error", false},
	{ERROR, "{\"status\" \"error\"}", false},
	{ERROR, "{status:\"error\"}", false},
	/* several members, other scalars */
	{"{\"ok\": false, \"n\": 12, \"x\": null}", "{\"x\":null,\"n\":12,\"ok\":false}", true},
	{"{\"ok\": false, \"n\": 12, \"x\": null}", "{\"n\":12,\"ok\":false}", false},
	{"{\"ok\": false, \"n\": 12, \"x\": null}", "{\"x\":null,\"n\":12,\"ok\":true}", false},
	{"{\"n\": 12}", "{\"n\":12.0}", false},
	{"{\"n\": 12}", "{\"n\":\"12\"}", false},
	{"{\"n\": 1}", "{\"n\":12}", false},
	{"{\"n\": 1}", "{\"n\":1", false}, /* it may go on */
	{"{\"a b\\\"\": \"\\u00e9\"}", "{\"a b\\\"\":\"\xc3\xa9\"}", true},
	/* an empty rule is none */
	{"{}", "{}", false},
};

static void
test_matches(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
		check_row(rows[i].answer, wh_answer_matches(rows[i].rule, rows[i].answer) == rows[i].matches);
}

static const struct
{
	const char *names;
	const char *answer;
	const char *text;
} texts[] = {
	{"code\nmessage", "{\"status\":\"error\",\"code\":\"not_found\",\"message\":\"no such player\"}",
	 "not_found: no such player"},
	{"message\ncode", "{\"code\":7,\"message\":\"no\"}", "no: 7"},
	{"code\nmessage", "{\"code\":\"not_found\",\"message\":null}", "not_found"},
	{"code\nmessage", "{\"message\":\"no\"}", "no"},
	{"code", "{\"code\":{\"n\":[1]} }", "{\"n\":[1]}"},
	{"code", "{\"code\":\"a\\nb\\u0000c\\td\\u007fe\\\"\"}", "a b c d e\""},
	{"code", "{\"code\":\"\\ud83d\\ude00\xed\x94\x8c\"}", "\xf0\x9f\x98\x80\xed\x94\x8c"},
	{"code", "{\"code\":\"\"}", ""},
	{"code", "{}", ""},
	{"code", "nothing", ""},
	{"code", "", ""},
	{"", "{\"\":1}", ""},
};

static void
test_text(void **state)
{
	char out[200];

	(void) state;
	for (size_t i = 0; i < lengthof(texts); i++)
	{
		wh_answer_text(texts[i].names, texts[i].answer, out, sizeof(out));
		assert_string_equal(out, texts[i].text);
	}
}

/* What does not fit is left out, by whole characters. */
static void
test_cut(void **state)
{
	static const char answer[] = "{\"m\":\"ab\xc3\xa9\xf0\x9f\x98\x80z\"}";
	static const int lengths[] = {0, 0, 1, 2, 2, 4, 4, 4, 4, 8, 9, 9};
	char out[20];

	(void) state;
	for (size_t size = 1; size < lengthof(lengths); size++)
	{
		wh_answer_text("m", answer, out, size);
		assert_int_equal(strlen(out), lengths[size]);
		assert_memory_equal(out, answer + 6, (size_t) lengths[size]);
	}
}

static void
test_no_memory(void **state)
{
	char out[20] = "before";

	(void) state;
	fail_malloc_at(1);
	wh_answer_text("m", "{\"m\":\"what\"}", out, sizeof(out));
	assert_true(malloc_has_failed());
	assert_string_equal(out, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
