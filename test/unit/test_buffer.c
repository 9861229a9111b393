/*
 * test_buffer.c
 *	  The growing buffer: its limit, its invariants, and what a failed append
 *	  leaves behind.
 */
#include "unit.h"

#include "buffer.h"

static void
assert_sane(const WhBuffer *b)
{
	assert_true(b->len <= b->cap);
	assert_true(b->cap <= b->limit);
	if (b->data != NULL)
		assert_int_equal(b->data[b->len], '\0');
	else
		assert_int_equal(b->len, 0);
}

static void
test_appends(void **state)
{
	WhBuffer b;

	(void) state;
	wh_buffer_init(&b, 1000);
	assert_sane(&b);
	assert_true(wh_buffer_puts(&b, ""));
	assert_true(wh_buffer_puts(&b, "one "));
	assert_true(wh_buffer_append(&b, "tw\0o", 4));
	assert_sane(&b);
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "one tw\0o", 9);

	wh_buffer_reset(&b);
	assert_sane(&b);
	assert_string_equal(b.data, "");
	assert_true(b.cap > 0);
	wh_buffer_free(&b);
	assert_sane(&b);
	/* and it can be used again */
	assert_true(wh_buffer_puts(&b, "again"));
	assert_string_equal(b.data, "again");
	wh_buffer_free(&b);
}

/* Reset and freed buffers that never held anything. */
static void
test_empty(void **state)
{
	WhBuffer b;

	(void) state;
	wh_buffer_init(&b, 10);
	wh_buffer_reset(&b);
	assert_null(b.data);
	wh_buffer_free(&b);
	wh_buffer_free(&b);
	assert_sane(&b);
}

/* Byte by byte up to each of several limits, and not one further. */
static void
test_limits(void **state)
{
	static const size_t limits[] = {0, 1, 2, 255, 256, 257, 511, 512, 513, 5000};

	(void) state;
	for (size_t i = 0; i < lengthof(limits); i++)
	{
		WhBuffer b;

		wh_buffer_init(&b, limits[i]);
		for (size_t n = 0; n < limits[i]; n++)
		{
			assert_true(wh_buffer_append(&b, "x", 1));
			assert_sane(&b);
		}
		assert_int_equal(b.len, limits[i]);
		assert_false(wh_buffer_append(&b, "y", 1));
		assert_true(b.failed);
		assert_int_equal(b.len, limits[i]);
		assert_sane(&b);
		wh_buffer_free(&b);
	}
}

/* An append that does not fit changes nothing, and fails all that follow until the reset. */
static void
test_failure_sticks(void **state)
{
	WhBuffer b;

	(void) state;
	wh_buffer_init(&b, 8);
	assert_true(wh_buffer_puts(&b, "12345"));
	assert_false(wh_buffer_puts(&b, "6789"));
	assert_string_equal(b.data, "12345");
	assert_false(wh_buffer_puts(&b, "6"));
	assert_string_equal(b.data, "12345");
	wh_buffer_reset(&b);
	assert_true(wh_buffer_puts(&b, "12345678"));
	assert_string_equal(b.data, "12345678");
	wh_buffer_free(&b);
}

/* A length near SIZE_MAX must not wrap round the check. */
static void
test_huge_append(void **state)
{
	WhBuffer b;

	(void) state;
	wh_buffer_init(&b, 100);
	assert_true(wh_buffer_puts(&b, "abc"));
	/* volatile, lest the compiler warn about what is the point here */
	volatile size_t huge = SIZE_MAX;

	assert_false(wh_buffer_append(&b, "x", huge));
	assert_string_equal(b.data, "abc");
	wh_buffer_free(&b);
}

static void
test_no_memory(void **state)
{
	(void) state;
	for (long n = 1;; n++)
	{
		WhBuffer b;
		size_t held = 0;

		wh_buffer_init(&b, 4096);
		fail_malloc_at(n);
		for (int i = 0; i < 200; i++)
			if (wh_buffer_puts(&b, "0123456789"))
				held += 10;
		if (!malloc_has_failed())
		{
			assert_true(n > 3);
			assert_int_equal(b.len, 2000);
			wh_buffer_free(&b);
			return;
		}
		assert_true(b.failed);
		assert_int_equal(b.len, held);
		assert_sane(&b);
		wh_buffer_reset(&b);
		assert_true(wh_buffer_puts(&b, "well again"));
		wh_buffer_free(&b);
	}
}

