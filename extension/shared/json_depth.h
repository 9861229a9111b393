/*
 * json_depth.h
 *	  The nesting depth of a text that should be JSON.
 */
#ifndef WEBHOOK_JSON_DEPTH_H
#define WEBHOOK_JSON_DEPTH_H

/* The most brackets and braces open at once, outside strings. Works for any text. */
extern int wh_json_depth(const char *text);

#endif /* WEBHOOK_JSON_DEPTH_H */
