/*
 * token.c
 *	  An OAuth 2 token (RFC 6749, section 4.4): how one is requested, what the
 *	  answer says, and how long it is used.
 *
 * The request uses the endpoint's authorities, client certificate and proxy, and the
 * same address policy. A token is used until a little before it expires, or until the
 * endpoint answers with 401. If the next token is answered with 401 as well, the token is
 * not the problem, and for a while 401s do not replace it. A token, and what it was
 * requested with, appears in no error and no log, and is wiped.
 */
#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "credential.h"
#include "json_text.h"
#include "request_auth.h"

#define TEXT_MAX 8192                         /* bytes of a token, or of a credential's member */
#define MARGIN_MAX_US (INT64_C(60) * 1000000) /* the most that a token's use ends early */
#define PATIENCE_US (INT64_C(60) * 1000000)   /* doubled each time that a new token fails as well */
#define PATIENCE_MAX_US (INT64_C(3600) * 1000000)
#define LIFE_MAX_S 31536000
#define LIFE_MIN_US 1000000 /* a token that comes expired still serves what waits for it */

static void
wipe(WhBuffer *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	wh_buffer_free(b);
}

void
wh_token_forget(Token *token)
{
	if (token->header)
		explicit_bzero(token->header, strlen(token->header));
	free(token->header);
	token->header = NULL;
}

void
wh_token_let_go(Token *token)
{
	if (token == NULL || --token->refs > 0)
		return;
	wh_token_forget(token);
	free(token);
}

/*
 * The request
 */

/* Append the decoded string of a JSON object's member; false: it is no string, or no memory. */
static bool
append_member(const char *json, size_t len, const char *name, WhBuffer *out)
{
	WhValue found = wh_json_find((WhValue){WH_VALUE_JSON, json, len}, name, strlen(name));
	WhText text;

	if (found.kind != WH_VALUE_JSON)
		return false;
	text = wh_json_trim(found.at, found.len);
	if (!wh_json_inside_string(&text))
		return false;
	wh_json_unescape(out, text.at, text.len);
	return !out->failed && out->len > 0 && strlen(out->data) == out->len;
}

/* Append text encoded for a form: RFC 6749, appendix B. */
static bool
append_encoded(WhBuffer *out, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._*";

	for (; *text; text++)
	{
		char escape[4];

		if (strchr(plain, *text))
			wh_buffer_append(out, text, 1);
		else if (*text == ' ')
			wh_buffer_puts(out, "+");
		else
		{
			snprintf(escape, sizeof(escape), "%%%02X", (unsigned char) *text);
			wh_buffer_puts(out, escape);
		}
	}
	return !out->failed;
}

/* Append a member of the credential, encoded; false: it is missing. */
static bool
append_encoded_member(const char *json, const char *name, WhBuffer *out)
{
	WhBuffer text;
	bool ok;

	wh_buffer_init(&text, TEXT_MAX);
	ok = append_member(json, strlen(json), name, &text) && append_encoded(out, text.data);
	wipe(&text);
	return ok;
}

/* The client authenticates with the scheme basic. */
static bool
add_client_header(const char *json, WhTransfer *t)
{
	WhBuffer pair;
	WhBuffer line;
	bool ok;

	wh_buffer_init(&pair, 3 * 2 * TEXT_MAX);
	wh_buffer_init(&line, 3 * 3 * TEXT_MAX);
	ok = append_encoded_member(json, "client_id", &pair) && wh_buffer_puts(&pair, ":") &&
		 append_encoded_member(json, "client_secret", &pair) && wh_credential_basic(pair.data, &line) &&
		 wh_http_header(t, line.data);
	wipe(&pair);
	wipe(&line);
	return ok;
}

/* Add a form field from the member of that name. It may be missing, unless it is required. */
static bool
add_field(const char *json, const char *name, bool required, WhBuffer *form)
{
	WhValue found = wh_json_find((WhValue){WH_VALUE_JSON, json, strlen(json)}, name, strlen(name));

	if (found.kind != WH_VALUE_JSON && !required)
		return true;
	return wh_buffer_puts(form, "&") && wh_buffer_puts(form, name) && wh_buffer_puts(form, "=") &&
		   append_encoded_member(json, name, form);
}

/* RFC 6749, section 2.3.1, has both ways; many servers know only the second. */
static bool
add_client(const char *json, WhTransfer *t)
{
	WhBuffer way;
	bool post;

	wh_buffer_init(&way, TEXT_MAX);
	post = append_member(json, strlen(json), "auth", &way) && strcmp(way.data, "post") == 0;
	wh_buffer_free(&way);
	return post ? add_field(json, "client_id", true, &t->body) &&
					  add_field(json, "client_secret", true, &t->body)
				: add_client_header(json, t);
}

/* Write and start the request; false: the transfer holds the reason. */
bool
wh_token_request(WhHttp *http, WhTransfer *t, const WhSubscription *sub)
{
	const char *json = wh_access_value(sub, WH_TOKEN_CREDENTIAL);
	WhHttpAccess access;
	WhBuffer url;
	bool ok;

	if (!wh_access_of(sub, t, &access))
		return false;
	snprintf(t->error, sizeof(t->error), "invalid credential oauth2, or out of memory");
	wh_buffer_init(&url, TEXT_MAX);
	ok = append_member(json, strlen(json), "token_url", &url) &&
		 wh_buffer_puts(&t->body, "grant_type=client_credentials") && add_client(json, t) &&
		 wh_http_header(t, "Content-Type: application/x-www-form-urlencoded") &&
		 wh_http_header(t, "Accept: application/json") && add_field(json, "scope", false, &t->body) &&
		 add_field(json, "audience", false, &t->body) && add_field(json, "resource", false, &t->body);
	ok = ok && wh_http_start(http, t, url.data, sub->timeout_us, &access);
	wh_buffer_free(&url);
	return ok;
}

