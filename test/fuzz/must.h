/*
 * must.h
 *	  What the fuzzers share: libFuzzer's entry point, and an assertion that no
 *	  build flag turns off.
 *
 * Included by each of them. Owns nothing.
 */
#ifndef WEBHOOK_MUST_H
#define WEBHOOK_MUST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                                      \
	do                                                                                                       \
	{                                                                                                        \
		if (!(condition))                                                                                    \
		{                                                                                                    \
			fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);                                  \
			abort();                                                                                         \
		}                                                                                                    \
	} while (0)

#endif /* WEBHOOK_MUST_H */
