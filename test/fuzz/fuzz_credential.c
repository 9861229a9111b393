/*
 * fuzz_credential.c
 *	  libFuzzer over credentials: the kind up to the first newline, then the
 *	  value.
 *
 * Beyond not crashing: an objection is a constant that quotes nothing; what is
 * good makes one line of a request's head; and a proxy that is good is one to
 * libcurl too, on the host and port that were looked at when it was saved.
 * Ownership: each run frees what it makes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "credential.h"
#include "target.h"

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion that no build flag turns off. */
#define must(condition)                                                                                      \
	do                                                                                                       \
	{                                                                                                        \
		if (!(condition))                                                                                    \
		{                                                                                                    \
			fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);                                  \
			abort();                                                                                         \
		}                                                                                                    \
	} while (0)

