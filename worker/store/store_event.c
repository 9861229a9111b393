/*
 * store_event.c
 *	  Rows of the outbox, and the events made of them.
 *
 * Runs in a transaction. A row is read as it lies in the table: large values stay
 * out of line, and are neither fetched nor decompressed unless somebody wants the
 * event. What decides that, the entity and the action, is usually short and copied
 * at once. If it is long, only its beginning is copied, with a mark that makes it
 * equal to nothing.
 *
 * An event's content is fetched one column at a time, straight to its final place.
 * So an event of N bytes takes N, and for a moment its largest column as compressed
 * (with lz4 that column once more); in a database whose encoding is not UTF-8, for a
 * moment twice as much. An event that is larger than this worker may hold gets no
 * content but a problem, with which it ends as a dead letter.
 *
 * Rows belong to SPI and the transaction, events to malloc.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/toast_compression.h"
#include "common/pg_lzcompress.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "clock.h"
#include "memory_limit.h"
#include "store.h"
#include "store_event.h"
#include "tx_guard.h"

#define HEAD_STRING_MAX 8000 /* bytes of a string that is copied at once; a page has 500 of each */

/* A byte that no text contains: a string that ends with it equals no text. */
#define CUT_MARK '\xff'

/* The columns of WH_EVENT_COLUMNS, from where they begin. */
enum
{
	ID,
	XID,
	ENTITY_ID,
	ENTITY_TYPE,
	ACTION,
	RESULT,
	PREVIOUS,
	TENANT,
	CONTEXT,
	SUBSCRIPTION_ID,
	CREATED_AT,
	SEGMENT
};

static Datum
column(const WhRow *row, int n, bool *isnull)
{
	return SPI_getbinval(row->tuple, row->desc, row->at + n, isnull);
}

/*
 * Bytes of text in a column, without reading them; 0 where it is null. What is packed or
 * out of line only claims this size: `fill` compares it with what is there.
 */
static size_t
size_of(WhRow *row, int n)
{
	bool isnull;
	Datum datum = column(row, n, &isnull);
	const struct varlena *value = (const struct varlena *) DatumGetPointer(datum);

	if (isnull)
		return 0;
	row->claims = row->claims || VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value);
	/* a corrupt claim may be negative: no sum of them overflows */
	return Min(toast_raw_datum_size(datum) - VARHDRSZ, MaxAllocSize);
}

/* Whether a column is packed or out of line, so that it may be corrupt where the rest of its row is not. */
static bool
is_packed(const WhRow *row, int n)
{
	bool isnull;
	const struct varlena *value = (const struct varlena *) DatumGetPointer(column(row, n, &isnull));

	return !isnull && (VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value));
}

/* Fetch what is stored out of line, as it is stored, behind the head of `to`. */
static void
fetch(const struct varatt_external *stored, struct varlena *to)
{
	int32 size = VARATT_EXTERNAL_GET_EXTSIZE(*stored);
	Relation toast = table_open(stored->va_toastrelid, AccessShareLock);

	if (VARATT_EXTERNAL_IS_COMPRESSED(*stored))
		SET_VARSIZE_COMPRESSED(to, size + VARHDRSZ);
	else
		SET_VARSIZE(to, size + VARHDRSZ);
	table_relation_fetch_toast_slice(toast, stored->va_valueid, size, 0, size, to);
	table_close(toast, AccessShareLock);
}

/* A value in the form that it has in memory: not out of line, but maybe compressed. */
static void
unpack(const struct varlena *value, char *to, size_t len)
{
	struct varlena *whole;

	if (VARATT_IS_COMPRESSED(value) &&
		VARDATA_COMPRESSED_GET_COMPRESS_METHOD(value) == TOAST_PGLZ_COMPRESSION_ID)
	{
		if (pglz_decompress((const char *) value + VARHDRSZ_COMPRESSED, VARSIZE(value) - VARHDRSZ_COMPRESSED,
							to, (int32) len, true) != (int32) len)
			ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED), errmsg("compressed pglz data is corrupt"));
		return;
	}
	if (toast_raw_datum_size(PointerGetDatum(value)) != len + VARHDRSZ) /* before memory is taken for it */
		ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED),
				errmsg_internal("a value of %zu bytes has %zu", len,
								(size_t) (toast_raw_datum_size(PointerGetDatum(value)) - VARHDRSZ)));
	whole = pg_detoast_datum_packed(unconstify(struct varlena *, value));
	if (VARSIZE_ANY_EXHDR(whole) != len)
		elog(ERROR, "a value of %zu bytes has %zu", len, (size_t) VARSIZE_ANY_EXHDR(whole));
	memcpy(to, VARDATA_ANY(whole), len);
	if (whole != value)
		pfree(whole);
}

/*
 * Bring a column's text to its place, with as few copies as its form allows: what is out
 * of line and not compressed is fetched to where it is to be, and pglz unpacks there.
 */
