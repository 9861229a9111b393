/*
 * test_envelope.c
 *	  The body of the profile `entity`, byte for byte; what JSON must have
 *	  escaped, and what becomes of a body that does not fit.
 */
#include "unit.h"

#include "profile_unit.h"
#include "template.h"

#define LIMIT 10000

#define GRIN "\xf0\x9f\x98\x80"       /* U+1F600 */
#define LINE_SEPARATOR "\xe2\x80\xa8" /* U+2028, which JSON allows and JavaScript once did not */

static WhTemplate *entity;

static int
set_up(void **state)
{
	WhTemplateError error;

	(void) state;
	entity = wh_template_compile(WH_TEMPLATE_ENVELOPE, profile_entity.envelope,
								 strlen(profile_entity.envelope), &error);
	assert_non_null(entity);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	wh_template_free(entity);
	return 0;
}

static bool
render(const WhEvent *e, WhBuffer *body)
{
	WhTemplateValues values = {.event = e, .instance = "0123abcd", .event_prefix = "evt_"};

	return wh_template_render(entity, &values, body) == WH_RENDERED;
}

static WhEvent
event(const char *id, const char *type, const char *action_type, const char *result)
{
	WhEvent made = {
		.refs = 1, .entity_id = id, .entity_type = type, .action_type = action_type, .result = result};

	made.result_len = result != NULL ? strlen(result) : 0;
	return made;
}

static const struct
{
	const char *name;
	const char *id, *type, *action_type, *result;
	const char *body;
} rows[] = {
	{"new", "42", "user", "new", "{\"id\": 42}",
	 "{\"entity_id\":\"42\",\"entity_type\":\"user\",\"action_type\":\"new\",\"result\":{\"id\": 42}}"},
	{"delete, no result", "42", "user", "delete", NULL,
	 "{\"entity_id\":\"42\",\"entity_type\":\"user\",\"action_type\":\"delete\"}"},
	{"truncate, no id", NULL, "user", "truncate", NULL,
	 "{\"entity_id\":null,\"entity_type\":\"user\",\"action_type\":\"truncate\"}"},
	{"empty id and type", "", "", "new", "false",
	 "{\"entity_id\":\"\",\"entity_type\":\"\",\"action_type\":\"new\",\"result\":false}"},
	{"empty result is none", "1", "t", "new", "",
	 "{\"entity_id\":\"1\",\"entity_type\":\"t\",\"action_type\":\"new\"}"},
	{"id beyond 2^53", "9223372036854775807", "t", "update", "1",
	 "{\"entity_id\":\"9223372036854775807\",\"entity_type\":\"t\",\"action_type\":\"update\",\"result\":1}"},
	{"key of two columns", "[\"a\", 1]", "t", "new", "[]",
	 "{\"entity_id\":\"[\\\"a\\\", 1]\",\"entity_type\":\"t\",\"action_type\":\"new\",\"result\":[]}"},
	{"quotes and backslashes", "\"\\\\\"", "\\", "\"", "0",
	 "{\"entity_id\":\"\\\"\\\\\\\\\\\"\",\"entity_type\":\"\\\\\",\"action_type\":\"\\\"\",\"result\":0}"},
	{"escapes between runs", "a\tb\nc", "x\x01", "\x1fy", "0",
	 "{\"entity_id\":\"a\\u0009b\\u000ac\",\"entity_type\":\"x\\u0001\",\"action_type\":\"\\u001fy\","
	 "\"result\":0}"},
	{"beyond ASCII", GRIN "\xc3\xa9\x7f/<", LINE_SEPARATOR, "\xe2\x82\xac", "\"" GRIN "\"",
	 "{\"entity_id\":\"" GRIN "\xc3\xa9\x7f/<\",\"entity_type\":\"" LINE_SEPARATOR
	 "\",\"action_type\":\"\xe2\x82\xac\",\"result\":\"" GRIN "\"}"},
	{"result is not looked at", "1", "t", "new", " { \"a\" :\n\"\\u0000\" , \"a\":1e400 }\t",
	 "{\"entity_id\":\"1\",\"entity_type\":\"t\",\"action_type\":\"new\",\"result\": { \"a\" :\n\"\\u0000\" "
	 ", "
	 "\"a\":1e400 }\t}"},
};

