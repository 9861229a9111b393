/*
 * fuzz_request.c
 *	  libFuzzer over what the console reads of a request by itself: a login's JSON,
 *	  a path and a query. The first byte of the input chooses which.
 *
 * Beyond not crashing: what is read of JSON has no NUL, is no longer than it was, and is
 * read again from what is written of it; what is decoded has no control character; a
 * path's parameters stand in the path. The files are small, and are included. Ownership:
 * each run frees what it makes.
 */
#define _GNU_SOURCE /* explicit_bzero */
#include <stdint.h>

#include "text.c"
#include "router.c"
#include "routes.c"
#include "must.h"

static const char *const keys[] = {"user", "password", "database"};

/* As it is written, and read from that: the same, unless it was not UTF-8. */
static void
check_again(char *const values[3])
{
	WhBuffer out;
	char *again[3];

	wh_buffer_init(&out, 1 << 20);
	wh_buffer_puts(&out, "{");
	for (int i = 0; i < 3; i++)
		text_json_pair(&out, keys[i], values[i]);
	wh_buffer_puts(&out, "}");
	must(!out.failed);
	must(text_read_object(out.data, out.len, keys, again, 3));
	for (int i = 0; i < 3; i++)
	{
		must(!values[i] == !again[i]);
		must(!values[i] || strstr(again[i], "\xEF\xBF\xBD") || strcmp(values[i], again[i]) == 0);
		text_forget(again[i]);
	}
	wh_buffer_free(&out);
}

static void
check_json(const char *json, size_t len)
{
	char *values[3];

	if (!text_read_object(json, len, keys, values, 3))
	{
		must(!values[0] && !values[1] && !values[2]);
		return;
	}
	for (int i = 0; i < 3; i++)
		must(!values[i] || strlen(values[i]) < len);
	check_again(values);
	for (int i = 0; i < 3; i++)
		text_forget(values[i]);
}

static void
check_path(char *path, size_t len)
{
	const char *params[ROUTE_PARAMS_MAX];
	char allow[64];
	int n = 0;
	const Route *route = route_find("GET", path, params, &n, allow);

	must(strlen(allow) < sizeof(allow));
	if (route == NULL)
		return;
	must(n == route_path_params(route));
	for (int i = 0; i < n; i++)
		must(params[i] > path && params[i] + strlen(params[i]) <= path + len && *params[i]);
}

static void
check_decoded(char *text, size_t len)
{
	if (!text_unescape(text, true))
		return;
	must(strlen(text) <= len);
	for (const char *c = text; *c; c++)
		must((unsigned char) *c >= 0x20 && *c != 0x7F);
}

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy;

	if (size == 0)
		return 0;
	copy = malloc(size);
	must(copy);
	memcpy(copy, data + 1, size - 1);
	copy[size - 1] = '\0';
	if (data[0] % 3 == 0)
		check_json(copy, size - 1);
	else if (data[0] % 3 == 1)
		check_path(copy, size - 1);
	else
		check_decoded(copy, size - 1);
	free(copy);
	return 0;
}
