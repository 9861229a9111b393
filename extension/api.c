/*
 * api.c
 *	  The SQL-callable C functions that are neither capture nor about
 *	  signatures (verify.c): checks, the worker's counters, and asking for a worker.
 *
 * Run in users' backends. It may call the engine's leaves target and template,
 * which are plain C over bytes; it keeps nothing between calls.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "common/jsonapi.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "check_url.h"
#include "compat.h"
#include "counters.h"
#include "json_depth.h"
#include "settings.h"
#include "address_policy.h"
#include "template.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(webhook_check_url);
PG_FUNCTION_INFO_V1(webhook_check_template);
PG_FUNCTION_INFO_V1(webhook_config_changed);
PG_FUNCTION_INFO_V1(webhook_wake_worker);
PG_FUNCTION_INFO_V1(webhook_request_worker);
PG_FUNCTION_INFO_V1(webhook_start_worker);
PG_FUNCTION_INFO_V1(webhook_counters);

/*
 * Settings
 */

bool
wh_check_allowed_networks(char **newval, void **extra, GucSource source)
{
	WhNetworks networks;
	char bad[64];

	if (!wh_networks_parse(*newval ? *newval : "", &networks, bad, sizeof(bad)))
	{
		GUC_check_errdetail("\"%s\" is neither an address nor a CIDR block.", bad);
		GUC_check_errhint("Give a list such as \"10.1.0.0/16, fd00:1::/32\".");
		return false;
	}
	wh_networks_free(&networks);
	return true;
}

/* It is kept with every event of the transaction, and read by whoever asks for it there. */
static bool
check_context_bounds(const char *text)
{
	if (strlen(text) > WH_CONTEXT_MAX)
	{
		GUC_check_errdetail("It has %zu bytes, and may have %d: it is stored with each event.", strlen(text),
							WH_CONTEXT_MAX);
		GUC_check_errhint("Store what is long in a table of yours, and its key here.");
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
 * What SET brings, the server has converted; what the startup packet or the
 * configuration file brings, nobody has looked at. Before a database is known,
 * and with it an encoding, only ASCII is right in all of them.
 */
static bool
check_context_encoding(const char *text)
{
	const char *at = text;

	if (OidIsValid(MyDatabaseId))
	{
		if (pg_verify_mbstr(GetDatabaseEncoding(), text, strlen(text), true))
			return true;
		GUC_check_errdetail("It is no valid text in the database's encoding, %s.", GetDatabaseEncodingName());
		return false;
	}
	while (*at != '\0' && !IS_HIGHBIT_SET(*at))
		at++;
	if (*at == '\0')
		return true;
	GUC_check_errdetail("Set for the whole server it must be ASCII, since databases differ in encoding.");
	GUC_check_errhint("Write other characters as \\u and four hex digits.");
	return false;
}

bool
wh_check_context(char **newval, void **extra, GucSource source)
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
 * Checks
 */

void
wh_check_url(const char *url)
{
	WhNetworks allowed;
	char bad[64];
	WhTarget verdict;

	if (!wh_networks_parse(wh_allowed_networks, &allowed, bad, sizeof(bad)))
		elog(ERROR, "webhook.allowed_networks cannot be parsed");
	verdict = wh_target_check_url(url, wh_allow_http, &allowed);
	wh_networks_free(&allowed);

	/* what stands in the URL is not repeated in a message: it may hold a token */
	switch (verdict)
	{
		case WH_TARGET_OK:
			break;
		case WH_TARGET_NO_URL:
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the endpoint's URL is not a URL"),
					errdetail("It must have a scheme and a good host and port, no blanks, control or "
							  "non-ASCII characters, and at most %d bytes.",
							  WH_URL_MAX),
					errhint("Give the endpoint as https://host/path."));
			break;
		case WH_TARGET_SCHEME:
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the endpoint's URL has a scheme that webhooks do not use"),
					errdetail("Only https, and http where it is allowed, can be delivered to."),
					errhint("Give the endpoint as https://host/path."));
			break;
		case WH_TARGET_HTTP:
			ereport(
				ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the endpoint's URL is not encrypted"),
				errdetail("The URL is http, and webhook.allow_http is off."),
				errhint("Use https, or have a superuser set webhook.allow_http for a network you trust."));
			break;
		case WH_TARGET_CREDENTIALS:
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the endpoint's URL has credentials in it"),
					errdetail("A user name or password in a URL would be shown wherever the URL is."),
					errhint("Leave them out; requests are signed."));
			break;
		case WH_TARGET_FRAGMENT:
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the endpoint's URL has a fragment"),
					errdetail("What follows a \"#\" is never sent to a server."),
					errhint("Leave the fragment out."));
			break;
		case WH_TARGET_ADDRESS:
			ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the endpoint's address may not be dialled"),
					errdetail("It is private, loopback, link-local or otherwise special, and not in "
							  "webhook.allowed_networks."),
					errhint("Use a public address, or have a superuser add the network to "
							"webhook.allowed_networks."));
			break;
		case WH_TARGET_NO_MEMORY:
			ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
			break;
	}
}

