/*
 * service.h
 *	  The connections of the program's own role: for tokens, and for machines.
 */
#ifndef CONSOLE_SERVICE_H
#define CONSOLE_SERVICE_H

#include "session.h"

extern void service_start(const Settings *settings);
extern void service_stop(void);
extern void service_tick(void);

/* GET /readyz and /metrics. */
extern void service_ready(Request *request);
extern void service_metrics(Request *request);

/* Run a route for a request that has a token, after "Bearer ". */
extern void service_run(Request *request, const Route *route, const char *const *params, int n_params,
						const char *token);

#endif /* CONSOLE_SERVICE_H */
