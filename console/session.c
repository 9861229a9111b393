/*
 * session.c
 *	  Who is logged in: a cookie, a role, and the connection as this role.
 *
 * A session is a slot of a fixed table. Its connection is made with the role and password
 * of the login and by nobody else; if the server let the role in without asking for the
 * password (a "trust" line of pg_hba.conf), the login is refused, because anybody could
 * have made it. The password is wiped as soon as libpq has it.
 *
 * A login that fails is answered one second after it came, whatever it failed of: so the
 * time tells nothing, and guessing is slow. Attempts are limited per address, and per
 * address and role.
 */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "limit.h"
#include "loop.h"
#include "problem.h"
#include "text.h"
#include "version.h"

#define SESSIONS_MAX 32
#define SESSIONS_OF_ROLE 16 /* so that one role leaves room for others */
#define IDLE_SECONDS (30 * 60)
#define LIFE_SECONDS (12 * 60 * 60)
#define FAILED_SECONDS 1.0
#define COOKIE "__Host-pgwebhook"

typedef enum SessionState
{
	FREE,
	CONNECTING, /* `request` is the login */
	ASKING,     /* the same; connected, its rights are being asked for */
	REFUSED,    /* the same; to be answered when its time has come */
	OPEN
} SessionState;

typedef struct Session
{
	SessionState state;
	char id[TOKEN_TEXT];
	char csrf[TOKEN_TEXT];
	Channel channel;
	const char *database;
	char *user;
	char *about; /* what the server says of it: an object without its last brace */
	double began;
	double used;
	time_t expires;
	Request *request;
	unsigned int status; /* of a refusal */
	const char *why;
	const char *hint;
} Session;

static Session sessions[SESSIONS_MAX];
static const Settings *settings;

#define WRONG "wrong role, password or database"

static void
close_session(Session *s, const char *why)
{
	channel_abandon(&s->channel, 401, why);
	db_close(s->channel.db);
	free(s->user);
	free(s->about);
	explicit_bzero(s, sizeof(*s));
}

void
session_start(const Settings *given)
{
	settings = given;
}

void
session_stop(void)
{
	for (int i = 0; i < SESSIONS_MAX; i++)
	{
		if (sessions[i].request)
			problem_answer(sessions[i].request, 503, "pgwebhook is being stopped", NULL);
		if (sessions[i].state != FREE)
			close_session(&sessions[i], "pgwebhook is being stopped");
	}
}

int
session_count(void)
{
	int n = 0;

	for (int i = 0; i < SESSIONS_MAX; i++)
		n += sessions[i].state == OPEN;
	return n;
}

/*
 * Logging in
 */

/* It is answered by the tick, in its time. */
static void
refuse(Session *s, unsigned int status, const char *why, const char *hint)
{
	s->state = REFUSED;
	s->status = status;
	s->why = why;
	s->hint = hint;
}

static void
describe(const Session *s, Request *request)
{
	WhBuffer out;
	char text[64];
	struct tm tm;

	wh_buffer_init(&out, 8192);
	wh_buffer_puts(&out, s->about);
	text_json_pair(&out, "csrf", s->csrf);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S+00:00", gmtime_r(&s->expires, &tm));
	text_json_pair(&out, "expires_at", text);
	snprintf(text, sizeof(text), ", \"idle_seconds\": %d", IDLE_SECONDS);
	wh_buffer_puts(&out, text);
	text_json_pair(&out, "version", PGWEBHOOK_VERSION);
	wh_buffer_puts(&out, "}");
	http_answer(request, 200, "application/json", out.data, out.len, HTTP_COPY);
	explicit_bzero(out.data, out.len);
	wh_buffer_free(&out);
}

static void
got_rights(void *owner, PGresult *result)
{
	Session *s = owner;
	char cookie[TOKEN_TEXT + 128];

	if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		refuse(s, 503, "the database did not answer", "Try again.");
		return;
	}
	if (PQgetisnull(result, 0, 0))
	{
		refuse(s, 503, "the extension webhook is not installed in this database",
			   "CREATE EXTENSION webhook, as a superuser.");
		return;
	}
	if (*PQgetvalue(result, 0, 1) != 't')
	{
		refuse(s, 503, "the extension webhook is older in this database than pgwebhook needs",
			   "ALTER EXTENSION webhook UPDATE, as its owner.");
		return;
	}
	s->about = strdup(PQgetvalue(result, 0, 0));
	if (s->about == NULL || *s->about == '\0' || !text_token(s->id) || !text_token(s->csrf))
	{
		refuse(s, 503, "out of memory or of random bytes", NULL);
		return;
	}
	s->about[strlen(s->about) - 1] = '\0';
	s->state = OPEN;
	s->began = s->used = loop_now();
	s->expires = time(NULL) + LIFE_SECONDS;
	limit_succeeded(http_address(s->request), s->user);
	snprintf(cookie, sizeof(cookie), COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict", s->id);
	http_set_header(s->request, "Set-Cookie", cookie);
	explicit_bzero(cookie, sizeof(cookie));
	describe(s, s->request);
	s->request = NULL;
}

