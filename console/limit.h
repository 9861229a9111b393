/*
 * limit.h
 *	  How many attempts to log in may fail: per address, and per address and role.
 */
#ifndef CONSOLE_LIMIT_H
#define CONSOLE_LIMIT_H

/* Seconds until the next attempt may be made; 0: now. */
extern int limit_wait(const char *address, const char *user);

/* An attempt counts as failed until it has succeeded. */
extern void limit_failed(const char *address, const char *user);
extern void limit_succeeded(const char *address, const char *user);

#endif /* CONSOLE_LIMIT_H */
