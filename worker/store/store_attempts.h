/*
 * store_attempts.h
 *	  The rows of webhook.attempt.
 */
#ifndef WEBHOOK_STORE_ATTEMPTS_H
#define WEBHOOK_STORE_ATTEMPTS_H

#include "postgres.h"

#include "types.h"

/* A row for each of these that was sent. */
extern void wh_store_attempts(WhDelivery *const *deliveries, int n);

/* Has the log grown by enough for its index by entity to be brought up to date? */
extern bool wh_store_summary_due(void);
extern void wh_store_summarize(void);

/* UTF-8 text from the engine as a text datum; in another encoding, what is not ASCII becomes "?". */
extern Datum wh_text_datum(const char *utf8);

#endif /* WEBHOOK_STORE_ATTEMPTS_H */
