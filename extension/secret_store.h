/*
 * secret_store.h
 *	  How secrets are kept: as they are, sealed under the key of
 *	  webhook.key_file, or as the name of a file that holds them.
 */
#ifndef WEBHOOK_SECRET_STORE_H
#define WEBHOOK_SECRET_STORE_H

#include "postgres.h"

/* The keys of webhook.key_file, for who opens many secrets: read for the first that is sealed. Palloc'd. */
typedef struct WhKeys WhKeys;

extern WhKeys *wh_keys_new(void);
extern void wh_keys_free(WhKeys *keys); /* and wipe them */

/*
 * A secret as its row keeps it, palloc'd: sealed if webhook.key_file is set,
 * else as given; what is sealed already, or a reference to a file, stays.
 * `owner` names the row (see seal.h). Errors: where the key file cannot be
 * used, and for a reference given by somebody who is no superuser.
 */
extern char *wh_secret_to_keep(const char *owner, const char *secret);

/*
 * The secret that a row keeps, palloc'd; the caller wipes it. NULL where it
 * cannot be had now: `why` says why, for people, and quotes nothing of it.
 */
extern char *wh_secret_kept(WhKeys *keys, const char *owner, const char *kept, const char **why);

/* The same, once, with an error where it cannot be had. */
extern char *wh_secret_opened(const char *owner, const char *kept);

/* Is it the name of a file that holds the secret? Is it neither that nor sealed? */
extern bool wh_is_reference(const char *text);
extern bool wh_is_clear(const char *text);

#endif /* WEBHOOK_SECRET_STORE_H */
