/*
 * retry_after.c
 *	  The header Retry-After: text of an endpoint -> microseconds.
 *
 * The text comes from outside, so it is read strictly: what is not exactly one of the
 * four forms asks for nothing. Locale, time zone and the C library's clock play no
 * part. Owns nothing.
 */
#include "retry.h"

#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define SECONDS_MAX INT64_C(1000000000) /* larger numbers count as this */

/* Days from 1970-01-01 to a day of the Gregorian calendar, for years after 0. */
static int64_t
days_to(int year, int month, int day)
{
	/* years begin in March here, so that a leap day is the last day of its year */
	int y = month > 2 ? year : year - 1;
	int m = month > 2 ? month - 3 : month + 9;

	return INT64_C(365) * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static int
month_of(const char *name)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *at = strstr(names, name);

	return strlen(name) == 3 && at && (at - names) % 3 == 0 ? (int) (at - names) / 3 + 1 : 0;
}

static bool
is_weekday(const char *name, bool whole)
{
	static const char *const names[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
										"Friday", "Saturday", "Sunday"};

	for (int i = 0; i < 7; i++)
		if (whole ? strcmp(name, names[i]) == 0 : strlen(name) == 3 && strncmp(name, names[i], 3) == 0)
			return true;
	return false;
}

/* A year of two digits is one of the past 50 years or the next 50. */
static int
whole_year(int two_digits, int64_t now_us)
{
	int64_t this_year = 1970 + now_us / SECOND / 31556952;
	int64_t year = this_year - this_year % 100 + two_digits;

	if (year <= this_year - 50)
		year += 100;
	else if (year > this_year + 50)
		year -= 100;
	return (int) year;
}

typedef struct Date
{
	char weekday[10];
	char month[4];
	int day;
	int year;
	int hour;
	int minute;
	int second;
} Date;

/*
 * The three forms of RFC 9110, 5.6.7. sscanf is lenient about blanks and signs, so
 * what it has read is written again and must be the same text.
 */
static bool
read_date(const char *value, int64_t now_us, Date *d)
{
	char again[64];

	if (sscanf(value, "%3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT", d->weekday, &d->day, d->month,
			   &d->year, &d->hour, &d->minute, &d->second) == 7)
	{
		snprintf(again, sizeof(again), "%s, %02d %s %04d %02d:%02d:%02d GMT", d->weekday, d->day, d->month,
				 d->year, d->hour, d->minute, d->second);
		return strcmp(value, again) == 0 && is_weekday(d->weekday, false);
	}
	if (sscanf(value, "%9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT", d->weekday, &d->day, d->month,
			   &d->year, &d->hour, &d->minute, &d->second) == 7)
	{
		snprintf(again, sizeof(again), "%s, %02d-%s-%02d %02d:%02d:%02d GMT", d->weekday, d->day, d->month,
				 d->year, d->hour, d->minute, d->second);
		if (strcmp(value, again) != 0 || !is_weekday(d->weekday, true) || d->year < 0)
			return false;
		d->year = whole_year(d->year, now_us);
		return true;
	}
	if (sscanf(value, "%3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d", d->weekday, d->month, &d->day, &d->hour,
			   &d->minute, &d->second, &d->year) == 7)
	{
		snprintf(again, sizeof(again), "%s %s %2d %02d:%02d:%02d %04d", d->weekday, d->month, d->day, d->hour,
				 d->minute, d->second, d->year);
		return strcmp(value, again) == 0 && is_weekday(d->weekday, false);
	}
	return false;
}

static int64_t
seconds(const char *digits)
{
	int64_t n = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		if (n < SECONDS_MAX)
			n = n * 10 + (*digits - '0');
	return *digits != '\0' ? -1 : n < SECONDS_MAX ? n : SECONDS_MAX;
}

int64_t
wh_retry_after(const char *value, int64_t now_us)
{
	Date d = {0};
	int64_t day;
	int64_t n;
	int month;

	if (*value == '\0') /* nearly always */
		return -1;
	if (*value >= '0' && *value <= '9')
		return (n = seconds(value)) < 0 ? -1 : n * SECOND;
	if (!read_date(value, now_us, &d) || d.year < 1 || (month = month_of(d.month)) == 0 || d.day < 1 ||
		d.hour < 0 || d.hour > 23 || d.minute < 0 || d.minute > 59 || d.second < 0 || d.second > 60)
		return -1;
	day = days_to(d.year, month, d.day);
	if (day >= days_to(d.year + month / 12, month % 12 + 1, 1)) /* no month is that long */
		return -1;
	n = (((day * 24 + d.hour) * 60 + d.minute) * 60 + d.second) * SECOND;
	return n > now_us ? n - now_us : 0;
}
