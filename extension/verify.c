/*
 * verify.c
 *	  Signatures and secrets in SQL: webhook.verify, and the checks of secrets
 *	  and of what a profile says about signatures.
 *
 * Run in users' backends. Calls the engine's leaf sign, which is plain C over
 * bytes; what that holds of a key is wiped before each function returns, also
 * by an error. A profile comes as a row of webhook.profile, looked up by the
 * SQL that calls; text goes to the leaf in UTF-8, as it does in the worker.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "common/string.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "sign.h"

PG_FUNCTION_INFO_V1(webhook_check_signing);
PG_FUNCTION_INFO_V1(webhook_check_secret);
PG_FUNCTION_INFO_V1(webhook_generate_secret);
PG_FUNCTION_INFO_V1(webhook_signature_matches);

static char *
utf8_of(Datum datum)
{
	char *string = TextDatumGetCString(datum);

	/* not every encoding can be converted, and secrets are nearly always ASCII */
	if (pg_is_ascii(string))
		return string;
	return pg_server_to_any(string, strlen(string), PG_UTF8);
}

/* A text argument in UTF-8; NULL where it is null. */
static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : utf8_of(PG_GETARG_DATUM(n));
}

/* A text column of a profile; NULL where it is null. */
static char *
column(HeapTupleHeader profile, const char *name)
{
	bool isnull;
	Datum value = GetAttributeByName(profile, name, &isnull);

	return isnull ? NULL : utf8_of(value);
}

/* What a profile says about signatures; an error where that makes no sense. */
static WhSigning
signing_of(HeapTupleHeader profile)
{
	WhSigning signing;
	const char *why;

	if (!wh_signing_parse(column(profile, "algorithm"), column(profile, "encoding"),
						  column(profile, "secret_encoding"), column(profile, "signed_content"),
						  column(profile, "signature_format"), column(profile, "separator"), &signing, &why))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("the signature of profile \"%s\" is not usable", column(profile, "name")),
				errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
				errhint("SELECT * FROM webhook.profile shows how others are described; algorithm none leaves "
						"requests unsigned."));
	return signing;
}

static void
refuse_secret(HeapTupleHeader profile, const WhSigning *signing, const char *why)
{
	const char *form = "It is whsec_ and the base64 of 24 to 64 random bytes";

	if (signing->secret_encoding == WH_SECRET_RAW)
		form = "It is any text of 1 to 200 bytes without control characters";
	else if (signing->algorithm == WH_ALGORITHM_ED25519)
		form = "It is whsk_ and the base64 of a seed of 32 bytes and its public half (to verify, whpk_ and "
			   "that half are enough)";
	ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			errmsg("the signing secret does not have the form that profile \"%s\" asks for",
				   column(profile, "name")),
			errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
			errhint("%s; subscribe and rotate_secret generate one where none is given.", form));
}

Datum
webhook_check_signing(PG_FUNCTION_ARGS)
{
	(void) signing_of(PG_GETARG_HEAPTUPLEHEADER(0));
	PG_RETURN_VOID();
}

Datum
webhook_check_secret(PG_FUNCTION_ARGS)
{
	HeapTupleHeader profile = PG_GETARG_HEAPTUPLEHEADER(0);
	char *secret = text_arg(fcinfo, 1);
	WhSigning signing = signing_of(profile);
	WhKey key;
	const char *why;
	bool ok = wh_secret_decode(&signing, secret, &key, &why);

	wh_key_wipe(&key);
	if (!ok)
		refuse_secret(profile, &signing, why);
	PG_RETURN_VOID();
}

Datum
webhook_generate_secret(PG_FUNCTION_ARGS)
{
	WhSigning signing = signing_of(PG_GETARG_HEAPTUPLEHEADER(0));
	unsigned char bytes[32];
	char secret[WH_SECRET_TEXT_MAX];
	bool ok;

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a signing secret"),
				errdetail("The operating system gave no random bytes."), errhint("Try again."));
	if (signing.algorithm == WH_ALGORITHM_ED25519)
		ok = wh_secret_encode_ed25519(bytes, secret, sizeof(secret));
	else
		ok = wh_secret_encode(bytes, sizeof(bytes), secret, sizeof(secret));
	explicit_bzero(bytes, sizeof(bytes));
	if (!ok)
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a signing secret"),
				errdetail("OpenSSL made no key of the random bytes."), errhint("Try again."));
	PG_RETURN_TEXT_P(cstring_to_text(secret));
}

/* The message as the headers tell of it; false where something that is signed is missing. */
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
	char *secret = text_arg(fcinfo, 1);
	char *signature = text_arg(fcinfo, 4);
	WhMessage message;
	WhKey key;
	const char *why;
	bool whole;
	bool found;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(6) || PG_ARGISNULL(7))
		PG_RETURN_BOOL(false);
	profile = PG_GETARG_HEAPTUPLEHEADER(0);
	signing = signing_of(profile);
	/* nothing that may raise an error comes between decoding the key and wiping it */
	whole = signature != NULL && read_message(fcinfo, &signing, signature, &message);
	if (secret == NULL)
		refuse_secret(profile, &signing, "it is null");
	if (!wh_verifier_decode(&signing, secret, &key, &why))
		refuse_secret(profile, &signing, why);
	found = whole && wh_verify(&signing, &key, &message, signature);
	wh_key_wipe(&key);
	PG_RETURN_BOOL(found);
}
