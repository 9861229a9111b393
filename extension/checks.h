/*
 * checks.h
 *	  Checks of what people enter: a URL, a template, a credential.
 *
 * Each raises an error, which quotes nothing of it, if it is invalid.
 */
#ifndef WEBHOOK_CHECKS_H
#define WEBHOOK_CHECKS_H

#include "postgres.h"

/* An endpoint's URL. */
extern void wh_check_url(const char *url);

/* A kind of credential: an unknown one, or a header that must not be set, is an error. */
extern void wh_check_credential_kind(const char *kind);

/* A credential, as it is before it is sealed. */
extern void wh_check_credential(const char *kind, const char *value);

/* The error itself. */
extern void wh_refuse_credential(const char *kind, const char *why);

#endif /* WEBHOOK_CHECKS_H */
