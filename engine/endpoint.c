/*
 * endpoint.c
 *	  A subscription as the engine holds it: a copy of its row, its keys, its
 *	  lanes and its counters.
 *
 * engine.c owns the endpoints. Keys are decoded once. They and the copies of credentials
 * are wiped when they are replaced or freed. The secrets as text stay with the caller.
 */
#include "endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "token.h"
#include "sign.h"

void
wh_endpoint_free_copy(WhSubscription *copy)
{
	free(copy->name);
	free(copy->url);
	for (int i = 0; i < copy->n_headers; i++)
		free(copy->headers[i]);
	free(copy->headers);
	free(copy->params);
	for (int i = 0; i < copy->n_credentials; i++)
	{
		free(copy->credentials[i].kind);
		if (copy->credentials[i].value)
			explicit_bzero(copy->credentials[i].value, strlen(copy->credentials[i].value));
		free(copy->credentials[i].value);
	}
	free(copy->credentials);
	memset(copy, 0, sizeof(*copy));
}

/* What has been copied is counted, so that it can be freed after a failure. */
static bool
copy_credentials(WhSubscription *to, const WhSubscription *from)
{
	bool ok;

	to->n_credentials = 0;
	to->credentials =
		from->n_credentials > 0 ? calloc((size_t) from->n_credentials, sizeof(WhCredential)) : NULL;
	ok = to->credentials || from->n_credentials == 0;
	for (int i = 0; ok && i < from->n_credentials; i++)
	{
		const WhCredential *c = &from->credentials[i];
		WhCredential *copy = &to->credentials[to->n_credentials++];

		copy->kind = strdup(c->kind);
		copy->value = c->value ? strdup(c->value) : NULL;
		ok = copy->kind && (copy->value || c->value == NULL);
	}
	return ok;
}

static bool
same_credentials(const WhSubscription *a, const WhSubscription *b)
{
	bool same = a->n_credentials == b->n_credentials;

	for (int i = 0; same && i < a->n_credentials; i++)
	{
		const WhCredential *x = &a->credentials[i];
		const WhCredential *y = &b->credentials[i];

		same = strcmp(x->kind, y->kind) == 0 && (x->value == NULL) == (y->value == NULL) &&
			   (x->value == NULL || strcmp(x->value, y->value) == 0);
	}
	return same;
}

bool
wh_endpoint_repaired(const WhSubscription *was, const WhSubscription *is)
{
	return strcmp(was->url, is->url) != 0 || (was->paused && !is->paused) || !same_credentials(was, is);
}

bool
wh_endpoint_copy(WhSubscription *to, const WhSubscription *from)
{
	bool ok;

	*to = *from;
	to->n_headers = to->n_secrets = 0;
	to->profile = NULL;
	memset(to->secrets, 0, sizeof(to->secrets));
	to->name = strdup(from->name);
	to->url = strdup(from->url);
	to->headers = from->n_headers > 0 ? calloc((size_t) from->n_headers, sizeof(char *)) : NULL;
	to->params = from->params ? strdup(from->params) : NULL;
	ok = copy_credentials(to, from) && to->name && to->url && (to->headers || from->n_headers == 0) &&
		 (to->params || from->params == NULL);
	for (int i = 0; ok && i < from->n_headers; i++)
	{
		to->headers[i] = strdup(from->headers[i]);
		ok = to->headers[i] != NULL;
		to->n_headers += ok;
	}
	if (!ok)
		wh_endpoint_free_copy(to);
	return ok;
}

EndpointKey *
wh_endpoint_key_room(const WhSubscription *from)
{
	return calloc(from->n_secrets > 0 ? (size_t) from->n_secrets : 1, sizeof(EndpointKey));
}

bool
wh_endpoint_discard(WhSubscription *copy, Profile *profile, EndpointKey *room)
{
	wh_endpoint_free_copy(copy);
	wh_profile_let_go(profile);
	free(room);
	return false;
}

static void
free_keys(EndpointKey *keys, int n)
{
	for (int i = 0; i < n; i++)
		wh_key_wipe(&keys[i].key);
	free(keys);
}

/* Is there a key among these that is not among those? */
static bool
has_new_key(const EndpointKey *keys, int n_keys, const EndpointKey *known, int n_known)
{
	for (int i = 0; i < n_keys; i++)
	{
		const WhKey *key = &keys[i].key;
		int k = 0;

		while (k < n_known &&
			   (known[k].key.len != key->len || memcmp(known[k].key.bytes, key->bytes, key->len) != 0))
			k++;
		if (k == n_known)
			return true;
	}
	return false;
}

