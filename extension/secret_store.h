/*
 * secret_store.h
 *	  How secrets are stored: as they are, sealed with the key of
 *	  webhook.key_file, or as the name of a file that holds them.
 */
#ifndef WEBHOOK_SECRET_STORE_H
#define WEBHOOK_SECRET_STORE_H

#include "postgres.h"

/*
 * The keys of webhook.key_file, for callers that open many secrets. The file is read when
 * the first sealed secret is opened. Palloc'd.
 */
typedef struct WhKeys WhKeys;

extern WhKeys *wh_keys_new(void);
extern void wh_keys_free(WhKeys *keys); /* and wipe them */

/*
 * A secret as its row stores it, palloc'd: sealed if webhook.key_file is set, else as
 * given. A secret that is sealed already, or a reference to a file, stays as it is.
 * `owner` names the row (see seal.h). Errors: the key file is unusable; or a role that is
 * no superuser gives a reference.
 */
extern char *wh_secret_to_keep(const char *owner, const char *secret);

/*
 * The secret that a row stores, palloc'd; the caller wipes it. NULL: it is not available
 * now; `why` says so for people and quotes nothing of it.
 */
extern char *wh_secret_kept(WhKeys *keys, const char *owner, const char *kept, const char **why);

/* The same for a single secret; an error if it is not available. */
extern char *wh_secret_opened(const char *owner, const char *kept);

/* Is it the name of a file that holds the secret? Is it neither that nor sealed? */
extern bool wh_is_reference(const char *text);
extern bool wh_is_clear(const char *text);

#endif /* WEBHOOK_SECRET_STORE_H */
