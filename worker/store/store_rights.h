/*
 * store_rights.h
 *	  Whose rights the worker's statements have.
 */
#ifndef WEBHOOK_STORE_RIGHTS_H
#define WEBHOOK_STORE_RIGHTS_H

#include "postgres.h"

/* Between these two: the rights of the extension's owner, restricted. Holds a lock on the extension. */
extern void wh_rights_begin(void);
extern void wh_rights_end(void);
/* Release what a failed transaction may have left behind. */
extern void wh_rights_release(void);
/* In a transaction: the owner of the extension; InvalidOid: there is none, and nothing of it may run. */
extern Oid wh_rights_owner(void);
/* Since the last transaction began: the version of the extension, as pg_extension has it; "": there is none. */
extern const char *wh_rights_version(void);

/* The functions that were checked, as invalidations name them. */
typedef struct WhRightsSeen
{
	int n;
	bool too_many; /* any function may be one of them */
	uint32 hashes[256];
} WhRightsSeen;

extern void wh_rights_see(WhRightsSeen *seen, uint32 hash);
/* NULL, or whose code could run in statements on these tables, and what to do about that. */
extern const char *wh_rights_problem(Oid schema, Oid internal, const Oid *tables, int n, WhRightsSeen *seen);

#endif /* WEBHOOK_STORE_RIGHTS_H */
