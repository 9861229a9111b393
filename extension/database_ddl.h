/*
 * database_ddl.h
 *	  The worker steps aside for commands that need exclusive use of its database.
 */
#ifndef WEBHOOK_DATABASE_DDL_H
#define WEBHOOK_DATABASE_DDL_H

/* For _PG_init, in the postmaster: look at utility commands from now on. */
extern void wh_database_ddl_install(void);

#endif /* WEBHOOK_DATABASE_DDL_H */
