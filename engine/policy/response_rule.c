/*
 * response_rule.c
 *	  What the body of a response says: the rule by which a profile counts some
 *	  2xx responses as failures.
 *
 * Owns nothing. json_text.c reads the body; its size is limited as responses are.
 */
#include "response_rule.h"

#include "json_text.h"
#include "types.h"

/* A member's value in the answer; of several, the last. False: it is missing or incomplete. */
static bool
find(const char *answer, WhText key, WhText *value)
{
	const char *end = answer + strlen(answer);
	WhMembers members;
	WhMember member;
	bool found = false;

	if (!wh_json_members(answer, (size_t) (end - answer), &members))
		return false;
	while (wh_json_next(&members, &member))
		/* something must follow it: a number at the very end may have been cut off */
		if (wh_json_compare(member.key, key) == 0 && member.value.at + member.value.len < end)
		{
			*value = member.value;
			found = true;
		}
	return found;
}

static bool
same(WhText a, WhText b)
{
	bool string = wh_json_inside_string(&a);

	if (string != wh_json_inside_string(&b))
		return false;
	if (string)
		return wh_json_compare(a, b) == 0;
	return a.len == b.len && memcmp(a.at, b.at, a.len) == 0;
}

bool
wh_answer_matches(const char *rule, const char *answer)
{
	WhMembers members;
	WhMember wanted;
	WhText value;
	int n = 0;

	if (!wh_json_members(rule, strlen(rule), &members))
		return false;
	for (; wh_json_next(&members, &wanted); n++)
		if (!find(answer, wanted.key, &value) || !same(value, wanted.value))
			return false;
	return n > 0;
}

/* Append one value as text, after ": " if there is text already. */
static void
put_value(WhBuffer *text, WhText value)
{
	if (value.len == 4 && memcmp(value.at, "null", 4) == 0)
		return;
	if (text->len > 0)
		wh_buffer_append(text, ": ", 2);
	if (wh_json_inside_string(&value))
		wh_json_unescape(text, value.at, value.len);
	else
		wh_buffer_append(text, value.at, value.len);
}

void
wh_answer_text(const char *names, const char *answer, char *out, size_t out_size)
{
	WhBuffer text;
	WhText value;
	size_t len;

	/* enough for the answer and what joins its members; on failure there is no text */
	wh_buffer_init(&text, WH_RESPONSE_KEPT * 4);
	for (const char *name = names; *name != '\0'; name += len + (name[len] != '\0'))
	{
		len = strcspn(name, "\n");
		if (find(answer, (WhText){name, len}, &value))
			put_value(&text, value);
	}
	len = text.len < out_size ? text.len : out_size - 1;
	while (len > 0 && len < text.len && ((unsigned char) text.data[len] & 0xc0) == 0x80)
		len--; /* within a character */
	for (size_t i = 0; i < len; i++)
		out[i] = (unsigned char) text.data[i] < 0x20 || text.data[i] == 0x7f ? ' ' : text.data[i];
	out[len] = '\0';
	wh_buffer_free(&text);
}
