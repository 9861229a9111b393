/*
 * secrets.c
 *	  Secrets and credentials in SQL: the functions that take one, and the triggers
 *	  of webhook.secret and webhook.credential.
 *
 * Runs in users' backends. A secret is wrapped (wrap.h) before any statement of ours
 * runs. It stays wrapped until a trigger, in C, writes the row as it is stored
 * (secret_store.h). A function returns a secret only to the caller that makes it. No
 * error quotes one, and copies are wiped.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "checks.h"
#include "credential.h"
#include "secret_store.h"
#include "sql_call.h"
#include "verify.h"
#include "wrap.h"

PG_FUNCTION_INFO_V1(webhook_subscribe);
PG_FUNCTION_INFO_V1(webhook_rotate_secret);
PG_FUNCTION_INFO_V1(webhook_set_credential);
PG_FUNCTION_INFO_V1(webhook_verify);
PG_FUNCTION_INFO_V1(webhook_wrapped);
PG_FUNCTION_INFO_V1(webhook_generate_secret);
PG_FUNCTION_INFO_V1(webhook_check_secret);
PG_FUNCTION_INFO_V1(webhook_secret_owner);
PG_FUNCTION_INFO_V1(webhook_before_secret);
PG_FUNCTION_INFO_V1(webhook_before_credential);
PG_FUNCTION_INFO_V1(webhook_check_credential_pair);
PG_FUNCTION_INFO_V1(webhook_credential_owner);

/*
 * The door: functions that take a secret
 */

/* The function behind this one. It has the same arguments, but takes the secret wrapped. */
static FmgrInfo *
function_behind(FunctionCallInfo fcinfo, const char *name)
{
	FmgrInfo *behind = fcinfo->flinfo->fn_extra;
	Oid *types;
	int n_args;
	Oid oid;

	if (behind)
		return behind;
	(void) get_func_signature(fcinfo->flinfo->fn_oid, &types, &n_args);
	oid = wh_internal_function(name, n_args, types);
	behind = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(FmgrInfo));
	fmgr_info_cxt(oid, behind, fcinfo->flinfo->fn_mcxt);
	fcinfo->flinfo->fn_extra = behind;
	return behind;
}

/* Call the function of this name, with argument `n` wrapped. */
static Datum
pass_on(FunctionCallInfo fcinfo, const char *name, int n)
{
	FmgrInfo *behind = function_behind(fcinfo, name);
	NullableDatum args[FUNC_MAX_ARGS];

	memcpy(args, fcinfo->args, (Size) fcinfo->nargs * sizeof(NullableDatum));
	if (!args[n].isnull)
	{
		char *secret = TextDatumGetCString(args[n].value);

		args[n].value = CStringGetTextDatum(wh_wrap(secret));
		wh_forget(secret);
	}
	return wh_call(behind, PG_GET_COLLATION(), fcinfo->nargs, args, &fcinfo->isnull);
}

/* The same; the result is the secret. */
static Datum
pass_on_and_show(FunctionCallInfo fcinfo, const char *name, int n)
{
	Datum wrapped = pass_on(fcinfo, name, n);
	char *secret;
	text *result;

	if (fcinfo->isnull)
		return (Datum) 0;
	secret = wh_unwrap(TextDatumGetCString(wrapped));
	result = cstring_to_text(secret);
	wh_forget(secret);
	PG_RETURN_TEXT_P(result);
}

