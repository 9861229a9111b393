/*
 * secret_store.c
 *	  How secrets are stored: as they are, sealed with the key of
 *	  webhook.key_file, or as the name of a file that holds them.
 *
 * The key file is read when a secret is set, and once when the worker reads the
 * configuration. So a rotated key takes effect at the next reload. Keys are wiped after
 * use.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "secret_store.h"
#include "seal.h"
#include "settings.h"
#include "wrap.h"

#define REFERENCE "file:"
#define FILE_MAX (64 * 1024) /* bytes of a key file, or of a secret in a file */

struct WhKeys
{
	bool read;
	const char *why; /* why they are not available, in the memory of this; NULL: they are in the ring */
	WhKeyring ring;
};

PG_FUNCTION_INFO_V1(webhook_seal_again);

/* Wipe and free a file's text: these are 64 kB each, which would add up. */
static void
forget(char *text)
{
	explicit_bzero(text, FILE_MAX + 1);
	pfree(text);
}

/*
 * The text of a small file that others may not read. NULL: it is not available; `why`
 * (palloc'd or constant) says why. The caller forgets the text.
 */
static char *
read_private_file(const char *path, const char **why)
{
	struct stat st;
	FILE *file = AllocateFile(path, PG_BINARY_R);
	char *text = NULL;

	if (file == NULL)
		*why = psprintf("it cannot be opened: %s", strerror(errno));
	else if (fstat(fileno(file), &st) != 0 || !S_ISREG(st.st_mode))
		*why = "it is no ordinary file";
	else if (st.st_mode & (S_IWGRP | S_IXGRP | S_IRWXO))
		*why = "others may read it, or a group may write it";
	else if (st.st_size > FILE_MAX)
		*why = "it is larger than 64 kB";
	else
	{
		size_t n;

		text = palloc(FILE_MAX + 1);
		n = fread(text, 1, FILE_MAX, file);
		text[n] = '\0';
		if (ferror(file))
		{
			forget(text);
			text = NULL;
			*why = psprintf("it cannot be read: %s", strerror(errno));
		}
	}
	if (file)
		FreeFile(file);
	return text;
}

/* The keys of webhook.key_file; false: `why` says what is wrong with it. */
static bool
read_keyring(WhKeyring *ring, const char **why)
{
	char *text = read_private_file(wh_key_file, why);
	const char *what;
	int line;
	bool ok;

	if (text == NULL)
		return false;
	ok = wh_keyring_parse(text, ring, &line, &what);
	forget(text);
	if (!ok)
		*why = psprintf("line %d: %s", line, what);
	return ok;
}

bool
wh_is_reference(const char *text)
{
	return strncmp(text, REFERENCE, strlen(REFERENCE)) == 0;
}

bool
wh_is_clear(const char *text)
{
	return !wh_is_sealed(text) && !wh_is_reference(text);
}

/* "file:..." makes the worker read that file with the server's rights. */
static void
check_reference(const char *reference)
{
	/*
	 * Not in a restricted operation either: that is somebody's index, policy or
	 * cast, which runs because a superuser maintains or reads their table.
	 */
	if (!superuser_arg(GetOuterUserId()) || InSecurityRestrictedOperation())
		ereport(ERROR, errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("must be superuser to keep a secret in a file"),
				errdetail("The file is read with the rights of the server."),
				errhint("Pass the secret itself, or ask a superuser to set the reference."));
	if (!is_absolute_path(reference + strlen(REFERENCE)))
		ereport(ERROR, errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("path of a secret's file must be absolute"),
				errdetail("The path after file: does not begin with a slash."),
				errhint("Use file:/path/of/the/file."));
}

