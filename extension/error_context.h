/*
 * error_context.h
 *	  Our errors are shown without our functions in their CONTEXT.
 */
#ifndef WEBHOOK_ERROR_CONTEXT_H
#define WEBHOOK_ERROR_CONTEXT_H

/* For _PG_init: look at what this process reports from now on. */
extern void wh_error_context_install(void);

/* Remove the frames of our own functions from a CONTEXT, in place. */
extern void wh_error_context_strip(char *context);

#endif /* WEBHOOK_ERROR_CONTEXT_H */
