/*
 * store_profile.h
 *	  The profile of each subscription.
 */
#ifndef WEBHOOK_STORE_PROFILE_H
#define WEBHOOK_STORE_PROFILE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "store_sizes.h"

/*
 * Give each subscription its profile and params. Removes those that are gone since
 * they were read.
 */
extern List *wh_store_profiles(List *routes, const WhLeftOut *left, MemoryContext for_engine);

#endif /* WEBHOOK_STORE_PROFILE_H */
