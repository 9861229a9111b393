/*
 * fuzz_token.c
 *	  libFuzzer over what a token endpoint answers: the first byte of the
 *	  input chooses its status, the rest is the body.
 *
 * Beyond not crashing: there is a token, or a reason, and never both; a token
 * is one line of visible ASCII, stands in the answer, and is used for no longer
 * than the answer allows; a reason quotes nothing of the answer but the words
 * that RFC 6749 has. The parts that read the answer are the file's own, and so
 * it is included. Ownership: each run frees what it makes.
 */
#define _GNU_SOURCE /* memmem */
#include <stdint.h>
#include <stdio.h>

#include "token.c"
#include "must.h"

#define NOW (INT64_C(1700000000) * 1000000)
#define SCHEME "Authorization: Bearer "

/* Is it in there as it stands? Where something is escaped, nobody can tell so simply. */
static bool
stands_in(const WhBuffer *answer, const char *token)
{
	return memchr(answer->data, '\\', answer->len) != NULL ||
		   memmem(answer->data, answer->len, token, strlen(token)) != NULL;
}

static void
check_token(const Token *given, const WhTransfer *t)
{
	const char *token = given->header + strlen(SCHEME);

	must(t->kind == WH_OUT_DELIVERED);
	must(given->number == 1);
	must(strncmp(given->header, SCHEME, strlen(SCHEME)) == 0 && *token != '\0');
	for (const char *c = token; *c; c++)
		must(*c > ' ' && *c < 0x7f);
	must(stands_in(&t->answer, token));
	if (given->until_us == INT64_MAX)
		return;
	must(given->until_us > NOW && given->until_us < NOW + LIFE_MAX_S * INT64_C(1000000));
	must(memmem(t->answer.data, t->answer.len, "expires_in", 10) ||
		 memchr(t->answer.data, '\\', t->answer.len));
}

/* What may stand in it, one after the other; behind that it ends. */
static void
check_problem(const char *problem, const WhTransfer *t)
{
	static const char *const words[] = {
		"",
		": invalid_request",
		": invalid_client",
		": invalid_grant",
		": unauthorized_client",
		": unsupported_grant_type",
		": invalid_scope",
	};
	char expected[WH_ERROR_MAX];
	bool known = false;

	if (t->http_status == 0)
		snprintf(expected, sizeof(expected), "no answer from the token endpoint: %s", t->error);
	else
		snprintf(expected, sizeof(expected), "the token endpoint answered with status %d%s", t->http_status,
				 t->kind == WH_OUT_DELIVERED ? " and no bearer token" : "");
	must(strncmp(problem, expected, strlen(expected)) == 0);
	problem += strlen(expected);
	for (size_t i = 0; i < (t->kind == WH_OUT_HTTP_ERROR ? sizeof(words) / sizeof(words[0]) : 1); i++)
		known |= strcmp(problem, words[i]) == 0;
	must(known);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = {0, 200, 204, 299, 400, 401, 500};
	Token given = {.refs = 1};
	WhTransfer t = {.private = true};

	if (size < 1)
		return 0;
	t.http_status = statuses[data[0] % (sizeof(statuses) / sizeof(statuses[0]))];
	t.kind = t.http_status == 0         ? WH_OUT_RESET
			 : t.http_status / 100 == 2 ? WH_OUT_DELIVERED
										: WH_OUT_HTTP_ERROR;
	if (t.http_status == 0)
		snprintf(t.error, sizeof(t.error), "it was closed");
	wh_buffer_init(&t.answer, size);
	/* http.c keeps an answer whole, and one of nothing not at all */
	if (size > 1)
		must(wh_buffer_append(&t.answer, data + 1, size - 1));

	wh_token_take(&given, &t, NOW);
	if (given.header)
		check_token(&given, &t);
	must((given.header == NULL) == (given.problem[0] != '\0'));
	if (given.header == NULL)
		check_problem(given.problem, &t);
	wh_token_forget(&given);
	wh_buffer_free(&t.answer);
	return 0;
}
