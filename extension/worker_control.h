/*
 * worker_control.h
 *	  What backends may have the worker do. All but this is called in SQL.
 */
#ifndef WEBHOOK_WORKER_CONTROL_H
#define WEBHOOK_WORKER_CONTROL_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* What the launcher is, for whoever registers it: the postmaster, or webhook.start_worker(). */
extern void wh_describe_launcher(BackgroundWorker *launcher);

#endif /* WEBHOOK_WORKER_CONTROL_H */
