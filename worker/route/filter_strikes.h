/*
 * filter_strikes.h
 *	  Subscriptions whose filters keep exceeding their limits.
 */
#ifndef WEBHOOK_FILTER_STRIKES_H
#define WEBHOOK_FILTER_STRIKES_H

#include "postgres.h"

#define WH_STRIKES_OUT 3 /* in a row; documented in docs/guide.md */

/* This subscription's filter exceeded its limits for this event; or it judged one within them. */
extern void wh_strike(int64 subscription_id, int64 event_number, const char *why);
extern void wh_strikes_forget(int64 subscription_id);

/* Must it be disabled? Then nothing more is judged for it. */
extern bool wh_strikes_out(int64 subscription_id);

/* One that must be, and why; 0: none. It was disabled. It was read again since, and counts from zero. */
extern int64 wh_strikes_next(const char **why);
extern void wh_strikes_disabled(int64 subscription_id);
extern void wh_strikes_reread(int64 subscription_id);

#endif /* WEBHOOK_FILTER_STRIKES_H */