static void
test_bodies(void **state)
{
	WhBuffer body;

	(void) state;
	wh_buffer_init(&body, LIMIT);
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		WhEvent e = event(rows[i].id, rows[i].type, rows[i].action_type, rows[i].result);

		wh_buffer_reset(&body);
		check_row(rows[i].name, render(&e, &body));
		assert_string_equal(body.data, rows[i].body);
		check_row(rows[i].name, body.len == strlen(rows[i].body));
	}
	wh_buffer_free(&body);
}

/* Each byte that text may hold, alone in an id. */
static void
test_every_byte(void **state)
{
	WhBuffer body;

	(void) state;
	wh_buffer_init(&body, LIMIT);
	for (int c = 1; c < 256; c++)
	{
		char id[2] = {(char) c, '\0'};
		char escaped[8];
		char right[100];
		WhEvent e = event(id, "t", "new", NULL);

		if (c < 0x20)
			snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned int) c);
		else if (c == '"' || c == '\\')
			snprintf(escaped, sizeof(escaped), "\\%c", c);
		else
			snprintf(escaped, sizeof(escaped), "%c", c);
		snprintf(right, sizeof(right), "{\"entity_id\":\"%s\",\"entity_type\":\"t\",\"action_type\":\"new\"}",
				 escaped);
		wh_buffer_reset(&body);
		assert_true(render(&e, &body));
		assert_string_equal(body.data, right);
	}
	wh_buffer_free(&body);
}

/* The result may hold anything, and is as long as it says, not as its first NUL. */
static void
test_result_by_length(void **state)
{
	WhEvent e = event("1", "t", "new", "{}garbage behind");
	WhBuffer body;

	(void) state;
	e.result_len = 2;
	wh_buffer_init(&body, LIMIT);
	assert_true(render(&e, &body));
	assert_string_equal(body.data,
						"{\"entity_id\":\"1\",\"entity_type\":\"t\",\"action_type\":\"new\",\"result\":{}}");
	wh_buffer_free(&body);
}

/* With every limit short of the whole, no part of the body is left, and what was there before is. */
static void
test_limits(void **state)
{
	WhEvent e = event("a\nb\"", "user", "new", "{\"x\": 1}");
	WhBuffer whole;

	(void) state;
	wh_buffer_init(&whole, LIMIT);
	assert_true(render(&e, &whole));
	for (size_t limit = 0; limit <= whole.len + 5; limit++)
	{
		WhBuffer body;

		wh_buffer_init(&body, limit);
		if (render(&e, &body))
		{
			assert_true(limit >= whole.len);
			assert_string_equal(body.data, whole.data);
		}
		else
		{
			assert_true(limit < whole.len);
			assert_true(body.failed);
			assert_int_equal(body.len, 0);
		}
		wh_buffer_free(&body);

		wh_buffer_init(&body, limit + 2);
		assert_true(wh_buffer_puts(&body, "[\n"));
		assert_int_equal(render(&e, &body), limit >= whole.len);
		assert_int_equal(body.len, limit >= whole.len ? whole.len + 2 : 2);
		assert_memory_equal(body.data, "[\n", 2);
		assert_int_equal(body.data[body.len], '\0');
		wh_buffer_free(&body);
	}
	wh_buffer_free(&whole);
}

static void
test_no_memory(void **state)
{
	static char result[3000];
	WhEvent e = event("1", "t", "new", result);

	(void) state;
	memset(result, '1', sizeof(result) - 1);
	e.result_len = sizeof(result) - 1;
	for (long n = 1;; n++)
	{
		WhBuffer body;
		bool ok;

		wh_buffer_init(&body, LIMIT);
		fail_malloc_at(n);
		ok = render(&e, &body);
		if (!malloc_has_failed())
		{
			assert_true(ok);
			assert_true(n > 2);
			wh_buffer_free(&body);
			return;
		}
		assert_false(ok);
		assert_int_equal(body.len, 0);
		wh_buffer_free(&body);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bodies),           cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_result_by_length), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("envelope", tests, set_up, tear_down);
}
