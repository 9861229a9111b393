/*
 * verify.h
 *	  What a row of webhook.profile says about signatures, for the files that
 *	  check and make secrets.
 */
#ifndef WEBHOOK_VERIFY_H
#define WEBHOOK_VERIFY_H

#include "postgres.h"

#include "access/htup.h"

#include "sign.h"

/* What a profile says about signatures; an error where that makes no sense. */
extern WhSigning wh_profile_signing(HeapTupleHeader profile);

/* An error, which quotes no part of it, where a secret does not have the form that the profile asks for. */
extern void wh_check_secret(HeapTupleHeader profile, const char *secret);

#endif /* WEBHOOK_VERIFY_H */
