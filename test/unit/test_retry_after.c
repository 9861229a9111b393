/*
 * test_retry_after.c
 *	  Retry-After: seconds, dates in HTTP's three forms, and a lot that is
 *	  neither and must ask for nothing.
 */
#include "unit.h"

#include "retry.h"

#define SECOND INT64_C(1000000)
#define DAY (INT64_C(86400) * SECOND)
#define NOW (INT64_C(784111777) * SECOND) /* Sun, 06 Nov 1994 08:49:37 GMT */

static const struct
{
	const char *value;
	int64_t us;
} rows[] = {
	{"0", 0},
	{"1", SECOND},
	{"120", 120 * SECOND},
	{"007", 7 * SECOND},
	{"999999999", INT64_C(999999999) * SECOND},
	{"99999999999999999999999999999999999999", INT64_C(1000000000) * SECOND},
	/* the same moment in all forms, and one a minute later */
	{"Sun, 06 Nov 1994 08:49:37 GMT", 0},
	{"Sunday, 06-Nov-94 08:49:37 GMT", 0},
	{"Sun Nov  6 08:49:37 1994", 0},
	{"Sun, 06 Nov 1994 08:50:37 GMT", 60 * SECOND},
	{"Sunday, 06-Nov-94 08:50:37 GMT", 60 * SECOND},
	{"Sun Nov  6 08:50:37 1994", 60 * SECOND},
	{"Wed Nov 16 08:49:37 1994", 10 * DAY},
	{"Sat, 05 Nov 1994 08:49:37 GMT", 0}, /* past */
	{"Thu, 01 Jan 1970 00:00:00 GMT", 0},
	{"Fri, 01 Jan 1600 00:00:00 GMT", 0},
	/* leap years and the ends of months and years */
	{"Mon, 07 Nov 1994 08:49:37 GMT", DAY},
	{"Sat, 31 Dec 1994 08:49:37 GMT", 55 * DAY},
	{"Sun, 01 Jan 1995 08:49:37 GMT", 56 * DAY},
	{"Thu, 29 Feb 1996 08:49:37 GMT", 480 * DAY},
	{"Fri, 01 Mar 1996 08:49:37 GMT", 481 * DAY},
	{"Tue, 29 Feb 2000 08:49:37 GMT", 1941 * DAY},
	{"Sun, 06 Nov 1994 08:49:60 GMT", 23 * SECOND}, /* a leap second may be */
	/* two digits: at most 50 years ahead */
	{"Sunday, 06-Nov-44 08:49:37 GMT", 18263 * DAY},
	{"Monday, 06-Nov-45 08:49:37 GMT", 0},
	{"Tuesday, 07-Nov-00 08:49:37 GMT", 2193 * DAY},
	{"Tuesday, 07-Nov--4 08:49:37 GMT", -1},
	/* nothing of the kind */
	{"", -1},
	{" ", -1},
	{"-1", -1},
	{"+1", -1},
	{"1.5", -1},
	{"1e3", -1},
	{"0x10", -1},
	{"12 ", -1},
	{"12s", -1},
	{"soon", -1},
	{"Sun", -1},
	{"Sun, 06 Nov 1994", -1},
	{"Sun, 06 Nov 1994 08:49:37", -1},
	{"Sun, 06 Nov 1994 08:49:37 UTC", -1},
	{"Sun, 06 Nov 1994 08:49:37 +0100", -1},
	{"Sun, 06 Nov 1994 08:49:37 GMT ", -1},
	{" Sun, 06 Nov 1994 08:49:37 GMT", -1},
	{"Sun,  06 Nov 1994 08:49:37 GMT", -1},
	{"Sun, 6 Nov 1994 08:49:37 GMT", -1},
	{"Sun, 06 Nov 94 08:49:37 GMT", -1},
	{"sun, 06 Nov 1994 08:49:37 GMT", -1},
	{"Xxx, 06 Nov 1994 08:49:37 GMT", -1},
	{"Sun, 06 nov 1994 08:49:37 GMT", -1},
	{"Sun, 06 anF 1994 08:49:37 GMT", -1},
	{"Sun, 06 N 1994 08:49:37 GMT", -1},
	{"Sun, 00 Nov 1994 08:49:37 GMT", -1},
	{"Sun, 31 Nov 1994 08:49:37 GMT", -1},
	{"Sun, 32 Dec 1994 08:49:37 GMT", -1},
	{"Sun, 29 Feb 1995 08:49:37 GMT", -1},
	{"Sun, 06 Nov 0000 08:49:37 GMT", -1},
	{"Sun, 06 Nov 1994 24:00:00 GMT", -1},
	{"Sun, 06 Nov 1994 08:60:37 GMT", -1},
	{"Sun, 06 Nov 1994 08:49:61 GMT", -1},
	{"Sun, 06 Nov 1994 -8:49:37 GMT", -1},
	{"Sun, 06 Nov 1994 08:+9:37 GMT", -1},
	{"Sun, 06-Nov-94 08:49:37 GMT", -1},
	{"Sunday, 06 Nov 1994 08:49:37 GMT", -1},
	{"Sun Nov 6 08:49:37 1994", -1},
	{"Sun Nov 06 08:49:37 1994", -1},
	{"Sun Nov  6 08:49:37 94", -1},
	{"1994-11-06T08:49:37Z", -1},
	{"%s%n%d", -1},
	{"Sun, 06 Nov 1994 08:49:37 GMT\xff", -1},
};

static void
test_values(void **state)
{
	(void) state;
	for (size_t i = 0; i < lengthof(rows); i++)
		if (wh_retry_after(rows[i].value, NOW) != rows[i].us)
			fail_msg("\"%s\" asks for %lld us", rows[i].value,
					 (long long) wh_retry_after(rows[i].value, NOW));
}

/* Every text that differs from a date in one character is a date of the same form, or nothing. */
static void
test_one_character_off(void **state)
{
	static const char *const dates[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
										"Sun Nov  6 08:49:37 1994"};

	(void) state;
	for (size_t i = 0; i < lengthof(dates); i++)
		for (size_t at = 0; at < strlen(dates[i]); at++)
			for (int c = 1; c < 256; c++)
			{
				char text[64];
				int64_t us;

				snprintf(text, sizeof(text), "%s", dates[i]);
				text[at] = (char) c;
				us = wh_retry_after(text, NOW);
				if (us != -1 && c != dates[i][at] && (c < '0' || c > '9') && !strchr("MTFSaedNJ", c) &&
					!(dates[i][at] == ' ' && c == ' '))
					fail_msg("\"%s\" asks for %lld us", text, (long long) us);
				assert_true(us >= -1);
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_one_character_off),
	};

	return cmocka_run_group_tests_name("retry_after", tests, NULL, NULL);
}
