/*
 * fuzz_credential.c
 *	  libFuzzer over credentials: the kind up to the first newline, then the
 *	  value.
 *
 * Beyond not crashing: an objection is a constant that quotes nothing; what is
 * good makes one line of a request's head; and a proxy that is good is one to
 * libcurl too, on the host and port that were looked at when it was saved.
 * Ownership: each run frees what it makes.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "credential.h"
#include "address_policy.h"
#include "must.h"

static bool
one_line(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) text[i] < ' ' || text[i] == 0x7f)
			return false;
	return len > 0;
}

static void
check_basic(const char *value)
{
	WhBuffer line;

	wh_buffer_init(&line, 16384);
	must(wh_credential_basic(value, &line) && one_line(line.data, line.len));
	wh_buffer_free(&line);
}

/* A part of a URL as libcurl reads that of a proxy; NULL: it takes it for none. */
static char *
part_of(const char *url, CURLUPart part)
{
	CURLU *parsed = curl_url();
	char *text = NULL;

	must(parsed != NULL);
	if (curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) == CURLUE_OK)
		curl_url_get(parsed, part, &text, 0);
	curl_url_cleanup(parsed);
	return text;
}

/* As it is saved: see check_proxy in extension/checks.c. */
static void
check_proxy(const char *value)
{
	static const CURLUPart parts[] = {CURLUPART_HOST, CURLUPART_PORT};
	static WhNetworks everywhere;
	char bare[WH_PROXY_MAX];
	char bad[64];

	if (everywhere.n == 0)
		must(wh_networks_parse("0.0.0.0/0, ::/0", &everywhere, bad, sizeof(bad)));
	must(wh_proxy_bare(value, bare, sizeof(bare)) && strchr(bare, '@') == NULL);
	must(wh_credential_wrong("proxy", bare) == NULL);
	if (wh_target_check_url(bare, true, &everywhere) != WH_TARGET_OK)
		return;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
	{
		char *dialled = part_of(value, parts[i]);
		char *looked_at = part_of(bare, parts[i]);

		/* libcurl may take exception to the user or the password, and dial nothing */
		must(looked_at != NULL && (dialled == NULL || strcmp(dialled, looked_at) == 0));
		curl_free(dialled);
		curl_free(looked_at);
	}
}

static void
check_good(const char *kind, const char *value)
{
	const char *wrong;

	switch (wh_credential_kind(kind))
	{
		case WH_CREDENTIAL_BASIC:
			check_basic(value);
			break;
		case WH_CREDENTIAL_HEADER:
			must(one_line(kind, strlen(kind)) && one_line(value, strlen(value)));
			must(strpbrk(strchr(kind, ':') + 1, ": \t") == NULL);
			break;
		case WH_CREDENTIAL_BEARER:
			must(one_line(value, strlen(value)) && strchr(value, ' ') == NULL);
			break;
		case WH_CREDENTIAL_PROXY:
			check_proxy(value);
			break;
		case WH_CREDENTIAL_CERTIFICATE:
		case WH_CREDENTIAL_CA:
			must(strstr(value, "-----BEGIN ") != NULL);
			/* its key might be in the same text */
			wrong = wh_credential_pair_wrong(value, value);
			must(wrong ? one_line(wrong, strlen(wrong)) : strstr(value, "PRIVATE KEY") != NULL);
			break;
		case WH_CREDENTIAL_KEY:
			must(strstr(value, "-----BEGIN ") != NULL && strstr(value, "ENCRYPTED") == NULL);
			break;
		case WH_CREDENTIAL_OAUTH2:
			break;
		case WH_CREDENTIAL_UNKNOWN:
			must(!"good, and of no kind");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *kind = malloc(size + 1);
	const char *value;
	const char *wrong;

	must(kind != NULL);
	if (size > 0)
		memcpy(kind, data, size);
	kind[size] = '\0';
	value = kind + strcspn(kind, "\n");
	if (*value == '\n')
	{
		kind[value - kind] = '\0';
		value++;
	}
	wrong = wh_credential_wrong(kind, value);
	must(wrong == wh_credential_wrong(kind, value));
	if (wrong == NULL)
		check_good(kind, value);
	else
		must(one_line(wrong, strlen(wrong)));
	free(kind);
	return 0;
}
