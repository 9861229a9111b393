/*
 * db.c
 *	  A connection to the database that nobody waits for: one statement at a time,
 *	  and a function that is called with its result.
 *
 * Parameters of the connection are arrays of keywords, never a string that a name or a
 * password could add to. A database's name is not expanded as a connection string
 * either. The names of roles and databases are bytes for the server to judge.
 *
 * A Db is freed by db_close only, which a callback may call: so a callback is the last
 * thing that is done with a Db.
 */
#include "db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "loop.h"

#define CONNECT_SECONDS 10

#define OPTIONS                                                                                              \
	"-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s "                \
	"-c search_path=pg_catalog -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres "                  \
	"-c default_transaction_read_only="

struct Db
{
	Db *next;
	PGconn *conn;
	Watch watch;
	double deadline; /* of connecting; 0: connected */
	bool lost;
	void (*ready)(void *owner, bool ok); /* NULL: has been called */
	void *ready_owner;
	DbResult done; /* NULL: idle */
	void *done_owner;
	PGresult *result; /* what has come of the statement so far; owned */
};

static Db *connections;

/* Nothing of a statement is known any more: tell whoever waits, once. It may close the Db. */
static void
lose(Db *db)
{
	db->lost = true;
	loop_unwatch(&db->watch);
	if (db->ready)
	{
		void (*ready)(void *owner, bool ok) = db->ready;

		db->ready = NULL;
		ready(db->ready_owner, false);
	}
	else if (db->done)
	{
		DbResult done = db->done;

		db->done = NULL;
		done(db->done_owner, NULL);
	}
}

static void
advance_connecting(Db *db)
{
	PostgresPollingStatusType status = PQconnectPoll(db->conn);
	void (*ready)(void *owner, bool ok) = db->ready;

	switch (status)
	{
		case PGRES_POLLING_READING:
		case PGRES_POLLING_WRITING:
			/* the socket may be another one now, of the same number: watch it again */
			loop_unwatch(&db->watch);
			if (!loop_watch(&db->watch, PQsocket(db->conn),
							status == PGRES_POLLING_READING ? EPOLLIN : EPOLLOUT))
				lose(db);
			break;
		case PGRES_POLLING_OK:
			db->deadline = 0;
			loop_unwatch(&db->watch);
			if (PQsetnonblocking(db->conn, 1) != 0 || !loop_watch(&db->watch, PQsocket(db->conn), EPOLLIN))
			{
				lose(db);
				return;
			}
			db->ready = NULL;
			ready(db->ready_owner, true);
			break;
		default:
			lose(db);
	}
}

/* Send what is left to send; false: lost. */
static bool
flush(Db *db)
{
	int left = PQflush(db->conn);

	if (left < 0 || !loop_watch(&db->watch, PQsocket(db->conn), left ? EPOLLIN | EPOLLOUT : EPOLLIN))
	{
		lose(db);
		return false;
	}
	return true;
}

static void
advance(Db *db)
{
	if (!flush(db))
		return;
	if (!PQconsumeInput(db->conn))
	{
		lose(db);
		return;
	}
	while (db->done && !PQisBusy(db->conn))
	{
		PGresult *next = PQgetResult(db->conn);

		if (next == NULL)
		{
			PGresult *result = db->result;
			DbResult done = db->done;

			db->done = NULL;
			db->result = NULL;
			done(db->done_owner, result);
			PQclear(result);
			return;
		}
		/* of several results the last one counts */
		PQclear(db->result);
		db->result = next;
		/* no statement of ours is COPY */
		if (PQresultStatus(next) == PGRES_COPY_IN || PQresultStatus(next) == PGRES_COPY_OUT)
		{
			lose(db);
			return;
		}
	}
}

static void
socket_ready(void *owner)
{
	Db *db = owner;

	if (db->deadline > 0)
		advance_connecting(db);
	else
		advance(db);
}

