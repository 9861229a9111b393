/*
 * handle.h
 *	  What is done with a request: pages, files, and routes.
 */
#ifndef CONSOLE_HANDLE_H
#define CONSOLE_HANDLE_H

#include "session.h"

/* `folder`: where the files of the pages are read from; NULL: those that are compiled in. */
extern void handle_start(const Settings *settings, const char *folder);
extern void handle_request(Request *request);

#endif /* CONSOLE_HANDLE_H */