static void
fill(const WhRow *row, int n, const char *at, size_t len)
{
	bool isnull;
	Datum datum = column(row, n, &isnull);
	const struct varlena *value = (const struct varlena *) DatumGetPointer(datum);
	char *to = unconstify(char *, at);

	struct varatt_external stored;

	if (isnull)
		return;
	if (!VARATT_IS_EXTERNAL_ONDISK(value))
	{
		if (len > 0) /* else it has no place */
			unpack(value, to, len);
		return;
	}
	VARATT_EXTERNAL_GET_POINTER(stored, value);
	/* the slice that is fetched is as long as the pointer says, wherever it is put */
	if (len == 0 || VARATT_EXTERNAL_GET_EXTSIZE(stored) > len)
		ereport(ERROR, errcode(ERRCODE_DATA_CORRUPTED),
				errmsg_internal("a value of %zu bytes has %zu in its TOAST table", len,
								(size_t) VARATT_EXTERNAL_GET_EXTSIZE(stored)));
	if (VARATT_EXTERNAL_IS_COMPRESSED(stored))
	{
		struct varlena *packed = palloc(VARHDRSZ + VARATT_EXTERNAL_GET_EXTSIZE(stored));

		fetch(&stored, packed);
		unpack(packed, to, len);
		pfree(packed);
	}
	else
		fetch(&stored, (struct varlena *) (to - WH_JSON_HEAD));
}

StaticAssertDecl(WH_JSON_HEAD == VARHDRSZ, "the place of a column's text begins with room for its length");

/* A column's text in UTF-8; NULL where it is null. */
static char *
whole_text(WhRow *row, int n)
{
	bool isnull;
	Datum value = column(row, n, &isnull);
	char *string;
	char *utf8;

	if (isnull)
		return NULL;
	if (is_packed(row, n)) /* takes as much memory as it is believed to need, whatever is behind it */
	{
		size_t len = size_of(row, n);

		string = palloc(WH_JSON_HEAD + len + 1);
		fill(row, n, string + WH_JSON_HEAD, len);
		memmove(string, string + WH_JSON_HEAD, len);
		string[len] = '\0';
	}
	else
		string = TextDatumGetCString(value);
	utf8 = wh_to_utf8(string);
	if (utf8 != string)
		pfree(string);
	return utf8;
}

static char *
head_text(WhRow *row, int n)
{
	size_t size = size_of(row, n);
	bool isnull;
	text *slice;
	char *string;

	row->size += size;
	row->bytes += Min(size, HEAD_STRING_MAX);
	if (size <= HEAD_STRING_MAX)
		return whole_text(row, n);
	row->cut = true;
	slice = DatumGetTextPSlice(column(row, n, &isnull), 0, HEAD_STRING_MAX);
	string = text_to_cstring(slice);
	string[pg_mbcliplen(string, strlen(string), HEAD_STRING_MAX)] = '\0';
	return psprintf("%s%c", wh_to_utf8(string), CUT_MARK);
}

/* The strings that decide who wants the event. */
static void
read_head(void *arg)
{
	WhRow *row = arg;

	row->head.entity_id = head_text(row, ENTITY_ID);
	row->head.entity_type = head_text(row, ENTITY_TYPE);
	row->head.action_type = head_text(row, ACTION);
	row->head.tenant = head_text(row, TENANT);
}

/* No memory, or a lock on where large values lie, is nothing of the event's: the step is repeated. */
static void
raise_shortage(int code, const char *why)
{
	if (code == ERRCODE_OUT_OF_MEMORY || wh_code_is_lock(code))
		ereport(ERROR, errcode(code), errmsg_internal("%s", why));
}

/* The same where it may fail: an event without them is for those who want all, and is not read. */
static void
try_head(WhRow *row)
{
	const char *why;
	int code;

	if (wh_tx_guarded(read_head, row, &code, &why))
		return;
	raise_shortage(code, why);
	row->head.entity_id = row->head.entity_type = row->head.action_type = row->head.tenant = NULL;
	row->cut = row->claims = true;
	ereport(
		WARNING, errcode(ERRCODE_DATA_CORRUPTED),
		errmsg("webhook event %lld is corrupt", (long long) row->head.id), errdetail_internal("%s", why),
		errhint("What it is of cannot be read. Only subscriptions to all events get it, as a dead letter."));
}

