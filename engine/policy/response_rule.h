/*
 * response_rule.h
 *	  What the body of a response says: the rule of a profile by which a 2xx is a
 *	  failure.
 *
 * A response comes from outside: it may not be JSON, and it is truncated at
 * WH_RESPONSE_KEPT bytes. The members of an object count that are complete before
 * the end or the first error; of a duplicate member, the last.
 */
#ifndef WEBHOOK_RESPONSE_RULE_H
#define WEBHOOK_RESPONSE_RULE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Is the answer an object with all members of `rule`, a JSON object of scalars
 * as PostgreSQL has checked it? Strings are compared as they are meant, other
 * scalars as they are written. An empty rule matches nothing.
 */
extern bool wh_answer_matches(const char *rule, const char *answer);

/*
 * What went wrong, for people: the members named in `names` (a line each) that
 * the answer has and that are not null, joined by ": ". Control characters
 * become blanks; what does not fit is left out, by whole characters. Empty: it
 * says nothing.
 */
extern void wh_answer_text(const char *names, const char *answer, char *out, size_t out_size);

#endif /* WEBHOOK_RESPONSE_RULE_H */
