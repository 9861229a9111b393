/*
 * test_route_index.c
 *	  The index finds what looking at every route finds, each once, and looks
 *	  at no more for ten thousand routes than for ten.
 */
#include "unit.h"

#include <stdlib.h>
#include <time.h>

#include "route_index.h"

#define MAX_PATTERNS 4

typedef char Pattern[48];

typedef struct Route
{
	const char *tenant;
	Pattern patterns[MAX_PATTERNS];
	int n; /* of them; -1: it asks for all events */
	int found;
} Route;

/* What an index is made of: it cuts the patterns, which are looked at whole here. */
typedef struct Made
{
	WhRouteIndex *index;
	Pattern *cut;
} Made;

static Made
make(Route *routes, int n)
{
	Made made = {.cut = calloc((size_t) n * MAX_PATTERNS + 1, sizeof(Pattern))};
	int entries = 0;

	for (int i = 0; i < n; i++)
		entries += routes[i].n > 0 ? routes[i].n : 1;
	made.index = wh_route_index_init(malloc(wh_route_index_size(entries)), entries);
	for (int i = 0; i < n; i++)
	{
		char *patterns[MAX_PATTERNS];

		for (int k = 0; k < routes[i].n; k++)
			patterns[k] = strcpy(made.cut[i * MAX_PATTERNS + k], routes[i].patterns[k]);
		wh_route_index_enter(made.index, routes[i].tenant, patterns, routes[i].n, &routes[i]);
	}
	return made;
}

static void
discard(Made made)
{
	free(made.index);
	free(made.cut);
}

/* The rule, by the text: one of four patterns, and no "*" is an operational event's type. */
static bool
wants(const Route *route, const char *tenant, const char *type, const char *action)
{
	bool operational = strcmp(type, WH_OPERATIONAL) == 0;
	bool ok = route->n < 0 && !operational;
	Pattern all[4];

	snprintf(all[0], sizeof(Pattern), "%s.%s", type, action);
	snprintf(all[1], sizeof(Pattern), "%s.*", type);
	snprintf(all[2], sizeof(Pattern), "*.%s", action);
	snprintf(all[3], sizeof(Pattern), "*.*");
	for (int k = 0; k < route->n; k++)
		for (int i = 0; i < (operational ? 2 : 4); i++)
			ok = ok || strcmp(route->patterns[k], all[i]) == 0;
	return ok && (route->tenant == NULL || (tenant && strcmp(route->tenant, tenant) == 0));
}

/* Walks the routes of an event, counting in each how often it was found; returns what was looked at. */
static uint64_t
walk(const WhRouteIndex *index, const char *tenant, const char *type, const char *action)
{
	WhRouteScan scan;
	Route *route;

	wh_route_scan_begin(&scan, index, tenant, type, action);
	while ((route = wh_route_scan_next(&scan)) != NULL)
		route->found++;
	assert_null(wh_route_scan_next(&scan)); /* and stays at its end */
	return scan.looked_at;
}

static void
finds_what_looking_at_all_finds(void **state)
{
	(void) state;
	/* few words, so that many routes share a key; dots are part of them, except the last */
	static const char *const words[] = {"", "a", "a.new", "user", "order", "\xc3\xa4", "7", WH_OPERATIONAL};
	static const char *const actions[] = {"new", "update", "delete", "truncate", "test"};
	Route routes[200];

	srand(20240229);
	for (int round = 0; round < 100; round++)
	{
		int n = rand() % (int) lengthof(routes);
		Made made;

		for (int i = 0; i < n; i++)
		{
			routes[i] = (Route){.tenant = rand() % 2 ? words[(size_t) rand() % lengthof(words)] : NULL,
								.n = rand() % (MAX_PATTERNS + 1)};
			if (routes[i].n == 0)
				routes[i].n = -1;
			for (int k = 0; k < routes[i].n; k++)
				snprintf(routes[i].patterns[k], sizeof(Pattern), "%s.%s",
						 rand() % 4 ? words[(size_t) rand() % lengthof(words)] : "*",
						 rand() % 4 ? actions[(size_t) rand() % lengthof(actions)] : "*");
		}
		made = make(routes, n);
		for (size_t t = 0; t <= lengthof(words); t++)
			for (size_t k = 0; k < lengthof(words) * lengthof(actions); k++)
			{
				const char *tenant = t < lengthof(words) ? words[t] : NULL;
				const char *type = words[k % lengthof(words)];
				const char *action = actions[k / lengthof(words)];

				for (int i = 0; i < n; i++)
					routes[i].found = 0;
				walk(made.index, tenant, type, action);
				for (int i = 0; i < n; i++)
					if (routes[i].found != wants(&routes[i], tenant, type, action))
						fail_msg("found %d times for %s.%s: the route of %s ...", routes[i].found, type,
								 action, routes[i].n < 0 ? "all" : routes[i].patterns[0]);
			}
		discard(made);
	}
}

