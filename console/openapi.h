/*
 * openapi.h
 *	  The OpenAPI 3.1 document of the routes.
 */
#ifndef CONSOLE_OPENAPI_H
#define CONSOLE_OPENAPI_H

#include "buffer.h"

/* Append the document. False: out of memory. */
extern bool openapi_write(WhBuffer *out);

#endif /* CONSOLE_OPENAPI_H */
