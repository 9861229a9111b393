/*
 * routes.c
 *	  The one table of routes: what can be asked, and the statement that answers.
 *
 * The router, the OpenAPI document and the tests are made of it; docs/console.md is
 * compared with it. Every statement runs as the role that asks, with its rights and no
 * others, and makes its JSON itself. Statements name every schema: search_path is
 * pg_catalog. No route selects a secret that is stored.
 */
#include "routes.h"

/* Parts of statements */

/* A page of a list: a row more than asked for tells whether there is another one. */
#define PAGE(limit) "least(greatest(coalesce(" limit ", '50')::int, 1), 200)"
#define LIST(rows, cursor)                                                                                   \
	"SELECT jsonb_build_object('items', coalesce(jsonb_agg(x.item ORDER BY x.n) "                            \
	"FILTER (WHERE x.n <= x.page), '[]'), 'next', max(" cursor                                               \
	") FILTER (WHERE x.n = x.page AND x.rows > x.page)) FROM (" rows ") x"

#define ATTEMPT                                                                                              \
	"jsonb_build_object('event_id', l.event_id, 'subscription', l.subscription, 'entity_type', "             \
	"l.entity_type, 'entity_id', l.entity_id, 'action_type', l.action_type, 'attempt_number', "              \
	"l.attempt_number, 'outcome', l.outcome, 'http_status', l.http_status, 'error', l.error, "               \
	"'duration_ms', l.duration_ms, 'started_at', l.started_at, 'response', l.response)"

#define WORKER                                                                                               \
	"(SELECT to_jsonb(w) - 'oldest_unread_age' || jsonb_build_object('oldest_unread_seconds', "              \
	"extract(epoch FROM w.oldest_unread_age)) FROM webhook.worker w)"

#define STATUS                                                                                               \
	"to_jsonb(t) - 'subscription' - 'oldest_pending_age' || jsonb_build_object('name', t.subscription, "     \
	"'oldest_pending_seconds', extract(epoch FROM t.oldest_pending_age), 'next_attempt_at', "                \
	"nullif(t.next_attempt_at, 'infinity'))"

#define SUBSCRIPTION_OF(which)                                                                               \
	"SELECT to_jsonb(s) - 'id' || jsonb_build_object('version', s.xmin::text, 'status', "                    \
	"(SELECT " STATUS " || jsonb_build_object('url', s.url, 'events', s.events, 'profile', s.profile, "      \
	"'owner', s.owner, 'created_at', s.created_at) "                                                         \
	"FROM webhook.status t WHERE t.subscription = s.name)) "                                                 \
	"FROM webhook.subscription s WHERE s.name = " which

#define PENDING                                                                                              \
	"jsonb_build_object('event_id', webhook.event_id(p.event_number), 'state', p.state, 'attempts', "        \
	"p.attempts, 'next_attempt_at', nullif(p.next_attempt_at, 'infinity'), 'first_attempt_at', "             \
	"p.first_attempt_at, 'last_error', p.last_error, 'pending_since', p.pending_since, 'entity_type', "      \
	"l.entity_type, 'entity_id', l.entity_id, 'action_type', l.action_type)"
#define PENDING_ENTITY                                                                                       \
	"LEFT JOIN LATERAL (SELECT l.entity_type, l.entity_id, l.action_type FROM webhook.log l "                \
	"WHERE l.event_number = p.event_number LIMIT 1) l ON true"

#define DEAD_LETTER                                                                                          \
	"jsonb_build_object('event_id', webhook.event_id(d.event_number), 'entity_type', d.entity_type, "        \
	"'entity_id', d.entity_id, 'action_type', d.action_type, 'reason', d.reason, 'attempts', d.attempts, "   \
	"'first_attempt_at', d.first_attempt_at, 'given_up_at', d.given_up_at, 'created_at', d.created_at, "     \
	"'result', d.result, 'previous', d.previous)"
#define DEAD_LETTER_OF(which)                                                                                \
	"(d.subscription_id = (SELECT s.id FROM webhook.subscription s WHERE s.name = " which                    \
	") OR d.subscription = " which ")"

#define SOURCE                                                                                               \
	"jsonb_build_object('source', w.source, 'entity_type', w.entity_type, 'id_columns', w.id_columns, "      \
	"'action_types', w.action_types, 'columns', w.columns, 'exclude_columns', w.exclude_columns, "           \
	"'tenant', w.tenant, 'keep_previous', w.keep_previous, 'trigger', w.trigger, 'fires', w.fires, "         \
	"'parent', w.parent, 'problem', w.problem)"

