/*
 * store_suspect.h
 *	  What is written down of events that may end the worker.
 */
#ifndef WEBHOOK_STORE_SUSPECT_H
#define WEBHOOK_STORE_SUSPECT_H

#include "postgres.h"

#include "store_read.h"

typedef struct WhSuspects
{
	WhPosition *matching; /* the page that was not survived begins here; NULL: there is none */
	WhPair suspect;       /* the step that was not survived; event 0: none */
	WhPair *killed;       /* steps that must not be done again */
	int n_killed;
} WhSuspects;

extern WhSuspects wh_store_suspects(void);
extern void wh_store_note_suspect(const char *kind, WhPair pair, const WhPosition *position);

#endif /* WEBHOOK_STORE_SUSPECT_H */
