/*
 * test_endpoint.c
 *	  Which of an endpoint's keys sign at a time: those whose secret has not
 *	  expired by then, however long ago the configuration was read.
 */
#include "unit.h"

#include <stdlib.h>

#include "endpoint.h"
#include "profile_unit.h"

#define SECRET_1 "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECRET_2 "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

static void
set(Endpoint *endpoint, const WhSubscription *sub)
{
	static Profile *profiles;
	WhSubscription copy;

	assert_true(wh_endpoint_copy(&copy, sub));
	wh_endpoint_set(endpoint, &copy, wh_profile_hold(&profiles, sub->profile), wh_endpoint_key_room(sub),
					sub);
}

static void
test_keys(void **state)
{
	char name[] = "s";
	char url[] = "https://localhost/";
	char *headers[] = {NULL};
	WhSubscription sub = {.id = 1,
						  .name = name,
						  .url = url,
						  .headers = headers,
						  .profile = &profile_entity,
						  .n_secrets = 3,
						  .secrets = {SECRET_1, "not a secret", SECRET_2},
						  .secret_expires_us = {0, 7, 1000}};
	Endpoint *endpoint = calloc(1, sizeof(Endpoint));
	const WhKey *live[WH_SECRETS_MAX];

	(void) state;
	set(endpoint, &sub);
	/* one that cannot be decoded is left out, and its expiry with it */
	assert_int_equal(wh_endpoint_keys(endpoint, 0, live), 2);
	assert_ptr_equal(live[0], &endpoint->keys[0]);
	assert_ptr_equal(live[1], &endpoint->keys[1]);
	assert_int_equal(wh_endpoint_keys(endpoint, 999, live), 2);
	assert_int_equal(wh_endpoint_keys(endpoint, 1000, live), 1);
	assert_ptr_equal(live[0], &endpoint->keys[0]);
	assert_int_equal(wh_endpoint_keys(endpoint, INT64_MAX, live), 1);

	/* the newest may be the one that ends, and there may be none left */
	sub.secret_expires_us[0] = 500;
	set(endpoint, &sub);
	assert_int_equal(wh_endpoint_keys(endpoint, 500, live), 1);
	assert_ptr_equal(live[0], &endpoint->keys[1]);
	assert_int_equal(wh_endpoint_keys(endpoint, 1000, live), 0);

	/* fewer secrets than before */
	sub.n_secrets = 1;
	set(endpoint, &sub);
	assert_int_equal(wh_endpoint_keys(endpoint, 499, live), 1);
	assert_int_equal(wh_endpoint_keys(endpoint, 500, live), 0);
	wh_endpoint_free(endpoint);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
