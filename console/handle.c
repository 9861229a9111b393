/*
 * handle.c
 *	  What is done with a request: pages, files, and routes.
 *
 * The order of the checks is the order of what may be known to whom: a write that no page
 * of ours sent is refused before anything is looked up, and who is not logged in learns
 * only whether a route exists.
 */
#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assets.h"
#include "openapi.h"
#include "problem.h"
#include "routes.h"
#include "service.h"
#include "text.h"
#include "version.h"

#define ASSET_MAX (4 * 1024 * 1024)
#define JSON_MAX (1024 * 1024)

static const Settings *settings;
static const char *folder;

/* Paths of pages: the same file, whose script looks at the address. */
static const char *const pages[] = {"/subscriptions", "/deliveries", "/log",    "/why",
									"/sources",       "/dead",       "/tokens", "/audit",
									"/entity",        "/worker",     "/new"};

void
handle_start(const Settings *given, const char *assets_folder)
{
	settings = given;
	folder = assets_folder;
}

/*
 * Pages and files
 */

static const char *
type_of(const char *name)
{
	static const char *const types[][2] = {{".html", "text/html; charset=utf-8"},
										   {".js", "text/javascript; charset=utf-8"},
										   {".css", "text/css; charset=utf-8"},
										   {".svg", "image/svg+xml"},
										   {".png", "image/png"}};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(dot, types[i][0]) == 0)
			return types[i][1];
	return NULL;
}

/* From the folder of --assets, for whoever changes them. */
static void
answer_file(Request *request, const char *name)
{
	char path[4096];
	struct stat st;
	char *bytes = NULL;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= ASSET_MAX &&
		(bytes = malloc((size_t) st.st_size + 1)) != NULL &&
		read(fd, bytes, (size_t) st.st_size) == st.st_size)
		http_answer(request, 200, type_of(name), bytes, (size_t) st.st_size, HTTP_COPY);
	else
		problem_answer(request, 404, "there is no such file", NULL);
	free(bytes);
	if (fd >= 0)
		(void) close(fd);
}

static void
answer_asset(Request *request, const char *name)
{
	if (strchr(name, '/') || *name == '.' || type_of(name) == NULL)
		problem_answer(request, 404, "there is no such file", NULL);
	else if (folder)
		answer_file(request, name);
	else
	{
		for (const Asset *a = assets; a->name; a++)
			if (strcmp(a->name, name) == 0)
			{
				http_answer(request, 200, type_of(name), a->bytes, a->len, HTTP_FIXED);
				return;
			}
		problem_answer(request, 404, "there is no such file", NULL);
	}
}

static bool
is_page(const char *path)
{
	if (strcmp(path, "/") == 0)
		return true;
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
	{
		size_t len = strlen(pages[i]);

		if (strncmp(path, pages[i], len) == 0 && (path[len] == '\0' || path[len] == '/'))
			return true;
	}
	return false;
}

/*
 * Routes of this program's own
 */

static void
answer_login(Request *request)
{
	WhBuffer out;

	wh_buffer_init(&out, JSON_MAX);
	wh_buffer_puts(&out, "{\"databases\": [");
	for (int i = 0; settings->databases[i]; i++)
	{
		wh_buffer_puts(&out, i ? ", " : "");
		text_json(&out, settings->databases[i]);
	}
	wh_buffer_puts(&out, "], \"version\": \"" PGWEBHOOK_VERSION "\"}");
	http_answer(request, 200, "application/json", out.data, out.len, HTTP_COPY);
	wh_buffer_free(&out);
}

static void
answer_openapi(Request *request)
{
	WhBuffer out;

	wh_buffer_init(&out, JSON_MAX);
	if (openapi_write(&out))
		http_answer(request, 200, "application/json", out.data, out.len, HTTP_COPY);
	else
		problem_answer(request, 503, "out of memory", NULL);
	wh_buffer_free(&out);
}

static void
answer_health(Request *request)
{
	http_answer(request, 200, "application/json", "{}", 2, HTTP_FIXED);
}

static void
run_own(Request *request, const Route *route)
{
	static const struct
	{
		const char *method;
		const char *path;
		void (*answer)(Request *request);
	} own[] = {
		{"GET", "/api/login", answer_login},
		{"POST", "/api/session", session_log_in},
		{"GET", "/api/session", session_show},
		{"DELETE", "/api/session", session_log_out},
		{"GET", "/api/openapi.json", answer_openapi},
		{"GET", "/healthz", answer_health},
		{"GET", "/readyz", service_ready},
		{"GET", "/metrics", service_metrics},
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strcmp(own[i].method, route->method) == 0 && strcmp(own[i].path, route->path) == 0)
		{
			own[i].answer(request);
			return;
		}
	problem_answer(request, 404, "there is no such route", NULL);
}

/*
 * All of them
 */

static bool
is_json(const Request *request)
{
	const char *type = http_header(request, "Content-Type");
	size_t len = type ? strcspn(type, " \t;") : 0;

	return len == 16 && strncasecmp(type, "application/json", 16) == 0;
}

/* The token of the request; NULL: it has none. */
static const char *
token_of(const Request *request)
{
	const char *given = http_header(request, "Authorization");

	return given && strncasecmp(given, "Bearer ", 7) == 0 ? given + 7 + strspn(given + 7, " ") : NULL;
}

static void
run_route(Request *request, const Route *route, const char *const *params, int n_params)
{
	const char *token = token_of(request);
	bool writes = strcmp(route->method, "GET") != 0;
	Channel *channel;

	if (writes && !is_json(request))
		problem_answer(request, 415, "Content-Type must be application/json", NULL);
	else if (token && route->class != ROUTE_OWN)
		service_run(request, route, params, n_params, token);
	else if (writes && !http_same_origin(request))
		problem_answer(request, 403, "the request does not come from a page of this console",
					   "Programs send Authorization: Bearer with a token.");
	else if (route->class == ROUTE_OWN)
		run_own(request, route);
	else if ((channel = session_channel(request)) != NULL)
		api_run(channel, request, route, params, n_params, NULL);
}

void
handle_request(Request *request)
{
	const char *method = http_method(request);
	const char *path = http_path(request);
	const char *params[ROUTE_PARAMS_MAX];
	char allow[64];
	char *copy;
	int n_params = 0;
	const Route *route;

	if (strcmp(method, "GET") == 0 && strncmp(path, "/assets/", 8) == 0)
	{
		answer_asset(request, path + 8);
		return;
	}
	if (strcmp(method, "GET") == 0 && is_page(path))
	{
		answer_asset(request, "index.html");
		return;
	}
	copy = strdup(path);
	route = copy ? route_find(method, copy, params, &n_params, allow) : NULL;
	if (copy == NULL)
		problem_answer(request, 503, "out of memory", NULL);
	else if (route)
		run_route(request, route, params, n_params);
	else if (*allow)
	{
		http_set_header(request, "Allow", allow);
		problem_answer(request, 405, "this path has other methods", NULL);
	}
	else
		problem_answer(request, 404, "there is no such route", "GET /api/openapi.json lists them.");
	free(copy);
}
