/*
 * api.c
 *	  Runs routes: the statements of one request after another, on one connection.
 *
 * A call goes through stages, each of which is one statement:
 *
 *     token: whose role is it?       webhook_internal.authenticate
 *     body: only keys it may have    (a statement, so that the server reads the JSON)
 *     begin, and take the role       a read is one statement, and needs neither
 *     the route's statement, and what comes after it
 *     who did it                     INSERT INTO webhook.audit, for a write
 *     commit, or roll back           then the answer
 *
 * A stage that a call has no need of is passed over. An error goes straight to the
 * rollback, and the connection takes the next call when that has ended: so it is always
 * idle and outside a transaction when a call begins. The answer to a write is sent after its
 * COMMIT. Requests of one session run one after another; those of others do not wait.
 */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"
#include "text.h"

typedef enum Stage
{
	STAGE_TOKEN,
	STAGE_BODY,
	STAGE_BEGIN,
	STAGE_ROLE,
	STAGE_SQL,
	STAGE_THEN,
	STAGE_AUDIT,
	STAGE_END,   /* COMMIT, or for a procedure the settings as they were */
	STAGE_ANSWER /* no statement */
} Stage;

typedef struct Call
{
	struct Call *next;
	Channel *channel;
	Request *request;
	const Route *route;
	Stage stage;
	char *params[ROUTE_PARAMS_MAX];
	int n_params;
	int n_path; /* of these, those of the path, which come first */
	char *body; /* one of the parameters; NULL: the route has none */
	char *version;
	char *digest;
	char *role;    /* of the token */
	char *details; /* keys of the body, for the account of writes */
	char *more[2]; /* columns of the first result */
	char *answer;
	unsigned int status; /* of the answer, and its type, where the statement says */
	char *type;
	bool less; /* by the statement for those with fewer rights */
	bool began;
	bool not_found;
	bool failed;
	bool no_memory; /* something given could not be copied */
} Call;

static void advance(Call *call);

static void
free_call(Call *call)
{
	for (int i = 0; i < call->n_params; i++)
		text_forget(call->params[i]);
	free(call->digest);
	free(call->role);
	free(call->details);
	free(call->more[0]);
	free(call->more[1]);
	text_forget(call->answer);
	free(call->type);
	free(call);
}

static bool
writes(const Route *route)
{
	return route->class == ROUTE_WRITE || route->class == ROUTE_CALL;
}

/* Take it off its channel, and begin with the next. */
static void
leave(Call *call)
{
	Channel *channel = call->channel;

	channel->first = call->next;
	if (channel->first == NULL)
		channel->last = NULL;
	channel->n--;
	free_call(call);
	if (channel->first)
		advance(channel->first);
}

static void
answer(Call *call)
{
	if (call->failed)
		problem_answer_result(call->request, NULL, false);
	else if (call->not_found || call->answer == NULL)
		problem_answer(call->request, 404, "there is no such thing",
					   "It does not exist, or it is not there for this role.");
	else
		http_answer(call->request, call->status, call->type ? call->type : "application/json", call->answer,
					strlen(call->answer), HTTP_COPY);
	leave(call);
}

static char *
column(const PGresult *result, int i)
{
	return PQntuples(result) > 0 && PQnfields(result) > i && !PQgetisnull(result, 0, i)
			   ? strdup(PQgetvalue(result, 0, i))
			   : NULL;
}

/* Refuse a call with an answer of our own. */
static void
refuse(Call *call, unsigned int status, const char *why, const char *hint)
{
	problem_answer(call->request, status, why, hint);
	call->request = NULL;
}

/* What a statement has brought. */
static void
take(Call *call, const PGresult *result)
{
	switch (call->stage)
	{
		case STAGE_TOKEN:
			call->role = column(result, 0);
			if (call->role == NULL)
			{
				http_set_header(call->request, "WWW-Authenticate", "Bearer");
				refuse(call, 401, "this token is not valid", "It is unknown, revoked or expired.");
			}
			break;
		case STAGE_BODY:
			if (!PQgetisnull(result, 0, 0))
			{
				char why[160];

				snprintf(why, sizeof(why), "%.100s is not a field of this request", PQgetvalue(result, 0, 0));
				refuse(call, 422, why, "docs/console.md lists the fields.");
			}
			else
				call->details = column(result, 1);
			break;
		case STAGE_SQL:
			if (call->route->then_answers)
			{
				call->more[0] = column(result, 0);
				call->more[1] = column(result, 1);
			}
			else if (PQntuples(result) == 0)
				call->not_found = true;
			else
			{
				call->answer = column(result, 0);
				if (PQnfields(result) > 1)
					call->status = (unsigned int) strtoul(PQgetvalue(result, 0, 1), NULL, 10);
				if (PQnfields(result) > 2)
					call->type = column(result, 2);
			}
			break;
		case STAGE_THEN:
			if (call->route->then_answers)
				call->answer = column(result, 0);
			break;
		default:
			break;
	}
}

