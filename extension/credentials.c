/*
 * credentials.c
 *	  Is a credential of a subscription a good one? The triggers of
 *	  webhook.credential.
 *
 * Runs in users' backends. Calls the engine's leaves credential and target,
 * which are plain C over bytes. No error quotes anything of a value, and what
 * is copied of one here is wiped. All that happens to a value happens here, in
 * C: no statement and no expression is given one.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "check_url.h"
#include "compat.h"
#include "credential.h"
#include "credentials.h"
#include "json_text.h"
#include "secret_store.h"
#include "settings.h"
#include "sql_call.h"
#include "address_policy.h"
#include "wrap.h"

PG_FUNCTION_INFO_V1(webhook_before_credential);
PG_FUNCTION_INFO_V1(webhook_check_credential_pair);
PG_FUNCTION_INFO_V1(webhook_credential_owner);

/* A kind is quoted only where it is one: somebody may have put the value in its place. */
static void
refuse(const char *kind, const char *why)
{
	WhCredentialKind known = wh_credential_kind(kind);

	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			known == WH_CREDENTIAL_UNKNOWN  ? errmsg("unknown kind of credential")
			: known == WH_CREDENTIAL_HEADER ? errmsg("a header's credential is not usable")
											: errmsg("credential \"%s\" is not usable", kind),
			errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
			errhint("Kinds: basic, bearer, header:Name, client_certificate, client_key, ca, proxy, oauth2."));
}

/* The proxy is what is dialled, so it is the proxy that must be allowed. */
static void
check_proxy(const char *kind, const char *value)
{
	char bare[WH_PROXY_MAX];
	char bad[64];
	WhNetworks allowed;
	WhTarget verdict;

	if (!wh_proxy_bare(value, bare, sizeof(bare)))
		refuse(kind, "it is too long");
	if (!wh_networks_parse(wh_allowed_networks, &allowed, bad, sizeof(bad)))
		elog(ERROR, "webhook.allowed_networks cannot be parsed");
	verdict = wh_target_check_url(bare, true, &allowed);
	wh_networks_free(&allowed);
	if (verdict == WH_TARGET_ADDRESS)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the proxy's address may not be dialled"),
				errdetail("It is private, loopback, link-local or otherwise special, and not in "
						  "webhook.allowed_networks."),
				errhint("Have a superuser add the proxy to webhook.allowed_networks."));
	if (verdict != WH_TARGET_OK)
		refuse(kind, "its host or port is not a good one");
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
				refuse(kind, why);
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

/*
 * OAuth 2
 */

/* A string, not empty, without control characters, and of `auth` one of two; so it can be sent. */
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
		ereport(
			ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("credential \"oauth2\" is not usable"),
			errdetail("It is a JSON object of strings: token_url, client_id, client_secret, and where they "
					  "are wanted scope, audience, resource, and auth, which is basic or post."),
			errhint("For example '{\"token_url\": \"https://...\", \"client_id\": \"...\", "
					"\"client_secret\": \"...\"}'."));
	found = wh_json_find((WhValue){WH_VALUE_JSON, json, strlen(json)}, "token_url", strlen("token_url"));
	text = wh_json_trim(found.at, found.len);
	(void) wh_json_inside_string(&text);
	wh_buffer_init(&url, WH_CREDENTIAL_MAX);
	wh_json_unescape(&url, text.at, text.len);
	copy = pstrdup(url.data); /* an error may come */
	wh_buffer_free(&url);
	wh_check_url(copy);
}

/*
 * Rows of webhook.credential
 */

static char *
credential_owner(int64 subscription_id, const char *kind)
{
	return psprintf("credential " INT64_FORMAT " %s", subscription_id, kind);
}

