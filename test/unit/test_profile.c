/*
 * test_profile.c
 *	  Profiles through the whole engine: what is sent as they say, what becomes
 *	  of an answer by their rule, and that a changed one counts at once.
 */
#include "engine_unit.h"

#include "profile.h"

static void
subscribe_as(const WhProfile *profile, const char *to, const char *secret)
{
	WhSubscription sub = subscription(1, to);

	sub.profile = profile;
	sub.params = "{\"game\": \"g1\"}";
	sub.n_secrets = secret ? 1 : 0;
	sub.secrets[0] = (char *) secret;
	assert_true(wh_engine_subscribe(e, &sub));
}

static const WhProfile own = {
	.name = "own",
	.envelope = "{\"id\": \"$id\", \"tx\": \"$transaction_id\", \"game\": \"$param.game\"}",
	.content_type = "application/x-own",
	.headers = "X-Attempt: {attempt}\nX-Entity: {entity}\nX-Tenant: {tenant?}\nX-Empty: {tenant}\n"
			   "User-Agent: own/{instance}",
	.id_header = "X-Id",
	.event_prefix = "whevt_",
	.transaction_prefix = "",
	.algorithm = "sha1",
	.encoding = "hex",
	.secret_encoding = "raw",
	.signed_content = "{body}",
	.signature_header = "X-Signature",
	.signature_format = "Signature {signature}"};

static void
test_request(void **state)
{
	ServerRequest r;

	(void) state;
	subscribe_as(&own, at("/status/200"), "mysecret");
	submit(1, 7, "a");
	delivered(7);
	r = server_request(0);
	assert_string_equal(r.body,
						"{\"id\":\"whevt_" INSTANCE "_7\",\"tx\":\"" INSTANCE "_0\",\"game\":\"g1\"}");
	assert_string_equal(request_header(&r, "Content-Type"), "application/x-own");
	assert_string_equal(request_header(&r, "X-Id"), "whevt_" INSTANCE "_7");
	assert_string_equal(request_header(&r, "X-Attempt"), "1");
	assert_string_equal(request_header(&r, "X-Entity"), "order/a");
	assert_string_equal(request_header(&r, "User-Agent"), "own/" INSTANCE);
	assert_null(request_header(&r, "X-Tenant"));
	assert_null(request_header(&r, "X-Empty"));
	assert_null(request_header(&r, "webhook-id"));
	assert_null(request_header(&r, "webhook-timestamp"));
	/* sha1 of the body and, behind it, the secret; by sha1sum */
	assert_string_equal(request_header(&r, "X-Signature"),
						"Signature 8bc83040e7f576735f536fb39454710dfd48b5dc");
}

/* Without an algorithm nothing is signed, and no secret is needed. */
static void
test_unsigned(void **state)
{
	WhProfile plain = own;
	ServerRequest r;

	(void) state;
	plain.algorithm = "none";
	subscribe_as(&plain, at("/status/200"), NULL);
	submit(1, 7, "a");
	delivered(7);
	r = server_request(0);
	assert_null(request_header(&r, "X-Signature"));
}

/* A secret that is not of the profile's form signs nothing. */
static void
test_wrong_secret(void **state)
{
	WhDelivery *d;

	(void) state;
	subscribe_as(&profile_entity, at("/status/200"), "mysecret");
	submit(1, 7, "a");
	d = outcome();
	assert_string_equal(d->word, "internal");
	assert_non_null(strstr(wh_delivery_error(d), "no valid secret"));
	assert_int_equal(server_requests(), 0);
	wh_delivery_free(d);
}

static void
test_batch(void **state)
{
	WhProfile batches = own;
	WhSubscription sub = subscription(1, at("/status/200"));
	ServerRequest r;

	(void) state;
	batches.batch_envelope = "[\"$number\", \"$entity_id\"]";
	batches.batch_content_type = "application/x-owns";
	sub.profile = &batches;
	sub.batch_size = 2;
	sub.secrets[0] = "mysecret";
	assert_true(wh_engine_subscribe(e, &sub));
	submit(1, 7, "a");
	submit(1, 8, "b");
	delivered(7);
	delivered(8);
	r = server_request(0);
	assert_string_equal(r.body, "[[7,\"a\"],[8,\"b\"]]");
	assert_string_equal(request_header(&r, "Content-Type"), "application/x-owns");
	assert_string_equal(request_header(&r, "X-Entity"), "order/a"); /* of the first */
	assert_memory_equal(request_header(&r, "X-Id"), "bat_" INSTANCE "_7_", 15);
}