/* Room made beforehand is what was asked for; what is large grows by a quarter; why it failed is told. */
static void
test_large(void **state)
{
	size_t half = 512 * 1024;
	char *bytes = calloc(1, half);
	WhBuffer b;

	(void) state;
	wh_buffer_init(&b, 100 * half);
	wh_buffer_reserve(&b, 9 * half);
	assert_int_equal(b.cap, 9 * half);
	assert_sane(&b);
	for (int i = 0; i < 9; i++)
		assert_true(wh_buffer_append(&b, bytes, half));
	assert_int_equal(b.cap, 9 * half);
	assert_true(wh_buffer_append(&b, bytes, half));
	assert_true(b.cap < 12 * half);
	wh_buffer_reserve(&b, 5);
	assert_int_equal(b.len, 10 * half);
	wh_buffer_reserve(&b, 1000 * half);
	assert_int_equal(b.cap, 100 * half);
	for (int i = 0; i < 90; i++)
		assert_true(wh_buffer_append(&b, bytes, half));
	assert_false(wh_buffer_append(&b, bytes, 1));
	assert_true(b.failed && b.full);
	wh_buffer_reset(&b);
	assert_false(b.full);
	wh_buffer_free(&b);

	wh_buffer_init(&b, 100 * half);
	fail_malloc_at(1);
	wh_buffer_reserve(&b, 9 * half);
	assert_true(malloc_has_failed());
	assert_false(b.failed);
	fail_malloc_at(1);
	assert_false(wh_buffer_append(&b, bytes, half));
	assert_true(malloc_has_failed());
	assert_true(b.failed && !b.full);
	wh_buffer_free(&b);
	free(bytes);
}

/* The whole, put together of its pieces. */
static void
assert_whole(const WhBuffer *b, const char *expected, size_t len)
{
	const char *at;
	size_t n;
	size_t done = 0;

	assert_int_equal(wh_buffer_total(b), len);
	for (size_t i = 0; wh_buffer_piece(b, i, &at, &n); i++)
	{
		assert_true(n <= len - done);
		assert_memory_equal(at, expected + done, n);
		done += n;
	}
	assert_int_equal(done, len);
}

/* Long texts are lent, wherever they stand; short ones are copied; the limit counts both. */
static void
test_lends(void **state)
{
	static char text[WH_LENT_MIN];
	static char expected[4 * WH_LENT_MIN];
	const char *first;
	size_t len;
	size_t at = 0;
	WhBuffer b;

	(void) state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '}';
	wh_buffer_init(&b, sizeof(expected));
	b.lends = true;
	assert_whole(&b, "", 0);
	assert_true(wh_buffer_lend(&b, text, sizeof(text)));
	assert_true(wh_buffer_piece(&b, 1, &first, &len));
	assert_ptr_equal(first, text);
	assert_int_equal(b.data[b.len - 1], '}');
	assert_true(wh_buffer_puts(&b, ", "));
	assert_true(wh_buffer_lend(&b, text, sizeof(text)));
	assert_true(wh_buffer_lend(&b, text, sizeof(text) - 1));
	assert_int_equal(b.n_lent, 2);
	memcpy(expected + at, text, sizeof(text));
	memcpy(expected + (at += sizeof(text)), ", ", 2);
	memcpy(expected + (at += 2), text, sizeof(text));
	memcpy(expected + (at += sizeof(text)), text, sizeof(text) - 1);
	at += sizeof(text) - 1;
	assert_whole(&b, expected, at);
	assert_sane(&b);

	/* back to the comma, and again to the beginning */
	wh_buffer_cut(&b, 2);
	assert_whole(&b, expected, sizeof(text) + 1);
	wh_buffer_cut(&b, 0);
	assert_whole(&b, "", 0);

	/* up to the limit and not beyond it, whether copied or lent */
	wh_buffer_free(&b);
	wh_buffer_init(&b, 3 * sizeof(text));
	b.lends = true;
	for (int i = 0; i < 3; i++)
		assert_true(wh_buffer_lend(&b, text, sizeof(text)));
	assert_false(wh_buffer_append(&b, "x", 1));
	assert_true(b.full);
	assert_int_equal(wh_buffer_total(&b), b.limit);
	wh_buffer_reset(&b);
	assert_true(wh_buffer_puts(&b, "x"));
	for (int i = 0; i < 2; i++)
		assert_true(wh_buffer_lend(&b, text, sizeof(text)));
	assert_false(wh_buffer_lend(&b, text, sizeof(text)));
	assert_true(b.full);
	wh_buffer_free(&b);

	/* without memory for the note it is copied; a buffer that does not lend copies */
	wh_buffer_init(&b, 3 * sizeof(text));
	b.lends = true;
	fail_malloc_at(1);
	assert_true(wh_buffer_lend(&b, text, sizeof(text)));
	assert_true(malloc_has_failed());
	assert_int_equal(b.n_lent, 0);
	assert_whole(&b, text, sizeof(text));
	wh_buffer_free(&b);
	wh_buffer_init(&b, 3 * sizeof(text));
	assert_true(wh_buffer_lend(&b, text, sizeof(text)));
	assert_int_equal(b.n_lent, 0);
	assert_whole(&b, text, sizeof(text));
	wh_buffer_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_appends),     cmocka_unit_test(test_empty),
		cmocka_unit_test(test_limits),      cmocka_unit_test(test_failure_sticks),
		cmocka_unit_test(test_huge_append), cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_large),       cmocka_unit_test(test_lends),
	};

	return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