char *
wh_secret_to_keep(const char *owner, const char *secret)
{
	WhKeyring ring;
	const char *why = NULL;
	size_t size = WH_SEALED_SIZE(strlen(secret));
	char *kept;
	bool ok;

	if (wh_is_reference(secret))
	{
		check_reference(secret);
		return pstrdup(secret);
	}
	if (!wh_is_clear(secret) || wh_key_file[0] == '\0')
		return pstrdup(secret);
	if (!read_keyring(&ring, &why))
		ereport(
			ERROR, errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("could not use webhook.key_file"),
			errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
			errhint("It must have one line per key, with its id, a blank and the base64 of 32 random bytes, "
					"and be readable only by the server's user."));
	kept = palloc(size);
	ok = wh_seal(&ring, owner, secret, kept, size);
	wh_keyring_wipe(&ring);
	if (!ok)
		ereport(
			ERROR, errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not seal the secret"),
			errdetail(
				"It is longer than %d bytes, or out of memory, or the operating system gave no random bytes.",
				WH_SEAL_PLAIN_MAX),
			errhint("Try again, or keep it in a file and pass file:/path."));
	return kept;
}

static char *
from_file(const char *path, const char **why)
{
	char *text = read_private_file(path, why);
	char *secret;

	if (text == NULL)
	{
		*why = psprintf("its file cannot be used: %s", *why);
		return NULL;
	}
	/* editors end the last line with a newline */
	for (size_t len = strlen(text); len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r');)
		text[--len] = '\0';
	secret = pstrdup(text);
	forget(text);
	return secret;
}

WhKeys *
wh_keys_new(void)
{
	return palloc0(sizeof(WhKeys));
}

void
wh_keys_free(WhKeys *keys)
{
	wh_keyring_wipe(&keys->ring);
	pfree(keys);
}

char *
wh_secret_kept(WhKeys *keys, const char *owner, const char *kept, const char **why)
{
	size_t size = strlen(kept) + 1;
	char *secret;
	WhUnsealed result;

	*why = NULL;
	if (wh_is_reference(kept))
	{
		/* the row may have bypassed check_reference: a table's owner can disable its triggers */
		if (has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
			return from_file(kept + strlen(REFERENCE), why);
		*why = psprintf("it is in a file, and role %s, the owner of the extension, is not a member of "
						"pg_read_server_files",
						GetUserNameFromId(GetUserId(), false));
		return NULL;
	}
	if (!wh_is_sealed(kept))
		return pstrdup(kept);
	if (wh_key_file[0] == '\0')
	{
		*why = "it is sealed, and webhook.key_file is not set";
		return NULL;
	}
	if (!keys->read && !read_keyring(&keys->ring, &keys->why))
	{
		char *why_not = psprintf("it is sealed, and webhook.key_file cannot be used: %s", keys->why);

		/* for all further secrets, whatever memory this one is read in */
		keys->why = MemoryContextStrdup(GetMemoryChunkContext(keys), why_not);
	}
	keys->read = true;
	if (keys->why)
	{
		*why = keys->why;
		return NULL;
	}
	secret = palloc(size);
	result = wh_unseal(&keys->ring, owner, kept, secret, size);
	switch (result)
	{
		case WH_UNSEALED:
			return secret;
		case WH_UNSEAL_NO_KEY:
			*why = "it is sealed under a key that webhook.key_file does not have";
			break;
		case WH_UNSEAL_DAMAGED:
			*why = "it is sealed for another row, or under another key of that id, or damaged";
			break;
		case WH_UNSEAL_NO_MEMORY:
			*why = "there is no memory";
			break;
	}
	return NULL;
}

char *
wh_secret_opened(const char *owner, const char *kept)
{
	const char *why;
	WhKeys *keys = wh_keys_new();
	char *secret = wh_secret_kept(keys, owner, kept, &why);

	wh_keys_free(keys);
	if (secret == NULL)
		ereport(
			ERROR, errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("could not open a secret"),
			errdetail_internal("%c%s.", pg_toupper((unsigned char) why[0]), why + 1),
			errhint(
				"Put the key that it was sealed under back into webhook.key_file, or rotate the secret."));
	return secret;
}

/* Open a secret and seal it again. SQL has no other way to open one. Nobody sees its value. */
Datum
webhook_seal_again(PG_FUNCTION_ARGS)
{
	char *owner = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *kept = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *secret;
	text *result;

	if (wh_is_reference(kept))
		PG_RETURN_TEXT_P(PG_GETARG_TEXT_PP(1));
	secret = wh_secret_opened(owner, kept);
	result = cstring_to_text(wh_secret_to_keep(owner, secret));
	wh_forget(secret);
	PG_RETURN_TEXT_P(result);
}
