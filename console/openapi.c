/*
 * openapi.c
 *	  The OpenAPI 3.1 document of the routes, made of their table.
 */
#include "openapi.h"

#include <ctype.h>
#include <stdio.h>

#include "routes.h"
#include "text.h"
#include "version.h"

static void
put_word(WhBuffer *out, const char *word, size_t len)
{
	wh_buffer_puts(out, "\"");
	wh_buffer_append(out, word, len);
	wh_buffer_puts(out, "\"");
}

static void
put_parameter(WhBuffer *out, bool first, const char *in, const char *name, size_t len, bool required)
{
	wh_buffer_puts(out, first ? "{\"name\": " : ", {\"name\": ");
	put_word(out, name, len);
	text_json_pair(out, "in", in);
	wh_buffer_puts(out, required ? ", \"required\": true" : ", \"required\": false");
	wh_buffer_puts(out, ", \"schema\": {\"type\": \"string\"}}");
}

static void
put_parameters(WhBuffer *out, const Route *route)
{
	const char *word;
	size_t len;
	bool first = true;

	wh_buffer_puts(out, ", \"parameters\": [");
	for (const char *p = route->path; (p = strchr(p, '{')) != NULL; first = false)
	{
		p++;
		put_parameter(out, first, "path", p, strcspn(p, "}"), true);
	}
	for (int i = 0; (word = route_word(route->query, i, &len)) != NULL; i++, first = false)
		put_parameter(out, first, "query", word, len, false);
	if (route->version)
		put_parameter(out, first, "header", "If-Match", 8, false);
	wh_buffer_puts(out, "]");
}

static void
put_body(WhBuffer *out, const Route *route)
{
	const char *word;
	size_t len;

	if (route->fields == NULL)
		return;
	wh_buffer_puts(
		out, ", \"requestBody\": {\"content\": {\"application/json\": {\"schema\": {\"type\": \"object\", "
			 "\"additionalProperties\": false, \"properties\": {");
	for (int i = 0; (word = route_word(route->fields, i, &len)) != NULL; i++)
	{
		wh_buffer_puts(out, i ? ", " : "");
		put_word(out, word, len);
		wh_buffer_puts(out, ": {}");
	}
	wh_buffer_puts(out, "}}}}}");
}

static void
put_operation(WhBuffer *out, const Route *route)
{
	char method[8];
	size_t i;

	for (i = 0; i < sizeof(method) - 1 && route->method[i]; i++)
		method[i] = (char) tolower((unsigned char) route->method[i]);
	method[i] = '\0';
	text_json(out, method);
	wh_buffer_puts(out, ": {");
	text_json_pair(out, "summary", route->what);
	put_parameters(out, route);
	put_body(out, route);
	if (route->open)
		wh_buffer_puts(out, ", \"security\": []");
	wh_buffer_puts(
		out, ", \"responses\": {\"200\": {\"description\": \"OK\", \"content\": {\"application/json\": {}}}, "
			 "\"default\": {\"description\": \"an error\", \"content\": {\"application/problem+json\": "
			 "{\"schema\": {\"$ref\": \"#/components/schemas/problem\"}}}}}}");
}

bool
openapi_write(WhBuffer *out)
{
	const char *path = "";

	wh_buffer_puts(
		out,
		"{\"openapi\": \"3.1.0\", \"info\": {\"title\": \"pgwebhook\", \"version\": "
		"\"" PGWEBHOOK_VERSION "\"}, \"security\": [{\"session\": []}, {\"token\": []}], "
		"\"components\": {\"securitySchemes\": {"
		"\"session\": {\"type\": \"apiKey\", \"in\": \"cookie\", \"name\": \"__Host-pgwebhook\"}, "
		"\"token\": {\"type\": \"http\", \"scheme\": \"bearer\"}}, \"schemas\": {\"problem\": {\"type\": "
		"\"object\", \"properties\": {\"type\": {\"type\": \"string\"}, \"status\": {\"type\": \"integer\"}, "
		"\"title\": {\"type\": \"string\"}, \"detail\": {\"type\": [\"string\", \"null\"]}, \"hint\": "
		"{\"type\": [\"string\", \"null\"]}, \"code\": {\"type\": [\"string\", \"null\"]}, \"field\": "
		"{\"type\": [\"string\", \"null\"]}}}}}, \"paths\": {");
	for (size_t i = 0; i < n_routes; i++)
	{
		bool again = false;

		/* every method of a path stands with the first one */
		for (size_t k = 0; k < i; k++)
			again = again || strcmp(routes[k].path, routes[i].path) == 0;
		if (again)
			continue;
		path = routes[i].path;
		wh_buffer_puts(out, i ? "}, " : "");
		text_json(out, path);
		wh_buffer_puts(out, ": {");
		for (size_t k = i; k < n_routes; k++)
			if (strcmp(routes[k].path, path) == 0)
			{
				wh_buffer_puts(out, k == i ? "" : ", ");
				put_operation(out, &routes[k]);
			}
	}
	return wh_buffer_puts(out, "}}}");
}