#define FIELDS                                                                                               \
	"url events profile tenant filter headers params retry_schedule give_up_after timeout max_in_flight "    \
	"rate_limit batch_size ordering changed_columns exclude_origins transform owner state"

#define STATE_CHANGE(state)                                                                                  \
	"SELECT webhook_internal.change_subscription($1, jsonb_build_object('state', '" state                    \
	"', 'state_reason', '" state " by ' || current_user))"

#define DONE "SELECT '{}'::jsonb"

const Route routes[] = {
	/* sessions */
	{"GET", "/api/login", ROUTE_OWN, .what = "say which databases there are", .open = true},
	{"POST", "/api/session", ROUTE_OWN, .fields = "user password database", .what = "log in", .open = true},
	{"GET", "/api/session", ROUTE_OWN, .what = "show the session"},
	{"DELETE", "/api/session", ROUTE_OWN, .what = "log out"},

	/* subscriptions */
	{"GET", "/api/subscriptions", ROUTE_READ, .what = "list the subscriptions",
	 .sql =
		 "SELECT jsonb_build_object('worker', " WORKER ", 'items', coalesce((SELECT jsonb_agg(" STATUS
		 " || jsonb_build_object('deferred', coalesce(d.n, 0), 'url', s.url, 'events', s.events, 'profile', "
		 "s.profile, 'owner', s.owner, 'created_at', s.created_at) ORDER BY s.name) FROM webhook.status t "
		 "JOIN webhook.subscription s ON s.name = t.subscription LEFT JOIN (SELECT p.subscription_id, "
		 "count(*) AS n FROM webhook.pending p WHERE p.state = 'deferred' GROUP BY 1) d "
		 "ON d.subscription_id = s.id), '[]'))",
	 .less = "SELECT jsonb_build_object('worker', " WORKER ", 'items', coalesce((SELECT jsonb_agg(" STATUS
			 " || jsonb_build_object('deferred', NULL, 'url', NULL, 'events', NULL, 'profile', NULL, 'owner', "
			 "NULL, 'created_at', NULL) ORDER BY t.subscription) FROM webhook.status t), '[]'))"},
	/* its answer, with the secret, is in no parameter of a later statement */
	{"POST", "/api/subscriptions", ROUTE_WRITE, .fields = "name secret " FIELDS,
	 .what = "create a subscription",
	 .sql = "SELECT jsonb_build_object('name', b.name, 'secret', webhook.subscribe(subscription => b.name, "
			"url => b.url, events => b.events, profile => coalesce(b.profile, 'entity'), secret => b.secret, "
			"tenant => b.tenant, filter => b.filter, headers => b.headers, params => b.params)) "
			"FROM jsonb_to_record($1::jsonb) AS b(name text, url text, events text[], profile text, "
			"secret text, tenant text, filter jsonpath, headers jsonb, params jsonb)",
	 .then = "SELECT webhook_internal.change_subscription($1::jsonb ->> 'name', $1::jsonb - "
			 "'{name,url,events,profile,secret,tenant,filter,headers,params}'::text[])"},
	{"GET", "/api/subscriptions/{name}", ROUTE_READ, .what = "show a subscription",
	 .sql = SUBSCRIPTION_OF("$1")},
	{"PATCH", "/api/subscriptions/{name}", ROUTE_WRITE, .fields = "name " FIELDS, .version = true,
	 .what = "change a subscription", .sql = "SELECT webhook_internal.change_subscription($1, $2::jsonb, $3)",
	 .then = SUBSCRIPTION_OF("coalesce($2::jsonb ->> 'name', $1)"), .then_answers = true},
	{"DELETE", "/api/subscriptions/{name}", ROUTE_WRITE, .what = "remove a subscription",
	 .sql = "SELECT '{}'::jsonb FROM webhook.unsubscribe($1)"},
	{"POST", "/api/subscriptions/{name}/pause", ROUTE_WRITE, .fields = "", .what = "pause a subscription",
	 .sql = "SELECT webhook.pause($1)", .then = SUBSCRIPTION_OF("$1"), .then_answers = true},
	{"POST", "/api/subscriptions/{name}/resume", ROUTE_WRITE, .fields = "", .what = "resume a subscription",
	 .sql = "SELECT webhook.resume($1)", .then = SUBSCRIPTION_OF("$1"), .then_answers = true},
	{"POST", "/api/subscriptions/{name}/deactivate", ROUTE_WRITE, .fields = "",
	 .what = "deactivate a subscription", .sql = STATE_CHANGE("inactive") "", .then = SUBSCRIPTION_OF("$1"),
	 .then_answers = true},
	/* the attempt is the newest test of this subscription; there is no other way to tell which */
	{"POST", "/api/subscriptions/{name}/test", ROUTE_CALL, .fields = "entity_type entity_id",
	 .what = "test a subscription",
	 .sql = "CALL webhook.test($1, $2::jsonb ->> 'entity_type', $2::jsonb ->> 'entity_id', '8 s')",
	 .then = "SELECT jsonb_build_object('http_status', $3::int, 'error', $4::text, 'event_id', a.item -> "
			 "'event_id', 'attempt', a.item) FROM (VALUES (1)) x LEFT JOIN LATERAL (SELECT " ATTEMPT
			 " AS item FROM webhook.log l WHERE l.subscription = $1 AND l.action_type = 'test' "
			 "AND l.started_at > clock_timestamp() - interval '10 s' "
			 "AND coalesce($4::text, '') !~ '^(not sent|no answer)' ORDER BY l.started_at DESC LIMIT 1) a ON "
			 "true",
	 .then_answers = true},
	{"POST", "/api/subscriptions/{name}/secret", ROUTE_WRITE, .fields = "overlap secret",
	 .what = "rotate the secret",
	 .sql = "SELECT jsonb_build_object('secret', webhook.rotate_secret($1, $2::jsonb ->> 'secret', "
			"coalesce(($2::jsonb ->> 'overlap')::interval, '24 hours')))"},
	{"PUT", "/api/subscriptions/{name}/credentials/{kind}", ROUTE_WRITE, .fields = "value",
	 .what = "set a credential",
	 .sql = "SELECT '{}'::jsonb FROM webhook.set_credential($1, $2, coalesce($3::jsonb ->> 'value', ''))"},
	{"DELETE", "/api/subscriptions/{name}/credentials/{kind}", ROUTE_WRITE, .what = "remove a credential",
	 .sql = "SELECT '{}'::jsonb FROM webhook.set_credential($1, $2, NULL)"},
	{"GET", "/api/subscriptions/{name}/rates", ROUTE_READ, .query = "minutes",
	 .what = "count deliveries and failures per minute",
	 .sql = "WITH span AS (SELECT clock_timestamp() - make_interval(mins => least(greatest(coalesce($2, "
			"'60')::int, 1), 1440)) AS since), a AS MATERIALIZED (SELECT l.started_at, l.outcome, "
			"l.duration_ms FROM webhook.log l WHERE l.subscription = $1 AND l.started_at >= (SELECT s.since "
			"FROM span s) ORDER BY l.started_at DESC LIMIT 10000), m AS (SELECT date_trunc('minute', "
			"a.started_at) AS minute, count(*) FILTER (WHERE a.outcome IN ('delivered', 'skipped')) AS "
			"delivered, count(*) FILTER (WHERE a.outcome NOT IN ('delivered', 'skipped')) AS failed "
			"FROM a GROUP BY 1), p AS (SELECT count(*) AS requests, min(a.started_at) AS oldest, "
			"percentile_cont('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP (ORDER BY a.duration_ms) AS p FROM a) "
			"SELECT jsonb_build_object('since', CASE WHEN p.requests = 10000 THEN p.oldest ELSE "
			"(SELECT s.since FROM span s) END, 'until', clock_timestamp(), 'requests', p.requests, 'capped', "
			"p.requests = 10000, 'p50_ms', p.p[1], 'p95_ms', p.p[2], 'p99_ms', p.p[3], 'items', coalesce("
			"(SELECT jsonb_agg(to_jsonb(m) ORDER BY m.minute) FROM m), '[]')) FROM p"},
	{"GET", "/api/subscriptions/{name}/pending", ROUTE_READ, .query = "cursor limit",
	 .what = "list what waits",
	 .sql = LIST(
		 "SELECT " PENDING " AS item, p.n, p.page, p.rows, p.cursor FROM (SELECT q.*, row_number() OVER "
		 "(ORDER BY q.pending_since, q.event_number) AS n, " PAGE(
			 "$3") " AS page, count(*) OVER () AS rows, "
				   "extract(epoch FROM q.pending_since) || '_' || q.event_number AS cursor "
				   "FROM (SELECT q.* FROM webhook.pending q JOIN webhook.subscription s ON s.id = "
				   "q.subscription_id "
				   "WHERE s.name = $1 AND ($2 IS NULL OR (q.pending_since, q.event_number) > "
				   "(to_timestamp(split_part($2, '_', 1)::float8), split_part($2, '_', 2)::bigint)) "
				   "ORDER BY q.pending_since, q.event_number LIMIT " PAGE("$3") " + 1) q) p " PENDING_ENTITY,
		 "x.cursor")},
	{"GET", "/api/subscriptions/{name}/dead_letters", ROUTE_READ, .query = "cursor limit",
	 .what = "list the dead letters",
	 .sql = "SELECT y.list || jsonb_build_object('count', (SELECT count(*) FROM webhook.dead_letter d "
			"WHERE " DEAD_LETTER_OF("$1") ")) FROM (" LIST(
				"SELECT " DEAD_LETTER
				" AS item, d.n, d.page, d.rows, d.cursor FROM (SELECT q.*, row_number() OVER "
				"(ORDER BY q.event_number DESC) AS n, " PAGE(
					"$3") " AS page, count(*) OVER () AS rows, "
						  "q.event_number::text AS cursor FROM (SELECT d.* FROM webhook.dead_letter d "
						  "WHERE " DEAD_LETTER_OF("$1") " AND ($2 IS NULL OR d.event_number < $2::bigint) "
														"ORDER BY d.event_number DESC "
														"LIMIT " PAGE("$3") " + 1) q) d",
				"x.cursor") ") y(list)"},
	{"POST", "/api/subscriptions/{name}/dead_letters/redeliver", ROUTE_WRITE, .fields = "until expected",
	 .what = "redeliver dead letters",
	 .sql =
		 "SELECT jsonb_build_object('queued', coalesce(sum(webhook.redeliver(e.event_number::text, $1)), 0)) "
		 "FROM (SELECT d.event_number, count(*) OVER () AS n FROM webhook.dead_letter d "
		 "WHERE " DEAD_LETTER_OF(
			 "$1") " AND d.given_up_at <= coalesce(($2::jsonb ->> 'until')::timestamptz, clock_timestamp()) "
				   "ORDER BY d.event_number OFFSET 0) e "
				   "WHERE webhook_internal.require_at_most(e.n, ($2::jsonb ->> 'expected')::bigint) > 0"},
	{"POST", "/api/subscriptions/{name}/dead_letters/purge", ROUTE_WRITE, .fields = "until expected",
	 .what = "purge dead letters",
	 .sql = "WITH gone AS (DELETE FROM webhook.dead_letter d WHERE " DEAD_LETTER_OF(
		 "$1") " AND d.given_up_at <= coalesce(($2::jsonb ->> 'until')::timestamptz, clock_timestamp()) "
			   "RETURNING 1) SELECT jsonb_build_object('purged', webhook_internal.require_at_most(count(*), "
			   "($2::jsonb ->> 'expected')::bigint)) FROM gone"},
	{"GET", "/api/subscriptions/{name}/replay", ROUTE_ASK, .query = "since until",
	 .what = "count what a replay would send",
	 .sql = "SELECT jsonb_build_object('matching', r.matching, 'pending', r.already_pending, 'since', "
			"$2::timestamptz, 'until', coalesce($3::timestamptz, now())) "
			"FROM webhook.replay_preview($1, $2::timestamptz, coalesce($3::timestamptz, now())) r"},
	{"POST", "/api/subscriptions/{name}/replay", ROUTE_WRITE, .fields = "since until",
	 .what = "replay a range",
	 .sql = "SELECT jsonb_build_object('queued', webhook.replay($1, ($2::jsonb ->> 'since')::timestamptz, "
			"coalesce(($2::jsonb ->> 'until')::timestamptz, now())))"},

	/* for the editor */
	{"GET", "/api/profiles", ROUTE_READ, .what = "list the profiles",
	 .sql = "SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('name', p.name, "
			"'description', p.description, 'builtin', p.builtin, 'signature_algorithm', "
			"p.signature_algorithm, 'headers', p.headers, 'content_type', p.content_type, 'batch', "
			"p.batch_envelope IS NOT NULL, 'params', p.params, 'id_header', p.id_header, 'timestamp_header', "
			"p.timestamp_header, 'signature_header', p.signature_header, 'signature_encoding', "
			"p.signature_encoding, 'secret_encoding', p.secret_encoding, 'signed_content', p.signed_content, "
			"'signature_format', p.signature_format, 'signature_separator', p.signature_separator, "
			"'max_url_length', p.max_url_length) ORDER BY p.name), '[]')) FROM webhook.profile p"},
	{"POST", "/api/preview", ROUTE_READ,
	 .fields = "profile url headers params entity_type entity_id action_type transform",
	 .what = "show the request that would be sent",
	 .sql =
		 "SELECT webhook.preview(profile => b.profile, url => b.url, headers => coalesce(b.headers, '{}'), "
		 "params => coalesce(b.params, '{}'), entity_type => b.entity_type, entity_id => b.entity_id, "
		 "action_type => coalesce(b.action_type, 'update'), transform => b.transform) "
		 "FROM jsonb_to_record($1::jsonb) AS b(profile text, url text, headers jsonb, params jsonb, "
		 "entity_type text, entity_id text, action_type text, transform text)"},
	{"POST", "/api/match", ROUTE_ASK, .fields = "events tenant filter changed_columns exclude_origins",
	 .what = "try a filter",
	 .sql = "SELECT jsonb_build_object('tried', count(*), 'matched', count(*) FILTER (WHERE m.matched), "
			"'unmatchable', count(*) FILTER (WHERE m.matched IS NULL), 'items', coalesce(jsonb_agg("
			"to_jsonb(m) ORDER BY m.event_number DESC) FILTER (WHERE m.matched IS NOT FALSE), '[]')) "
			"FROM jsonb_to_record($1::jsonb) AS b(events text[], tenant text, filter jsonpath, "
			"changed_columns text[], exclude_origins text[]), webhook.match_preview(b.events, b.tenant, "
			"b.filter, "
			"b.changed_columns, b.exclude_origins) m"},

	/* what was sent */
	{"GET", "/api/log", ROUTE_READ,
	 .query = "subscription entity_type entity_id event outcome status since until cursor limit",
	 .what = "search the log",
	 .sql = LIST("SELECT " ATTEMPT
				 " AS item, l.n, l.page, l.rows, l.cursor FROM (SELECT q.*, row_number() OVER () AS n, " PAGE(
					 "$10") " AS page, count(*) OVER () AS rows, webhook_internal.log_cursor(q) AS cursor "
							"FROM webhook.search_log(subscription => $1, entity_type => $2, entity_id => $3, "
							"event_id => $4, "
							"outcome => $5, status => $6, since => $7::timestamptz, until => "
							"$8::timestamptz, cursor => $9, "
							"max_rows => " PAGE("$10") " + 1) q) l",
				 "x.cursor")},
	{"GET", "/api/deliveries/{event}/{subscription}", ROUTE_READ, .what = "show a delivery",
	 .sql = "SELECT webhook_internal.delivery($1, $2, true)",
	 .less = "SELECT webhook_internal.delivery($1, $2, false)"},
	{"POST", "/api/deliveries/{event}/{subscription}/redeliver", ROUTE_WRITE, .fields = "",
	 .what = "redeliver an event", .sql = "SELECT jsonb_build_object('queued', webhook.redeliver($1, $2))"},
	{"GET", "/api/why", ROUTE_ASK, .query = "event subscription", .what = "explain a delivery",
	 .sql = "SELECT webhook.explain($1, $2)"},

	/* sources */
	{"GET", "/api/sources", ROUTE_READ, .what = "list the watched tables",
	 .sql = "SELECT jsonb_build_object('items', coalesce(jsonb_agg(" SOURCE
			" ORDER BY w.source::text), '[]')) FROM webhook.source w"},
	{"GET", "/api/tables", ROUTE_READ, .what = "list the tables that could be watched",
	 .sql =
		 "SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('source', "
		 "c.oid::regclass, 'kind', CASE c.relkind WHEN 'p' THEN 'partitioned table' ELSE 'table' END, "
		 "'rows', "
		 "CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END, 'watched', EXISTS (SELECT FROM "
		 "webhook.source w WHERE w.source = c.oid), 'may_watch', has_table_privilege(c.oid, 'TRIGGER'), "
		 "'columns', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, "
		 "a.atttypmod), 'key', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary "
		 "AND a.attnum = ANY (i.indkey::int2[]))) ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = "
		 "c.oid AND a.attnum > 0 AND NOT a.attisdropped)) ORDER BY c.oid::regclass::text), '[]')) "
		 "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND "
		 "NOT "
		 "c.relispartition AND c.relpersistence = 'p' AND n.nspname !~ '^pg_' AND n.nspname NOT IN "
		 "('information_schema', 'webhook', 'webhook_internal') AND has_schema_privilege(n.oid, 'USAGE')"},
	{"POST", "/api/sources", ROUTE_WRITE,
	 .fields = "source entity_type id_columns action_types columns exclude_columns tenant keep_previous "
			   "include_columns",
	 .what = "watch a table",
	 .sql =
		 "SELECT webhook.watch(source => b.source::regclass, entity_type => b.entity_type, id_columns => "
		 "b.id_columns, action_types => b.action_types, columns => b.columns, exclude_columns => "
		 "b.exclude_columns, tenant => b.tenant, keep_previous => b.keep_previous, include_columns => "
		 "b.include_columns) "
		 "FROM jsonb_to_record($1::jsonb) AS b(source text, entity_type text, id_columns name[], "
		 "action_types text[], columns name[], exclude_columns name[], tenant name, keep_previous boolean, "
		 "include_columns name[])",
	 .then = "SELECT " SOURCE " FROM webhook.source w WHERE w.source = ($1::jsonb ->> 'source')::regclass",
	 .then_answers = true},
	{"DELETE", "/api/sources/{source}", ROUTE_WRITE, .what = "stop watching a table",
	 .sql = "SELECT '{}'::jsonb FROM webhook.unwatch($1::regclass)"},
	{"GET", "/api/worker", ROUTE_READ, .what = "show the worker", .sql = "SELECT " WORKER},

	/* programs */
	{"GET", "/api/tokens", ROUTE_READ, .what = "list the tokens",
	 .sql =
		 "SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'role', "
		 "t.role, 'created_at', t.created_at, 'created_by', t.created_by, 'expires_at', t.expires_at, "
		 "'last_used_at', t.last_used_at) ORDER BY t.name), '[]')) FROM webhook.api_token t"},
	{"POST", "/api/tokens", ROUTE_WRITE, .fields = "name role expires_at", .what = "create a token",
	 .sql =
		 "SELECT jsonb_build_object('name', $1::jsonb ->> 'name', 'token', webhook.create_api_token("
		 "$1::jsonb ->> 'name', ($1::jsonb ->> 'role')::name, ($1::jsonb ->> 'expires_at')::timestamptz))"},
	{"DELETE", "/api/tokens/{name}", ROUTE_WRITE, .what = "revoke a token",
	 .sql = "SELECT '{}'::jsonb FROM webhook.revoke_api_token($1)"},
	{"GET", "/api/audit", ROUTE_READ, .query = "subscription cursor limit", .what = "list what was changed",
	 .sql =
		 LIST("SELECT to_jsonb(a) - 'n' - 'page' - 'rows' - 'id' AS item, a.n, a.page, a.rows, a.id::text "
			  "AS cursor FROM (SELECT q.*, row_number() OVER (ORDER BY q.id DESC) AS n, " PAGE(
				  "$3") " AS page, count(*) OVER () AS rows FROM (SELECT c.* FROM webhook.audit c WHERE ($1 "
						"IS NULL OR "
						"c.object = $1) AND ($2 IS NULL OR c.id < $2::bigint) ORDER BY c.id DESC LIMIT " PAGE(
							"$3") " + 1) q) a",
			  "x.cursor")},

	/* Xsolla's call */
	{"POST", "/projects/{project_id}/events/{event_type}/webhooks", ROUTE_WRITE, .fields = "url",
	 .what = "register a webhook",
	 .sql = "SELECT r.answer, r.status FROM webhook_internal.register($1, $2, $3::jsonb ->> 'url') r"},

	/* machines */
	{"GET", "/api/openapi.json", ROUTE_OWN, .what = "this document", .open = true},
	{"GET", "/healthz", ROUTE_OWN, .what = "say that the program is alive", .open = true},
	{"GET", "/readyz", ROUTE_OWN, .what = "say whether webhooks are delivered", .open = true},
	{"GET", "/metrics", ROUTE_OWN, .what = "metrics for Prometheus", .open = true},
};

const size_t n_routes = sizeof(routes) / sizeof(routes[0]);
