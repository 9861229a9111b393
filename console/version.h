/*
 * version.h
 *	  The version of the program, which is that of the extension it belongs to.
 */
#ifndef CONSOLE_VERSION_H
#define CONSOLE_VERSION_H

#define PGWEBHOOK_VERSION "1.1"

#endif /* CONSOLE_VERSION_H */
