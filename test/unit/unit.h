/*
 * unit.h
 *	  What every unit test includes: cmocka with the headers it wants before
 *	  it, and a check that names the row of a table.
 */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "failing_malloc.h"

/* cmocka 2 asks for the sign of what is in a range; cmocka 1 takes all for unsigned. */
#ifndef assert_int_in_range
#define assert_int_in_range(value, minimum, maximum) assert_in_range((value), (minimum), (maximum))
#endif

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* Fail, naming the row of the table, unless the condition holds. */
#define check_row(name, condition)                                                                           \
	do                                                                                                       \
	{                                                                                                        \
		if (!(condition))                                                                                    \
			fail_msg("%s: not so: %s", (name), #condition);                                                  \
	} while (0)

#endif /* UNIT_H */
