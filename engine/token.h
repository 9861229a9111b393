/*
 * token.h
 *	  An OAuth 2 token (RFC 6749, section 4.4): how one is requested, what the
 *	  answer says, and how long it is used.
 *
 * The credential "oauth2" is a JSON object of strings: token_url, client_id,
 * client_secret and, optionally, scope, audience, resource, and auth: how the
 * client authenticates, "basic" (the default) or "post".
 */
#ifndef WEBHOOK_TOKEN_H
#define WEBHOOK_TOKEN_H

#include "http.h"
#include "types.h"

#define WH_TOKEN_CREDENTIAL "oauth2" /* the kind of credential it is requested with */

/* A token, held by its endpoint and by the request that asks for one. */
typedef struct Token
{
	int refs;
	int64_t subscription_id;
	bool asking;                /* a request for a token is in flight */
	uint32_t number;            /* of the last token; 0: there has been none */
	char *header;               /* "Authorization: Bearer ..."; NULL: there is no token. Wiped */
	int64_t until_us;           /* when it is too old to be used */
	int64_t patience_us;        /* how long the next 401s do not end it; 0: no such 401 so far */
	int64_t patient_until_us;   /* until then 401s do not: the last two tokens were refused */
	WhOutcomeKind kind;         /* without a token: oauth; internal: none could be requested */
	char problem[WH_ERROR_MAX]; /* why there is no token, after the last request */
} Token;

/* Drops one reference; the last one frees it. NULL is allowed. */
extern void wh_token_let_go(Token *token);

/* Wipes the token. */
extern void wh_token_forget(Token *token);

/* Writes and starts the request for a token. False: the transfer says why not. */
extern bool wh_token_request(WhHttp *http, WhTransfer *t, const WhSubscription *sub);

/* The request has ended: there is a token, or a problem. */
extern void wh_token_take(Token *token, const WhTransfer *t, int64_t now_us);

/* Learns from the status of a response to a delivery that was sent with a token. */
extern void wh_token_learn(Token *token, const WhDelivery *d, int status, int64_t now_us);

/* Is the token kept for now in spite of a 401? */
extern bool wh_token_is_patient(const Token *token, int64_t now_us);

#endif /* WEBHOOK_TOKEN_H */
