/*
 * service.c
 *	  The connections of the program's own role: for tokens, and for machines.
 *
 * The role of --service-role has no rights but to ask whose token this is, and how the
 * worker is (webhook.grant_service). For a request with a token it takes the token's role
 * for one transaction, of which it must be a member. Of a token only its SHA-256 is sent.
 *
 * Each database has a fixed number of connections. The first one is for /readyz and
 * /metrics alone, so that programs cannot make them wait. One that is lost is made again a
 * second later.
 */
#include "service.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "loop.h"
#include "problem.h"
#include "sha256.h"
#include "text.h"

#define LANES 4
#define AGAIN_SECONDS 1.0

typedef struct Lane
{
	Channel channel;
	bool open;
	double again; /* when to connect; 0: connecting or connected */
} Lane;

static const Settings *settings;
static Lane lanes[DATABASES_MAX][LANES];

static void
connected(void *owner, bool ok)
{
	Lane *lane = owner;

	lane->open = ok;
	if (ok)
		return;
	text_log(NULL, "the service role cannot connect", PQerrorMessage(db_conn(lane->channel.db)));
	lane->again = loop_now() + AGAIN_SECONDS;
}

static void
connect_lane(int database, Lane *lane)
{
	db_close(lane->channel.db);
	memset(&lane->channel, 0, sizeof(lane->channel));
	lane->open = false;
	lane->again = 0;
	lane->channel.shared = lane != &lanes[database][0];
	lane->channel.db = db_connect(&settings->server, settings->databases[database], settings->service_role,
								  settings->service_password, "pgwebhook api", false, connected, lane);
	if (lane->channel.db == NULL)
		lane->again = loop_now() + AGAIN_SECONDS;
}

void
service_start(const Settings *given)
{
	settings = given;
	for (int d = 0; settings->service_role && settings->databases[d]; d++)
		for (int i = 0; i < LANES; i++)
			connect_lane(d, &lanes[d][i]);
}

void
service_tick(void)
{
	double now = loop_now();

	for (int d = 0; settings->service_role && settings->databases[d]; d++)
		for (int i = 0; i < LANES; i++)
		{
			Lane *lane = &lanes[d][i];

			if (lane->open && db_lost(lane->channel.db) && lane->channel.n == 0)
			{
				lane->open = false;
				lane->again = now + AGAIN_SECONDS;
			}
			if (lane->again > 0 && lane->again <= now)
				connect_lane(d, lane);
		}
}

void
service_stop(void)
{
	for (int d = 0; settings->service_role && settings->databases[d]; d++)
		for (int i = 0; i < LANES; i++)
		{
			channel_abandon(&lanes[d][i].channel, 503, "pgwebhook is being stopped");
			db_close(lanes[d][i].channel.db);
		}
}

/* The database that a request is for: named in a header, else the first. -1: there is no such one. */
static int
database_of(const Request *request)
{
	const char *name = http_header(request, "Webhook-Database");

	for (int d = 0; settings->databases[d]; d++)
		if (name == NULL || strcmp(settings->databases[d], name) == 0)
			return d;
	return -1;
}

/* The connection with the least to do, from this lane on. NULL: none, and it is answered. */
static Channel *
channel_for(Request *request, int first, int last)
{
	int d = database_of(request);
	Channel *found = NULL;

	if (d < 0)
	{
		problem_answer(request, 404, "there is no such database here", "GET /api/login lists them.");
		return NULL;
	}
	for (int i = first; settings->service_role && i <= last; i++)
	{
		Lane *lane = &lanes[d][i];

		if (lane->open && !db_lost(lane->channel.db) && (found == NULL || lane->channel.n < found->n))
			found = &lane->channel;
	}
	if (found == NULL)
		problem_answer(request, 503,
					   settings->service_role ? "the database cannot be reached"
											  : "pgwebhook was started without --service-role",
					   settings->service_role ? "The log of pgwebhook says why."
											  : "pgwebhook --help tells more.");
	return found;
}

void
service_ready(Request *request)
{
	static const Route route = {
		"GET", "/readyz", ROUTE_READ,
		.sql = "SELECT jsonb_build_object('database', current_database(), 'worker', w.state, 'reason', "
			   "w.reason), "
			   "CASE w.state WHEN 'running' THEN 200 ELSE 503 END FROM webhook_internal.worker_status() w"};
	Channel *channel = channel_for(request, 0, 0);

	if (channel)
		api_run(channel, request, &route, NULL, 0, NULL);
}

void
service_metrics(Request *request)
{
	static const Route route = {"GET", "/metrics", ROUTE_READ,
								.sql = "SELECT webhook.metrics(), 200, 'application/openmetrics-text; "
									   "version=1.0.0; charset=utf-8'"};
	Channel *channel = channel_for(request, 0, 0);

	if (channel)
		api_run(channel, request, &route, NULL, 0, NULL);
}

void
service_run(Request *request, const Route *route, const char *const *params, int n_params, const char *token)
{
	Channel *channel = channel_for(request, 1, LANES - 1);
	char digest[SHA256_TEXT];

	if (channel == NULL)
		return;
	sha256_text(token, strlen(token), digest);
	api_run(channel, request, route, params, n_params, digest);
}
