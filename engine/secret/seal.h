/*
 * seal.h
 *	  Secrets at rest: AES-256-GCM with a key that is kept outside the database.
 *
 * Users' backends seal; the worker opens. Plain C over bytes, like the other leaves:
 * it reads no file and no setting.
 *
 * A sealed secret is text: "sealed:<key id>:<base64>". The base64 holds a nonce of 12
 * bytes, the ciphertext, and a tag of 16 bytes (NIST SP 800-38D). The owner, a text
 * that names the row, is authenticated too: a secret that was copied into another row
 * cannot be opened there.
 */
#ifndef WEBHOOK_SEAL_H
#define WEBHOOK_SEAL_H

#include <stdbool.h>
#include <stddef.h>

#define WH_SEAL_KEY_LEN 32
#define WH_SEAL_KEYS_MAX 8 /* in one key file: more than any rotation needs */
#define WH_SEAL_ID_MAX 32  /* characters of a key's id */
#define WH_SEAL_PLAIN_MAX (64 * 1024)

/* Bytes of the sealed text of a secret of `len` bytes, with NUL. */
#define WH_SEALED_SIZE(len) (sizeof("sealed::") + WH_SEAL_ID_MAX + (((len) + 12 + 16 + 2) / 3 * 4))

typedef struct WhSealKey
{
	char id[WH_SEAL_ID_MAX + 1];
	unsigned char key[WH_SEAL_KEY_LEN];
} WhSealKey;

/* The keys of a key file. The first one seals; all of them open. */
typedef struct WhKeyring
{
	int n;
	WhSealKey keys[WH_SEAL_KEYS_MAX];
} WhKeyring;

/*
 * Read the text of a key file. Each key has a line: its id (letters, digits, "-" and
 * "_"), a blank, and the base64 of its 32 bytes. Empty lines and lines that begin with
 * "#" are ignored. False: `line` and `why` (a constant) say what is wrong, and the ring
 * is empty.
 */
extern bool wh_keyring_parse(const char *text, WhKeyring *ring, int *line, const char **why);
extern void wh_keyring_wipe(WhKeyring *ring);

extern bool wh_is_sealed(const char *text);

/*
 * Seal with the ring's first key. `out` needs WH_SEALED_SIZE of the secret's length.
 * False: the ring is empty, the secret is longer than WH_SEAL_PLAIN_MAX, or OpenSSL has
 * no memory or no random bytes.
 */
extern bool wh_seal(const WhKeyring *ring, const char *owner, const char *secret, char *out, size_t size);

typedef enum WhUnsealed
{
	WH_UNSEALED,
	WH_UNSEAL_NO_KEY,   /* the ring has no key of that id */
	WH_UNSEAL_DAMAGED,  /* it is not what was sealed, has another owner, or the key differs */
	WH_UNSEAL_NO_MEMORY /* or `out` is too small: it needs as many bytes as the sealed text */
} WhUnsealed;

/* Open what wh_seal made; `out` gets the secret with a NUL. The caller wipes it. */
extern WhUnsealed wh_unseal(const WhKeyring *ring, const char *owner, const char *sealed, char *out,
							size_t size);

#endif /* WEBHOOK_SEAL_H */