#define RIGHTS                                                                                               \
	"SELECT CASE WHEN x.oid IS NOT NULL THEN jsonb_build_object('user', session_user, 'database', "          \
	"current_database(), 'rights', jsonb_build_object("                                                      \
	"'operator', u.may AND has_any_column_privilege(c.subscription, 'INSERT'), "                             \
	"'viewer', u.may AND has_table_privilege(c.log, 'SELECT'), "                                             \
	"'watcher', u.may AND c.watch, "                                                                         \
	"'owner', pg_has_role(x.extowner, 'USAGE'))) END, "                                                      \
	"EXISTS (SELECT FROM pg_proc p JOIN pg_namespace m ON m.oid = p.pronamespace "                           \
	"WHERE m.nspname = 'webhook' AND p.proname = 'search_log') "                                             \
	"FROM (VALUES (1)) one LEFT JOIN pg_extension x ON x.extname = 'webhook' "                               \
	"LEFT JOIN LATERAL (SELECT has_schema_privilege(n.oid, 'USAGE') AS may FROM pg_namespace n "             \
	"WHERE n.nspname = 'webhook') u ON true "                                                                \
	"LEFT JOIN LATERAL (SELECT max(r.oid) FILTER (WHERE r.relname = 'subscription') AS subscription, "       \
	"max(r.oid) FILTER (WHERE r.relname = 'log') AS log, (SELECT bool_or(has_function_privilege(p.oid, "     \
	"'EXECUTE')) FROM pg_proc p JOIN pg_namespace m ON m.oid = p.pronamespace "                              \
	"WHERE m.nspname = 'webhook' AND p.proname = 'watch') AS watch "                                         \
	"FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE n.nspname = 'webhook' "             \
	"AND r.relname IN ('subscription', 'log')) c ON true"

static void
connected(void *owner, bool ok)
{
	Session *s = owner;
	Db *db = s->channel.db;
	const char *superuser = ok ? PQparameterStatus(db_conn(db), "is_superuser") : NULL;

	if (!ok)
	{
		/* what the server said is for the log: it may tell whether the role exists */
		bool refused = PQconnectionNeedsPassword(db_conn(db)) || PQconnectionUsedPassword(db_conn(db));

		text_log(http_address(s->request), "login failed", PQerrorMessage(db_conn(db)));
		if (!refused && strstr(PQerrorMessage(db_conn(db)), "could not"))
			refuse(s, 503, "the database cannot be reached", "The log of pgwebhook says why.");
		else
			refuse(s, 401, WRONG, NULL);
	}
	else if (!PQconnectionUsedPassword(db_conn(db)))
	{
		fprintf(stderr,
				"pgwebhook: login from %s refused: the server asked for no password; "
				"pg_hba.conf must require scram-sha-256 of pgwebhook's connections\n",
				http_address(s->request));
		refuse(s, 401, WRONG, NULL);
	}
	else if (superuser == NULL || (strcmp(superuser, "off") != 0 && !settings->allow_superuser))
		refuse(s, 403, "superusers may not log in here",
			   "Log in as a role with webhook.grant_operator(); serve --allow-superuser lifts this.");
	else
	{
		s->state = ASKING;
		db_send(db, RIGHTS, 0, NULL, got_rights, s);
	}
}

static Session *
free_session(void)
{
	for (int i = 0; i < SESSIONS_MAX; i++)
		if (sessions[i].state == FREE)
			return &sessions[i];
	return NULL;
}

static int
sessions_of(const char *user)
{
	int n = 0;

	for (int i = 0; i < SESSIONS_MAX; i++)
		n += sessions[i].state != FREE && sessions[i].user && strcmp(sessions[i].user, user) == 0;
	return n;
}