/*
 * The answer
 */

/* The error's word, if RFC 6749 defines it: anything else might quote what we sent. */
static const char *
error_word(const WhTransfer *t)
{
	static const char *const known[] = {
		"invalid_request",     "invalid_client",         "invalid_grant",
		"unauthorized_client", "unsupported_grant_type", "invalid_scope",
	};
	const char *word = "";
	WhBuffer text;

	wh_buffer_init(&text, TEXT_MAX);
	if (t->answer.len > 0 && append_member(t->answer.data, t->answer.len, "error", &text))
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			if (strcmp(text.data, known[i]) == 0)
				word = known[i];
	wipe(&text);
	return word;
}

/* expires_in, a number or a string of digits; -1: it says nothing. */
static int64_t
life_us(const WhTransfer *t)
{
	WhValue found = wh_json_find((WhValue){WH_VALUE_JSON, t->answer.data, t->answer.len}, "expires_in", 10);
	WhText text;
	int64_t seconds = 0;

	if (found.kind != WH_VALUE_JSON)
		return -1;
	text = wh_json_trim(found.at, found.len);
	wh_json_inside_string(&text);
	if (text.len > 0 && text.at[0] == '-')
		return 0;
	if (text.len == 0 || text.at[0] < '0' || text.at[0] > '9')
		return -1;
	for (size_t i = 0; i < text.len && text.at[i] >= '0' && text.at[i] <= '9' && seconds < LIFE_MAX_S; i++)
		seconds = seconds * 10 + (text.at[i] - '0');
	return (seconds < LIFE_MAX_S ? seconds : LIFE_MAX_S) * 1000000;
}

/* Only bearer tokens are supported: others would have to be sent in another way. */
static bool
is_bearer(const WhTransfer *t)
{
	WhBuffer type;
	bool ok;

	wh_buffer_init(&type, TEXT_MAX);
	ok = !append_member(t->answer.data, t->answer.len, "token_type", &type) ||
		 strcasecmp(type.data, "bearer") == 0;
	wh_buffer_free(&type);
	return ok;
}

/* Keep the answer's token; false: it has none that is usable. */
static bool
keep_token(Token *token, const WhTransfer *t, int64_t now_us)
{
	int64_t life = life_us(t);
	bool says = life >= 0;
	int64_t margin = life / 10 < MARGIN_MAX_US ? life / 10 : MARGIN_MAX_US;
	WhBuffer text;
	WhBuffer line;
	bool ok;

	wh_buffer_init(&text, TEXT_MAX);
	wh_buffer_init(&line, TEXT_MAX + 64);
	ok = is_bearer(t) && append_member(t->answer.data, t->answer.len, "access_token", &text) &&
		 wh_credential_wrong("bearer", text.data) == NULL &&
		 wh_buffer_puts(&line, "Authorization: Bearer ") && wh_buffer_puts(&line, text.data);
	wipe(&text);
	if (!ok)
	{
		wipe(&line);
		return false;
	}
	wh_token_forget(token);
	token->header = line.data;
	life = life - margin > LIFE_MIN_US ? life - margin : LIFE_MIN_US;
	token->until_us = says ? now_us + life : INT64_MAX;
	if (++token->number == 0)
		token->number = 1;
	return true;
}

/* The request has ended: take its token, or note the problem. */
void
wh_token_take(Token *token, const WhTransfer *t, int64_t now_us)
{
	wh_token_forget(token);
	token->kind = WH_OUT_OAUTH;
	if (t->kind == WH_OUT_RESPONSE_TOO_LARGE)
		snprintf(token->problem, sizeof(token->problem),
				 "the token endpoint's answer is larger than %d bytes, or its headers than %d",
				 WH_PRIVATE_MAX, WH_RESPONSE_HEADER_MAX);
	else if (t->kind != WH_OUT_DELIVERED && t->http_status == 0)
		snprintf(token->problem, sizeof(token->problem), "no answer from the token endpoint: %.*s",
				 (int) (sizeof(token->problem) - 40), t->error);
	else if (t->kind != WH_OUT_DELIVERED)
	{
		const char *word = error_word(t);

		snprintf(token->problem, sizeof(token->problem), "the token endpoint answered with status %d%s%s",
				 t->http_status, *word ? ": " : "", word);
	}
	else if (t->answer.len == 0 || !keep_token(token, t, now_us))
		snprintf(token->problem, sizeof(token->problem),
				 "the token endpoint answered with status %d and no bearer token", t->http_status);
}

/*
 * Its life
 */

/* A clock that was set back does not prolong the patience. */
bool
wh_token_is_patient(const Token *token, int64_t now_us)
{
	return token->patient_until_us > now_us && token->patient_until_us <= now_us + PATIENCE_MAX_US;
}

/* What an answer says about the current token, if the request used it. */
void
wh_token_learn(Token *token, const WhDelivery *d, int status, int64_t now_us)
{
	if (token == NULL || token->number != d->token)
		return;
	if (status >= 200 && status <= 299)
	{
		token->patience_us = 0;
		if (token->patient_until_us > now_us + PATIENCE_US)
			token->patient_until_us = now_us + PATIENCE_US;
	}
	else if (status == 401 && d->refused && !wh_token_is_patient(token, now_us))
	{
		int64_t doubled = 2 * token->patience_us;

		token->patience_us = doubled == 0                ? PATIENCE_US
							 : doubled < PATIENCE_MAX_US ? doubled
														 : PATIENCE_MAX_US;
		token->patient_until_us = now_us + token->patience_us;
	}
}
