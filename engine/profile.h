/*
 * profile.h
 *	  A profile as the engine holds it: its templates compiled, once for all
 *	  the subscriptions that use it.
 */
#ifndef WEBHOOK_PROFILE_H
#define WEBHOOK_PROFILE_H

#include "http.h"
#include "sign.h"
#include "template.h"
#include "types.h"

#define WH_HEADERS_MAX 32 /* headers of one profile */

/* Immutable: a row that differs makes another profile. */
typedef struct Profile
{
	struct Profile *next;
	struct Profile **list; /* the engine's, which it is in */
	int refs;
	WhProfile row;     /* a copy */
	WhSigning signing; /* its strings are the row's */
	WhTemplate *envelope;
	WhTemplate *batch_envelope;
	int n_headers;
	WhTemplate *headers[WH_HEADERS_MAX]; /* each a whole line, "Name: value" */
	char problem[WH_ERROR_MAX];          /* why it is invalid; "": it is valid */
} Profile;

/*
 * Returns the profile of this row: one from the list, or a new one with a copy of
 * everything. The caller holds it until wh_profile_let_go; the last one frees it.
 * NULL: out of memory.
 */
extern Profile *wh_profile_hold(Profile **list, const WhProfile *row);
extern void wh_profile_let_go(Profile *profile);

/* Turns a 2xx whose body matches the profile's failure rule into a failure, with its text. */
extern void wh_profile_judge(const Profile *profile, WhTransfer *t);

#endif /* WEBHOOK_PROFILE_H */
