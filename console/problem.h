/*
 * problem.h
 *	  Errors as answers: RFC 9457, with the server's own words.
 */
#ifndef CONSOLE_PROBLEM_H
#define CONSOLE_PROBLEM_H

#include <libpq-fe.h>

#include "httpd.h"

/* Answer with an error of this program's own. `hint` may be NULL. */
extern void problem_answer(Request *request, unsigned int status, const char *title, const char *hint);

/*
 * Answer with the server's error. NULL: the connection was lost. `if_match`: the request
 * had one, so that a serialization failure says that it did not match.
 */
extern void problem_answer_result(Request *request, const PGresult *result, bool if_match);

/* Answer that this server is a standby, and that what was asked needs the primary. */
extern void problem_answer_standby(Request *request);

/* The status for a SQLSTATE. */
extern unsigned int problem_status(const char *sqlstate);

#endif /* CONSOLE_PROBLEM_H */
