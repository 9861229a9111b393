/*
 * log_throttle.h
 *	  When a subscription's line may be written to the server's log: at most one
 *	  a minute.
 *
 * What happens to a subscription is collected. If it had no line within the last
 * minute, one may be written at once; else when that minute is over, with everything
 * collected by then. So nothing is lost, and an endpoint that refuses a million events
 * makes 60 lines an hour.
 *
 * Plain C without PostgreSQL. The time is an argument: microseconds of a clock that
 * nobody sets.
 */
#ifndef WEBHOOK_LOG_THROTTLE_H
#define WEBHOOK_LOG_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define WH_LOG_LINE_EVERY_US (INT64_C(60) * 1000000)

/* What has happened to a subscription since its last line. Strings are constants: nothing is copied. */
typedef struct WhNews
{
	bool again; /* its last line was written a minute ago, so all this is of the last minute */

	const char *disabled; /* it was, and why, as a sentence; NULL: it was not */

	int64_t dead_letters; /* so many events became some; of the newest: */
	int attempts;
	const char *outcome; /* the word of its last request; NULL: none was made */
	int http_status;     /* 0: no response */

	int opened;          /* so often its breaker has opened, */
	int closed;          /* and closed */
	bool open;           /* as it is now */
	const char *failure; /* the word of the request that opened it; NULL: not known */
} WhNews;

typedef struct WhLogThrottle WhLogThrottle;

extern WhLogThrottle *wh_log_throttle_new(void); /* NULL: no memory */
extern void wh_log_throttle_free(WhLogThrottle *lines);

/* Something has happened to a subscription: its news, to be added to. NULL: no memory. */
extern WhNews *wh_log_throttle_news(WhLogThrottle *lines, int64_t subscription_id);

/* Take the news of which a line may be written now, each in its turn; false: there are no more. */
extern bool wh_log_throttle_take(WhLogThrottle *lines, int64_t now_us, int64_t *subscription_id,
								 WhNews *news);

/* When to ask again at the latest; INT64_MAX: not until there is news. */
extern int64_t wh_log_throttle_due(const WhLogThrottle *lines);

#endif /* WEBHOOK_LOG_THROTTLE_H */
