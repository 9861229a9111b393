/*
 * worker_log.c
 *	  Lines of the server's log about subscriptions: one that is disabled, events
 *	  that became dead letters, a breaker that opens or closes.
 *
 * There is at most one line a minute per subscription, however long an endpoint
 * fails (log_throttle.c). What happens within the minute is counted and written
 * when it is over; what is left when the worker ends is written then. Only what
 * has been committed counts.
 *
 * A line holds the subscription's name, counts and the words of outcomes
 * (docs/outcomes.md). It holds nothing that an endpoint, a transform, a filter or a
 * library has said: that may be confidential, and is in tables, which need rights.
 * A subscription that is gone gets no line.
 *
 * Owns the collected news.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "log_throttle.h"
#include "store.h"
#include "worker.h"

static WhLogThrottle *lines = NULL;

/* NULL without memory: the line is then missing, and the tables have it all the same. */
static WhNews *
news_of(int64 subscription_id)
{
	if (lines == NULL)
		lines = wh_log_throttle_new();
	return lines ? wh_log_throttle_news(lines, subscription_id) : NULL;
}

void
wh_log_settled(const WhDelivery *d)
{
	WhNews *news;

	if (d->disposal == WH_DO_DEAD_LETTER && (news = news_of(d->subscription_id)) != NULL)
	{
		news->dead_letters++;
		news->attempts = d->attempts;
		news->outcome = d->word;
		news->http_status = d->http_status;
	}
	if (d->disabled)
		wh_log_disabled(d->subscription_id, "The endpoint answered 410 Gone.");
}

void
wh_log_disabled(int64 subscription_id, const char *why)
{
	WhNews *news = news_of(subscription_id);

	if (news)
		news->disabled = why;
}

void
wh_log_breaker(int64 subscription_id, bool open, const char *failure)
{
	WhNews *news = news_of(subscription_id);

	if (news == NULL)
		return;
	news->open = open;
	if (open)
	{
		news->opened++;
		news->failure = failure;
	}
	else
		news->closed++;
}

static void
add_newest_dead_letter(StringInfo detail, const WhNews *news)
{
	if (news->outcome == NULL)
	{
		appendStringInfoString(detail, "The newest was not sent.");
		return;
	}
	appendStringInfo(detail,
					 ngettext("The newest was given up after %d attempt",
							  "The newest was given up after %d attempts", news->attempts),
					 news->attempts);
	appendStringInfo(detail, "; the outcome was \"%s\"", news->outcome);
	if (news->http_status != 0)
		appendStringInfo(detail, " (status %d)", news->http_status);
	appendStringInfoChar(detail, '.');
}

static char *
dead_letters(const WhNews *news)
{
	return psprintf(ngettext(INT64_FORMAT " event became a dead letter%s",
							 INT64_FORMAT " events became dead letters%s",
							 (unsigned long) news->dead_letters),
					news->dead_letters, news->again ? " in the last minute" : "");
}

/* What its breaker has done: "opened", "closed", "opened 3 times, and is closed". */
static char *
breaker_moves(const WhNews *news)
{
	if (news->opened + news->closed == 1)
		return pstrdup(news->open ? "opened" : "closed");
	if (news->opened <= 1)
		return pstrdup(news->open ? "closed, and opened again" : "opened, and closed again");
	return psprintf("opened %d times, and is %s", news->opened, news->open ? "open" : "closed");
}

#define KEPT_UNTIL_RESUMED "Its events are kept. Fix the cause, then call webhook.resume()."
#define READ_DEAD_LETTERS                                                                                    \
	"webhook.dead_letter has the events and the reasons. Fix the cause, then call webhook.redeliver()."
#define KEPT_UNTIL_ANSWERED                                                                                  \
	"Its events are kept, and sent when a probe is answered. webhook.log has the requests that failed."

/* One line: what is worst is its message, all else its detail. */
static void
write_line(const char *name, const WhNews *news)
{
	StringInfoData detail;

	initStringInfo(&detail);
	if (news->disabled)
		appendStringInfoString(&detail, news->disabled);
	if (news->dead_letters > 0)
	{
		if (news->disabled)
			appendStringInfo(&detail, " %s. ", dead_letters(news));
		add_newest_dead_letter(&detail, news);
	}
	if (news->opened + news->closed > 0 && (news->disabled || news->dead_letters > 0))
		appendStringInfo(&detail, " Its breaker %s.", breaker_moves(news));
	if (news->opened > 0 && news->failure)
		appendStringInfo(&detail, "%sThe failure that opened the breaker was \"%s\".",
						 detail.len > 0 ? " " : "", news->failure);

	if (news->disabled)
		ereport(WARNING, errmsg("webhook subscription \"%s\" was disabled", name),
				errdetail_internal("%s", detail.data), errhint(KEPT_UNTIL_RESUMED));
	else if (news->dead_letters > 0)
		ereport(WARNING, errmsg("webhook subscription \"%s\": %s", name, dead_letters(news)),
				errdetail_internal("%s", detail.data), errhint(READ_DEAD_LETTERS));
	else
		ereport(LOG, errmsg("webhook subscription \"%s\": its breaker %s", name, breaker_moves(news)),
				detail.len > 0 ? errdetail_internal("%s", detail.data) : 0,
				news->open ? errhint(KEPT_UNTIL_ANSWERED) : 0);
	pfree(detail.data);
}

void
wh_log_write(TimestampTz now)
{
	int64 subscription_id;
	WhNews news;

	while (lines && wh_log_throttle_take(lines, now, &subscription_id, &news))
	{
		const WhRoutes *routes = wh_config_routing();
		const WhRoute *route = routes ? wh_route_find(routes, subscription_id) : NULL;
		char *name;

		if (route == NULL)
			continue;
		/* outside of a transaction there is no conversion to another encoding */
		name = pstrdup(route->name);
		write_line(GetDatabaseEncoding() == PG_UTF8 ? name : wh_only_ascii(name), &news);
		pfree(name);
	}
}

void
wh_log_write_rest(void)
{
	wh_log_write(wh_now() + WH_LOG_LINE_EVERY_US);
}

TimestampTz
wh_log_due(void)
{
	int64 due = lines ? wh_log_throttle_due(lines) : INT64_MAX;

	return due == INT64_MAX ? DT_NOEND : Max(due, 0);
}
