/*
 * routes.h
 *	  The one table of routes: what can be asked, and the statement that answers.
 */
#ifndef CONSOLE_ROUTES_H
#define CONSOLE_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

#define ROUTE_PARAMS_MAX 16

typedef enum RouteClass
{
	ROUTE_READ,  /* one statement, in a read-only transaction */
	ROUTE_ASK,   /* the same in a transaction that may write, and is rolled back: for what only the owner's
					functions may read (webhook_internal.privileged_call) */
	ROUTE_WRITE, /* in a transaction that also notes who did it */
	ROUTE_CALL,  /* a procedure that has transactions of its own */
	ROUTE_OWN    /* answered by this program: see handle.c */
} RouteClass;

/*
 * Parameters of the statement, all text: those of the path, those of the query, then the
 * body, then the version of If-Match. It returns one row with the answer, JSON, in its
 * first column; no row is a 404. Further columns are its status, if that is not 200, and
 * its type.
 */
typedef struct Route
{
	const char *method;
	const char *path; /* with {name} for a segment */
	RouteClass class;
	const char *query;  /* names of its query parameters, separated by blanks; NULL: none */
	const char *fields; /* keys that its body may have; NULL: none, and no body */
	bool version;       /* takes If-Match */
	const char *what;   /* what it does, for the account of writes and for the documents */
	const char *sql;    /* ROUTE_OWN: NULL */
	const char *less;   /* instead, for a role that lacks a right to run sql; NULL: 403 */
	const char *then;   /* afterwards, in the same transaction; NULL: nothing */
	bool
		then_answers; /* its result is the answer, and it has the columns of the first one as further parameters */
	bool open;        /* without a session */
} Route;

extern const Route routes[];
extern const size_t n_routes;

/*
 * Find the route of a request. `path` is taken apart in place, and decoded: `params` gets
 * the parameters of the path. NULL: there is none; `allow` then has the methods of this path,
 * separated by commas, if it has others.
 */
extern const Route *route_find(const char *method, char *path, const char *params[ROUTE_PARAMS_MAX],
							   int *n_params, char allow[64]);

/* How many parameters a path has, and the i-th name of a list, with its length; NULL: no more. */
extern int route_path_params(const Route *route);
extern const char *route_word(const char *list, int i, size_t *len);

#endif /* CONSOLE_ROUTES_H */
