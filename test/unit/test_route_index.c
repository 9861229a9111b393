/*
 * test_route_index.c
 *	  The index finds what looking at every route finds, each once, and looks
 *	  at no more for ten thousand routes than for ten.
 */
#include "unit.h"

#include <stdlib.h>

#include "route_index.h"

typedef struct Route
{
	const char *tenant;
	const char *types[3];
	int n_types; /* 0: any */
	int found;
} Route;

static WhRouteIndex *
make(Route *routes, int n)
{
	WhRouteIndex *index;
	int entries = 0;

	for (int i = 0; i < n; i++)
		entries += routes[i].n_types ? routes[i].n_types : 1;
	index = wh_route_index_init(malloc(wh_route_index_size(entries)), entries);
	for (int i = 0; i < n; i++)
	{
		if (routes[i].n_types == 0)
			wh_route_index_add(index, routes[i].tenant, NULL, &routes[i]);
		for (int k = 0; k < routes[i].n_types; k++)
			wh_route_index_add(index, routes[i].tenant, routes[i].types[k], &routes[i]);
	}
	return index;
}

static bool
wants(const Route *route, const char *tenant, const char *type)
{
	bool ok = route->n_types == 0;

	for (int k = 0; k < route->n_types; k++)
		ok = ok || strcmp(route->types[k], type) == 0;
	return ok && (route->tenant == NULL || (tenant && strcmp(route->tenant, tenant) == 0));
}

/* Walks the routes of an event, counting in each how often it was found; returns what was looked at. */
static uint64_t
walk(const WhRouteIndex *index, const char *tenant, const char *type)
{
	WhRouteScan scan;
	Route *route;

	wh_route_scan_begin(&scan, index, tenant, type);
	while ((route = wh_route_scan_next(&scan)) != NULL)
		route->found++;
	assert_null(wh_route_scan_next(&scan)); /* and stays at its end */
	return scan.looked_at;
}

static void
finds_what_looking_at_all_finds(void **state)
{
	(void) state;
	/* few words, so that many routes share a key; an empty one is a word like others */
	static const char *const words[] = {"", "a", "b", "ab", "user", "order", "\xc3\xa4", "7"};
	Route routes[200];

	srand(20240229);
	for (int round = 0; round < 200; round++)
	{
		int n = rand() % (int) lengthof(routes);
		WhRouteIndex *index;

		for (int i = 0; i < n; i++)
		{
			routes[i] =
				(Route){.tenant = rand() % 2 ? words[rand() % lengthof(words)] : NULL, .n_types = rand() % 4};
			for (int k = 0; k < routes[i].n_types; k++)
				routes[i].types[k] = words[rand() % lengthof(words)];
		}
		index = make(routes, n);
		for (size_t t = 0; t <= lengthof(words); t++)
			for (size_t k = 0; k < lengthof(words); k++)
			{
				const char *tenant = t < lengthof(words) ? words[t] : NULL;

				for (int i = 0; i < n; i++)
					routes[i].found = 0;
				walk(index, tenant, words[k]);
				for (int i = 0; i < n; i++)
					assert_int_equal(routes[i].found, wants(&routes[i], tenant, words[k]));
			}
		free(index);
	}
}

typedef char Name[24];

/* The mean and the most that an event looks at, where each of n routes asks for a tenant or a type of its own. */
static double
cost(int n, bool by_tenant, uint64_t *most)
{
	Route *routes = calloc((size_t) n, sizeof(Route));
	Name *names = calloc((size_t) n, sizeof(Name));
	WhRouteIndex *index;
	uint64_t sum = 0;

	for (int i = 0; i < n; i++)
	{
		snprintf(names[i], sizeof(Name), "%s-%d", by_tenant ? "tenant" : "type", i);
		if (by_tenant)
			routes[i].tenant = names[i];
		else
		{
			routes[i].types[0] = names[i];
			routes[i].n_types = 1;
		}
	}
	index = make(routes, n);
	*most = 0;
	for (int i = 0; i < n; i++)
	{
		Name other; /* what nobody asks for */
		uint64_t looked_at;

		snprintf(other, sizeof(other), "other-%d", i);
		looked_at = walk(index, by_tenant ? names[i] : other, by_tenant ? other : names[i]);

		assert_int_equal(routes[i].found, 1);
		sum += looked_at;
		if (looked_at > *most)
			*most = looked_at;
	}
	free(index);
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

static void
an_empty_index_finds_nothing(void **state)
{
	(void) state;
	WhRouteIndex *index = make(NULL, 0);

	assert_true(walk(index, NULL, "user") <= 2);
	assert_true(walk(index, "7", "user") <= 4);
	free(index);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_looking_at_all_finds),
									   cmocka_unit_test(ten_thousand_cost_no_more_than_ten),
									   cmocka_unit_test(an_empty_index_finds_nothing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
