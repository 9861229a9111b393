/*
 * credential.h
 *	  What endpoints with demands want besides a signature: which kinds of
 *	  credentials there are, and what a good one is.
 *
 * Plain C over bytes. The objections are constants, parts of a sentence that
 * quote nothing of the value.
 */
#ifndef WEBHOOK_CREDENTIAL_H
#define WEBHOOK_CREDENTIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

#define WH_CREDENTIAL_MAX (60 * 1024) /* bytes of a value: as much as can be sealed */
#define WH_PROXY_MAX 512              /* bytes of a proxy's address */

typedef enum WhCredentialKind
{
	WH_CREDENTIAL_UNKNOWN,
	WH_CREDENTIAL_BASIC,       /* "user:password" */
	WH_CREDENTIAL_BEARER,      /* a token */
	WH_CREDENTIAL_HEADER,      /* "header:Name": that header's value */
	WH_CREDENTIAL_CERTIFICATE, /* "client_certificate": PEM, with its chain behind it */
	WH_CREDENTIAL_KEY,         /* "client_key": PEM, not encrypted */
	WH_CREDENTIAL_CA,          /* PEM, one or more: who may have signed the endpoint's certificate */
	WH_CREDENTIAL_PROXY,       /* "http://[user:password@]host:port" */
	WH_CREDENTIAL_OAUTH2       /* a JSON object: see oauth.h */
} WhCredentialKind;

extern WhCredentialKind wh_credential_kind(const char *kind);

/* What is wrong with this value of this kind; NULL: nothing. Of OAuth 2 only the length is looked at. */
extern const char *wh_credential_wrong(const char *kind, const char *value);

/* What is wrong with them together; NULL: they belong to each other. */
extern const char *wh_credential_pair_wrong(const char *certificate, const char *key);

/* Append "Authorization: Basic " and what goes with it; false: no memory, or too long for the buffer. */
extern bool wh_credential_basic(const char *user_password, WhBuffer *out);

/*
 * Append "Proxy-Authorization: Basic " and what goes with the user and password
 * of a proxy's URL, or nothing, if it has none. False as above, or where it is no such URL.
 */
extern bool wh_proxy_authorization(const char *value, WhBuffer *out);

/* A proxy's URL without its user and password, into `out`. False where it is none or too long. */
extern bool wh_proxy_bare(const char *value, char *out, size_t size);

#endif /* WEBHOOK_CREDENTIAL_H */
