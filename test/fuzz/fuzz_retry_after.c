/*
 * fuzz_retry_after.c
 *	  libFuzzer over the header Retry-After: text of an endpoint.
 *
 * Beyond not crashing: the answer is -1 or a time that is not negative; digits
 * alone are seconds; a date that the C library reads in the same way is that
 * date; and a later now never makes for a longer wait. Owns nothing between
 * runs.
 */
#define _GNU_SOURCE /* strptime, timegm */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "retry.h"
#include "must.h"

#define SECOND INT64_C(1000000)
#define NOW (INT64_C(1700000000) * SECOND)

/* Is it the first of HTTP's three forms of a date, to the C library? */
static void
check_date(const char *value, int64_t wait)
{
	struct tm t = {0};
	const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &t);
	int64_t at;

	if (wait < 0 || end == NULL || *end != '\0' || strlen(value) != 29)
		return;
	at = (int64_t) timegm(&t) * SECOND;
	must(wait == (at > NOW ? at - NOW : 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *value = malloc(size + 1);
	int64_t wait;
	int64_t later;

	must(value != NULL);
	if (size > 0)
		memcpy(value, data, size);
	value[size] = '\0';

	wait = wh_retry_after(value, NOW);
	must(wait >= -1);
	if (value[0] != '\0' && value[strspn(value, "0123456789")] == '\0')
	{
		must(wait >= 0 && wait % SECOND == 0);
		if (strlen(value) < 9)
			must(wait == atol(value) * SECOND);
	}
	check_date(value, wait);
	/* the form of RFC 850 has two digits for a year, which are read by the year it is; a second changes none */
	later = wh_retry_after(value, NOW + SECOND);
	must((later < 0) == (wait < 0) && later <= wait);

	free(value);
	return 0;
}