bool
wh_endpoint_set(Endpoint *endpoint, WhSubscription *copy, Profile *profile, EndpointKey *room,
				const WhSubscription *from)
{
	EndpointKey *known = endpoint->keys;
	int n_known = endpoint->n_keys;
	bool is_new;
	const char *why;

	if (!same_credentials(&endpoint->sub, copy))
	{
		wh_token_let_go(endpoint->token);
		endpoint->token = NULL;
	}
	wh_endpoint_free_copy(&endpoint->sub);
	endpoint->sub = *copy;
	memset(copy, 0, sizeof(*copy));
	wh_profile_let_go(endpoint->profile);
	endpoint->profile = profile;
	endpoint->keys = room;
	endpoint->n_keys = 0;
	for (int i = 0; i < from->n_secrets; i++)
		if (wh_secret_decode(&profile->signing, from->secrets[i], &room[endpoint->n_keys].key, &why))
			room[endpoint->n_keys++].expires_us = from->secret_expires_us[i];
	is_new = has_new_key(room, endpoint->n_keys, known, n_known);
	free_keys(known, n_known);
	return is_new;
}

int
wh_endpoint_keys(const Endpoint *endpoint, int64_t now_us, const WhKey *live[WH_SECRETS_MAX])
{
	int n = 0;

	for (int i = 0; i < endpoint->n_keys; i++)
		if (endpoint->keys[i].expires_us == 0 || endpoint->keys[i].expires_us > now_us)
			live[n++] = &endpoint->keys[i].key;
	return n;
}

void
wh_endpoint_free(Endpoint *endpoint)
{
	wh_endpoint_free_copy(&endpoint->sub);
	wh_profile_let_go(endpoint->profile);
	wh_token_let_go(endpoint->token);
	free_keys(endpoint->keys, endpoint->n_keys);
	free(endpoint);
}

uint64_t
wh_endpoint_lane(const Endpoint *endpoint, const WhEvent *event)
{
	uint64_t hash = WH_HASH_START;

	switch (endpoint->sub.ordering)
	{
		case WH_ORDER_STRICT:
			return wh_hash_bytes(hash, &endpoint->sub.id, sizeof(endpoint->sub.id));
		case WH_ORDER_NONE:
			return wh_hash_bytes(hash, &event->id, sizeof(event->id));
		case WH_ORDER_ENTITY:
			break;
	}
	hash = wh_hash_bytes(hash, event->entity_type, strlen(event->entity_type) + 1);
	return event->entity_id ? wh_hash_bytes(hash, event->entity_id, strlen(event->entity_id)) : hash;
}

void
wh_endpoint_count(Endpoint *endpoint, const WhDelivery *d, int64_t now_us)
{
	if (d->disposal == WH_DO_DONE && d->transformed == WH_LEFT_OUT)
		return; /* nothing was sent */
	if (d->disposal == WH_DO_DONE)
	{
		endpoint->delivered++;
		endpoint->last_success_us = now_us;
	}
	else
	{
		endpoint->failed++;
		endpoint->last_failure_us = now_us;
		endpoint->last_error = d->word;
	}
}

void
wh_endpoint_counts(const Endpoint *endpoint, WhCounts *out)
{
	out->breaker = endpoint->breaker.state;
	out->next_probe_us = endpoint->breaker.state == WH_BREAKER_OPEN ? endpoint->breaker.probe_at_us : 0;
	out->delivered = endpoint->delivered;
	out->failed = endpoint->failed;
	out->last_success_us = endpoint->last_success_us;
	out->last_failure_us = endpoint->last_failure_us;
	out->last_error = endpoint->last_error;
}

bool
wh_endpoints_add(Endpoint ***list, int *n, int *cap, Endpoint *endpoint)
{
	if (*n == *cap)
	{
		int larger = *cap ? *cap * 2 : 64;
		Endpoint **grown = realloc(*list, (size_t) larger * sizeof(Endpoint *));

		if (grown == NULL)
			return false;
		*list = grown;
		*cap = larger;
	}
	endpoint->index = *n;
	(*list)[(*n)++] = endpoint;
	return true;
}
