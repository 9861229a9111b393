/*
 * json_depth.c
 *	  The nesting depth of a text that should be JSON.
 *
 * The server's JSON parser calls itself for each level, and raises an error if its stack
 * is too small. The depth is checked first where there must be no error, or where others
 * will parse the same text with less stack. Keeps nothing, takes no lock.
 */
#include "postgres.h"

#include "json_depth.h"

int
wh_json_depth(const char *text)
{
	int depth = 0;
	int deepest = 0;
	bool in_string = false;

	for (const char *at = text; *at != '\0'; at++)
	{
		if (in_string && *at == '\\' && at[1] != '\0')
			at++;
		else if (*at == '"')
			in_string = !in_string;
		else if (!in_string && (*at == '[' || *at == '{'))
		{
			depth++;
			deepest = Max(deepest, depth);
		}
		else if (!in_string && (*at == ']' || *at == '}'))
			depth--;
	}
	return deepest;
}
