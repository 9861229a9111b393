/*
 * sign_internal.h
 *	  What the files of sign share.
 */
#ifndef WEBHOOK_SIGN_INTERNAL_H
#define WEBHOOK_SIGN_INTERNAL_H

#include <string.h>

#include "sign.h"

#define WH_DIGEST_MAX 64 /* bytes of a signature, not encoded: ed25519's */

#define WH_BASE64_LEN(n) (((n) + 2) / 3 * 4) /* characters for n bytes */
#define WH_BASE64_MAX WH_BASE64_LEN(64)      /* no base64 here stands for more than 64 bytes */
#define WH_DECODED_MAX (WH_BASE64_MAX / 4 * 3)
#define WH_ENCODED_MAX 128 /* characters of a signature: hex of 64 bytes */

/* Does `text` begin with this variable in braces? Its length with the braces; 0: no. */
static inline size_t
wh_variable(const char *text, const char *name)
{
	size_t len;

	if (text[0] != '{' || text[1] != name[0])
		return 0;
	len = strlen(name);
	return strncmp(text + 1, name, len) == 0 && text[len + 1] == '}' ? len + 2 : 0;
}

#define WH_STAMP_MAX 24 /* int64 as text, with NUL */

/*
 * sign_digest.c: write a timestamp; returns its length. snprintf would cost a tenth of
 * a signature.
 */
extern size_t wh_stamp(int64_t timestamp, char out[WH_STAMP_MAX]);

/* Make a signature's bytes; returns their number, 0: it could not be made. */
extern size_t wh_digest(const WhSigning *signing, const WhKey *key, const WhMessage *message,
						unsigned char out[WH_DIGEST_MAX]);
extern bool wh_ed25519_verify(const WhSigning *signing, const WhKey *key, const WhMessage *message,
							  const unsigned char signature[WH_DIGEST_MAX]);
/* Free the contexts, together with what they hold of keys. */
extern void wh_digest_forget(void);

/* sign_key.c: decode `len` characters of base64; returns the bytes, -1: invalid or too long. */
extern int wh_base64_decode(const char *text, size_t len, unsigned char out[WH_DECODED_MAX]);

#endif /* WEBHOOK_SIGN_INTERNAL_H */
