/*
 * db.h
 *	  A connection to the database that nobody waits for: one statement at a time,
 *	  and a function that is called with its result.
 */
#ifndef CONSOLE_DB_H
#define CONSOLE_DB_H

#include <libpq-fe.h>
#include <stdbool.h>

typedef struct Db Db;

#define DB_PARAMS_MAX 24

/* The result belongs to the connection and is gone afterwards. NULL: the connection is lost. */
typedef void (*DbResult)(void *owner, PGresult *result);

/* Where to connect; the strings outlive all connections. NULL: libpq's default. */
typedef struct DbServer
{
	const char *host;
	const char *port;
	const char *sslmode;
	const char *sslrootcert;
} DbServer;

/*
 * Begin to connect. `ready` is called once, later, never from inside this function: with
 * false if that fails or takes longer than 10 seconds, and then only db_close is left to
 * do. NULL: out of memory. The password is copied by libpq; the caller wipes its own.
 * `read_only`: transactions are, unless they say otherwise.
 */
extern Db *db_connect(const DbServer *server, const char *database, const char *user, const char *password,
					  const char *application, bool read_only, void (*ready)(void *owner, bool ok),
					  void *owner);

/* For when it is connected. */
extern PGconn *db_conn(Db *db);
extern bool db_lost(const Db *db);
extern bool db_idle(const Db *db); /* no statement is under way */

/*
 * Send a statement with text parameters. It must be idle. The callback comes later,
 * never from inside this function, and may send the next one.
 */
extern void db_send(Db *db, const char *sql, int n, const char *const *values, DbResult done, void *owner);

/* Close it, wherever it is; no callback comes any more. NULL: does nothing. */
extern void db_close(Db *db);

/* Called with the clock: gives up what takes too long to connect; calls back for what is lost. */
extern void db_tick(void);

#endif /* CONSOLE_DB_H */
