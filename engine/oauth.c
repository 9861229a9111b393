/*
 * oauth.c
 *	  OAuth 2 client credentials (RFC 6749, section 4.4): an endpoint's token,
 *	  and the deliveries that wait for one.
 *
 * Part of the pipeline: called by engine.c, when a request is about to start
 * and when one has ended. A delivery that finds no token waits in a list of the
 * engine's, in flight as far as its queue knows, without a transfer; the first such asks for a token, with
 * a request of the engine's own that goes by the endpoint's authorities,
 * client certificate and proxy, and under the same policy of addresses. A token
 * is used until a little before it ends, or until it is answered with 401:
 * that delivery is sent once more with another one, as soon as its subscription's
 * rate limit lets it. Where that is answered with 401 as well, tokens are not
 * what is wrong, and for a while none is replaced for it. A token, and what it was
 * asked for with, is in no error and no log, and is wiped.
 */
#include "oauth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "credential.h"
#include "request_auth.h"
#include "batch.h"
#include "engine_internal.h"
#include "test_events.h"
#include "json_text.h"

#define KIND "oauth2"
#define TEXT_MAX 8192 /* bytes of a token, or of a member of the credential */
#define MARGIN_MAX_US                                                                                        \
	(INT64_C(60) * 1000000) /* this long before its end a token is not used any more, at most */
#define PATIENCE_US (INT64_C(60) * 1000000) /* doubled each time that another token is of no use either */
#define PATIENCE_MAX_US (INT64_C(3600) * 1000000)
#define LIFE_MAX_S 31536000
#define LIFE_MIN_US 1000000 /* one that has ended when it comes is still used for what waits for it */
#define LOOK_US 1000000     /* how often one more delivery joins those that wait for the same token */

static void
wipe(WhBuffer *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	wh_buffer_free(b);
}

static void
forget_token(Oauth *oauth)
{
	if (oauth->header)
		explicit_bzero(oauth->header, strlen(oauth->header));
	free(oauth->header);
	oauth->header = NULL;
}

void
wh_oauth_let_go(Oauth *oauth)
{
	if (oauth == NULL || --oauth->refs > 0)
		return;
	forget_token(oauth);
	free(oauth);
}

/*
 * Asking
 */

/* Append what a member of a JSON object means, if it is a string; false: it is not, or there is no memory. */
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

/* As a form has it: RFC 6749, appendix B. */
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

/* A member of the credential in its encoded form; false: it is not there. */
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

/* The client proves who it is by the scheme basic. */
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

/* A field of the form, by the member of that name; one that is not there is left out, where it may be. */
static bool
add_field(const char *json, const char *name, bool required, WhBuffer *form)
{
	WhValue found = wh_json_find((WhValue){WH_VALUE_JSON, json, strlen(json)}, name, strlen(name));

	if (found.kind != WH_VALUE_JSON && !required)
		return true;
	return wh_buffer_puts(form, "&") && wh_buffer_puts(form, name) && wh_buffer_puts(form, "=") &&
		   append_encoded_member(json, name, form);
}

