/*
 * problem.c
 *	  Errors as answers: RFC 9457, with the server's own words.
 *
 * The extension's errors speak to people already, so nothing is reworded: MESSAGE is the
 * title, DETAIL and HINT keep their names. What is an error of this program or of the
 * server's inside is a 500 with a number, which the program's own log has, too.
 */
#include "problem.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define PROBLEM_MAX (64 * 1024)

/* By class, or by the whole code; the first that fits. */
static const struct
{
	const char *prefix;
	unsigned int status;
} statuses[] = {
	{"42501", 403}, /* insufficient_privilege */
	{"42704", 404}, /* undefined_object */
	{"42P01", 404}, /* undefined_table */
	{"42883", 404}, /* undefined_function: of a later version of the extension */
	{"3F000", 404}, /* invalid_schema_name */
	{"42703", 422}, /* undefined_column */
	{"42601", 422}, /* syntax_error: of a jsonpath */
	{"42602", 422}, /* invalid_name */
	{"42809", 422}, /* wrong_object_type */
	{"42P17", 422}, /* invalid_object_definition */
	{"P0002", 404}, /* no_data_found */
	{"23505", 409}, /* unique_violation */
	{"42710", 409}, /* duplicate_object */
	{"28", 401},    {"22", 422}, {"23", 422}, {"0A", 422}, {"54", 422},    {"55", 409},
	{"40", 409},    {"08", 503}, {"53", 503}, {"57", 503}, {"25006", 403}, /* read_only_sql_transaction */
};

unsigned int
problem_status(const char *sqlstate)
{
	for (size_t i = 0; sqlstate && i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (strncmp(sqlstate, statuses[i].prefix, strlen(statuses[i].prefix)) == 0)
			return statuses[i].status;
	return 500;
}

static void
answer(Request *request, unsigned int status, const char *title, const char *detail, const char *hint,
	   const char *code, const char *field, const char *reference)
{
	WhBuffer out;
	char number[16];

	wh_buffer_init(&out, PROBLEM_MAX);
	wh_buffer_puts(&out, "{");
	text_json_pair(&out, "type", "about:blank");
	snprintf(number, sizeof(number), "%u", status);
	wh_buffer_puts(&out, ", \"status\": ");
	wh_buffer_puts(&out, number);
	text_json_pair(&out, "title", title);
	text_json_pair(&out, "detail", detail);
	text_json_pair(&out, "hint", hint);
	text_json_pair(&out, "code", code);
	text_json_pair(&out, "field", field);
	if (reference)
		text_json_pair(&out, "reference", reference);
	wh_buffer_puts(&out, "}");
	if (out.failed)
		http_answer(request, 500, "application/problem+json", "{}", 2, HTTP_FIXED);
	else
		http_answer(request, status, "application/problem+json", out.data, out.len, HTTP_COPY);
	wh_buffer_free(&out);
}

void
problem_answer(Request *request, unsigned int status, const char *title, const char *hint)
{
	answer(request, status, title, NULL, hint, NULL, NULL, NULL);
}

void
problem_answer_standby(Request *request)
{
	answer(request, problem_status("25006"), "this server is a standby: this is possible on the primary only",
		   NULL, "Use the console of the primary. Here it is possible once this server is promoted.", "25006",
		   NULL, NULL);
}

/*
 * Which key of the body is it about? The server names a column or a constraint where it
 * can; the extension's own messages begin with the name, or have it in quotes.
 */
static const char *
field_of(const PGresult *result, const char *message)
{
	static const char *const fields[] = {"name",
										 "url",
										 "events",
										 "profile",
										 "tenant",
										 "filter",
										 "headers",
										 "params",
										 "retry_schedule",
										 "give_up_after",
										 "timeout",
										 "max_in_flight",
										 "rate_limit",
										 "batch_size",
										 "ordering",
										 "changed_columns",
										 "exclude_origins",
										 "transform",
										 "owner",
										 "state",
										 "secret",
										 "value",
										 "overlap",
										 "since",
										 "until",
										 "source",
										 "entity_type",
										 "entity_id",
										 "id_columns",
										 "action_types",
										 "columns",
										 "exclude_columns",
										 "keep_previous",
										 "role",
										 "expires_at"};
	const char *column = PQresultErrorField(result, PG_DIAG_COLUMN_NAME);
	size_t len = strcspn(message, " ");

	if (column)
		return column;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (strlen(fields[i]) == len && strncmp(fields[i], message, len) == 0)
			return fields[i];
	if (strstr(message, "of the endpoint"))
		return "url";
	if (strncmp(message, "subscription name", 17) == 0 ||
		(strncmp(message, "subscription \"", 14) == 0 && strstr(message, "already exists")))
		return "name";
	if (strncmp(message, "profile \"", 9) == 0)
		return "profile";
	if (strncmp(message, "unknown ordering", 16) == 0)
		return "ordering";
	if (strstr(message, "jsonpath"))
		return "filter";
	return NULL;
}

void
problem_answer_result(Request *request, const PGresult *result, bool if_match)
{
	const char *code = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : "08006";
	const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
	unsigned int status = problem_status(code);

	if (message == NULL)
	{
		problem_answer(request, 503, "the connection to the database was lost", "Log in again.");
		return;
	}
	if (if_match && strcmp(code, "40001") == 0)
		status = 412;
	if (status == 500)
	{
		static unsigned int count;
		char reference[32];

		snprintf(reference, sizeof(reference), "%x-%x", (unsigned int) getpid(), ++count);
		fprintf(stderr, "pgwebhook: error %s: %s: %s\n", reference, code ? code : "?????", message);
		answer(request, 500, "something went wrong inside", NULL,
			   "The log of pgwebhook has the error under this reference.", NULL, NULL, reference);
		return;
	}
	if (status == 503)
		http_set_header(request, "Retry-After", "5");
	answer(request, status, message, PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL),
		   PQresultErrorField(result, PG_DIAG_MESSAGE_HINT), code, field_of(result, message), NULL);
}
