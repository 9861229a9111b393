/*
 * undelivered.h
 *	  What is reported when nothing delivers.
 */
#ifndef WEBHOOK_UNDELIVERED_H
#define WEBHOOK_UNDELIVERED_H

#define WH_NOT_PRELOADED                                                                                     \
	"webhook is not in shared_preload_libraries, and webhook.start_worker() was not called"

/* Logs that events of this database are captured but not delivered. */
extern void wh_log_undelivered(void);

/*
 * Bytes that the outbox takes on disk; -1: unknown, because it is locked, and a
 * look at the status must not wait for a lock.
 */
extern int64 wh_outbox_bytes(void);

#endif /* WEBHOOK_UNDELIVERED_H */
