/*
 * checks.c
 *	  Checks of what people enter: a URL, a template, a credential.
 *
 * Runs in users' backends. It calls the same parts of the engine as the worker, which
 * are plain C over bytes: what the worker would refuse is refused here. Keeps nothing
 * between calls. No error quotes anything of a URL or of a credential's value, and
 * copies of them are wiped.
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/portal.h"

#include "address_policy.h"
#include "checks.h"
#include "compat.h"
#include "credential.h"
#include "json_text.h"
#include "secret_store.h"
#include "settings.h"
#include "template.h"

PG_FUNCTION_INFO_V1(webhook_check_url);
PG_FUNCTION_INFO_V1(webhook_check_template);

/* Is a COPY under way? Its context, a line of the log, has the row that it reads. */
static bool
copying(void)
{
	return ActivePortal != NULL && ActivePortal->commandTag == CMDTAG_COPY;
}

/*
 * How bad is a value that only settings refuse? A row that a superuser brings by COPY comes from a
 * dump. It was checked when it was made, under the settings of that time, and one refused row would
 * lose every row of that COPY. A superuser could change these settings, so there it is a warning.
 */
static int
refused_by_settings(void)
{
	return copying() && superuser_arg(GetOuterUserId()) && !InSecurityRestrictedOperation() ? WARNING : ERROR;
}

static void
refuse_url(int level, const char *message, const char *detail, const char *hint)
{
	ereport(level, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg_internal("%s", message),
			errdetail_internal("%s", detail), errhidecontext(copying()),
			errhint("%s", level == WARNING ? "The row was restored as it was. Change the URL before this "
											 "database delivers."
										   : hint));
}

#define SPECIAL_ADDRESS                                                                                      \
	"It is private, loopback, link-local or otherwise special, and not in webhook.allowed_networks."

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
			refuse_url(ERROR, "invalid URL of the endpoint",
					   psprintf("It must have a scheme and a valid host and port, no blanks, control or "
								"non-ASCII characters, and at most %d bytes.",
								WH_URL_MAX),
					   "Specify the endpoint as https://host/path.");
			break;
		case WH_TARGET_SCHEME:
			refuse_url(ERROR, "URL of the endpoint has an unsupported scheme",
					   "Only https and, if allowed, http are supported.",
					   "Specify the endpoint as https://host/path.");
			break;
		case WH_TARGET_HTTP:
			refuse_url(refused_by_settings(), "URL of the endpoint is not https",
					   "The URL is http, and webhook.allow_http is off.",
					   "Use https, or have a superuser set webhook.allow_http for a trusted network.");
			break;
		case WH_TARGET_CREDENTIALS:
			refuse_url(ERROR, "URL of the endpoint contains credentials",
					   "A user name or password would be shown wherever the URL is shown.",
					   "Remove them, and set them with webhook.set_credential().");
			break;
		case WH_TARGET_FRAGMENT:
			refuse_url(ERROR, "URL of the endpoint has a fragment",
					   "The part after \"#\" is never sent to a server.", "Remove the fragment.");
			break;
		case WH_TARGET_ADDRESS:
			refuse_url(refused_by_settings(), "address of the endpoint is not allowed", SPECIAL_ADDRESS,
					   "Use a public address, or have a superuser add the network to "
					   "webhook.allowed_networks.");
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

/* The number of characters of UTF-8 text. */
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
				errdetail("Valid kinds are envelope and header."),
				errhint("An envelope is JSON, a header is text."));
	template =
		wh_template_compile(header ? WH_TEMPLATE_HEADER : WH_TEMPLATE_ENVELOPE, utf8, strlen(utf8), &error);
	if (template == NULL && error.no_memory)
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
	if (template == NULL)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid %s", text_to_cstring(PG_GETARG_TEXT_PP(2))),
				errdetail_internal("At character %d: %s.", characters(utf8, error.at) + 1, error.why),
				errhint(header ? "A header is text with {name} in it; docs/profiles.md lists the variables."
							   : "An envelope is JSON in which a string \"$name\" stands for a value; "
								 "docs/profiles.md lists the variables."));
	wh_template_free(template);
	PG_RETURN_VOID();
}

/*
 * Credentials
 */

/* A kind is quoted only if it is known: somebody may have put the value in its place. */
void
wh_refuse_credential(const char *kind, const char *why)
{
	WhCredentialKind known = wh_credential_kind(kind);

	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			known == WH_CREDENTIAL_UNKNOWN  ? errmsg("unknown kind of credential")
			: known == WH_CREDENTIAL_HEADER ? errmsg("invalid header credential")
											: errmsg("invalid credential \"%s\"", kind),
			errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
			errhint("Valid kinds are basic, bearer, header:Name, client_certificate, client_key, ca, proxy "
					"and oauth2."));
}