Datum
webhook_check_url(PG_FUNCTION_ARGS)
{
	wh_check_url(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* Characters of UTF-8 text. */
static int
characters(const char *utf8, size_t bytes)
{
	int n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += ((unsigned char) utf8[i] & 0xc0) != 0x80;
	return n;
}

Datum
webhook_check_template(PG_FUNCTION_ARGS)
{
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *utf8 = pg_server_to_any(given, strlen(given), PG_UTF8);
	bool header = strcmp(kind, "header") == 0;
	WhTemplateError error;
	WhTemplate *template;

	if (!header && strcmp(kind, "envelope") != 0)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown kind of template"),
				errdetail("Kinds: envelope, header."), errhint("An envelope is JSON, a header is text."));
	template =
		wh_template_compile(header ? WH_TEMPLATE_HEADER : WH_TEMPLATE_ENVELOPE, utf8, strlen(utf8), &error);
	if (template == NULL && error.no_memory)
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
	if (template == NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("%s is not usable", text_to_cstring(PG_GETARG_TEXT_PP(2))),
				errdetail_internal("At character %d: %s.", characters(utf8, error.at) + 1, error.why),
				errhint(header ? "A header is text with {name} in it; docs/PROFILES.md lists the variables."
							   : "An envelope is JSON in which a string \"$name\" stands for a value; "
								 "docs/PROFILES.md lists the variables."));
	wh_template_free(template);
	PG_RETURN_VOID();
}

/*
 * Configuration has changed: send a relcache invalidation of
 * webhook.subscription, which reaches the worker exactly when and only if
 * this transaction commits, and wake it then.
 */
static void
wake_worker(void)
{
	Oid subscription = get_relname_relid("subscription", get_namespace_oid("webhook", false));

	if (OidIsValid(subscription))
		CacheInvalidateRelcacheByRelid(subscription);
	wh_config_changed_at_commit();
}

Datum
webhook_config_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("webhook_internal.config_changed was not called as a trigger"),
				errdetail("It tells the worker that its configuration has changed."),
				errhint("The tables of this extension have it already."));
	wake_worker();
	/* a suspended database has no worker that could be told */
	if (strcmp(RelationGetRelationName(((TriggerData *) fcinfo->context)->tg_relation), "identity") == 0)
		wh_want_worker_at_commit();
	return PointerGetDatum(NULL);
}

/* The same for what has been asked for in webhook.pending: the worker finds it with its subscriptions. */
Datum
webhook_wake_worker(PG_FUNCTION_ARGS)
{
	wake_worker();
	PG_RETURN_VOID();
}

/*
 * Asking for a worker
 */

Datum
webhook_request_worker(PG_FUNCTION_ARGS)
{
	wh_want_worker_at_commit();
	PG_RETURN_VOID();
}

Datum
webhook_start_worker(PG_FUNCTION_ARGS)
{
	BackgroundWorker launcher;

	if (!superuser())
		ereport(
			ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be superuser to start delivery"),
			errdetail("Its processes are connected as a superuser."),
			errhint(
				"Have a superuser call webhook.start_worker(), or add webhook to shared_preload_libraries."));
	wh_want_worker_at_commit();
	if (wh_launcher_running())
		PG_RETURN_VOID();

	wh_describe_launcher(&launcher);
	if (!RegisterDynamicBackgroundWorker(&launcher, NULL))
		ereport(
			ERROR, errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("could not start the webhook launcher"),
			errdetail("All background worker slots are in use."), errhint("Increase max_worker_processes."));
	PG_RETURN_VOID();
}

/*
 * Counters
 */

/* The ids of the subscriptions that the current user may see, row security included; ascending. */
static int64 *
visible_subscriptions(uint64 *n)
{
	int64 *ids;

	SPI_connect();
	if (SPI_execute("SELECT s.id FROM webhook.subscription s ORDER BY s.id", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "webhook.subscription cannot be read");
	*n = SPI_processed;
	ids = SPI_palloc(Max(1, *n) * sizeof(int64));
	for (uint64 i = 0; i < *n; i++)
	{
		bool isnull;

		ids[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	return ids;
}

static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

Datum
webhook_counters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	WhSlotView slot;
	WhCounter *rows = NULL;
	int n = 0;
	uint64 n_visible;
	int64 *visible = visible_subscriptions(&n_visible);

	InitMaterializedSRF(fcinfo, 0);
	if (wh_my_slot(&slot) && slot.state == WH_SLOT_RUNNING)
		n = wh_counters_copy(slot.counters, &rows);
	for (int i = 0; i < n; i++)
	{
		Datum values[10];
		bool nulls[10] = {0};

		if (bsearch(&rows[i].subscription_id, visible, n_visible, sizeof(int64), compare_ids) == NULL)
			continue;
		values[0] = Int64GetDatum(rows[i].subscription_id);
		values[1] = Int32GetDatum(rows[i].queued);
		values[2] = Int32GetDatum(rows[i].in_flight);
		values[3] = BoolGetDatum(rows[i].catching_up);
		values[4] = CStringGetTextDatum(rows[i].breaker);
		values[5] = Int64GetDatum(rows[i].delivered);
		values[6] = Int64GetDatum(rows[i].failed);
		values[7] = TimestampTzGetDatum(rows[i].last_success_at);
		nulls[7] = rows[i].last_success_at == 0;
		values[8] = TimestampTzGetDatum(rows[i].last_failure_at);
		nulls[8] = rows[i].last_failure_at == 0;
		values[9] = CStringGetTextDatum(rows[i].last_error);
		nulls[9] = rows[i].last_error[0] == '\0';
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