Datum
webhook_subscribe(PG_FUNCTION_ARGS)
{
	/* refuse a URL with a password before it becomes a statement's parameter */
	if (!PG_ARGISNULL(1))
		wh_check_url(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	return pass_on_and_show(fcinfo, "subscribe_wrapped", 4);
}

Datum
webhook_rotate_secret(PG_FUNCTION_ARGS)
{
	return pass_on_and_show(fcinfo, "rotate_secret_wrapped", 1);
}

Datum
webhook_set_credential(PG_FUNCTION_ARGS)
{
	/* somebody may have put the value in its place */
	if (!PG_ARGISNULL(1))
		wh_check_credential_kind(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	return pass_on(fcinfo, "set_credential_wrapped", 2);
}

Datum
webhook_verify(PG_FUNCTION_ARGS)
{
	return pass_on(fcinfo, "verify_wrapped", 1);
}

/*
 * For the functions behind the door: a direct call of one is refused before it runs a
 * statement.
 */
Datum
webhook_wrapped(PG_FUNCTION_ARGS)
{
	wh_forget(wh_unwrap(text_to_cstring(PG_GETARG_TEXT_PP(0))));
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/*
 * Making and checking
 */

/* Wrapped. */
Datum
webhook_generate_secret(PG_FUNCTION_ARGS)
{
	WhSigning signing = wh_profile_signing(PG_GETARG_HEAPTUPLEHEADER(0));
	unsigned char bytes[32];
	char secret[WH_SECRET_TEXT_MAX];
	char *wrapped;
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
	wrapped = wh_wrap(secret);
	explicit_bzero(secret, sizeof(secret));
	PG_RETURN_TEXT_P(cstring_to_text(wrapped));
}

Datum
webhook_check_secret(PG_FUNCTION_ARGS)
{
	char *owner = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *secret = wh_secret_opened(owner, text_to_cstring(PG_GETARG_TEXT_PP(2)));

	wh_check_secret(PG_GETARG_HEAPTUPLEHEADER(0), secret);
	wh_forget(secret);
	PG_RETURN_VOID();
}

/*
 * Rows of both tables
 */

/* Return the row that `make` makes of the one that the trigger was called with. */
static Datum
before_row(FunctionCallInfo fcinfo, const char *name,
		   HeapTuple (*make)(FunctionCallInfo fcinfo, const TriggerData *trigger))
{
	TriggerData *trigger = wh_row_trigger(fcinfo, name);
	ErrorContextCallback *context = error_context_stack;
	HeapTuple row;

	/* COPY would add the line that it reads, with the secret, to an error */
	error_context_stack = NULL;
	row = make(fcinfo, trigger);
	error_context_stack = context;
	return PointerGetDatum(row);
}

/*
 * Rows of webhook.secret
 */

static char *
secret_owner(int64 subscription_id, int32 id)
{
	return psprintf("secret " INT64_FORMAT " %d", subscription_id, id);
}

Datum
webhook_secret_owner(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(secret_owner(PG_GETARG_INT64(0), PG_GETARG_INT32(1))));
}

/* The row as it is stored; for a new secret, and for one stored in clear before there was a key. */
static HeapTuple
row_to_keep(FunctionCallInfo fcinfo, Relation relation, HeapTuple row, const char *given,
			NullableDatum subscription_id, const char *owner)
{
	char *secret = wh_given(given);

	/* a sealed secret (restored from a dump) was checked before; the worker checks one in a file */
	if (wh_is_clear(secret))
	{
		FmgrInfo function;
		Datum profile;
		bool isnull;

		fmgr_info(wh_internal_function("profile_of", 1, (Oid[]){INT8OID}), &function);
		profile = wh_call(&function, InvalidOid, 1, &subscription_id, &isnull);
		if (!isnull) /* else the foreign key raises the error */
			wh_check_secret(DatumGetHeapTupleHeader(profile), secret);
	}
	row = wh_with_text(relation, row, "secret", wh_secret_to_keep(owner, secret));
	wh_forget(secret);
	return row;
}

static HeapTuple
before_secret(FunctionCallInfo fcinfo, const TriggerData *trigger)
{
	Relation relation = trigger->tg_relation;
	HeapTuple row = wh_new_row(trigger);
	HeapTuple old = wh_old_row(trigger);
	NullableDatum subscription_id = {0};
	NullableDatum room[3] = {0};
	FmgrInfo function;
	Datum id;
	char *given;
	bool isnull;

	wh_require_not_null(relation, row);
	given = TextDatumGetCString(wh_column(relation, row, "secret", &isnull));
	subscription_id.value = wh_column(relation, row, "subscription_id", &isnull);
	id = wh_column(relation, row, "id", &isnull);
	if (old == NULL || wh_is_clear(given) || !wh_unchanged(relation, row, old, "secret"))
		row = row_to_keep(fcinfo, relation, row, given, subscription_id,
						  secret_owner(DatumGetInt64(subscription_id.value), DatumGetInt32(id)));

	room[0] = subscription_id;
	room[1].isnull = old == NULL;
	if (old)
		room[1].value = wh_column(relation, old, "id", &isnull);
	room[2].value = wh_column(relation, row, "expires_at", &room[2].isnull);
	wh_forget(given);
	fmgr_info(wh_internal_function("room_for_secret", 3, (Oid[]){INT8OID, INT4OID, TIMESTAMPTZOID}),
			  &function);
	(void) wh_call(&function, InvalidOid, 3, room, &isnull);
	return row;
}

Datum
webhook_before_secret(PG_FUNCTION_ARGS)
{
	return before_row(fcinfo, "before_secret", before_secret);
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

/* Does the row store this value? If its key is gone, the answer is no. */
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

/* A different ca or proxy might reveal credentials to whoever sets it. */
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
		old = NULL; /* it has become another credential */
	given = TextDatumGetCString(wh_column(relation, row, "value", &isnull));
	if (old && !wh_is_clear(given) && wh_unchanged(relation, row, old, "value"))
		return row;
	value = wh_given(given);
	wh_forget(given);
	/* the same value, sealed again, is not checked: it was when it was set, by the rules then */
	if (old == NULL || !means(owner, TextDatumGetCString(wh_column(relation, old, "value", &isnull)), value))
	{
		if (strcmp(kind, "ca") == 0 || strcmp(kind, "proxy") == 0)
			guard(fcinfo, subscription_id, kind_datum);
		wh_check_credential(kind, value);
	}
	row = wh_with_text(relation, row, "value", wh_secret_to_keep(owner, value));
	wh_forget(value);
	return row;
}

Datum
webhook_before_credential(PG_FUNCTION_ARGS)
{
	return before_row(fcinfo, "before_credential", before_credential);
}

/*
 * A credential that cannot be opened is not compared, for example if a dump is restored
 * before its key file. The worker reports it.
 */
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
		wh_refuse_credential("client_key", why);
	PG_RETURN_VOID();
}
