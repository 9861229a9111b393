/*
 * buffer.h
 *	  A growing byte buffer that knows its limit.
 *
 * Used by every file of the engine. Memory comes from malloc, never palloc:
 * the engine has no PostgreSQL in it. Invariant: len <= cap <= limit, and
 * data[len] == '\0' whenever data is not NULL. An append that fails (limit
 * reached or no memory) leaves the buffer as it was and sets `failed`, which
 * stays set until wh_buffer_reset; so a writer may append many times and check
 * once at the end.
 */
#ifndef WEBHOOK_BUFFER_H
#define WEBHOOK_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct WhBuffer
{
	char *data;
	size_t len;
	size_t cap;   /* bytes that fit without growing, not counting the final NUL */
	size_t limit; /* most bytes it may ever hold */
	bool failed;
	bool full; /* failed because of the limit, not because memory ran out */
} WhBuffer;

static inline void
wh_buffer_init(WhBuffer *b, size_t limit)
{
	memset(b, 0, sizeof(*b));
	b->limit = limit;
}

static inline void
wh_buffer_reset(WhBuffer *b)
{
	b->len = 0;
	b->failed = b->full = false;
	if (b->data)
		b->data[0] = '\0';
}

static inline void
wh_buffer_free(WhBuffer *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

/* From this size on a buffer grows by a quarter instead of doubling: unused bytes count as well. */
#define WH_BUFFER_LARGE (1024 * 1024)

/*
 * Makes room for n bytes (at most the limit) at once, if it is known how many
 * will come. If memory runs out, nothing changes, and a later append fails.
 */
static inline void
wh_buffer_reserve(WhBuffer *b, size_t n)
{
	char *grown;

	if (n > b->limit)
		n = b->limit;
	if (n <= b->cap || (grown = realloc(b->data, n + 1)) == NULL)
		return;
	grown[b->len] = '\0';
	b->data = grown;
	b->cap = n;
}

static inline bool
wh_buffer_append(WhBuffer *b, const void *bytes, size_t n)
{
	if (b->failed)
		return false;
	if (n > b->limit - b->len)
	{
		b->failed = b->full = true;
		return false;
	}
	if (b->len + n > b->cap || b->data == NULL)
	{
		size_t want = b->cap ? b->cap : 256;
		char *grown;

		while (want < b->len + n)
			want += want < WH_BUFFER_LARGE ? want : want / 4;
		if (want > b->limit)
			want = b->limit;
		grown = realloc(b->data, want + 1);
		if (grown == NULL)
		{
			b->failed = true;
			return false;
		}
		b->data = grown;
		b->cap = want;
	}
	memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
	return true;
}

static inline bool
wh_buffer_puts(WhBuffer *b, const char *s)
{
	return wh_buffer_append(b, s, strlen(s));
}

#endif /* WEBHOOK_BUFFER_H */
