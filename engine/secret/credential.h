/*
 * credential.h
 *	  What an endpoint may need besides a signature: the kinds of credentials, and
 *	  what a valid one is.
 *
 * Plain C over bytes. What is wrong is told by constant strings, parts of a sentence,
 * which quote nothing of the value.
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
	WH_CREDENTIAL_CA,          /* PEM, one or more: who may sign the endpoint's certificate */
	WH_CREDENTIAL_PROXY,       /* "http://[user:password@]host:port" */
	WH_CREDENTIAL_OAUTH2       /* a JSON object: see oauth.h */
} WhCredentialKind;

extern WhCredentialKind wh_credential_kind(const char *kind);

/* What is wrong with a value of this kind; NULL: nothing. Of OAuth 2 only the length is checked. */
extern const char *wh_credential_wrong(const char *kind, const char *value);

/* What is wrong with the two together; NULL: they belong together. */
extern const char *wh_credential_pair_wrong(const char *certificate, const char *key);

/* Append "Authorization: Basic ..."; false: out of memory, or too long for the buffer. */
extern bool wh_credential_basic(const char *user_password, WhBuffer *out);

/*
 * Append "Proxy-Authorization: Basic ..." for the user and password in a proxy's URL;
 * nothing if it has none. False: as above, or it is no such URL.
 */
extern bool wh_proxy_authorization(const char *value, WhBuffer *out);

/* Write a proxy's URL without user and password to `out`. False: it is no such URL, or too long. */
extern bool wh_proxy_bare(const char *value, char *out, size_t size);

#endif /* WEBHOOK_CREDENTIAL_H */
