/*
 * json_text.h
 *	  Reading and writing JSON text without building a tree.
 *
 * If the text is valid JSON, as PostgreSQL's type json has checked it, the
 * results are right: a nested value is skipped by counting brackets, however
 * deep, and nothing recurses. In any other text, such as a truncated response,
 * the members before the first error are found, and no byte beyond the end is
 * read. Keys and strings are passed as they stand between their quotes;
 * comparing decodes them. Nothing here owns memory.
 */
#ifndef WEBHOOK_JSON_TEXT_H
#define WEBHOOK_JSON_TEXT_H

#include "buffer.h"

typedef enum WhValueKind
{
	WH_VALUE_NULL,
	WH_VALUE_TEXT, /* characters as they are */
	WH_VALUE_JSON  /* JSON text, perhaps with whitespace around it; not null */
} WhValueKind;

/* Points into a text; owns nothing. */
typedef struct WhValue
{
	WhValueKind kind;
	const char *at;
	size_t len;
} WhValue;

typedef struct WhText
{
	const char *at;
	size_t len;
} WhText;

typedef struct WhMember
{
	WhText key; /* as it stands in the JSON, without quotes */
	WhText value;
} WhMember;

typedef struct WhMembers
{
	const char *p;
	const char *end;
} WhMembers;

extern const char *wh_json_space(const char *p, const char *end);
extern WhText wh_json_trim(const char *at, size_t len);
extern bool wh_json_members(const char *at, size_t len, WhMembers *members);
extern bool wh_json_next(WhMembers *members, WhMember *member);
extern WhValue wh_json_value(const char *at, size_t len);
extern WhValue wh_json_find(WhValue object, const char *key, size_t len);
extern int wh_json_compare(WhText a, WhText b);
extern bool wh_json_is_number(const char *at, size_t len);

/* Reduces a string to what is between its quotes; false, and unchanged, if it is not a string. */
extern bool wh_json_inside_string(WhText *text);

extern void wh_json_escape(WhBuffer *b, const char *at, size_t len);
extern void wh_json_unescape(WhBuffer *b, const char *at, size_t len);

#endif /* WEBHOOK_JSON_TEXT_H */
