/*
 * test_template_profiles.c
 *	  The nine built-in profiles, as docs/profiles.md shows them: what each makes
 *	  of events (that the page shows what is stored is seen to by
 *	  test/t/220_profiles.pl). The record of Website Toolbox's documentation and the
 *	  player.update of Aghanim's come out as their pages print them, except for
 *	  the order of keys and the ids, which are ours.
 */
#include "template_unit.h"

#include "profile_unit.h"

#define MAX_HEADERS 12
#define MAX_COLUMNS 16

/* One profile of the page. */
typedef struct Profile
{
	char envelopes[2][2000]; /* the second of a batch, perhaps "" */
	int n_headers;
	char headers[MAX_HEADERS][100];
	int n_columns;
	struct
	{
		char name[32];
		char value[300];
	} columns[MAX_COLUMNS];
} Profile;

static const char *const names[] = {
	"entity",          "standard", "cloudevents", "cloudevents_binary", "github", "stripe",
	"website_toolbox", "xsolla",   "aghanim",
};

/* Take one line of a profile's text block. */
static void
take_line(Profile *p, const char *line)
{
	char word[32];
	char rest[300];

	if (sscanf(line, "%31s %299[^\n]", word, rest) != 2)
		fail_msg("not a line of a profile: %s", line);
	if (strcmp(word, "header") == 0)
	{
		assert_true(p->n_headers < MAX_HEADERS);
		assert_true(strlen(rest) < sizeof(p->headers[0]));
		strcpy(p->headers[p->n_headers++], rest);
		return;
	}
	assert_true(p->n_columns < MAX_COLUMNS);
	strcpy(p->columns[p->n_columns].name, word);
	strcpy(p->columns[p->n_columns++].value, rest);
}

/* A column's value as the page shows it; NULL: it does not. */
static const char *
column(const Profile *p, const char *name)
{
	for (int i = 0; i < p->n_columns; i++)
		if (strcmp(p->columns[i].name, name) == 0)
			return p->columns[i].value;
	return NULL;
}

/* Read a profile from the page: a heading, one or two blocks of JSON, a block of text. */
static Profile
load(const char *name)
{
	FILE *doc = fopen(DOCS "/profiles.md", "r");
	Profile p = {.n_headers = 0};
	char line[1024];
	char heading[100];
	int n_envelopes = 0;
	enum
	{
		BEFORE,
		INSIDE,
		JSON,
		TEXT
	} where = BEFORE;

	assert_non_null(doc);
	snprintf(heading, sizeof(heading), "### `%s`\n", name);
	while (fgets(line, sizeof(line), doc))
	{
		if (strncmp(line, "###", 3) == 0)
			where = strcmp(line, heading) == 0 ? INSIDE : BEFORE;
		else if (where == INSIDE && strcmp(line, "```json\n") == 0)
		{
			assert_true(++n_envelopes <= 2);
			where = JSON;
		}
		else if (where == INSIDE && strcmp(line, "```text\n") == 0)
			where = TEXT;
		else if (where > INSIDE && strcmp(line, "```\n") == 0)
			where = INSIDE;
		else if (where == JSON)
		{
			char *envelope = p.envelopes[n_envelopes - 1];

			strncat(envelope, line, sizeof(p.envelopes[0]) - strlen(envelope) - 1);
		}
		else if (where == TEXT)
			take_line(&p, line);
	}
	fclose(doc);
	if (p.envelopes[0][0] == '\0' || p.n_columns == 0)
		fail_msg("docs/profiles.md has no profile %s", name);
	return p;
}

/* The page has these profiles and no others. */
static void
test_names(void **state)
{
	FILE *doc = fopen(DOCS "/profiles.md", "r");
	char line[1024];
	char name[32];
	size_t n = 0;

	(void) state;
	assert_non_null(doc);
	while (fgets(line, sizeof(line), doc))
	{
		if (sscanf(line, "### `%31[a-z_]`", name) != 1)
			continue;
		assert_true(n < lengthof(names));
		assert_string_equal(name, names[n++]);
	}
	fclose(doc);
	assert_int_equal(n, lengthof(names));
}

/* user 42: as new, as updated with what it was, as deleted with and without what it was, as tested */
typedef enum Story
{
	NEW,
	UPDATE,
	DELETE,
	DELETE_KEPT,
	TEST
} Story;

