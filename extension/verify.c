/*
 * verify.c
 *	  Signatures in SQL: the C function of webhook.verify, and the checks of secrets
 *	  and of what a profile says about signatures.
 *
 * Runs in users' backends. It calls the engine's sign.h, which is plain C over bytes.
 * What that holds of a key is wiped before each function returns or raises an error. A
 * profile comes as a row of webhook.profile, which the calling SQL has looked up. Text
 * is passed on in UTF-8, as in the worker.
 */
#include "verify.h"

#include "executor/executor.h"
#include "common/string.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "wrap.h"

PG_FUNCTION_INFO_V1(webhook_check_signing);
PG_FUNCTION_INFO_V1(webhook_signature_matches);

static char *
utf8_of(Datum datum)
{
	char *string = TextDatumGetCString(datum);

	if (pg_is_ascii(string))
		return string;
	return pg_server_to_any(string, strlen(string), PG_UTF8);
}

/* A text argument in UTF-8; NULL: it is null. */
static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : utf8_of(PG_GETARG_DATUM(n));
}

/* A text column of a profile; NULL: it is null. */
static char *
column(HeapTupleHeader profile, const char *name)
{
	bool isnull;
	Datum value = GetAttributeByName(profile, name, &isnull);

	return isnull ? NULL : utf8_of(value);
}

WhSigning
wh_profile_signing(HeapTupleHeader profile)
{
	WhSigning signing;
	const char *why;

	if (!wh_signing_parse(column(profile, "signature_algorithm"), column(profile, "signature_encoding"),
						  column(profile, "secret_encoding"), column(profile, "signed_content"),
						  column(profile, "signature_format"), column(profile, "signature_separator"),
						  &signing, &why))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid signature settings of profile \"%s\"", column(profile, "name")),
				errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
				errhint("SELECT * FROM webhook.profile shows valid settings; signature_algorithm none leaves "
						"requests unsigned."));
	return signing;
}

static void
refuse_secret(HeapTupleHeader profile, const WhSigning *signing, const char *why)
{
	const char *form = "Use whsec_ and the base64 of 24 to 64 random bytes";

	if (signing->secret_encoding == WH_SECRET_RAW)
		form = "Use any text of 1 to 200 bytes without control characters";
	else if (signing->algorithm == WH_ALGORITHM_ED25519)
		form = "Use whsk_ and the base64 of a 32-byte seed and its public key (to verify, whpk_ and the "
			   "public key are enough)";
	ereport(
		ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		errmsg("invalid signing secret for profile \"%s\"", column(profile, "name")),
		errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
		errhint("%s. webhook.subscribe() and webhook.rotate_secret() generate one if none is given.", form));
}

Datum
webhook_check_signing(PG_FUNCTION_ARGS)
{
	(void) wh_profile_signing(PG_GETARG_HEAPTUPLEHEADER(0));
	PG_RETURN_VOID();
}

/*
 * A secret in UTF-8, palloc'd. ASCII is not converted: not every encoding can be, and
 * secrets are nearly always ASCII.
 */
static char *
utf8_secret(const char *secret)
{
	char *utf8 = pg_is_ascii(secret) ? NULL : pg_server_to_any(secret, strlen(secret), PG_UTF8);

	return utf8 && utf8 != secret ? utf8 : pstrdup(secret);
}

void
wh_check_secret(HeapTupleHeader profile, const char *secret)
{
	WhSigning signing = wh_profile_signing(profile);
	char *utf8 = utf8_secret(secret);
	WhKey key;
	const char *why;
	bool ok = wh_secret_decode(&signing, utf8, &key, &why);

	wh_key_wipe(&key);
	wh_forget(utf8);
	if (!ok)
		refuse_secret(profile, &signing, why);
}

/* Read the message from the headers; false: something that is signed is missing. */
static bool
read_message(FunctionCallInfo fcinfo, const WhSigning *signing, const char *signature, WhMessage *message)
{
	const char *id = text_arg(fcinfo, 2);
	const char *timestamp = text_arg(fcinfo, 3);

	message->body = text_arg(fcinfo, 5);
	message->body_len = message->body ? strlen(message->body) : 0;
	message->id = id ? id : "";
	message->timestamp = 0;
	if (message->body == NULL || (id == NULL && strstr(signing->content, "{id}")))
		return false;
	if (strstr(signing->content, "{timestamp}") == NULL)
		return true;
	if (wh_signature_has_timestamp(signing))
	{
		if (!wh_signature_timestamp(signing, signature, &message->timestamp))
			return false;
	}
	else if (timestamp == NULL || !wh_timestamp_parse(timestamp, strlen(timestamp), &message->timestamp))
		return false;
	return message->timestamp >= PG_GETARG_INT64(6) && message->timestamp <= PG_GETARG_INT64(7);
}

Datum
webhook_signature_matches(PG_FUNCTION_ARGS)
{
	HeapTupleHeader profile;
	WhSigning signing;
	char *secret;
	char *utf8;
	char *signature = text_arg(fcinfo, 4);
	WhMessage message = {0};
	WhKey key;
	const char *why;
	bool whole;
	bool decoded;
	bool found;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(6) || PG_ARGISNULL(7))
		PG_RETURN_BOOL(false);
	profile = PG_GETARG_HEAPTUPLEHEADER(0);
	signing = wh_profile_signing(profile);
	/* between decoding the key and wiping it, nothing may raise an error */
	whole = signature != NULL && read_message(fcinfo, &signing, signature, &message);
	if (PG_ARGISNULL(1))
		refuse_secret(profile, &signing, "it is null");
	secret = wh_unwrap(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	utf8 = utf8_secret(secret);
	wh_forget(secret);
	decoded = wh_verifier_decode(&signing, utf8, &key, &why);
	wh_forget(utf8);
	if (!decoded)
		refuse_secret(profile, &signing, why);
	found = whole && wh_verify(&signing, &key, &message, signature);
	wh_key_wipe(&key);
	PG_RETURN_BOOL(found);
}
