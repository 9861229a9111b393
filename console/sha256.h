/*
 * sha256.h
 *	  SHA-256 of FIPS 180-4, for tokens: so that no library more is needed.
 */
#ifndef CONSOLE_SHA256_H
#define CONSOLE_SHA256_H

#include <stddef.h>

#define SHA256_TEXT 65

/* The digest in hex. */
extern void sha256_text(const void *bytes, size_t len, char out[SHA256_TEXT]);

#endif /* CONSOLE_SHA256_H */