static void
tell(Sample *s, Story story)
{
	static const char *const action_types[] = {"new", "update", "delete", "delete", "test"};

	sample_init(s);
	s->event.action_type = action_types[story];
	if (story != DELETE && story != DELETE_KEPT)
		sample_result(s, "{\"id\":42,\"plan\":\"pro\"}");
	if (story == UPDATE)
		sample_previous(s, "{\"plan\":\"free\"}");
	if (story == DELETE_KEPT)
		sample_previous(s, "{\"id\":42,\"plan\":\"free\"}");
	sample_params(
		s, "{\"project_id\":\"0a1b\",\"game_id\":\"gm_1\",\"event_types\":{\"user.new\":\"registration\"}}");
}

#define TIME "2024-09-05T15:00:50.001200Z"
#define CE_HEAD(type)                                                                                        \
	"{\"specversion\":\"1.0\",\"id\":\"evt_0123abcd_1534\",\"source\":\"/webhook/"                           \
	"0123abcd\",\"type\":\"user." type "\","                                                                 \
	"\"subject\":\"user/42\",\"time\":\"" TIME "\",\"datacontenttype\":\"application/json\","                \
	"\"sequence\":\"0000000000000001534\",\"partitionkey\":\"user/42\",\"data\":"
#define AGHANIM_TAIL(sandbox)                                                                                \
	",\"event_time\":1725548450,\"event_id\":\"evt_0123abcd_1534\",\"idempotency_key\":null,\"request_id\":" \
	"null,"                                                                                                  \
	"\"sandbox\":" sandbox ",\"trigger\":null,\"transaction_id\":\"tx_0123abcd_77\",\"context\":null,"       \
	"\"game_id\":\"gm_1\"}"

static const struct
{
	const char *profile;
	Story story;
	const char *body;
} bodies[] = {
	{"entity", NEW,
	 "{\"entity_id\":\"42\",\"entity_type\":\"user\",\"action_type\":\"new\",\"result\":{\"id\":42,\"plan\":"
	 "\"pro\"}}"},
	{"entity", DELETE, "{\"entity_id\":\"42\",\"entity_type\":\"user\",\"action_type\":\"delete\"}"},
	{"entity", DELETE_KEPT, "{\"entity_id\":\"42\",\"entity_type\":\"user\",\"action_type\":\"delete\"}"},
	{"entity", TEST,
	 "{\"entity_id\":\"42\",\"entity_type\":\"user\",\"action_type\":\"test\",\"result\":{\"id\":42,\"plan\":"
	 "\"pro\"}}"},
	{"standard", UPDATE,
	 "{\"type\":\"user.updated\",\"timestamp\":\"" TIME "\",\"data\":{\"id\":42,\"plan\":\"pro\"}}"},
	{"standard", DELETE, "{\"type\":\"user.deleted\",\"timestamp\":\"" TIME "\",\"data\":{\"id\":\"42\"}}"},
	{"cloudevents", NEW, CE_HEAD("created") "{\"id\":42,\"plan\":\"pro\"}}"},
	{"cloudevents", DELETE_KEPT, CE_HEAD("deleted") "{\"id\":42,\"plan\":\"free\"}}"},
	{"cloudevents_binary", NEW, "{\"id\":42,\"plan\":\"pro\"}"},
	{"cloudevents_binary", DELETE, "{\"id\":\"42\"}"},
	{"github", NEW,
	 "{\"action\":\"created\",\"entity_type\":\"user\",\"entity_id\":\"42\",\"object\":{\"id\":42,\"plan\":"
	 "\"pro\"}}"},
	{"github", UPDATE,
	 "{\"action\":\"updated\",\"entity_type\":\"user\",\"entity_id\":\"42\",\"object\":{\"id\":42,\"plan\":"
	 "\"pro\"},"
	 "\"previous\":{\"plan\":\"free\"}}"},
	{"stripe", NEW,
	 "{\"id\":\"evt_0123abcd_1534\",\"object\":\"event\",\"type\":\"user.created\",\"created\":1725548450,"
	 "\"livemode\":true,\"data\":{\"object\":{\"id\":42,\"plan\":\"pro\"}}}"},
	{"stripe", UPDATE,
	 "{\"id\":\"evt_0123abcd_1534\",\"object\":\"event\",\"type\":\"user.updated\",\"created\":1725548450,"
	 "\"livemode\":true,\"data\":{\"object\":{\"id\":42,\"plan\":\"pro\"},\"previous_attributes\":{\"plan\":"
	 "\"free\"}}}"},
	{"stripe", DELETE_KEPT,
	 "{\"id\":\"evt_0123abcd_1534\",\"object\":\"event\",\"type\":\"user.deleted\",\"created\":1725548450,"
	 "\"livemode\":true,\"data\":{\"object\":{\"id\":42,\"plan\":\"free\"}}}"},
	{"stripe", TEST,
	 "{\"id\":\"evt_0123abcd_1534\",\"object\":\"event\",\"type\":\"user.test\",\"created\":1725548450,"
	 "\"livemode\":false,\"data\":{\"object\":{\"id\":42,\"plan\":\"pro\"}}}"},
	{"website_toolbox", UPDATE,
	 "{\"api_version\":\"1\",\"data\":{\"object\":{\"id\":42,\"plan\":\"pro\",\"object\":\"User\"}},"
	 "\"object\":\"event\","
	 "\"id\":1534,\"type\":\"user.updated\",\"mode\":\"live\"}"},
	{"website_toolbox", DELETE,
	 "{\"api_version\":\"1\",\"data\":{\"object\":{\"id\":\"42\",\"object\":\"User\"}},\"object\":\"event\","
	 "\"id\":1534,\"type\":\"user.deleted\",\"mode\":\"live\"}"},
	{"website_toolbox", TEST,
	 "{\"api_version\":\"1\",\"data\":{\"object\":{\"id\":42,\"plan\":\"pro\",\"object\":\"User\"}},"
	 "\"object\":\"event\","
	 "\"id\":1534,\"type\":\"registration\",\"mode\":\"test\"}"},
	{"xsolla", NEW,
	 "{\"event_type\":\"registration\",\"event_time\":\"" TIME
	 "\",\"project_id\":\"0a1b\",\"data\":{\"id\":42,\"plan\":"
	 "\"pro\"}}"},
	{"xsolla", TEST,
	 "{\"event_type\":\"registration\",\"event_time\":\"" TIME
	 "\",\"project_id\":\"0a1b\",\"data\":{\"id\":42,\"plan\":"
	 "\"pro\"}}"},
	{"aghanim", NEW,
	 "{\"event_type\":\"registration\",\"event_data\":{\"id\":42,\"plan\":\"pro\"}" AGHANIM_TAIL("false")},
	{"aghanim", DELETE,
	 "{\"event_type\":\"user.delete\",\"event_data\":{\"id\":\"42\"}" AGHANIM_TAIL("false")},
	{"aghanim", TEST,
	 "{\"event_type\":\"registration\",\"event_data\":{\"id\":42,\"plan\":\"pro\"}" AGHANIM_TAIL("true")},
};

