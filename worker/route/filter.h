/*
 * filter.h
 *	  Running a subscription's filter, in bounded time and memory.
 */
#ifndef WEBHOOK_FILTER_H
#define WEBHOOK_FILTER_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "store_subscriptions.h"

#define WH_FILTER_MEMORY (64 * 1024 * 1024) /* by which judging may let the process grow */

extern WhFilterShape wh_filter_shape(struct varlena *filter);

/*
 * As jsonb_path_match in silent mode: a result that is neither true nor false is
 * not true. If it takes longer than webhook.filter_timeout, the error's code is
 * WH_TIME_EXCEEDED.
 */
extern bool wh_filter_is_true(struct varlena *filter, WhFilterShape shape, const Jsonb *event);

#endif /* WEBHOOK_FILTER_H */
