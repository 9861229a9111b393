/*
 * verify.h
 *	  What a row of webhook.profile says about signatures, for the files that
 *	  check and generate secrets.
 */
#ifndef WEBHOOK_VERIFY_H
#define WEBHOOK_VERIFY_H

#include "postgres.h"

#include "access/htup.h"

#include "sign.h"

/* What a profile says about signatures; an error if that is invalid. */
extern WhSigning wh_profile_signing(HeapTupleHeader profile);

/*
 * Raise an error if a secret does not have the form that the profile requires. It quotes
 * no part of the secret.
 */
extern void wh_check_secret(HeapTupleHeader profile, const char *secret);

#endif /* WEBHOOK_VERIFY_H */
