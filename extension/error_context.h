/*
 * error_context.h
 *	  Errors of ours are shown without a CONTEXT of ours.
 */
#ifndef WEBHOOK_ERROR_CONTEXT_H
#define WEBHOOK_ERROR_CONTEXT_H

/* From _PG_init: look at what this process reports from now on. */
extern void wh_error_context_install(void);

/* Take the frames of our own functions out of a CONTEXT, in place. */
extern void wh_error_context_strip(char *context);

#endif /* WEBHOOK_ERROR_CONTEXT_H */
