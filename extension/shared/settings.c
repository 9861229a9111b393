/*
 * settings.c
 *	  The settings webhook.*: their values and limits.
 *
 * Runs in any process of the server. Owns the variables; the server sets them.
 */
#include "postgres.h"

#include <limits.h>

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "address_policy.h"
#include "compat.h"
#include "json_depth.h"
#include "settings.h"

int wh_poll_interval = WH_DEFAULT_NAPTIME_MS;
int wh_retention = WH_DEFAULT_RETENTION_S;
int wh_max_in_flight = WH_DEFAULT_MAX_IN_FLIGHT;
int wh_filter_timeout = WH_DEFAULT_FILTER_TIMEOUT_MS;
int wh_worker_memory = WH_DEFAULT_WORKER_MEMORY_MB;
bool wh_allow_http = false;
char *wh_allowed_networks = NULL;
char *wh_ca_file = NULL;
char *wh_key_file = NULL;
char *wh_context = NULL;
bool wh_debug_plain_insert = false;

/*
 * Of the ring's eight segments, one is written and the next is due to be emptied. The six
 * others hold the retention. So when a segment's turn begins, everything in the next one
 * is older than the retention, and the worker has the whole turn to empty it. For this the
 * width is rounded up. Negative times (a clock before 1970) still give a segment.
 */
int64
wh_segment_width(void)
{
	return ((int64) wh_retention + WH_SEGMENTS - 3) / (WH_SEGMENTS - 2);
}

int
wh_segment_at(int64 epoch_seconds)
{
	int64 turn = epoch_seconds / wh_segment_width();

	return (int) (((turn % WH_SEGMENTS) + WH_SEGMENTS) % WH_SEGMENTS);
}

/*
 * Check hooks
 */

static bool
check_allowed_networks(char **newval, void **extra, GucSource source)
{
	WhNetworks networks;
	char bad[64];

	if (!wh_networks_parse(*newval ? *newval : "", &networks, bad, sizeof(bad)))
	{
		GUC_check_errdetail("\"%s\" is neither an address nor a CIDR block.", bad);
		GUC_check_errhint("Use a list such as \"10.1.0.0/16, fd00:1::/32\".");
		return false;
	}
	wh_networks_free(&networks);
	return true;
}

/* The context is stored with each event of the transaction and read from there. */
static bool
check_context_bounds(const char *text)
{
	if (strlen(text) > WH_CONTEXT_MAX)
	{
		GUC_check_errdetail("It has %zu bytes; the limit is %d, since it is stored with each event.",
							strlen(text), WH_CONTEXT_MAX);
		GUC_check_errhint("Store long values in a table of your own, and only their key here.");
		return false;
	}
	if (wh_json_depth(text) > WH_CONTEXT_DEPTH)
	{
		GUC_check_errdetail("It is nested more than %d levels deep.", WH_CONTEXT_DEPTH);
		return false;
	}
	return true;
}

/*
 * The server has converted a value that comes with SET. It has not checked one from the
 * startup packet or the configuration file. While no database, and so no encoding, is
 * known, only ASCII is valid in all of them.
 */
static bool
check_context_encoding(const char *text)
{
	const char *at = text;

	if (OidIsValid(MyDatabaseId))
	{
		if (pg_verify_mbstr(GetDatabaseEncoding(), text, strlen(text), true))
			return true;
		GUC_check_errdetail("It is not valid text in the database's encoding, %s.",
							GetDatabaseEncodingName());
		return false;
	}
	while (*at != '\0' && !IS_HIGHBIT_SET(*at))
		at++;
	if (*at == '\0')
		return true;
	GUC_check_errdetail("For the whole server it must be ASCII, since databases may differ in encoding.");
	GUC_check_errhint("Write other characters as \\u and four hex digits.");
	return false;
}

static bool
check_context(char **newval, void **extra, GucSource source)
{
	const char *text = *newval ? *newval : "";
	const char *first = text + strspn(text, " \t\r\n");
	JsonLexContext *lex;

	if (text[0] == '\0')
		return true;
	if (!check_context_bounds(text) || !check_context_encoding(text))
		return false;
	lex = wh_make_json_lex(text, strlen(text), GetDatabaseEncoding(), false);
	if (*first != '{' || pg_parse_json(lex, &nullSemAction) != JSON_SUCCESS)
	{
		GUC_check_errdetail("It must be a JSON object.");
		GUC_check_errhint("For example SET LOCAL webhook.context = '{\"request_id\": \"r-1\"}'.");
		return false;
	}
	return true;
}

/*
 * Definitions
 */

void
wh_define_settings(void)
{
	DefineCustomIntVariable(
		"webhook.poll_interval", "Longest time that the worker sleeps before it looks for events.",
		"Every commit with events wakes it; this covers wake-ups that were lost. No query is run if no "
		"transaction has ended since the last look.",
		&wh_poll_interval, WH_DEFAULT_NAPTIME_MS, 100, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("webhook.retention", "How long events and the log of requests are kept.",
							"They are kept at least this long, and at most 4/3 of it while the worker runs.",
							&wh_retention, WH_DEFAULT_RETENTION_S, WH_SEGMENTS - 2, INT_MAX, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"webhook.max_in_flight", "Most requests that one worker has in flight at once.",
		"0: as many as the active subscriptions may have by their own limits together, and at "
		"least 200. In any case no more than descriptors and memory allow.",
		&wh_max_in_flight, WH_DEFAULT_MAX_IN_FLIGHT, 0, WH_MAX_MAX_IN_FLIGHT, PGC_SIGHUP, 0, NULL, NULL,
		NULL);
	DefineCustomIntVariable("webhook.filter_timeout", "CPU time that a filter may take for one event.",
							"An event for which it takes longer becomes a dead letter of that subscription.",
							&wh_filter_timeout, WH_DEFAULT_FILTER_TIMEOUT_MS, 1, WH_MAX_FILTER_TIMEOUT_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"webhook.worker_memory", "Most memory that one worker may use.",
		"Memory shared with the server is not counted. At the limit an event or a request "
		"fails and is retried. The largest event that is sent is an eighth of it.",
		&wh_worker_memory, WH_DEFAULT_WORKER_MEMORY_MB, WH_MIN_WORKER_MEMORY_MB, WH_MAX_WORKER_MEMORY_MB,
		PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomBoolVariable("webhook.allow_http", "Allows endpoints with http as well as https.", NULL,
							 &wh_allow_http, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("webhook.allowed_networks",
							   "Private or special networks that requests may connect to.",
							   "A list of addresses and CIDR blocks, separated by commas.",
							   &wh_allowed_networks, "", PGC_SUSET, 0, check_allowed_networks, NULL, NULL);
	DefineCustomStringVariable(
		"webhook.ca_file", "File with the certificate authorities that endpoints are verified against.",
		"Empty: those of the system.", &wh_ca_file, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"webhook.key_file", "File with the keys that secrets are sealed under.",
		"One line per key: an id, a blank and the base64 of 32 random bytes; the first "
		"key seals. Empty: secrets are stored unsealed.",
		&wh_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"webhook.context", "A JSON object stored with each event of the transaction.",
		"SET LOCAL it to what receivers need to know: a request id, an actor, an origin.", &wh_context, "",
		PGC_USERSET, 0, check_context, NULL, NULL);
	DefineCustomBoolVariable("webhook.debug_plain_insert",
							 "Stores events by the server's nextval() and executor alone.",
							 "For tests, and for whoever suspects our faster way: slower, and lastval() then "
							 "returns event numbers.",
							 &wh_debug_plain_insert, false, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	MarkGUCPrefixReserved("webhook");
}
