/*
 * fuzz_response_rule.c
 *	  libFuzzer over responses: what a profile's rule makes of any bytes.
 *
 * The input is a response as http.c keeps it, except that it is UTF-8: text
 * without NUL. Whatever it is, nothing beyond its end is read, the verdict is
 * the same twice, and the error text is whole, short and without control
 * characters. Ownership: each run frees what it makes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "response_rule.h"
#include "must.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const rules[] = {"{\"status\": \"error\"}",
										"{\"ok\": false, \"n\": -1.5e3, \"x\": null}",
										"{\"\\u00e9\": \"\\ud83d\\ude00\"}"};
	char *answer = malloc(size + 1);
	char text[64];

	if (answer == NULL)
		abort();
	if (size > 0)
		memcpy(answer, data, size);
	answer[size] = '\0';
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
	{
		bool matches = wh_answer_matches(rules[i], answer);

		if (matches != wh_answer_matches(rules[i], answer) || (matches && strchr(answer, '{') == NULL))
			abort();
	}
	memset(text, 'x', sizeof(text));
	wh_answer_text("code\nmessage\nstatus", answer, text, sizeof(text));
	if (memchr(text, '\0', sizeof(text)) == NULL)
		abort();
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			abort();
	free(answer);
	return 0;
}
