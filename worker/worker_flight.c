/*
 * worker_flight.c
 *	  How many requests this worker may have in flight: what is asked for, as far as
 *	  descriptors and memory go.
 *
 * webhook.max_in_flight asks; where it is 0, the subscriptions do. What is missing is
 * said in the log when it changes, and in webhook.worker for as long as it is so: too few
 * descriptors always, too little memory where somebody has set the number.
 *
 * Descriptors. The server plans with max_files_per_process for each of its processes,
 * whatever the kernel allows, and lets a third of that go to sockets. That is too few
 * here, and the rest of the server has no use for more. So this process gets its own: it
 * raises its soft limit, which is often 1024, towards the hard one, and what is above the
 * server's plan is for connections. Only what is missing beyond that is taken from the
 * server's third.
 *
 * Owns the descriptors that are reserved, and the text.
 */
#include "postgres.h"

#include <sys/resource.h>
#include <unistd.h>

#include "storage/fd.h"

#include "memory_limit.h"
#include "settings.h"
#include "worker_slots.h"
#include "worker.h"

#define KEPT_CONNECTIONS 1000 /* as many may be open, for the next requests, */
#define KEPT_PART 4    /* if this part of the memory for requests is enough for those beyond the places */
#define NOT_COUNTED 64 /* descriptors of name look-ups and of libraries */

static char problem[WH_REASON_MAX]; /* "": none */

const char *
wh_flight_problem(void)
{
	return problem[0] ? problem : NULL;
}

/* Say it, unless it was said last. */
static void __attribute__((format(printf, 3, 4))) say(int places, const char *hint, const char *why, ...)
{
	char detail[WH_REASON_MAX];
	char text[WH_REASON_MAX];
	va_list args;

	va_start(args, why);
	vsnprintf(detail, sizeof(detail), why, args);
	va_end(args);
	snprintf(text, sizeof(text), "at most %d requests at once: %.150s", places, detail);
	if (strcmp(text, problem) == 0)
		return;
	strlcpy(problem, text, sizeof(problem));
	ereport(LOG, errmsg("webhook worker sends at most %d requests at once", places),
			errdetail_internal("%s", detail), errhint("%s", hint));
}

/*
 * What the subscriptions may have together. The queue lets a subscription have no more in
 * flight than are left free, so there are as many places again as the largest may have.
 * What is under way of others, or was started when its subscription might have more, has
 * its places until it ends.
 */
static int
asked_by(List *routes)
{
	int64 together = wh_engine ? wh_engine_beyond(wh_engine) : 0;
	int64 largest = 0;
	ListCell *lc;

	foreach (lc, routes)
	{
		const WhRoute *route = lfirst(lc);

		if (route->paused)
			continue;
		together += route->max_in_flight;
		largest = Max(largest, route->max_in_flight);
	}
	return (int) Min(Max(together + largest, WH_AUTO_MIN_IN_FLIGHT), WH_MAX_MAX_IN_FLIGHT);
}

/* Descriptors beyond those that the server plans with, as many as wanted if there are. */
static int
beyond_the_plan(int wanted)
{
	static int open_before = -1;
	struct rlimit now;
	rlim_t plan;
	rlim_t needed;

	if (open_before < 0)
	{
		/* the lowest that is free: those below it are open */
		if ((open_before = dup(STDERR_FILENO)) < 0)
			return 0;
		close(open_before);
	}
	if (getrlimit(RLIMIT_NOFILE, &now) != 0)
		return 0;
	plan = (rlim_t) max_files_per_process + (rlim_t) open_before + NOT_COUNTED;
	needed = plan + (rlim_t) wanted;
	if (now.rlim_cur < needed && now.rlim_cur < now.rlim_max)
	{
		struct rlimit raised = {.rlim_cur = Min(needed, now.rlim_max), .rlim_max = now.rlim_max};

		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			now = raised;
	}
	return now.rlim_cur <= plan ? 0 : (int) Min((rlim_t) wanted, now.rlim_cur - plan);
}

/* Have the server account for so many more, as far as it does. */
static int
of_the_plan(int wanted)
{
	static int reserved = 0;

	while (reserved < wanted && AcquireExternalFD())
		reserved++;
	while (reserved > wanted)
	{
		ReleaseExternalFD();
		reserved--;
	}
	return reserved;
}

int
wh_flight_places(List *routes, int *connections)
{
	int asked = wh_max_in_flight > 0 ? wh_max_in_flight : asked_by(routes);
	int fit = (int) Min(Max(1, wh_memory_part(WH_PART_FLIGHT, SIZE_MAX) / WH_FLIGHT_EACH), INT_MAX);
	int places = Min(asked, fit);
	int kept = Max(0, Min(KEPT_CONNECTIONS - places, Min(fit / KEPT_PART, fit - places)));
	int own = beyond_the_plan(places + kept);
	int descriptors = Max(1, own + of_the_plan(Max(0, places - own)));

	*connections = descriptors;
	if (descriptors < places)
		say(descriptors,
			"Raise the hard limit of open files of the server (ulimit -Hn, LimitNOFILE), or lower "
			"webhook.max_in_flight.",
			"%d are asked for, but there are not enough file descriptors.", asked);
	else if (places < wh_max_in_flight)
		say(places, "Raise webhook.worker_memory, or lower webhook.max_in_flight.",
			"webhook.max_in_flight is %d, but webhook.worker_memory is enough for %d.", asked, places);
	else
		problem[0] = '\0';
	return Min(places, descriptors);
}
