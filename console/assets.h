/*
 * assets.h
 *	  The files of the pages, as they are in console/assets, compiled in.
 */
#ifndef CONSOLE_ASSETS_H
#define CONSOLE_ASSETS_H

#include <stddef.h>

typedef struct Asset
{
	const char *name;
	const char *bytes;
	size_t len;
} Asset;

/* Made by console/assets.sh; ends with a NULL name. */
extern const Asset assets[];

#endif /* CONSOLE_ASSETS_H */