static const char *
known_database(const char *name)
{
	for (int i = 0; settings->databases[i]; i++)
		if (name == NULL || strcmp(settings->databases[i], name) == 0)
			return settings->databases[i];
	return NULL;
}

static void
too_many(Request *request, const char *why, int seconds)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", seconds);
	http_set_header(request, "Retry-After", text);
	problem_answer(request, 429, why, NULL);
}

static void
begin_session(Request *request, const char *user, const char *password, const char *database)
{
	int wait = limit_wait(http_address(request), user);
	Session *s = free_session();

	if (wait > 0)
	{
		too_many(request, "too many attempts to log in", wait);
		return;
	}
	if (s == NULL || sessions_of(user) >= SESSIONS_OF_ROLE)
	{
		too_many(request, s ? "all sessions of this role are in use" : "all sessions are in use", 60);
		return;
	}
	limit_failed(http_address(request), user); /* until it succeeds: many at once are as many */
	s->began = loop_now();
	s->request = request;
	s->user = strdup(user);
	s->state = CONNECTING;
	s->database = known_database(database);
	/* an empty password would have libpq look for another one */
	if (s->user == NULL || s->database == NULL || *user == '\0' || *password == '\0')
		refuse(s, 401, WRONG, NULL);
	else if ((s->channel.db = db_connect(&settings->server, s->database, user, password, "pgwebhook console",
										 true, connected, s)) == NULL)
		refuse(s, 503, "out of memory", NULL);
}

void
session_log_in(Request *request)
{
	static const char *const keys[] = {"user", "password", "database"};
	char *values[3];
	size_t len;
	char *body = http_body(request, &len);

	if (!text_read_object(body ? body : "", len, keys, values, 3))
		problem_answer(request, 422, "the body must be a JSON object of user, password and database", NULL);
	else if (values[0] == NULL || values[1] == NULL)
		problem_answer(request, 422, "user and password must be given", NULL);
	else
		begin_session(request, values[0], values[1], values[2]);
	if (body)
		explicit_bzero(body, len);
	for (int i = 0; i < 3; i++)
		text_forget(values[i]);
}

/*
 * What comes with a cookie
 */

static Session *
find(const Request *request)
{
	const char *cookie = http_cookie(request, COOKIE);
	Session *found = NULL;

	/* each is compared: the time does not tell which one, or how nearly */
	for (int i = 0; cookie && i < SESSIONS_MAX; i++)
		if (sessions[i].state == OPEN && text_same(sessions[i].id, cookie))
			found = &sessions[i];
	return found;
}

static Session *
require(Request *request)
{
	Session *s = find(request);
	const char *token = http_header(request, "Webhook-CSRF");

	if (s == NULL)
		problem_answer(request, 401, "not logged in, or the session is over", "Log in.");
	else if (strcmp(http_method(request), "GET") != 0 && (token == NULL || !text_same(token, s->csrf)))
	{
		problem_answer(request, 403, "the header Webhook-CSRF is missing or wrong",
					   "GET /api/session has the token.");
		s = NULL;
	}
	else
		s->used = loop_now();
	return s;
}

Channel *
session_channel(Request *request)
{
	Session *s = require(request);

	return s ? &s->channel : NULL;
}

void
session_show(Request *request)
{
	const Session *s = require(request);

	if (s)
		describe(s, request);
}

void
session_log_out(Request *request)
{
	Session *s = require(request);

	if (s == NULL)
		return;
	close_session(s, "logged out");
	http_set_header(request, "Set-Cookie", COOKIE "=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
	http_answer(request, 200, "application/json", "{}", 2, HTTP_FIXED);
}

void
session_tick(void)
{
	double now = loop_now();

	for (int i = 0; i < SESSIONS_MAX; i++)
	{
		Session *s = &sessions[i];

		/* what is wrong with the server or the role is told at once, a failed login in its time */
		if (s->state == REFUSED && (s->status != 401 || now >= s->began + FAILED_SECONDS))
		{
			Request *request = s->request;
			unsigned int status = s->status;
			const char *why = s->why;
			const char *hint = s->hint;

			s->request = NULL;
			close_session(s, why);
			problem_answer(request, status, why, hint);
		}
		else if (s->state == OPEN && (now > s->used + IDLE_SECONDS || now > s->began + LIFE_SECONDS ||
									  (db_lost(s->channel.db) && s->channel.n == 0)))
			close_session(s, "the session is over");
	}
}
