/*
 * settings.h
 *	  The settings webhook.*: their values and limits.
 */
#ifndef WEBHOOK_SETTINGS_H
#define WEBHOOK_SETTINGS_H

#include "postgres.h"

#define WH_SEGMENTS 8 /* partitions of each log's ring; the install script makes as many */

#define WH_DEFAULT_NAPTIME_MS 5000
#define WH_DEFAULT_RETENTION_S (7 * 24 * 3600)
#define WH_DEFAULT_MAX_IN_FLIGHT 0 /* as many as the subscriptions may have, and at least this many: */
#define WH_AUTO_MIN_IN_FLIGHT 200
#define WH_MAX_MAX_IN_FLIGHT 10000
#define WH_DEFAULT_FILTER_TIMEOUT_MS 50
#define WH_MAX_FILTER_TIMEOUT_MS 10000
#define WH_DEFAULT_WORKER_MEMORY_MB 512
#define WH_MIN_WORKER_MEMORY_MB 64
#define WH_MAX_WORKER_MEMORY_MB (1024 * 1024)

/* webhook.context: bytes, and levels of nesting */
#define WH_CONTEXT_MAX (64 * 1024)
#define WH_CONTEXT_DEPTH 100

extern int wh_poll_interval;  /* webhook.poll_interval, milliseconds, for lost wake-ups */
extern int wh_retention;      /* webhook.retention, seconds */
extern int wh_max_in_flight;  /* webhook.max_in_flight, requests at once, of the whole worker; 0: by itself */
extern int wh_filter_timeout; /* webhook.filter_timeout, milliseconds per event and filter */
extern int wh_worker_memory;  /* webhook.worker_memory, megabytes */
extern bool wh_allow_http;    /* webhook.allow_http */
extern char *wh_allowed_networks; /* webhook.allowed_networks, list of CIDR blocks */
extern char *wh_ca_file;          /* webhook.ca_file, "" for the system's */
extern char *wh_key_file;         /* webhook.key_file, "": secrets are stored unsealed */
extern char *wh_context;          /* webhook.context, a JSON object or "" */
extern bool
	wh_debug_plain_insert; /* webhook.debug_plain_insert: events are stored by the server's own functions */

/* Seconds for which one segment is written before the next one. */
extern int64 wh_segment_width(void);

/* The segment that is written at this time of the clock; it changes every retention / 6. */
extern int wh_segment_at(int64 epoch_seconds);

/* Defines them in the server, once per process. */
extern void wh_define_settings(void);

#endif /* WEBHOOK_SETTINGS_H */