/* RFC 6749, section 2.3.1, has both ways; servers that know only the second are common. */
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
static bool
start(WhHttp *http, WhTransfer *t, const WhSubscription *sub)
{
	const char *json = wh_access_value(sub, KIND);
	WhHttpAccess access;
	WhBuffer url;
	bool ok;

	if (!wh_access_of(sub, t, &access))
		return false;
	snprintf(t->error, sizeof(t->error), "the credential oauth2 cannot be used, or out of memory");
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

/* Ask with this transfer, unless that is under way. False: it is not used; problem says why, unless it is. */
static bool
ask(WhEngine *e, WhTransfer *t, Endpoint *endpoint)
{
	Oauth *oauth = endpoint->oauth;

	if (oauth == NULL)
	{
		if ((oauth = calloc(1, sizeof(Oauth))) == NULL)
			return false;
		oauth->refs = 1;
		oauth->subscription_id = endpoint->sub.id;
		endpoint->oauth = oauth;
	}
	if (oauth->asking)
		return false;
	t->private = true;
	if (!start(e->http, t, &endpoint->sub))
	{
		snprintf(oauth->problem, sizeof(oauth->problem), "%s", t->error);
		oauth->kind = WH_OUT_INTERNAL;
		return false;
	}
	t->owner = oauth;
	oauth->refs++;
	oauth->asking = true;
	e->asking++;
	return true;
}

/*
 * Being answered
 */

/* The error's word, where it is one of those that RFC 6749 has: anything else might quote what we sent. */
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

/* Tokens that are no bearer tokens would have to be sent in some other way. */
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

/* Keep the token of the answer; false: there is none that can be used. */
static bool
keep_token(Oauth *oauth, const WhTransfer *t, int64_t now_us)
{
	int64_t life = life_us(t);
	bool says = life >= 0;
	int64_t margin = life / 10 < MARGIN_MAX_US ? life / 10 : MARGIN_MAX_US;
	WhBuffer token;
	WhBuffer line;
	bool ok;

	wh_buffer_init(&token, TEXT_MAX);
	wh_buffer_init(&line, TEXT_MAX + 64);
	ok = is_bearer(t) && append_member(t->answer.data, t->answer.len, "access_token", &token) &&
		 wh_credential_wrong("bearer", token.data) == NULL &&
		 wh_buffer_puts(&line, "Authorization: Bearer ") && wh_buffer_puts(&line, token.data);
	wipe(&token);
	if (!ok)
	{
		wipe(&line);
		return false;
	}
	forget_token(oauth);
	oauth->header = line.data;
	life = life - margin > LIFE_MIN_US ? life - margin : LIFE_MIN_US;
	oauth->until_us = says ? now_us + life : INT64_MAX;
	if (++oauth->number == 0)
		oauth->number = 1;
	return true;
}

/* A token, or a problem. */
static void
take_answer(Oauth *oauth, const WhTransfer *t, int64_t now_us)
{
	forget_token(oauth);
	oauth->kind = WH_OUT_OAUTH;
	if (t->kind == WH_OUT_RESPONSE_TOO_LARGE)
		snprintf(oauth->problem, sizeof(oauth->problem),
				 "the token endpoint's answer is larger than %d bytes, or its headers than %d",
				 WH_PRIVATE_MAX, WH_RESPONSE_HEADER_MAX);
	else if (t->kind != WH_OUT_DELIVERED && t->http_status == 0)
		snprintf(oauth->problem, sizeof(oauth->problem), "no answer from the token endpoint: %.*s",
				 (int) (sizeof(oauth->problem) - 40), t->error);
	else if (t->kind != WH_OUT_DELIVERED)
	{
		const char *word = error_word(t);

		snprintf(oauth->problem, sizeof(oauth->problem), "the token endpoint answered with status %d%s%s",
				 t->http_status, *word ? ": " : "", word);
	}
	else if (t->answer.len == 0 || !keep_token(oauth, t, now_us))
		snprintf(oauth->problem, sizeof(oauth->problem),
				 "the token endpoint answered with status %d and no bearer token", t->http_status);
}

/*
 * Deliveries
 */

bool
wh_oauth_must_wait(const Endpoint *endpoint, int64_t now_us)
{
	const Oauth *oauth = endpoint->oauth;

	return wh_access_value(&endpoint->sub, KIND) != NULL &&
		   (oauth == NULL || oauth->header == NULL || oauth->until_us <= now_us);
}

/* One of those that wait of a subscription (0: of any), taken out; NULL: there is none any more. */
static WhDelivery *
take_of(WhList *waiting, int64_t subscription_id)
{
	WhList others = {0};
	WhDelivery *found = NULL;
	WhDelivery *d;

	while ((d = wh_list_pop(waiting)) != NULL)
	{
		if (found == NULL && (subscription_id == 0 || d->subscription_id == subscription_id))
			found = d;
		else
			wh_list_push(&others, d);
	}
	*waiting = others;
	return found;
}

static void
end_one_without(WhEngine *e, const Endpoint *endpoint, WhDelivery *d, int64_t duration_us)
{
	WhTransfer none = {.kind = endpoint->oauth ? endpoint->oauth->kind : WH_OUT_INTERNAL,
					   .duration_us = duration_us};

	snprintf(none.error, sizeof(none.error), "%s",
			 endpoint->oauth ? endpoint->oauth->problem : "out of memory");
	wh_batch_started(d, e->now_us, wh_engine_wall(e));
	wh_engine_conclude(e, d, &none);
}

/*
 * They waited for a token of this endpoint in vain. One request has failed, so
 * it is how one delivery ends (the probe, if it is among them), and how tests
 * do; the others have not been attempted.
 */
static void
end_without(WhEngine *e, Endpoint *endpoint, int64_t duration_us)
{
	WhList others = {0};
	WhDelivery *ended = NULL;
	WhDelivery *d;

	while ((d = take_of(&e->waiting, endpoint->sub.id)) != NULL)
	{
		if (d->test)
			end_one_without(e, endpoint, d, duration_us);
		else if (ended == NULL || d->probe)
		{
			if (ended)
				wh_list_push(&others, ended);
			ended = d;
		}
		else
			wh_list_push(&others, d);
	}
	if (ended)
		end_one_without(e, endpoint, ended, duration_us);
	while ((d = wh_list_pop(&others)) != NULL)
		wh_engine_put_back(e, endpoint, d);
}

void
wh_oauth_wait(WhEngine *e, Endpoint *endpoint, WhDelivery *d, WhTransfer *t)
{
	wh_list_push(&e->waiting, d);
	/* no others meanwhile, or hardly any: they would only wait in here, where they count as in flight */
	wh_queue_not_before(e->queue, endpoint->sub.id, e->now_us + LOOK_US);
	if (ask(e, t, endpoint))
		return;
	wh_http_release(e->http, t);
	if (endpoint->oauth == NULL || !endpoint->oauth->asking)
		end_without(e, endpoint, 0);
}

void
wh_oauth_answered(WhEngine *e, WhTransfer *t)
{
	Oauth *oauth = t->owner;
	Endpoint *endpoint = wh_queue_owner(e->queue, oauth->subscription_id);

	oauth->asking = false;
	e->asking--;
	take_answer(oauth, t, e->now_us);
	/* it may have other credentials by now, and ask for another token */
	if (endpoint && endpoint->oauth == oauth)
	{
		wh_queue_not_before(e->queue, endpoint->sub.id,
							oauth->header ? wh_rate_next(&endpoint->rate) : e->now_us + LOOK_US);
		if (oauth->header == NULL)
			end_without(e, endpoint, t->duration_us);
	}
	wh_oauth_let_go(oauth);
}

void
wh_oauth_broken_off(WhEngine *e, WhTransfer *t)
{
	Oauth *oauth = t->owner;

	oauth->asking = false;
	e->asking--;
	wh_oauth_let_go(oauth);
}

/* A clock set back is no reason to be patient for longer. */
static bool
is_patient(const Oauth *oauth, int64_t now_us)
{
	return oauth->patient_until_us > now_us && oauth->patient_until_us <= now_us + PATIENCE_MAX_US;
}

/* What an answer says of the token in use, where it was that one. */
static void
learn(Oauth *oauth, const WhDelivery *d, int status, int64_t now_us)
{
	if (oauth == NULL || oauth->number != d->token)
		return;
	if (status >= 200 && status <= 299)
	{
		oauth->patience_us = 0;
		if (oauth->patient_until_us > now_us + PATIENCE_US)
			oauth->patient_until_us = now_us + PATIENCE_US;
	}
	else if (status == 401 && d->refused && !is_patient(oauth, now_us))
	{
		int64_t doubled = 2 * oauth->patience_us;

		oauth->patience_us = doubled == 0                ? PATIENCE_US
							 : doubled < PATIENCE_MAX_US ? doubled
														 : PATIENCE_MAX_US;
		oauth->patient_until_us = now_us + oauth->patience_us;
	}
}

bool
wh_oauth_refused(WhEngine *e, WhDelivery *d, const WhTransfer *t)
{
	Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);

	if (d->token == 0 || endpoint == NULL || wh_access_value(&endpoint->sub, KIND) == NULL)
		return false;
	learn(endpoint->oauth, d, t->http_status, e->now_us);
	if (t->http_status != 401 || d->refused || e->draining ||
		(endpoint->oauth && endpoint->oauth->number == d->token && is_patient(endpoint->oauth, e->now_us)))
		return false;
	d->refused = true;
	/* another delivery may have brought a new one meanwhile */
	if (endpoint->oauth && endpoint->oauth->number == d->token)
		forget_token(endpoint->oauth);
	wh_list_push(&e->waiting, d);
	return true;
}

