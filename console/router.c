/*
 * router.c
 *	  Finds the route of a request in the table of routes.c.
 *
 * A path is compared segment by segment, and each is decoded by itself, so that a name
 * with a slash (a%2Fb) stays one. Nothing is normalized: "//" and ".." are segments like
 * others, which match nothing but a {name}.
 */
#include "routes.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

#define SEGMENTS_MAX 12

/* Cut at slashes; returns how many, or -1: too many, or not to be decoded. */
static int
cut(char *path, char *segments[SEGMENTS_MAX])
{
	int n = 0;

	if (*path != '/')
		return -1;
	for (char *at = path; at;)
	{
		char *next;

		*at++ = '\0';
		next = strchr(at, '/');
		if (n == SEGMENTS_MAX)
			return -1;
		segments[n++] = at;
		at = next;
	}
	for (int i = 0; i < n; i++)
		if (!text_unescape(segments[i], false))
			return -1;
	return n;
}

static bool
matches(const Route *route, char *const segments[], int n, const char *params[], int *n_params)
{
	const char *p = route->path;

	*n_params = 0;
	for (int i = 0; i < n; i++)
	{
		size_t len;

		if (*p++ != '/')
			return false;
		len = strcspn(p, "/");
		if (*p == '{')
		{
			if (*segments[i] == '\0')
				return false;
			params[(*n_params)++] = segments[i];
		}
		else if (strlen(segments[i]) != len || memcmp(segments[i], p, len) != 0)
			return false;
		p += len;
	}
	return *p == '\0';
}

const Route *
route_find(const char *method, char *path, const char *params[ROUTE_PARAMS_MAX], int *n_params,
		   char allow[64])
{
	char *segments[SEGMENTS_MAX];
	int n = cut(path, segments);

	*allow = '\0';
	for (size_t i = 0; n > 0 && i < n_routes; i++)
	{
		if (!matches(&routes[i], segments, n, params, n_params))
			continue;
		if (strcmp(routes[i].method, method) == 0)
			return &routes[i];
		snprintf(allow + strlen(allow), 64 - strlen(allow), "%s%s", *allow ? ", " : "", routes[i].method);
	}
	return NULL;
}

int
route_path_params(const Route *route)
{
	int n = 0;

	for (const char *p = route->path; *p; p++)
		n += *p == '{';
	return n;
}

const char *
route_word(const char *list, int i, size_t *len)
{
	const char *p = list ? list : "";

	while (i-- > 0 && *p)
	{
		p += strcspn(p, " ");
		p += *p == ' ';
	}
	*len = strcspn(p, " ");
	return *p ? p : NULL;
}