static void
test_bodies(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(bodies); i++)
	{
		Profile p = load(bodies[i].profile);
		Sample s;

		tell(&s, bodies[i].story);
		check_render(WH_TEMPLATE_ENVELOPE, p.envelopes[0], &s, bodies[i].body);
	}
}

/* The user of Website Toolbox's page; `object` is the template's, all else the record's */
static void
test_website_toolbox_page(void **state)
{
	Profile p = load("website_toolbox");
	Sample s;

	(void) state;
	sample_init(&s);
	s.event.entity_id = "181855";
	sample_result(
		&s, "{\"signature\":\"Thanks, John.\",\"name\":\"John Doe\",\"allowEmails\":false,"
			"\"lastPostTimestamp\":0,\"userGroups\":[7440,2452,52423],\"userTitle\":\"Power User\","
			"\"reputation\":423,\"username\":\"john\",\"postCount\":32,\"userId\":181855,"
			"\"lastVisitTimestamp\":1322811119,\"instantMessagingType\":\"\",\"instantMessagingId\":\"\","
			"\"object\":\"a column of that name\",\"invisible\":false,\"email\":\"johnDoe@gmail.com\","
			"\"avatarUrl\":\"https://test.com/images/avatar.png\",\"joinDateTimestamp\":1322811119,"
			"\"enableMessages\":true}");
	check_render(
		WH_TEMPLATE_ENVELOPE, p.envelopes[0], &s,
		"{\"api_version\":\"1\",\"data\":{\"object\":{\"signature\":\"Thanks, John.\",\"name\":\"John Doe\","
		"\"allowEmails\":false,\"lastPostTimestamp\":0,\"userGroups\":[7440,2452,52423],\"userTitle\":"
		"\"Power User\",\"reputation\":423,\"username\":\"john\",\"postCount\":32,\"userId\":181855,"
		"\"lastVisitTimestamp\":1322811119,\"instantMessagingType\":\"\",\"instantMessagingId\":\"\","
		"\"invisible\":false,\"email\":\"johnDoe@gmail.com\",\"avatarUrl\":"
		"\"https://test.com/images/avatar.png\",\"joinDateTimestamp\":1322811119,\"enableMessages\":true,"
		"\"object\":\"User\"}},\"object\":\"event\",\"id\":1534,\"type\":\"user.created\",\"mode\":"
		"\"live\"}");
}

