/*
 * text.h
 *	  Text in and out: JSON strings, percent-encoding, random tokens, comparing.
 */
#ifndef CONSOLE_TEXT_H
#define CONSOLE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"

#define TOKEN_BYTES 32 /* 256 bits */
#define TOKEN_TEXT (2 * TOKEN_BYTES + 1)

/* Append a JSON string, with its quotes; NULL: null. What is not UTF-8 becomes U+FFFD. */
extern bool text_json(WhBuffer *out, const char *text);

/* Append "key": text, preceded by a comma if something is there already. */
extern bool text_json_pair(WhBuffer *out, const char *key, const char *text);

/*
 * The strings of a flat JSON object, which is all that this program reads of JSON itself.
 * Each key's value is copied into `values`, malloc'd, NULL where the key is missing or
 * null. False: it is no such object, has another key, a key twice, or a NUL in a string.
 */
extern bool text_read_object(const char *json, size_t len, const char *const *keys, char **values, int n);

/*
 * Decode %XX in place and return true; false: it is malformed or contains a NUL or a
 * control character. `plus`: + is a blank, as in a query.
 */
extern bool text_unescape(char *text, bool plus);

/* Random bytes as hex digits. False: there are none to be had. */
extern bool text_token(char out[TOKEN_TEXT]);

/* Are they the same? In time that depends on the lengths alone. */
extern bool text_same(const char *a, const char *b);

/* A line of the log. Where `from` (NULL: not told) and `text` say it, others have: their control characters are blanks. */
extern void text_log(const char *from, const char *what, const char *text);

/* Overwrite and free; NULL: does nothing. */
extern void text_forget(char *text);

#endif /* CONSOLE_TEXT_H */
