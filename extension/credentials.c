/*
 * credentials.c
 *	  Is a credential of a subscription a good one? For the triggers of
 *	  webhook.credential.
 *
 * Runs in users' backends. Calls the engine's leaves credential and target,
 * which are plain C over bytes. No error quotes anything of a value, and what
 * is copied of one here is wiped.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "credential.h"
#include "settings.h"
#include "target.h"

PG_FUNCTION_INFO_V1(webhook_check_credential);
PG_FUNCTION_INFO_V1(webhook_check_credential_pair);

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

Datum
webhook_check_credential(PG_FUNCTION_ARGS)
{
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *value = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *why = wh_credential_wrong(kind, value);

	if (why)
		refuse(kind, why);
	if (wh_credential_kind(kind) == WH_CREDENTIAL_PROXY)
		check_proxy(kind, value);
	explicit_bzero(value, strlen(value));
	PG_RETURN_VOID();
}

Datum
webhook_check_credential_pair(PG_FUNCTION_ARGS)
{
	char *certificate = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *key = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *why = wh_credential_pair_wrong(certificate, key);

	explicit_bzero(key, strlen(key));
	if (why)
		refuse("client_key", why);
	PG_RETURN_VOID();
}
