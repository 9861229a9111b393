/*
 * status.h
 *	  What is said where nothing delivers.
 */
#ifndef WEBHOOK_STATUS_H
#define WEBHOOK_STATUS_H

/* Tell the server's log that events of this database are kept and not delivered. */
extern void wh_log_undelivered(void);

#endif /* WEBHOOK_STATUS_H */
