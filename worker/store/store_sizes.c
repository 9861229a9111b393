/*
 * store_sizes.c
 *	  How large the configuration is, looked at before it is read.
 *
 * Runs in the transaction that reads the configuration. The size of what is saved
 * is bounded (extension/config_size.c), but rows can bypass the triggers that do
 * this, and ten thousand subscriptions of the largest size are too much as well.
 * So the sizes are read first, which takes no memory however large the values are.
 * What does not fit is not read, the largest first. Such a subscription is treated
 * as paused: its events are kept. If it is unknown which events it wants, those that
 * it may want are kept, and judged when it has been made smaller.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "grow.h"
#include "config_size.h"
#include "store.h"
#include "store_sizes.h"

#define ROWS_AT_ONCE 100
#define WARN_AT_MOST 10 /* subscriptions by name */

typedef struct Sizes
{
	int64 id;
	char name[64];
	Size sending;
	Size routing;
	bool leave_sending;
	bool leave_routing;
	const char *why;
} Sizes;

/* All rows of a table, each with its size. */
static void
each_row(const char *sql, const char *table, void (*row)(void *arg, HeapTuple, TupleDesc, const WhRowSize *),
		 void *arg)
{
	/* not kept: the columns of * may change */
	SPIPlanPtr plan = SPI_prepare(sql, 0, NULL);
	Portal portal;

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\"", sql);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			WhRowSize size;

			wh_config_row_size(table, SPI_tuptable->tupdesc, SPI_tuptable->vals[i], NULL, &size);
			row(arg, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &size);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
}

typedef struct Profiles
{
	char **too_large; /* names */
	int n;
	int cap;
} Profiles;

/* A short text column of a row; "" if it is null or long. */
static char *
short_text(HeapTuple row, TupleDesc desc, const char *name, Size max)
{
	int n = SPI_fnumber(desc, name);
	bool isnull = true;
	Datum value = n > 0 ? SPI_getbinval(row, desc, n, &isnull) : (Datum) 0;

	if (isnull || toast_raw_datum_size(value) - VARHDRSZ > max)
		return pstrdup("");
	return TextDatumGetCString(value);
}

/* A profile whose name is too long gets "": nothing can refer to it. */
static void
see_profile(void *arg, HeapTuple row, TupleDesc desc, const WhRowSize *size)
{
	Profiles *profiles = arg;

	if (size->why[0] == '\0')
		return;
	if (profiles->n == profiles->cap)
		profiles->too_large =
			wh_grow(CurrentMemoryContext, profiles->too_large, &profiles->cap, 16, sizeof(char *));
	profiles->too_large[profiles->n++] = short_text(row, desc, "name", 1024);
}

typedef struct All
{
	Sizes *list;
	int n;
	int cap;
	const Profiles *profiles;
} All;

static void
see_subscription(void *arg, HeapTuple row, TupleDesc desc, const WhRowSize *size)
{
	All *all = arg;
	Sizes *s;
	bool isnull;
	char *profile = short_text(row, desc, "profile", 1024);
	char *name = short_text(row, desc, "name", 1024);

	if (all->n == all->cap)
		all->list = wh_grow(CurrentMemoryContext, all->list, &all->cap, 256, sizeof(Sizes));
	s = &all->list[all->n++];
	memset(s, 0, sizeof(*s));
	s->id = DatumGetInt64(SPI_getbinval(row, desc, SPI_fnumber(desc, "id"), &isnull));
	strlcpy(s->name, name, sizeof(s->name));
	s->sending = size->sending;
	s->routing = size->routing;
	if (size->why[0])
	{
		s->why = pstrdup(size->why);
		s->leave_sending = true;
		s->leave_routing = size->why_routing;
	}
	for (int i = 0; i < all->profiles->n; i++)
		if (strcmp(all->profiles->too_large[i], profile) == 0)
		{
			s->leave_sending = true;
			s->why = "its profile is larger than a profile may be";
		}
	pfree(profile);
	pfree(name);
}

static Size
taken_by(const Sizes *s)
{
	return (s->leave_sending ? 0 : s->sending) + (s->leave_routing ? 0 : s->routing);
}

static int
larger_first(const void *a, const void *b)
{
	Size x = taken_by(a);
	Size y = taken_by(b);

	return x == y ? 0 : x > y ? -1 : 1;
}

/* Leave out the largest until the rest fits: so those of a usual size stay, whatever the others are. */
static void
make_it_fit(All *all, Size budget)
{
	Size total = 0;

	for (int i = 0; i < all->n; i++)
		total += taken_by(&all->list[i]);
	if (total <= budget)
		return;
	qsort(all->list, all->n, sizeof(Sizes), larger_first);
	for (int i = 0; i < all->n && total > budget; i++)
	{
		total -= taken_by(&all->list[i]);
		all->list[i].leave_sending = all->list[i].leave_routing = true;
		all->list[i].why = "all subscriptions together are larger than webhook.worker_memory allows";
	}
}

static void
warn_left_out(const All *all)
{
	int n = 0;

	for (int i = 0; i < all->n; i++)
		if (all->list[i].why && ++n <= WARN_AT_MOST)
			ereport(WARNING, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("webhook subscription \"%s\" cannot be used", all->list[i].name),
					errdetail("It is too large: %s. Its events are kept.", all->list[i].why),
					errhint("Make it smaller, or raise webhook.worker_memory."));
	if (n > WARN_AT_MOST)
		ereport(WARNING, errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("%d more webhook subscriptions cannot be used", n - WARN_AT_MOST),
				errdetail("They are too large, like those above. Their events are kept."));
}

WhLeftOut
wh_store_left_out(Size budget)
{
	Profiles profiles = {0};
	All all = {.profiles = &profiles};
	WhLeftOut left = {0};
	int64 *sending;
	int64 *routing;
	Datum *names;
	int n_sending = 0;
	int n_routing = 0;

	each_row("SELECT * FROM webhook.profile", "profile", see_profile, &profiles);
	each_row("SELECT * FROM webhook.subscription", "subscription", see_subscription, &all);
	make_it_fit(&all, budget);
	warn_left_out(&all);
	names = palloc(Max(1, profiles.n) * sizeof(Datum));
	for (int i = 0; i < profiles.n; i++)
		names[i] = CStringGetTextDatum(profiles.too_large[i]);
	sending = palloc(Max(1, all.n) * sizeof(int64));
	routing = palloc(Max(1, all.n) * sizeof(int64));
	for (int i = 0; i < all.n; i++)
	{
		if (all.list[i].leave_sending)
			sending[n_sending++] = all.list[i].id;
		if (all.list[i].leave_routing)
			routing[n_routing++] = all.list[i].id;
	}
	left.sending = wh_int8_array(sending, n_sending);
	left.routing = wh_int8_array(routing, n_routing);
	left.profiles = PointerGetDatum(construct_array(names, profiles.n, TEXTOID, -1, false, TYPALIGN_INT));
	return left;
}
