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
 *
 * A buffer that `lends` need not be in one piece: long texts that outlive what is made
 * of it are not copied. It notes where they belong (wh_buffer_lend), and readers go from
 * piece to piece (wh_buffer_piece). The limit counts them too.
 */
#ifndef WEBHOOK_BUFFER_H
#define WEBHOOK_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Texts from this length on are lent. Shorter ones are better off with what is around them. */
#define WH_LENT_MIN (64 * 1024)

typedef struct WhLent
{
	size_t before; /* the byte of the buffer that comes after it */
	const char *text;
	size_t len;
} WhLent;

typedef struct WhBuffer
{
	char *data;
	size_t len;   /* of what is in `data` */
	size_t cap;   /* bytes that fit without growing, not counting the final NUL */
	size_t limit; /* most bytes it may ever hold */
	bool failed;
	bool full; /* failed because of the limit, not because memory ran out */
	bool lends;
	WhLent *lent; /* in order */
	size_t n_lent;
	size_t lent_len; /* of all of them together */
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
	b->len = b->n_lent = b->lent_len = 0;
	b->failed = b->full = false;
	if (b->data)
		b->data[0] = '\0';
}

static inline void
wh_buffer_free(WhBuffer *b)
{
	free(b->data);
	free(b->lent);
	b->data = NULL;
	b->lent = NULL;
	b->len = b->cap = b->n_lent = b->lent_len = 0;
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
	if (n > b->limit - b->len - b->lent_len)
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

/*
 * Append a text that outlives what is made of the buffer. All but its last byte may be
 * lent: so the last byte of the whole is in `data`, where a writer looks for it.
 */
static inline bool
wh_buffer_lend(WhBuffer *b, const char *text, size_t n)
{
	WhLent *more;

	if (!b->lends || b->failed || n < WH_LENT_MIN || n > b->limit - b->len - b->lent_len)
		return wh_buffer_append(b, text, n);
	more = realloc(b->lent, (b->n_lent + 1) * sizeof(WhLent));
	if (more == NULL)
		return wh_buffer_append(b, text, n);
	b->lent = more;
	b->lent[b->n_lent++] = (WhLent){.before = b->len, .text = text, .len = n - 1};
	b->lent_len += n - 1;
	return wh_buffer_append(b, text + n - 1, 1);
}

/* Take back what was appended since it had this length. */
static inline void
wh_buffer_cut(WhBuffer *b, size_t len)
{
	while (b->n_lent > 0 && b->lent[b->n_lent - 1].before >= len)
		b->lent_len -= b->lent[--b->n_lent].len;
	b->len = len;
	if (b->data)
		b->data[len] = '\0';
}

/* The length of the whole. */
static inline size_t
wh_buffer_total(const WhBuffer *b)
{
	return b->len + b->lent_len;
}

/* The i-th piece of the whole, from 0, which may be empty; false: there are no more. */
static inline bool
wh_buffer_piece(const WhBuffer *b, size_t i, const char **at, size_t *len)
{
	size_t k = i / 2;
	size_t from;

	if (k > b->n_lent || (i % 2 == 1 && k == b->n_lent))
		return false;
	if (i % 2 == 1)
	{
		*at = b->lent[k].text;
		*len = b->lent[k].len;
		return true;
	}
	from = k > 0 ? b->lent[k - 1].before : 0;
	*len = (k < b->n_lent ? b->lent[k].before : b->len) - from;
	*at = *len > 0 ? b->data + from : "";
	return true;
}

static inline bool
wh_buffer_puts(WhBuffer *b, const char *s)
{
	return wh_buffer_append(b, s, strlen(s));
}

#endif /* WEBHOOK_BUFFER_H */