/* The player.update of Aghanim's page, nulls included; then one with a context and in a sandbox */
static void
test_aghanim_page(void **state)
{
	Profile p = load("aghanim");
	Sample s;

	(void) state;
	sample_init(&s);
	s.event.entity_id = "2D2R-OP3C";
	s.event.entity_type = "player";
	s.event.action_type = "update";
	s.values.event_prefix = "whevt_";
	s.values.transaction_prefix = "whtx_";
	sample_result(&s, "{\"player_id\":\"2D2R-OP3C\",\"email\":\"PlayerOne@aghanim.com\"}");
	sample_params(&s, "{\"game_id\": \"gm_exTAyxPsVwh\"}");
	s.event.context =
		"{\"request_id\": \"d1593e9c-c291-4004-8846-6679c2e5810b\", \"trigger\": \"hub.profile_update\"}";
	check_render(
		WH_TEMPLATE_ENVELOPE, p.envelopes[0], &s,
		"{\"event_type\":\"player.update\",\"event_data\":{\"player_id\":\"2D2R-OP3C\",\"email\":"
		"\"PlayerOne@aghanim.com\"},\"event_time\":1725548450,\"event_id\":\"whevt_0123abcd_1534\","
		"\"idempotency_key\":null,\"request_id\":\"d1593e9c-c291-4004-8846-6679c2e5810b\",\"sandbox\":false,"
		"\"trigger\":\"hub.profile_update\",\"transaction_id\":\"whtx_0123abcd_77\",\"context\":null,"
		"\"game_id\":\"gm_exTAyxPsVwh\"}");

	s.event.context = "{\"sandbox\": true, \"idempotency_key\": \"k\", \"player\": {\"level\": 3}}";
	sample_params(&s, NULL);
	check_render(
		WH_TEMPLATE_ENVELOPE, p.envelopes[0], &s,
		"{\"event_type\":\"player.update\",\"event_data\":{\"player_id\":\"2D2R-OP3C\",\"email\":"
		"\"PlayerOne@aghanim.com\"},\"event_time\":1725548450,\"event_id\":\"whevt_0123abcd_1534\","
		"\"idempotency_key\":\"k\",\"request_id\":null,\"sandbox\":true,\"trigger\":null,\"transaction_id\":"
		"\"whtx_0123abcd_77\",\"context\":{\"order\":null,\"player\":{\"level\": 3}},\"game_id\":null}");

	/* its page says string or null */
	s.event.context = "{\"request_id\": 17, \"trigger\": {\"by\": [1]}, \"idempotency_key\": false}";
	check_render(
		WH_TEMPLATE_ENVELOPE, p.envelopes[0], &s,
		"{\"event_type\":\"player.update\",\"event_data\":{\"player_id\":\"2D2R-OP3C\",\"email\":"
		"\"PlayerOne@aghanim.com\"},\"event_time\":1725548450,\"event_id\":\"whevt_0123abcd_1534\","
		"\"idempotency_key\":\"false\",\"request_id\":\"17\",\"sandbox\":false,\"trigger\":"
		"\"{\\\"by\\\": [1]}\",\"transaction_id\":\"whtx_0123abcd_77\",\"context\":null,\"game_id\":null}");
}

/* An element of a batch tells its own id, since the header has the batch's. */
static void
test_batches(void **state)
{
	static const struct
	{
		const char *profile;
		const char *element; /* NULL: no batches */
	} rows[] = {{"entity",
				 "{\"event_id\":\"evt_0123abcd_1534\",\"entity_id\":\"42\",\"entity_type\":\"user\","
				 "\"action_type\":\"delete\"}"},
				{"standard", "{\"id\":\"evt_0123abcd_1534\",\"type\":\"user.deleted\",\"timestamp\":\"" TIME
							 "\",\"data\":{\"id\":\"42\"}}"},
				{"cloudevents", CE_HEAD("deleted") "{\"id\":\"42\"}}"},
				{"cloudevents_binary", NULL},
				{"github", NULL},
				{"stripe", NULL},
				{"website_toolbox", NULL},
				{"xsolla", NULL},
				{"aghanim", NULL}};

	(void) state;
	assert_int_equal(lengthof(rows), lengthof(names));
	for (size_t i = 0; i < lengthof(rows); i++)
	{
		Profile p = load(rows[i].profile);
		Sample s;

		tell(&s, DELETE);
		check_row(rows[i].profile, (p.envelopes[1][0] != '\0') == (rows[i].element != NULL));
		if (rows[i].element)
			check_render(WH_TEMPLATE_ENVELOPE, p.envelopes[1], &s, rows[i].element);
	}
}