/* What the server says besides is for nobody here. */
static void
ignore_notice(void *owner, const char *message)
{
	(void) owner;
	(void) message;
}

Db *
db_connect(const DbServer *server, const char *database, const char *user, const char *password,
		   const char *application, bool read_only, void (*ready)(void *owner, bool ok), void *owner)
{
	const char *keywords[24];
	const char *values[24];
	int n = 0;
	Db *db = calloc(1, sizeof(*db));

	if (db == NULL)
		return NULL;
#define GIVE(k, v) (keywords[n] = (k), values[n] = (v), n++)
	GIVE("host", server->host);
	GIVE("port", server->port);
	GIVE("dbname", database);
	GIVE("user", user);
	GIVE("password", password);
	GIVE("passfile", "/dev/null"); /* nobody's password but the one given */
	GIVE("application_name", application);
	GIVE("client_encoding", "UTF8");
	GIVE("sslmode", server->sslmode);
	GIVE("sslrootcert", server->sslrootcert);
	GIVE("gssencmode", "disable"); /* nor this program's own ticket */
	/* a server that is gone without a word is noticed within a minute */
	GIVE("keepalives_idle", "15");
	GIVE("keepalives_interval", "5");
	GIVE("keepalives_count", "3");
	GIVE("tcp_user_timeout", "30000"); /* ms */
	GIVE("options", read_only ? OPTIONS "on" : OPTIONS "off");
	if (PQlibVersion() >= 160000)
		GIVE("require_auth", "password,md5,scram-sha-256");
#undef GIVE
	keywords[n] = values[n] = NULL;
	db->watch = (Watch){.fd = -1, .ready = socket_ready, .owner = db};
	db->ready = ready;
	db->ready_owner = owner;
	db->deadline = loop_now() + CONNECT_SECONDS;
	db->next = connections;
	connections = db;
	db->conn = PQconnectStartParams(keywords, values, 0);
	if (db->conn == NULL || PQstatus(db->conn) == CONNECTION_BAD ||
		!loop_watch(&db->watch, PQsocket(db->conn), EPOLLOUT))
		db->deadline = 1;                                       /* the next tick calls back */
	(void) PQsetNoticeProcessor(db->conn, ignore_notice, NULL); /* of no connection: does nothing */
	return db;
}

PGconn *
db_conn(Db *db)
{
	return db->conn;
}

bool
db_lost(const Db *db)
{
	return db->lost;
}

bool
db_idle(const Db *db)
{
	return db->done == NULL && db->deadline == 0 && !db->lost;
}

void
db_send(Db *db, const char *sql, int n, const char *const *values, DbResult done, void *owner)
{
	Oid types[DB_PARAMS_MAX];

	/* said, so that a statement need not use all of them */
	for (int i = 0; i < n; i++)
		types[i] = 25; /* text */
	db->done = done;
	db->done_owner = owner;
	if (db->lost || !PQsendQueryParams(db->conn, sql, n, types, values, NULL, NULL, 0))
	{
		db->lost = true; /* the next tick calls back */
		return;
	}
	if (PQflush(db->conn) > 0)
		(void) loop_watch(&db->watch, PQsocket(db->conn), EPOLLIN | EPOLLOUT);
}

void
db_close(Db *db)
{
	Db **at = &connections;

	if (db == NULL)
		return;
	while (*at != db)
		at = &(*at)->next;
	*at = db->next;
	loop_unwatch(&db->watch);
	PQclear(db->result);
	PQfinish(db->conn);
	free(db);
}

void
db_tick(void)
{
	double now = loop_now();

	/* a callback may close any of them, so look from the beginning after each */
	for (Db *db = connections; db;)
	{
		Db *next = db->next;

		if ((db->deadline > 0 && db->deadline < now && db->ready) || (db->lost && db->done))
		{
			lose(db);
			next = connections;
		}
		db = next;
	}
}
