/*
 * undelivered.h
 *	  What is said where nothing delivers.
 */
#ifndef WEBHOOK_UNDELIVERED_H
#define WEBHOOK_UNDELIVERED_H

#define WH_NOT_PRELOADED                                                                                     \
	"webhook is not in shared_preload_libraries, and webhook.start_worker() was not called"

/* Tell the server's log that events of this database are kept and not delivered. */
extern void wh_log_undelivered(void);

/*
 * Bytes that the outbox takes on disk; -1: nobody knows, because somebody holds
 * a lock on it for which a look at the status is no reason to wait.
 */
extern int64 wh_outbox_bytes(void);

#endif /* WEBHOOK_UNDELIVERED_H */
