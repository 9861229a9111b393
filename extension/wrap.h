/*
 * wrap.h
 *	  A secret on its way through SQL: encrypted under a key that only this
 *	  backend has, and only until its transaction ends.
 */
#ifndef WEBHOOK_WRAP_H
#define WEBHOOK_WRAP_H

#include "postgres.h"

extern bool wh_is_wrapped(const char *text);

/* Text that may be a parameter, a constant or a row of any statement; palloc'd. Error for one that is too long. */
extern char *wh_wrap(const char *secret);

/* The secret, palloc'd; the caller wipes it. Error for text that was not wrapped in this transaction. */
extern char *wh_unwrap(const char *wrapped);

/* What a row was given, in clear, palloc'd: wrapped by a function of ours, or as somebody wrote it into the table. */
extern char *wh_given(const char *text);

/* Overwrite a palloc'd secret and free it; NULL is none. */
extern void wh_forget(char *secret);

#endif /* WEBHOOK_WRAP_H */