void
wh_store_row(HeapTuple tuple, TupleDesc desc, int at, WhRow *row)
{
	WhEvent *e = &row->head;
	bool isnull;
	Datum value;

	memset(row, 0, sizeof(*row));
	row->tuple = tuple;
	row->desc = desc;
	row->at = at;
	row->bytes = tuple->t_len + sizeof(HeapTupleData);
	e->id = DatumGetInt64(column(row, ID, &isnull));
	e->xid = U64FromFullTransactionId(DatumGetFullTransactionId(column(row, XID, &isnull)));
	if (is_packed(row, ENTITY_ID) || is_packed(row, ENTITY_TYPE) || is_packed(row, ACTION) ||
		is_packed(row, TENANT))
		try_head(row);
	else
		read_head(row);
	value = column(row, SUBSCRIPTION_ID, &isnull);
	e->subscription_id = isnull ? 0 : DatumGetInt64(value);
	/* may be missing if somebody has dropped a NOT NULL */
	e->entity_type = e->entity_type ? e->entity_type : "";
	e->action_type = e->action_type ? e->action_type : "";
	value = column(row, CREATED_AT, &isnull);
	e->created_us = WH_UNIX_EPOCH_US;
	if (!isnull && !TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(value)))
		e->created_us += DatumGetTimestampTz(value);
	e->segment = DatumGetInt16(column(row, SEGMENT, &isnull));
	row->size += size_of(row, RESULT) + size_of(row, PREVIOUS) + size_of(row, CONTEXT);
}

static WhEvent *
made(WhEvent *event)
{
	if (event == NULL)
		ereport(ERROR, errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"));
	return event;
}

/* A string that may have been cut, as text for people. */
static const char *
unmarked(const char *string)
{
	size_t len = string ? strlen(string) : 0;

	return len > 0 && string[len - 1] == CUT_MARK ? pnstrdup(string, len - 1) : string;
}

static WhEvent *
without_content(const WhRow *row, const char *problem)
{
	WhEvent e = row->head;

	e.entity_id = unmarked(e.entity_id);
	e.entity_type = unmarked(e.entity_type);
	e.action_type = unmarked(e.action_type);
	e.tenant = unmarked(e.tenant);
	e.problem = problem;
	return made(wh_event_make(&e));
}

WhEvent *
wh_row_unread(WhRow *row, const char *problem)
{
	wh_event_release(row->event);
	row->event = NULL;
	return row->event = without_content(row, problem);
}

WhEvent *
wh_row_light(WhRow *row)
{
	if (row->light == NULL)
	{
		row->light = without_content(row, "its content was not read");
		row->light->size = sizeof(WhEvent) + row->size;
	}
	return row->light;
}

void
wh_row_release(WhRow *row)
{
	wh_event_release(row->event);
	wh_event_release(row->making);
	wh_event_release(row->light);
	row->event = row->making = row->light = NULL;
}

static void
read_content(WhRow *row, WhEvent *e)
{
	size_t len[] = {size_of(row, RESULT), size_of(row, PREVIOUS), size_of(row, CONTEXT)};

	if (GetDatabaseEncoding() == PG_UTF8)
	{
		row->making = made(wh_event_begin(e, len[0], len[1], len[2]));
		fill(row, RESULT, row->making->result, len[0]);
		fill(row, PREVIOUS, row->making->previous, len[1]);
		fill(row, CONTEXT, row->making->context, len[2]);
		return;
	}
	e->result = whole_text(row, RESULT);
	e->result_len = e->result ? strlen(e->result) : 0;
	e->previous = whole_text(row, PREVIOUS);
	e->previous_len = e->previous ? strlen(e->previous) : 0;
	e->context = whole_text(row, CONTEXT);
	row->making = made(wh_event_make(e));
	if (e->result)
		pfree(unconstify(char *, e->result));
	if (e->previous)
		pfree(unconstify(char *, e->previous));
	if (e->context)
		pfree(unconstify(char *, e->context));
}

WhEvent *
wh_row_event(WhRow *row)
{
	WhEvent e = row->head;

	if (row->event)
		return row->event;
	if (row->size > wh_event_size_max())
		return wh_row_unread(row, psprintf("the event has %zu bytes, more than the limit of %zu", row->size,
										   wh_event_size_max()));
	if (row->cut)
	{
		e.entity_id = whole_text(row, ENTITY_ID);
		e.entity_type = whole_text(row, ENTITY_TYPE);
		e.action_type = whole_text(row, ACTION);
		e.tenant = whole_text(row, TENANT);
	}
	wh_event_release(row->making); /* of a try that failed */
	row->making = NULL;
	read_content(row, &e);
	row->event = row->making;
	row->making = NULL;
	return row->event;
}

static WhRow single; /* while its event is made, which may raise an error */

static void
read_single(void *arg)
{
	(void) wh_row_event(&single);
}

WhEvent *
wh_store_event(HeapTuple tuple, TupleDesc desc, int at)
{
	WhEvent *event;
	const char *why;
	int code;

	wh_store_event_drop();
	wh_store_row(tuple, desc, at, &single);
	if (!single.claims)
		read_single(NULL);
	else if (!wh_tx_guarded(read_single, NULL, &code, &why))
	{
		raise_shortage(code, why);
		(void) wh_row_unread(&single, psprintf("the event could not be read: %s", why));
	}
	event = single.event;
	single.event = NULL;
	return event;
}

void
wh_store_event_drop(void)
{
	wh_row_release(&single);
}
