/*
 * checks.h
 *	  Is what people have given usable: a URL, a template, a credential?
 *
 * Each is an error, which quotes nothing of it, where it may not be used.
 */
#ifndef WEBHOOK_CHECKS_H
#define WEBHOOK_CHECKS_H

#include "postgres.h"

/* An endpoint's URL. */
extern void wh_check_url(const char *url);

/* A kind of credential: there is none of that name, or it is a header that can be none. */
extern void wh_check_credential_kind(const char *kind);

/* A credential, as it is before it is sealed. */
extern void wh_check_credential(const char *kind, const char *value);

/* The error itself. */
extern void wh_refuse_credential(const char *kind, const char *why);

#endif /* WEBHOOK_CHECKS_H */
