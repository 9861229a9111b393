/*
 * worker_control.h
 *	  What backends may ask of the worker. Everything except this is called from
 *	  SQL.
 */
#ifndef WEBHOOK_WORKER_CONTROL_H
#define WEBHOOK_WORKER_CONTROL_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* Describe the launcher, to register it: in the postmaster, or in webhook.start_worker(). */
extern void wh_describe_launcher(BackgroundWorker *launcher);

#endif /* WEBHOOK_WORKER_CONTROL_H */
