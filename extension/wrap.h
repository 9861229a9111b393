/*
 * wrap.h
 *	  A secret on its way through SQL: encrypted with a key that only this backend
 *	  has, and only until its transaction ends.
 */
#ifndef WEBHOOK_WRAP_H
#define WEBHOOK_WRAP_H

#include "postgres.h"

extern bool wh_is_wrapped(const char *text);

/*
 * Wrap a secret as palloc'd text, which may be a parameter, a constant or a row of any
 * statement. An error if it is too long.
 */
extern char *wh_wrap(const char *secret);

/* The secret, palloc'd; the caller wipes it. An error if it was not wrapped in this transaction. */
extern char *wh_unwrap(const char *wrapped);

/*
 * What a row was given, in clear, palloc'd: one of our functions wrapped it, or somebody
 * wrote it into the table as it is.
 */
extern char *wh_given(const char *text);

/* Overwrite a palloc'd secret and free it; NULL: does nothing. */
extern void wh_forget(char *secret);

#endif /* WEBHOOK_WRAP_H */