/* A 200 that says it failed, by the profile's rule and without one. */
static void
test_rejected(void **state)
{
	WhProfile strict = own;
	WhDelivery *d;
	WhCounts c;
	int64_t id;

	(void) state;
	subscribe_as(&own, at("/refuse"), "mysecret");
	submit(1, 1, "a");
	delivered(1);

	strict.failure = "{\"status\": \"error\"}";
	strict.failure_fields = "code\nmessage";
	subscribe_as(&strict, at("/refuse"), "mysecret");
	submit(1, 2, "a");
	d = outcome();
	assert_string_equal(d->word, "rejected");
	assert_int_equal(d->http_status, 200);
	assert_string_equal(wh_delivery_error(d), "not_found: no such player");
	assert_int_equal(d->class, WH_CLASS_RETRY);
	assert_int_equal(d->disposal, WH_DO_RETRY);
	assert_int_equal(d->due_us, clock_last + SECOND);
	assert_non_null(strstr(d->response, "no such player"));
	wh_delivery_free(d);
	assert_true(wh_engine_counts(e, 0, &id, &c));
	assert_int_equal(c.failed, 1);

	strict.failure_fields = NULL;
	subscribe_as(&strict, at("/refuse"), "mysecret");
	submit(1, 3, "b");
	d = outcome();
	assert_string_equal(wh_delivery_error(d), "the endpoint answered with status 200 and reported a failure");
	wh_delivery_free(d);

	/* any other 200 is a success */
	subscribe_as(&strict, at("/status/200"), "mysecret");
	submit(1, 4, "c");
	delivered(4);
}

/* What cannot be compiled was never to be saved; if it is there even so, requests say what is wrong. */
static void
test_unusable(void **state)
{
	WhProfile bad = own;
	WhDelivery *d;

	(void) state;
	bad.envelope = "{\"a\": \"$nothing\"}";
	subscribe_as(&bad, at("/status/200"), "mysecret");
	submit(1, 1, "a");
	d = outcome();
	assert_string_equal(d->word, "internal");
	assert_string_equal(wh_delivery_error(d), "invalid profile: its envelope: unknown variable \"nothing\"");
	wh_delivery_free(d);
	bad.envelope = own.envelope;
	bad.event_prefix = NULL;
	subscribe_as(&bad, at("/status/200"), "mysecret");
	submit(1, 2, "b");
	d = outcome();
	assert_string_equal(d->word, "internal");
	assert_string_equal(wh_delivery_error(d), "invalid profile: its row: a required column is null");
	wh_delivery_free(d);
	assert_int_equal(server_requests(), 0);
}

/* A header that comes out too long stops the request, and nothing else. */
static void
test_long_header(void **state)
{
	static char name[9000];
	WhProfile wide = own;
	WhDelivery *d;

	(void) state;
	memset(name, 'x', sizeof(name) - 1);
	wide.headers = "X-Entity: {entity_id}";
	subscribe_as(&wide, at("/status/200"), "mysecret");
	submit(1, 1, name);
	d = outcome();
	assert_string_equal(d->word, "internal");
	assert_non_null(strstr(wh_delivery_error(d), "a header is longer than 8192 bytes"));
	wh_delivery_free(d);
	submit(1, 2, "a");
	delivered(2);
}

/* Equal rows share what was compiled; it goes with the last who holds it. */
static void
test_shared(void **state)
{
	Profile *list = NULL;
	WhProfile same = own;
	WhProfile other = own;
	Profile *a;
	Profile *b;
	Profile *c;

	(void) state;
	same.name = strdup(own.name);
	other.separator = "";
	a = wh_profile_hold(&list, &own);
	b = wh_profile_hold(&list, &same);
	c = wh_profile_hold(&list, &other); /* a null is not an empty string */
	free((char *) same.name);
	assert_ptr_equal(a, b);
	assert_ptr_not_equal(a, c);
	wh_profile_let_go(a);
	assert_string_equal(b->row.name, "own");
	wh_profile_let_go(b);
	assert_ptr_equal(list, c);
	assert_null(c->next);
	wh_profile_let_go(c);
	assert_null(list);
	wh_profile_let_go(NULL);
}

/* Without memory there is no profile, no half of one, and the subscription stays as it was. */
static void
test_no_memory(void **state)
{
	Profile *list = NULL;
	Profile *p;
	long n = 0;

	(void) state;
	do
	{
		fail_malloc_at(++n);
		p = wh_profile_hold(&list, &own);
		if (malloc_has_failed())
		{
			assert_null(p);
			assert_null(list);
		}
	} while (p == NULL);
	assert_true(n > 10);
	fail_malloc_at(0);
	wh_profile_let_go(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_engine(test_request),     with_engine(test_unsigned),    with_engine(test_wrong_secret),
		with_engine(test_batch),       with_engine(test_rejected),    with_engine(test_unusable),
		with_engine(test_long_header), cmocka_unit_test(test_shared), cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests_name("deliver_profile", tests, NULL, NULL);
}
