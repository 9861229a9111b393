/*
 * wrap.c
 *	  A secret on its way through SQL: encrypted with a key that only this backend
 *	  has, and only until its transaction ends.
 *
 * Settings (debug_print_plan) and libraries (auto_explain, pgaudit) that we do not
 * control may log a statement's parameters, constants and rows. So a secret is never one
 * of these: the C functions that people call wrap it before any SQL of ours runs, and
 * the triggers of the tables of secrets, which are C too, unwrap it.
 *
 * Owns the key. It is made when it is first needed in a transaction, and wiped when the
 * transaction ends, in whatever way. Nothing else is kept, so nothing must be limited,
 * looked up or freed. A wrapped secret in a log cannot be opened anywhere.
 */
#include "wrap.h"

#include "access/xact.h"

#include "seal.h"

#define WRAPPED "wrapped:"
#define SEALED "sealed:way:" /* how seal.c begins a text, with a key of the id "way" */
#define OWNER "wrapped"

static WhKeyring ring; /* one key, or none */
static bool registered = false;

static void
at_xact_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			if (ring.n > 0)
				wh_keyring_wipe(&ring);
			break;
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			break;
	}
}

static void
need_key(void)
{
	if (ring.n > 0)
		return;
	if (!registered)
		RegisterXactCallback(at_xact_end, NULL);
	registered = true;
	strlcpy(ring.keys[0].id, "way", sizeof(ring.keys[0].id));
	if (!pg_strong_random(ring.keys[0].key, sizeof(ring.keys[0].key)))
		ereport(ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not protect a secret"),
				errdetail("The operating system gave no random bytes."), errhint("Try again."));
	ring.n = 1;
}

bool
wh_is_wrapped(const char *text)
{
	return strncmp(text, WRAPPED, strlen(WRAPPED)) == 0;
}

char *
wh_wrap(const char *secret)
{
	size_t len = strlen(secret);
	size_t size = WH_SEALED_SIZE(len);
	char *sealed;

	if (len > WH_SEAL_PLAIN_MAX)
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("secret or credential is too long"),
				errdetail("It has %zu bytes; the limit is %d.", len, WH_SEAL_PLAIN_MAX),
				errhint("Pass the secret itself, not the content of a file."));
	need_key();
	sealed = palloc(size);
	if (!wh_seal(&ring, OWNER, secret, sealed, size))
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not protect a secret"),
				errdetail("Out of memory, or the operating system gave no random bytes."),
				errhint("Try again."));
	return psprintf(WRAPPED "%s", sealed + strlen(SEALED));
}

char *
wh_unwrap(const char *wrapped)
{
	char *sealed = psprintf(SEALED "%s", wh_is_wrapped(wrapped) ? wrapped + strlen(WRAPPED) : "");
	size_t size = strlen(sealed) + 1;
	char *secret = palloc(size);

	if (wh_unseal(&ring, OWNER, sealed, secret, size) != WH_UNSEALED)
		ereport(
			ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("secret or credential is not wrapped"),
			errdetail(
				"It was passed to an internal function directly, or was wrapped in another transaction."),
			errhint(
				"Call webhook.subscribe(), rotate_secret(), set_credential() or verify(), or write it into "
				"the table."));
	pfree(sealed);
	return secret;
}

char *
wh_given(const char *text)
{
	char *secret = wh_is_wrapped(text) ? wh_unwrap(text) : pstrdup(text);

	if (wh_is_wrapped(secret))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("secret or credential must not begin with wrapped:"),
				errdetail("This prefix marks a secret on its way to its table."),
				errhint("Use another one."));
	return secret;
}

void
wh_forget(char *secret)
{
	if (secret == NULL)
		return;
	explicit_bzero(secret, strlen(secret));
	pfree(secret);
}
