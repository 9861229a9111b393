/*
 * outbox.h
 *	  Append an event to the current segment of webhook.outbox.
 */
#ifndef WEBHOOK_OUTBOX_H
#define WEBHOOK_OUTBOX_H

#include "postgres.h"

/* An event to append. Strings are in the database's encoding; NULL: the column is null. */
typedef struct OutboxEvent
{
	const char *entity_id;
	const char *entity_type;
	const char *action_type; /* "new", "update", "delete", "truncate", "test" */
	text *result;            /* JSON */
	text *previous;          /* JSON */
	const char *tenant;
	int64 subscription_id; /* 0: for every matching subscription */
} OutboxEvent;

/*
 * Append an event with the extension owner's rights and without SPI: the caller's
 * privileges, row security, triggers and search_path play no part. Determines id, xid,
 * created_at, segment and webhook.context itself. The commit will wake the worker. The
 * row is in the outbox when the statement that fired the trigger has ended, or earlier.
 * Returns the id.
 */
extern int64 wh_outbox_append(const OutboxEvent *event);

/* For _PG_init: from now on the events of a statement are written together. */
extern void wh_outbox_install(void);

#endif /* WEBHOOK_OUTBOX_H */
