/*
 * checks.h
 *	  Checks of what people enter: a URL, a template, a credential.
 *
 * Each raises an error if the value is invalid. The error quotes nothing of it.
 */
#ifndef WEBHOOK_CHECKS_H
#define WEBHOOK_CHECKS_H

#include "postgres.h"

/* An endpoint's URL. */
extern void wh_check_url(const char *url);

/* A kind of credential: it must be known, and a header's name must be valid. */
extern void wh_check_credential_kind(const char *kind);

/* A credential, before it is sealed; its kind must not be a header that the worker sets. */
extern void wh_check_credential(const char *kind, const char *value);

/* Raise the error. */
extern void wh_refuse_credential(const char *kind, const char *why);

#endif /* WEBHOOK_CHECKS_H */
