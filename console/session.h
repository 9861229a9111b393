/*
 * session.h
 *	  Who is logged in: a cookie, a role, and the connection as this role.
 */
#ifndef CONSOLE_SESSION_H
#define CONSOLE_SESSION_H

#include "api.h"
#include "db.h"
#include "httpd.h"

#define DATABASES_MAX 32

/* How this program was started: what sessions and services need of it. */
typedef struct Settings
{
	DbServer server;
	const char *databases[DATABASES_MAX + 1]; /* ends with NULL */
	bool allow_superuser;
	const char *service_role; /* NULL: no tokens, and nothing about readiness */
	const char *service_password;
} Settings;

extern void session_start(const Settings *settings);
extern void session_stop(void);
extern void session_tick(void);

/* POST, GET and DELETE /api/session. */
extern void session_log_in(Request *request);
extern void session_show(Request *request);
extern void session_log_out(Request *request);

/*
 * The channel of whoever asks, by cookie. NULL: nobody is logged in, or the request is not
 * one that a page of ours has made; it has been answered then.
 */
extern Channel *session_channel(Request *request);

extern int session_count(void);

#endif /* CONSOLE_SESSION_H */
