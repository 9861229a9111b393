/*
 * store_prepared.h
 *	  Prepared transactions of this database.
 */
#ifndef WEBHOOK_STORE_PREPARED_H
#define WEBHOOK_STORE_PREPARED_H

/* Are there any now? It does not matter what the snapshot shows. */
extern bool wh_store_any_prepared(void);

#endif /* WEBHOOK_STORE_PREPARED_H */