/* The headers that have templates. */
static const struct
{
	const char *profile;
	const char *headers[MAX_HEADERS];
} around[] = {
	{"entity", {NULL}},
	{"standard", {NULL}},
	{"cloudevents", {NULL}},
	{"cloudevents_binary",
	 {"ce-specversion: 1.0", "ce-id: evt_0123abcd_1534", "ce-source: /webhook/0123abcd",
	  "ce-type: us%C3%A9r.created", "ce-subject: us%C3%A9r/4%202", "ce-time: " TIME,
	  "ce-sequence: 0000000000000001534", "ce-partitionkey: us%C3%A9r/4%202"}},
	{"github", {"X-GitHub-Event: us\xc3\xa9r"}},
	{"stripe", {NULL}},
	{"website_toolbox", {NULL}},
	{"xsolla", {NULL}},
	{"aghanim", {"User-Agent: pgwebhook/1.1"}},
};

static void
test_headers(void **state)
{
	(void) state;
	assert_int_equal(lengthof(around), lengthof(names));
	for (size_t i = 0; i < lengthof(around); i++)
	{
		Profile p = load(around[i].profile);
		Sample s;
		int n = 0;

		sample_init(&s);
		s.event.entity_type = "us\xc3\xa9r";
		s.event.entity_id = "4 2";
		while (n < MAX_HEADERS && around[i].headers[n] != NULL)
		{
			check_row(around[i].profile, n < p.n_headers);
			check_render(WH_TEMPLATE_HEADER, p.headers[n], &s, around[i].headers[n]);
			n++;
		}
		check_row(around[i].profile, n == p.n_headers);
	}
}

/* Params can name the source of CloudEvents. */
static void
test_cloudevents_source(void **state)
{
	Profile p = load("cloudevents_binary");
	Sample s;

	(void) state;
	sample_init(&s);
	sample_params(&s, "{\"source\": \"https://shop.example/a b\"}");
	check_render(WH_TEMPLATE_HEADER, p.headers[2], &s, "ce-source: https://shop.example/a%20b");
}

/* As in a block of the page, where it is on one line. */
static void
same_line(const char *shown, const char *used)
{
	assert_int_equal(strlen(shown), strlen(used) + 1);
	assert_memory_equal(shown, used, strlen(used));
}

/* What the other tests of the engine take for `entity` is what is built in. */
static void
test_entity_of_tests(void **state)
{
	Profile p = load("entity");

	(void) state;
	same_line(p.envelopes[0], profile_entity.envelope);
	same_line(p.envelopes[1], profile_entity.batch_envelope);
	assert_string_equal(column(&p, "id_header"), profile_entity.id_header);
	assert_string_equal(column(&p, "timestamp_header"), profile_entity.timestamp_header);
	assert_string_equal(column(&p, "signature_algorithm"), profile_entity.algorithm);
	assert_string_equal(column(&p, "signature_encoding"), profile_entity.encoding);
	assert_string_equal(column(&p, "secret_encoding"), profile_entity.secret_encoding);
	assert_string_equal(column(&p, "signed_content"), profile_entity.signed_content);
	assert_string_equal(column(&p, "signature_header"), profile_entity.signature_header);
	assert_string_equal(column(&p, "signature_format"), profile_entity.signature_format);
	assert_string_equal(column(&p, "signature_separator"), "\" \"");
	assert_null(column(&p, "content_type"));
	assert_null(column(&p, "failure_match"));
	assert_int_equal(p.n_columns, 9);
	assert_int_equal(p.n_headers, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bodies),
		cmocka_unit_test(test_website_toolbox_page),
		cmocka_unit_test(test_aghanim_page),
		cmocka_unit_test(test_batches),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_cloudevents_source),
		cmocka_unit_test(test_entity_of_tests),
	};

	return cmocka_run_group_tests_name("template_profiles", tests, NULL, NULL);
}
