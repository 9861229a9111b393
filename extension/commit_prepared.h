/*
 * commit_prepared.h
 *	  COMMIT PREPARED wakes this database's worker.
 */
#ifndef WEBHOOK_COMMIT_PREPARED_H
#define WEBHOOK_COMMIT_PREPARED_H

extern void wh_commit_prepared_install(void);

#endif /* WEBHOOK_COMMIT_PREPARED_H */