/* A statement has failed: answer at once, unless there is a lesser statement; then undo what has begun. */
static void
fail(Call *call, const PGresult *result)
{
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (call->stage == STAGE_SQL && call->route->less && !call->less && code && strcmp(code, "42501") == 0)
	{
		call->less = true;
		call->stage = STAGE_BEGIN;
		return;
	}
	/* on a standby no transaction that may write begins, and no statement writes */
	if (call->request && code &&
		(strcmp(code, "25006") == 0 || (call->stage == STAGE_BEGIN && strcmp(code, "0A000") == 0)))
		problem_answer_standby(call->request);
	else if (call->request)
		problem_answer_result(call->request, result, call->version != NULL);
	call->request = NULL;
	call->failed = true;
	call->stage = call->began && call->stage < STAGE_END ? STAGE_END : STAGE_ANSWER;
}

static void
got(void *owner, PGresult *result)
{
	Call *call = owner;
	ExecStatusType status = PQresultStatus(result);

	if (result && (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK))
	{
		take(call, result);
		if (call->request)
			call->stage++;
		else
			call->stage = call->began && call->stage < STAGE_END ? STAGE_END : STAGE_ANSWER;
	}
	else if (result)
		fail(call, result);
	advance(call);
}

static void
send(Call *call, const char *sql, int n, const char *const *values)
{
	db_send(call->channel->db, sql, n, values, got, call);
}

#define SEND(call, sql, ...)                                                                                 \
	do                                                                                                       \
	{                                                                                                        \
		const char *values_[] = {__VA_ARGS__};                                                               \
		send(call, sql, (int) (sizeof(values_) / sizeof(values_[0])), values_);                              \
	} while (0)

/* The object of a write: the subscription, table or token that its path or body names. */
#define AUDIT                                                                                                \
	"INSERT INTO webhook.audit (action, object, details, via) VALUES ($1, coalesce($2, $3::jsonb ->> "       \
	"'name', $3::jsonb ->> 'source'), $4, $5)"

/* Send the statement of this stage; false: there is none. */
static bool
begin_stage(Call *call)
{
	const Route *route = call->route;
	bool shared = call->channel->shared;

	switch (call->stage)
	{
		case STAGE_TOKEN:
			if (!shared)
				return false;
			SEND(call, "SELECT webhook_internal.authenticate(decode($1, 'hex'))", call->digest);
			return true;
		case STAGE_BODY:
			if (call->body == NULL)
				return false;
			SEND(call,
				 "SELECT min(k) FILTER (WHERE k <> ALL (string_to_array($2, ' '))), string_agg(k, ', ' ORDER "
				 "BY k) "
				 "FROM jsonb_object_keys($1::jsonb) k",
				 call->body, route->fields);
			return true;
		case STAGE_BEGIN:
			if (route->class == ROUTE_CALL || (route->class == ROUTE_READ && !shared))
				return false;
			/* chained: what it was without the right is over, and it begins once more */
			send(call,
				 call->began                  ? "ROLLBACK AND CHAIN"
				 : route->class == ROUTE_READ ? "BEGIN READ ONLY"
											  : "BEGIN READ WRITE",
				 0, NULL);
			call->began = true;
			return true;
		case STAGE_ROLE:
			if (route->class == ROUTE_CALL)
			{
				call->began = true;
				SEND(call,
					 "SELECT set_config('default_transaction_read_only', 'off', false), "
					 "set_config('role', coalesce($1, 'none'), false)",
					 call->role);
				return true;
			}
			if (!shared)
				return false;
			SEND(call, "SELECT set_config('role', $1, true)", call->role);
			return true;
		case STAGE_SQL:
			send(call, call->less ? route->less : route->sql, call->n_params,
				 (const char *const *) call->params);
			return true;
		case STAGE_THEN:
		{
			const char *values[ROUTE_PARAMS_MAX + 2];
			int n = call->n_params;

			if (route->then == NULL || call->not_found)
				return false;
			memcpy(values, call->params, (size_t) n * sizeof(values[0]));
			if (route->then_answers)
			{
				values[n++] = call->more[0];
				values[n++] = call->more[1];
			}
			send(call, route->then, n, values);
			return true;
		}
		case STAGE_AUDIT:
			if (!writes(route) || call->not_found)
				return false;
			SEND(call, AUDIT, route->what, call->n_path > 0 ? call->params[0] : NULL, call->body,
				 call->details, shared ? "api" : "console");
			return true;
		case STAGE_END:
			if (!call->began)
				return false;
			if (route->class == ROUTE_CALL)
				SEND(call,
					 "SELECT set_config('role', 'none', false), "
					 "set_config('default_transaction_read_only', $1, false)",
					 shared ? "off" : "on");
			else
				send(call, call->request == NULL || route->class == ROUTE_ASK ? "ROLLBACK" : "COMMIT", 0,
					 NULL);
			return true;
		default:
			return false;
	}
}