Datum
webhook_credential_owner(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(
		cstring_to_text(credential_owner(PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}

static void
check_value(const char *kind, const char *value)
{
	const char *why;

	/* what is sealed was looked at before it was; what is in a file, the worker looks at */
	if (!wh_is_clear(value))
		wh_check_credential_kind(kind);
	else
	{
		if ((why = wh_credential_wrong(kind, value)) != NULL)
			refuse(kind, why);
		if (wh_credential_kind(kind) == WH_CREDENTIAL_PROXY)
			check_proxy(kind, value);
		if (wh_credential_kind(kind) == WH_CREDENTIAL_OAUTH2)
			check_oauth2(value);
	}
	if (is_ours(kind))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("a header's credential is not usable"),
				errdetail("The worker sets this header itself."),
				errhint("For a proxy's user and password there is the kind proxy."));
}

/* Does what is kept mean this value? Not known where its key is gone. */
static bool
means(const char *owner, const char *kept, const char *value)
{
	WhKeys *keys = wh_keys_new();
	const char *why;
	char *old = wh_is_reference(kept) ? NULL : wh_secret_kept(keys, owner, kept, &why);
	bool same = old && strcmp(old, value) == 0;

	wh_keys_free(keys);
	wh_forget(old);
	return same;
}

/* Another ca or proxy might show credentials to whoever sets it. */
static void
guard(FunctionCallInfo fcinfo, Datum subscription_id, Datum kind)
{
	NullableDatum args[2] = {{subscription_id, false}, {kind, false}};
	FmgrInfo function;
	bool isnull;

	fmgr_info(wh_internal_function("guard_credentials", 2, (Oid[]){INT8OID, TEXTOID}), &function);
	(void) wh_call(&function, DEFAULT_COLLATION_OID, 2, args, &isnull);
}

static HeapTuple
before_credential(FunctionCallInfo fcinfo, const TriggerData *trigger)
{
	Relation relation = trigger->tg_relation;
	HeapTuple row = wh_new_row(trigger);
	HeapTuple old = wh_old_row(trigger);
	Datum subscription_id;
	Datum kind_datum;
	char *kind;
	char *owner;
	char *given;
	char *value;
	bool isnull;

	wh_require_not_null(relation, row);
	subscription_id = wh_column(relation, row, "subscription_id", &isnull);
	kind_datum = wh_column(relation, row, "kind", &isnull);
	kind = TextDatumGetCString(kind_datum);
	owner = credential_owner(DatumGetInt64(subscription_id), kind);
	if (old && (DatumGetInt64(wh_column(relation, old, "subscription_id", &isnull)) !=
					DatumGetInt64(subscription_id) ||
				strcmp(TextDatumGetCString(wh_column(relation, old, "kind", &isnull)), kind) != 0))
		old = NULL; /* this row is another one */
	given = TextDatumGetCString(wh_column(relation, row, "value", &isnull));
	if (old && !wh_is_clear(given) && wh_unchanged(relation, row, old, "value"))
		return row;
	value = wh_given(given);
	wh_forget(given);
	/* sealed anew, it was looked at when it was set, by the rules of then */
	if (old == NULL || !means(owner, TextDatumGetCString(wh_column(relation, old, "value", &isnull)), value))
	{
		if (strcmp(kind, "ca") == 0 || strcmp(kind, "proxy") == 0)
			guard(fcinfo, subscription_id, kind_datum);
		check_value(kind, value);
	}
	row = wh_with_text(relation, row, "value", wh_secret_to_keep(owner, value));
	wh_forget(value);
	return row;
}

Datum
webhook_before_credential(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = wh_row_trigger(fcinfo, "before_credential");
	ErrorContextCallback *context = error_context_stack;
	HeapTuple row;

	/* COPY would add the line that it reads to an error */
	error_context_stack = NULL;
	row = before_credential(fcinfo, trigger);
	error_context_stack = context;
	return PointerGetDatum(row);
}

/* One that cannot be opened is not compared (as when a dump is restored before its key file): the worker says so. */
Datum
webhook_check_credential_pair(PG_FUNCTION_ARGS)
{
	WhKeys *keys = wh_keys_new();
	const char *why;
	char *certificate = wh_secret_kept(keys, credential_owner(PG_GETARG_INT64(0), "client_certificate"),
									   text_to_cstring(PG_GETARG_TEXT_PP(1)), &why);
	char *key = wh_secret_kept(keys, credential_owner(PG_GETARG_INT64(0), "client_key"),
							   text_to_cstring(PG_GETARG_TEXT_PP(2)), &why);

	why = certificate && key ? wh_credential_pair_wrong(certificate, key) : NULL;
	wh_keys_free(keys);
	wh_forget(certificate);
	wh_forget(key);
	if (why)
		refuse("client_key", why);
	PG_RETURN_VOID();
}
