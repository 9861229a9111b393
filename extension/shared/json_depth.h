/*
 * json_depth.h
 *	  How deeply a text that should be JSON is nested.
 */
#ifndef WEBHOOK_JSON_DEPTH_H
#define WEBHOOK_JSON_DEPTH_H

/* The most brackets and braces open at once, outside of strings. For any text, also one that is no JSON. */
extern int wh_json_depth(const char *text);

#endif /* WEBHOOK_JSON_DEPTH_H */