static void
advance(Call *call)
{
	while (call->stage != STAGE_ANSWER)
	{
		if (db_lost(call->channel->db))
		{
			call->failed = true;
			break;
		}
		if (begin_stage(call))
			return;
		call->stage++;
	}
	if (call->request)
		answer(call);
	else
		leave(call);
}

/* A copy that the call keeps; of NULL, which is nothing given, none. What cannot be had is no nothing: the call is lost. */
static char *
keep(Call *call, const char *given)
{
	char *copy = given ? strdup(given) : NULL;

	call->no_memory = call->no_memory || (given && !copy);
	return copy;
}

/* The value of a query's parameter; NULL: it is not given, or empty. */
static const char *
arg(const Request *request, const char *name, size_t len)
{
	const char *given;
	const char *value;

	for (size_t i = 0; http_arg(request, i, &given, &value); i++)
		if (strlen(given) == len && memcmp(given, name, len) == 0 && *value)
			return value;
	return NULL;
}

/* A parameter that the route has not got; NULL: there is none. */
static const char *
unknown_arg(const Request *request, const Route *route)
{
	const char *given;
	const char *value;

	for (size_t i = 0; http_arg(request, i, &given, &value); i++)
	{
		const char *word;
		size_t len = 0;
		int k = 0;

		while ((word = route_word(route->query, k++, &len)) != NULL)
			if (strlen(given) == len && memcmp(given, word, len) == 0)
				break;
		if (word == NULL)
			return given;
	}
	return NULL;
}

void
api_run(Channel *channel, Request *request, const Route *route, const char *const *params, int n_params,
		const char *digest)
{
	const char *unknown = unknown_arg(request, route);
	const char *version = route->version ? http_header(request, "If-Match") : NULL;
	const char *word;
	size_t len;
	Call *call;

	if (unknown)
	{
		char why[160];

		snprintf(why, sizeof(why), "%.100s is not a parameter of this path", unknown);
		problem_answer(request, 422, why, "docs/console.md lists the parameters.");
		return;
	}
	if (channel->n >= CHANNEL_CALLS_MAX)
	{
		http_set_header(request, "Retry-After", "1");
		problem_answer(request, 429, "too many requests wait for this session", NULL);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call == NULL)
	{
		problem_answer(request, 503, "out of memory", NULL);
		return;
	}
	call->channel = channel;
	call->request = request;
	call->route = route;
	call->status = 200;
	for (; call->n_path < n_params; call->n_path++)
		call->params[call->n_params++] = keep(call, params[call->n_path]);
	for (int i = 0; (word = route_word(route->query, i, &len)) != NULL; i++)
		call->params[call->n_params++] = keep(call, arg(request, word, len));
	if (route->fields)
	{
		const char *body = http_body(request, &len);

		call->params[call->n_params++] = call->body = keep(call, len ? body : "{}");
		/* the server's text has no NUL, and would end here */
		if (len && strlen(body) != len)
		{
			problem_answer(request, 422, "the body of the request contains a zero byte", NULL);
			free_call(call);
			return;
		}
	}
	if (route->version)
	{
		/* an entity tag is quoted; so may this be */
		call->version = keep(call, version ? version + (*version == '"') : NULL);
		if (call->version)
			call->version[strcspn(call->version, "\"")] = '\0';
		call->params[call->n_params++] = call->version;
	}
	call->digest = keep(call, digest);
	if (call->no_memory)
	{
		problem_answer(request, 503, "out of memory", NULL);
		free_call(call);
		return;
	}
	channel->n++;
	if (channel->last)
		channel->last->next = call;
	else
		channel->first = call;
	channel->last = call;
	if (channel->first == call)
		advance(call);
}

void
channel_abandon(Channel *channel, unsigned int status, const char *why)
{
	while (channel->first)
	{
		Call *call = channel->first;

		channel->first = call->next;
		if (call->request)
			problem_answer(call->request, status, why, NULL);
		free_call(call);
	}
	channel->last = NULL;
	channel->n = 0;
}
