/*
 * outbox.h
 *	  Append an event to the current segment of webhook.outbox.
 */
#ifndef WEBHOOK_OUTBOX_H
#define WEBHOOK_OUTBOX_H

#include "postgres.h"

/* One event about to be appended. Strings are in the database's encoding, NULL where the column is null. */
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
 * Append with the extension owner's rights and without SPI: no privilege,
 * row security, trigger or search_path of the caller plays a part. Takes id,
 * xid, created_at, segment and webhook.context itself, and arranges for the
 * worker to be woken at commit. The row is in the outbox when the statement
 * that fired the trigger has ended, or before. Returns the id.
 */
extern int64 wh_outbox_append(const OutboxEvent *event);

/* From _PG_init: notice statements from now on, whose events are then written together. */
extern void wh_outbox_install(void);

#endif /* WEBHOOK_OUTBOX_H */