/* The proxy is what is dialled, so the proxy's address must be allowed. */
static void
check_proxy(const char *kind, const char *value)
{
	char bare[WH_PROXY_MAX];
	char bad[64];
	WhNetworks allowed;
	WhTarget verdict;

	if (!wh_proxy_bare(value, bare, sizeof(bare)))
		wh_refuse_credential(kind, "it is too long");
	if (!wh_networks_parse(wh_allowed_networks, &allowed, bad, sizeof(bad)))
		elog(ERROR, "webhook.allowed_networks cannot be parsed");
	verdict = wh_target_check_url(bare, true, &allowed);
	wh_networks_free(&allowed);
	if (verdict == WH_TARGET_ADDRESS)
		ereport(refused_by_settings(), errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("address of the proxy is not allowed"), errdetail(SPECIAL_ADDRESS),
				errhint("Have a superuser add the proxy to webhook.allowed_networks."));
	else if (verdict != WH_TARGET_OK)
		wh_refuse_credential(kind, "its host or port is invalid");
}

void
wh_check_credential_kind(const char *kind)
{
	const char *why;

	switch (wh_credential_kind(kind))
	{
		case WH_CREDENTIAL_HEADER:
		case WH_CREDENTIAL_UNKNOWN:
			if ((why = wh_credential_wrong(kind, "x")) != NULL)
				wh_refuse_credential(kind, why);
			break;
		default:
			break;
	}
}

/* Headers that the worker sets itself. */
static bool
is_ours(const char *kind)
{
	static const char *const ours[] = {"content-length",    "content-type", "host",
									   "transfer-encoding", "connection",   "expect"};
	const char *name = kind + strlen("header:");

	if (wh_credential_kind(kind) != WH_CREDENTIAL_HEADER)
		return false;
	for (int i = 0; i < (int) lengthof(ours); i++)
		if (pg_strcasecmp(name, ours[i]) == 0)
			return true;
	return pg_strncasecmp(name, "webhook-", strlen("webhook-")) == 0 ||
		   pg_strncasecmp(name, "proxy-", strlen("proxy-")) == 0;
}

/* Can it be sent: a non-empty string without control characters? `auth` must be one of two. */
static bool
member_is_good(const char *name, WhText value)
{
	WhBuffer text;
	bool good;

	value = wh_json_trim(value.at, value.len);
	if (!wh_json_inside_string(&value))
		return false;
	wh_buffer_init(&text, WH_CREDENTIAL_MAX);
	wh_json_unescape(&text, value.at, value.len);
	good = text.len > 0 && !text.failed;
	for (size_t i = 0; good && i < text.len; i++)
		good = (unsigned char) text.data[i] >= ' ' && text.data[i] != 0x7f;
	if (good && strcmp(name, "auth") == 0)
		good = strcmp(text.data, "basic") == 0 || strcmp(text.data, "post") == 0;
	if (text.data)
		explicit_bzero(text.data, text.len);
	wh_buffer_free(&text);
	return good;
}

static bool
oauth2_is_good(const char *json)
{
	static const char *const names[] = {"token_url", "client_id", "client_secret", "scope",
										"audience",  "resource",  "auth"};
	bool seen[lengthof(names)] = {0};
	WhMembers members;
	WhMember member;

	if (pg_parse_json(wh_make_json_lex(json, strlen(json), GetDatabaseEncoding(), false), &nullSemAction) !=
			JSON_SUCCESS ||
		!wh_json_members(json, strlen(json), &members))
		return false;
	while (wh_json_next(&members, &member))
	{
		int n = 0;

		while (n < (int) lengthof(names) &&
			   wh_json_compare(member.key, (WhText){names[n], strlen(names[n])}) != 0)
			n++;
		if (n == (int) lengthof(names) || !member_is_good(names[n], member.value))
			return false;
		seen[n] = true;
	}
	return seen[0] && seen[1] && seen[2];
}

static void
check_oauth2(const char *json)
{
	WhBuffer url;
	WhValue found;
	WhText text;
	char *copy;

	if (!oauth2_is_good(json))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid credential \"oauth2\""),
				errdetail("It must be a JSON object of strings: token_url, client_id, client_secret and, "
						  "optionally, scope, audience, resource and auth, which is basic or post."),
				errhint("For example '{\"token_url\": \"https://...\", \"client_id\": \"...\", "
						"\"client_secret\": \"...\"}'."));
	found = wh_json_find((WhValue){WH_VALUE_JSON, json, strlen(json)}, "token_url", strlen("token_url"));
	text = wh_json_trim(found.at, found.len);
	(void) wh_json_inside_string(&text);
	wh_buffer_init(&url, WH_CREDENTIAL_MAX);
	wh_json_unescape(&url, text.at, text.len);
	copy = pstrdup(url.data); /* palloc'd, because the check may raise an error */
	wh_buffer_free(&url);
	wh_check_url(copy);
}

void
wh_check_credential(const char *kind, const char *value)
{
	const char *why;

	/* a sealed value was checked before it was sealed; the worker checks a value in a file */
	if (!wh_is_clear(value))
		wh_check_credential_kind(kind);
	else
	{
		if ((why = wh_credential_wrong(kind, value)) != NULL)
			wh_refuse_credential(kind, why);
		if (wh_credential_kind(kind) == WH_CREDENTIAL_PROXY)
			check_proxy(kind, value);
		if (wh_credential_kind(kind) == WH_CREDENTIAL_OAUTH2)
			check_oauth2(value);
	}
	if (is_ours(kind))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid header credential"),
				errdetail("The worker sets this header itself."),
				errhint("For the user and password of a proxy, use kind proxy."));
}
