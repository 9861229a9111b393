/*
 * aside.h
 *	  The worker steps aside for commands that need its database to themselves.
 */
#ifndef WEBHOOK_ASIDE_H
#define WEBHOOK_ASIDE_H

/* Called by _PG_init in the postmaster: look at utility commands from now on. */
extern void wh_aside_install(void);

#endif /* WEBHOOK_ASIDE_H */