/* When it may be sent, or ask; INT64_MAX: it waits for an answer. */
static int64_t
due(const WhEngine *e, const WhDelivery *d)
{
	const Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);

	if (wh_oauth_must_wait(endpoint, e->now_us))
		return endpoint->oauth && endpoint->oauth->asking ? INT64_MAX : 0;
	return d->test ? 0 : wh_engine_may_go_at(e, endpoint);
}

WhDelivery *
wh_oauth_next(WhEngine *e)
{
	WhList others = {0};
	WhDelivery *found = NULL;
	WhDelivery *d;

	while ((d = wh_list_pop(&e->waiting)) != NULL)
	{
		Endpoint *endpoint = wh_queue_owner(e->queue, d->subscription_id);

		if (wh_engine_held(endpoint, d))
			wh_engine_put_back(e, endpoint, d);
		else if (found == NULL && due(e, d) <= e->now_us)
			found = d;
		else
			wh_list_push(&others, d);
	}
	e->waiting = others;
	return found;
}

int64_t
wh_oauth_due(const WhEngine *e)
{
	int64_t first = INT64_MAX;

	/* what is due already waits for a place, and is looked at when one is free */
	for (const WhDelivery *d = e->waiting.head; d; d = d->next)
	{
		int64_t at = due(e, d);

		first = at > e->now_us && at < first ? at : first;
	}
	return first;
}

void
wh_oauth_put_back(WhEngine *e, int64_t subscription_id)
{
	WhDelivery *d;

	while ((d = take_of(&e->waiting, subscription_id)) != NULL)
	{
		if (d->test)
			wh_tests_drop(d, &e->outcomes);
		else
			wh_queue_abort(e->queue, d);
	}
}
