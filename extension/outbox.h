/*
 * outbox.h
 *	  Append an event to the current drawer of webhook.outbox.
 */
#ifndef WEBHOOK_OUTBOX_H
#define WEBHOOK_OUTBOX_H

#include "postgres.h"

/* One event about to be appended. Strings are in the database's encoding, NULL where the column is null. */
typedef struct OutboxEvent
{
	const char *entity_id;
	const char *entity_type;
	const char *action;   /* "new", "update", "delete", "truncate", "test" */
	const char *result;   /* JSON text */
	int result_len;       /* bytes of result */
	const char *previous; /* JSON text */
	int previous_len;
	const char *tenant;
	int64 subscription_id; /* 0: for every matching subscription */
} OutboxEvent;

/*
 * Append with the extension owner's rights and without SPI: no privilege,
 * row security, trigger or search_path of the caller plays a part. Takes id,
 * xid, created_at, drawer and webhook.context itself, and arranges for the
 * worker to be woken at commit. Returns the id.
 */
extern int64 wh_outbox_append(const OutboxEvent *event);

#endif /* WEBHOOK_OUTBOX_H */
