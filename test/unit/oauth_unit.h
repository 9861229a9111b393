/*
 * oauth_unit.h
 *	  What the tests of OAuth 2 share: subscriptions whose tokens come from the
 *	  local server, and what it was asked for.
 */
#ifndef OAUTH_UNIT_H
#define OAUTH_UNIT_H

#include "transform_unit.h"

static char oauth[512];
static WhCredential credentials[] = {{"oauth2", oauth}};

/* A subscription at `path` whose tokens come from `token_path`. */
static inline void
subscribe_with(int64_t id, const char *path, const char *token_path, const char *more)
{
	char to[256];
	WhSubscription sub;

	snprintf(to, sizeof(to), "http://127.0.0.1:%d%s", port, path);
	snprintf(oauth, sizeof(oauth),
			 "{\"token_url\": \"http://127.0.0.1:%d%s\", \"client_id\": \"an id\","
			 " \"client_secret\": \"s\\u00e9cret:+\"%s}",
			 port, token_path, more);
	sub = subscription(id, to);
	sub.credentials = credentials;
	sub.n_credentials = 1;
	assert_true(wh_engine_subscribe(e, &sub));
}

static inline const char *
path_of(const ServerRequest *r)
{
	static char path[256];

	assert_int_equal(sscanf(r->head, "POST %255s", path), 1);
	return path;
}

static inline int
requests_to(const char *path)
{
	int n = 0;

	for (int i = 0; i < server_requests(); i++)
	{
		ServerRequest r = server_request(i);

		n += strncmp(path_of(&r), path, strlen(path)) == 0;
	}
	return n;
}

#endif /* OAUTH_UNIT_H */
