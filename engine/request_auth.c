/*
 * request_auth.c
 *	  Authentication: what an endpoint's credentials add to a request.
 *
 * Used for each attempt. Owns nothing; buffers are wiped before they are freed. If a
 * credential's value is missing or invalid, the request fails as "internal": nothing is
 * sent without its credentials. (A value from a file is checked here for the first
 * time.) PEM is not checked here, because that would cost more than the request. libcurl
 * does not connect with PEM that it cannot read.
 */
#include "request_auth.h"

#include <stdio.h>
#include <string.h>

#include "credential.h"

#define LINE_MAX 16384

const char *
wh_access_value(const WhSubscription *sub, const char *kind)
{
	for (int i = 0; i < sub->n_credentials; i++)
		if (strcmp(sub->credentials[i].kind, kind) == 0)
			return sub->credentials[i].value;
	return NULL;
}

/* Note that a credential is unusable. Its kind is no secret, except perhaps a header's name. */
static bool
unusable(WhTransfer *t, const WhCredential *c)
{
	t->kind = WH_OUT_INTERNAL;
	snprintf(t->error, sizeof(t->error), "invalid credential of the subscription: %.*s",
			 (int) strcspn(c->kind, ":"), c->kind);
	return false;
}

static bool
use_proxy(WhTransfer *t, const char *value)
{
	char address[WH_PROXY_MAX];
	WhBuffer line;
	bool ok;

	wh_buffer_init(&line, LINE_MAX);
	ok = wh_proxy_bare(value, address, sizeof(address)) && wh_proxy_authorization(value, &line) &&
		 wh_http_proxy(t, address, line.len > 0 ? line.data : "");
	if (line.data)
		explicit_bzero(line.data, line.cap);
	wh_buffer_free(&line);
	return ok;
}

bool
wh_access_of(const WhSubscription *sub, WhTransfer *t, WhHttpAccess *access)
{
	*access = (WhHttpAccess){.ca = NULL};
	for (int i = 0; i < sub->n_credentials; i++)
	{
		const WhCredential *c = &sub->credentials[i];

		if (c->value == NULL)
			return unusable(t, c);
		switch (wh_credential_kind(c->kind))
		{
			case WH_CREDENTIAL_CERTIFICATE:
				access->client_certificate = c->value;
				break;
			case WH_CREDENTIAL_KEY:
				access->client_key = c->value;
				break;
			case WH_CREDENTIAL_CA:
				access->ca = c->value;
				break;
			case WH_CREDENTIAL_PROXY:
				if (!use_proxy(t, c->value))
					return unusable(t, c);
				break;
			case WH_CREDENTIAL_BASIC:
			case WH_CREDENTIAL_BEARER:
			case WH_CREDENTIAL_HEADER:
				if (wh_credential_wrong(c->kind, c->value))
					return unusable(t, c);
				break;
			case WH_CREDENTIAL_OAUTH2: /* token.c */
				break;
			case WH_CREDENTIAL_UNKNOWN:
				return unusable(t, c);
		}
	}
	return true;
}

static bool
append_line(const WhCredential *c, WhBuffer *line)
{
	switch (wh_credential_kind(c->kind))
	{
		case WH_CREDENTIAL_BASIC:
			return wh_credential_basic(c->value, line);
		case WH_CREDENTIAL_BEARER:
			return wh_buffer_puts(line, "Authorization: Bearer ") && wh_buffer_puts(line, c->value);
		case WH_CREDENTIAL_HEADER:
			return wh_buffer_puts(line, strchr(c->kind, ':') + 1) && wh_buffer_puts(line, ": ") &&
				   wh_buffer_puts(line, c->value);
		default:
			return true;
	}
}

bool
wh_access_headers(const WhSubscription *sub, WhTransfer *t)
{
	WhBuffer line;
	bool ok = true;

	wh_buffer_init(&line, LINE_MAX);
	for (int i = 0; ok && i < sub->n_credentials; i++)
	{
		wh_buffer_reset(&line);
		ok = append_line(&sub->credentials[i], &line) && (line.len == 0 || wh_http_header(t, line.data));
		if (line.data)
			explicit_bzero(line.data, line.cap);
	}
	wh_buffer_free(&line);
	return ok;
}