/* What is no pattern, or of no action there is, as where a row got around its triggers, asks for nothing. */
static void
what_is_no_pattern_finds_nothing(void **state)
{
	(void) state;
	Route route = {.patterns = {"user", "user.", "user.created", ""}, .n = 4};
	Made made = make(&route, 1);

	walk(made.index, NULL, "user", "new");
	walk(made.index, NULL, "user", "created");
	walk(made.index, NULL, "user", "");
	assert_int_equal(route.found, 0);
	discard(made);
}

/* An action that is not one of ours (rows of the outbox are only text) is for who asks for any. */
static void
an_unknown_action_is_for_who_asks_for_any(void **state)
{
	(void) state;
	Route routes[] = {
		{.n = -1}, {.patterns = {"user.*"}, .n = 1}, {.patterns = {"user.new", "user.update"}, .n = 2}};
	Made made = make(routes, lengthof(routes));

	walk(made.index, NULL, "user", "upsert");
	assert_int_equal(routes[0].found, 1);
	assert_int_equal(routes[1].found, 1);
	assert_int_equal(routes[2].found, 0);
	discard(made);
}

typedef char Name[24];

/* The mean and the most that an event looks at, where each of n routes asks for a tenant or a type of its own. */
static double
cost(int n, bool by_tenant, uint64_t *most)
{
	Route *routes = calloc((size_t) n, sizeof(Route));
	Name *names = calloc((size_t) n, sizeof(Name));
	Made made;
	uint64_t sum = 0;

	for (int i = 0; i < n; i++)
	{
		snprintf(names[i], sizeof(Name), "%s-%d", by_tenant ? "tenant" : "type", i);
		routes[i].n = by_tenant ? -1 : 2;
		if (by_tenant)
			routes[i].tenant = names[i];
		snprintf(routes[i].patterns[0], sizeof(Pattern), "%s.new", names[i]);
		snprintf(routes[i].patterns[1], sizeof(Pattern), "%s.delete", names[i]);
	}
	made = make(routes, n);
	*most = 0;
	for (int i = 0; i < n; i++)
	{
		Name other; /* what nobody asks for */
		uint64_t looked_at;

		snprintf(other, sizeof(other), "other-%d", i);
		looked_at = walk(made.index, by_tenant ? names[i] : other, by_tenant ? other : names[i], "delete");

		assert_int_equal(routes[i].found, 1);
		sum += looked_at;
		if (looked_at > *most)
			*most = looked_at;
	}
	discard(made);
	free(names);
	free(routes);
	return (double) sum / n;
}

static void
ten_thousand_cost_no_more_than_ten(void **state)
{
	(void) state;
	for (int by_tenant = 0; by_tenant <= 1; by_tenant++)
	{
		uint64_t most_of_ten;
		uint64_t most;
		double ten = cost(10, by_tenant, &most_of_ten);
		double many = cost(10000, by_tenant, &most);

		print_message("# by %s: of 10 routes an event looks at %.2f (most %d), of 10,000 at %.2f (most %d)\n",
					  by_tenant ? "tenant" : "type", ten, (int) most_of_ten, many, (int) most);
		/* a slot for each of four keys, and the route; now and then a slot more that another key is in */
		assert_true(ten >= 5 && ten < 8);
		assert_true(many >= 5 && many < 8);
		assert_true(most < 100);
	}
}

/* How long it takes is said, and asserted by nobody. */
static void
says_what_a_lookup_takes(void **state)
{
	enum
	{
		N = 10000,
		LOOKUPS = 2000000
	};
	Route *routes = calloc(N, sizeof(Route));
	struct timespec begin;
	struct timespec end;
	uint64_t found = 0;
	Made made;

	(void) state;
	for (int i = 0; i < N; i++)
	{
		routes[i].n = 2;
		snprintf(routes[i].patterns[0], sizeof(Pattern), "type-%d.new", i);
		snprintf(routes[i].patterns[1], sizeof(Pattern), "type-%d.update", i);
	}
	made = make(routes, N);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
	for (int i = 0; i < LOOKUPS; i++)
	{
		WhRouteScan scan;

		wh_route_scan_begin(&scan, made.index, NULL, made.cut[(size_t) (i % N) * MAX_PATTERNS], "update");
		while (wh_route_scan_next(&scan) != NULL)
			found++;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	assert_int_equal(found, LOOKUPS);
	print_message("# of 10,000 routes an event finds its own in %.0f ns, by %zu bytes a route\n",
				  ((double) (end.tv_sec - begin.tv_sec) * 1e9 + (double) (end.tv_nsec - begin.tv_nsec)) /
					  LOOKUPS,
				  wh_route_index_size(N) / N);
	discard(made);
	free(routes);
}

static void
an_empty_index_finds_nothing(void **state)
{
	(void) state;
	Made made = make(NULL, 0);

	assert_true(walk(made.index, NULL, "user", "new") <= 2);
	assert_true(walk(made.index, "7", "user", "new") <= 4);
	discard(made);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_looking_at_all_finds),
									   cmocka_unit_test(what_is_no_pattern_finds_nothing),
									   cmocka_unit_test(an_unknown_action_is_for_who_asks_for_any),
									   cmocka_unit_test(ten_thousand_cost_no_more_than_ten),
									   cmocka_unit_test(says_what_a_lookup_takes),
									   cmocka_unit_test(an_empty_index_finds_nothing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
