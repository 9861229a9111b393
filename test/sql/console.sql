--
-- What the console stands on: looking before saving, explaining, searching the log, tokens, and
-- changes of a subscription as JSON; with what each says to bad input. Runs without a worker.
--
CREATE DATABASE webhook_console TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\c webhook_console
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = ISO;
SET intervalstyle = postgres;

CREATE PROCEDURE wrong(statement text) LANGUAGE plpgsql AS $$
DECLARE
	code text; message text; detail text; hint text;
BEGIN
	BEGIN
		EXECUTE statement;
		RAISE SQLSTATE 'ZZ000' USING MESSAGE = 'accepted';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	END;
	RAISE WARNING '%: %', code, message USING DETAIL = detail, HINT = hint;
END
$$;

CREATE EXTENSION webhook;
CREATE TABLE users (id int PRIMARY KEY, plan text, company text);
SELECT FROM webhook.watch('users', 'user', keep_previous => true, tenant => 'company');
SELECT FROM webhook.subscribe('all', 'https://example.com/');
SELECT FROM webhook.subscribe('pro', 'https://example.com/', '{user.new,user.update}', filter => '$.result.plan == "pro"', tenant => 'acme');
INSERT INTO users VALUES (1, 'free', 'acme'), (2, 'pro', 'acme'), (3, 'pro', 'other');
UPDATE users SET plan = 'pro' WHERE id = 1;
DELETE FROM users WHERE id = 2;

-- the request that would be sent: what varies is left out
CREATE FUNCTION shown(request jsonb) RETURNS TABLE (part text, value text) LANGUAGE sql AS $$
	SELECT 'method', $1 ->> 'method' UNION ALL SELECT 'url', $1 ->> 'url' UNION ALL SELECT 'made_of', $1 ->> 'made_of'
	UNION ALL SELECT h ->> 0, regexp_replace(h ->> 1, '[0-9a-f]{8}_0|[0-9]{10}|[A-Za-z0-9+/]{40,}=?', '...', 'g') FROM jsonb_array_elements($1 -> 'headers') h
	UNION ALL SELECT 'body', regexp_replace($1 ->> 'body', '[0-9a-f]{8}_0|[0-9]{10}', '...', 'g') UNION ALL SELECT 'note', n FROM jsonb_array_elements_text($1 -> 'notes') n
$$;
\pset format unaligned
SELECT * FROM shown(webhook.preview(url => 'https://example.com/', headers => '{"X-Team": "billing"}', entity_type => 'user', entity_id => '1'));
SELECT * FROM shown(webhook.preview('github', entity_type => 'user', action_type => 'delete'));
SELECT * FROM shown(webhook.preview('stripe', transform => 'public.made'));
SELECT count(*) FROM webhook.profile p, webhook.preview(p.name, entity_type => 'user', params => '{"project_id": "0e2ba1b5-1e2f-4d6d-9a0c-6a2a4b0a1c11", "event_types": {"user.update": "registration"}, "game_id": "g", "source": "s"}') r WHERE (r ->> 'body')::json IS NOT NULL;
CALL wrong($$SELECT webhook.preview('none')$$);
CALL wrong($$SELECT webhook.preview(NULL)$$);
CALL wrong($$SELECT webhook.preview(url => 'ftp://example.com/')$$);
CALL wrong($$SELECT webhook.preview(entity_type => 'none')$$);
CALL wrong($$SELECT webhook.preview(entity_type => 'user', entity_id => '77')$$);
CALL wrong($$SELECT webhook.preview(action_type => 'made up')$$);
CALL wrong($$SELECT webhook.preview(action_type => NULL)$$);
CALL wrong($$SELECT webhook.preview(headers => '[]')$$);
CALL wrong($$SELECT webhook.preview(params => NULL)$$);

-- the events that would match
SELECT event_number, entity_id, action_type, matched FROM webhook.match_preview();
SELECT event_number FROM webhook.match_preview('{user.delete}') WHERE matched;
SELECT event_number FROM webhook.match_preview(tenant => 'other') WHERE matched;
SELECT event_number FROM webhook.match_preview(filter => '$.previous.plan == "free"') WHERE matched;
SELECT event_number FROM webhook.match_preview(changed_columns => '{company}') WHERE matched;
SELECT count(*) FROM webhook.match_preview(max_events => 2);
CALL wrong($$SELECT webhook.match_preview('{nonsense}')$$);
CALL wrong($$SELECT webhook.match_preview(max_events => 0)$$);
CALL wrong($$SELECT webhook.match_preview(max_events => NULL)$$);
SELECT * FROM webhook.replay_preview('pro', '-infinity', 'infinity');
SELECT * FROM webhook.replay_preview('all', '-infinity', 'infinity');
SELECT webhook.replay('pro', '-infinity', 'infinity');
SELECT * FROM webhook.replay_preview('pro', '-infinity', 'infinity');
CALL wrong($$SELECT webhook.replay_preview('none', '-infinity')$$);
CALL wrong($$SELECT webhook.replay_preview('pro', 'infinity', '-infinity')$$);
CALL wrong($$SELECT webhook.replay_preview('pro', NULL, 'infinity')$$);
SELECT count(*) FROM webhook.pending;

-- why
CREATE FUNCTION why(event text, subscription text) RETURNS TABLE (step text, ok text, said text) LANGUAGE sql AS $$
	SELECT s ->> 'step', s ->> 'ok', regexp_replace(s ->> 'text', '20\d\d-[^ ]+ [^ ,]+', 'then') FROM webhook.explain($1, $2) e, jsonb_array_elements(e -> 'steps') s
	UNION ALL SELECT 'verdict', e ->> 'verdict', regexp_replace(e ->> 'explanation', '20\d\d-[^ ]+ [^ ,]+', 'then') FROM webhook.explain($1, $2) e
$$;
SELECT * FROM why('1', 'pro');
SELECT * FROM why('3', 'pro');
SELECT * FROM why('5', 'pro');
SELECT * FROM why('4', 'pro');
SELECT * FROM why('99', 'pro');
SELECT * FROM why('1', 'all') WHERE step = 'verdict';
-- what is for another subscription alone is not there
BEGIN;
UPDATE webhook.outbox SET subscription_id = (SELECT id FROM webhook.subscription WHERE name = 'all') WHERE event_number = 1;
SELECT * FROM why('1', 'pro');
ROLLBACK;
CALL wrong($$SELECT webhook.explain('1', 'none')$$);
CALL wrong($$SELECT webhook.explain('x', 'all')$$);
CALL wrong($$SELECT webhook.explain(NULL, 'all')$$);

-- the log, by pages
INSERT INTO webhook.attempt (started_at, event_number, subscription_id, attempt_number, http_status, segment, outcome, subscription, entity_type, entity_id, action_type)
	SELECT '2020-01-01 00:00:00.123456+00'::timestamptz + g / 3 * interval '1 s', g, 1, 1, CASE WHEN g % 4 = 0 THEN 503 ELSE 200 END, 0,
		CASE WHEN g % 4 = 0 THEN 'unavailable' ELSE 'delivered' END, CASE WHEN g = 7 THEN NULL ELSE 'all' END, 'user', g % 5, 'new' FROM generate_series(1, 20) g;
SELECT string_agg(event_number::text, ' ') FROM webhook.search_log();
DO $$
DECLARE
	cursor text; page text := ''; l webhook.log;
BEGIN
	FOR i IN 1..25 LOOP
		SELECT * INTO l FROM webhook.search_log(cursor => cursor, max_rows => 1);
		EXIT WHEN NOT FOUND;
		page := page || l.event_number || ' ';
		cursor := webhook_internal.log_cursor(l);
	END LOOP;
	RAISE WARNING '%', page;
END
$$;
SELECT string_agg(event_number::text, ' ') FROM webhook.search_log(outcome => 'failed');
SELECT string_agg(event_number::text, ' ') FROM webhook.search_log(status => '5xx', entity_id => '4');
SELECT string_agg(event_number::text, ' ') FROM webhook.search_log('all', 'user', '2', NULL, 'delivered', '200', '2020-01-01', '2020-01-01 00:00:05+00');
SELECT string_agg(event_number::text, ' ') FROM webhook.search_log(event_id => '3');
CALL wrong($$SELECT webhook.search_log(status => 'bad')$$);
CALL wrong($$SELECT webhook.search_log(cursor => 'bad')$$);
CALL wrong($$SELECT webhook.search_log(max_rows => 0)$$);
CALL wrong($$SELECT webhook.search_log(event_id => 'bad')$$);

-- tokens
CREATE ROLE regress_console_op;
SELECT webhook.create_api_token('t', 'regress_console_op') AS token \gset
SELECT webhook_internal.authenticate(sha256(:'token')), octet_length(:'token');
SELECT webhook_internal.authenticate(sha256('other')), webhook_internal.authenticate(NULL);
SELECT name, role, expires_at > now() + interval '364 days' AS a_year, last_used_at IS NOT NULL AS used FROM webhook.api_token;
CALL wrong($$SELECT webhook.create_api_token('t', 'regress_console_op')$$);
CALL wrong($$SELECT webhook.create_api_token('', 'regress_console_op')$$);
CALL wrong($$SELECT webhook.create_api_token('u', 'regress_console_none')$$);
CALL wrong($$SELECT webhook.create_api_token('u', NULL)$$);
CALL wrong($$SELECT webhook.create_api_token('u', 'regress_console_op', '2020-01-01')$$);
CALL wrong($$SELECT webhook.create_api_token('u', 'regress_console_op', 'infinity')$$);
CALL wrong($$SELECT webhook.revoke_api_token('none')$$);
SELECT FROM webhook.revoke_api_token('t');
SELECT webhook_internal.authenticate(sha256(:'token'));

-- changes as JSON
SELECT xmin AS version FROM webhook.subscription WHERE name = 'all' \gset
SELECT FROM webhook_internal.change_subscription('all', '{"max_in_flight": 7, "events": ["user.*"], "retry_schedule": ["1 s", "1 min"], "filter": "$.result.id > 1", "headers": {"X-A": "b"}, "rate_limit": null}', :'version');
SELECT max_in_flight, events, retry_schedule, filter, headers, rate_limit FROM webhook.subscription WHERE name = 'all';
SELECT FROM webhook_internal.change_subscription('all', '{"state": "inactive", "state_reason": "for a test"}');
SELECT FROM webhook_internal.change_subscription('all', '{"state": "active"}');
SELECT state, state_reason FROM webhook.subscription WHERE name = 'all';
SELECT FROM webhook_internal.change_subscription('all', '{}');
CALL wrong(format($$SELECT webhook_internal.change_subscription('all', '{"max_in_flight": 8}', '%s')$$, :'version'));
CALL wrong($$SELECT webhook_internal.change_subscription('none', '{}')$$);
CALL wrong($$SELECT webhook_internal.change_subscription('all', '[]')$$);
CALL wrong($$SELECT webhook_internal.change_subscription('all', NULL)$$);
CALL wrong($$SELECT webhook_internal.change_subscription('all', '{"id": 5}')$$);
CALL wrong($$SELECT webhook_internal.change_subscription('all', '{"transform_owner": "x"}')$$);
CALL wrong($$SELECT webhook_internal.change_subscription('all', '{"max_in_flight\" = 1; --": 5}')$$);
CALL wrong($$SELECT webhook_internal.change_subscription('all', '{"max_in_flight": 0}')$$);
CALL wrong($$SELECT webhook_internal.require_at_most(3, 2)$$);
SELECT webhook_internal.require_at_most(3, 3), webhook_internal.require_at_most(3, NULL);

-- what an operator may look at through the door, and what not
SELECT FROM webhook.grant_operator('regress_console_op');
SET ROLE regress_console_op;
SELECT count(*) FROM webhook.match_preview();
SELECT webhook.explain('1', 'all') ->> 'verdict';
CALL wrong($$SELECT * FROM webhook.outbox$$);
CALL wrong($$SELECT webhook.preview(entity_type => 'user')$$);
CALL wrong($$SELECT webhook_internal.explain_as_owner(1, '1')$$);
CALL wrong($$SELECT digest FROM webhook.api_token$$);
CALL wrong($$INSERT INTO webhook.audit (role, action, via) VALUES ('postgres', 'x', 'x')$$);
CALL wrong($$SELECT webhook_internal.authenticate('')$$);
RESET ROLE;
SELECT FROM webhook.isolate_operators();
SET ROLE regress_console_op;
CALL wrong($$SELECT webhook.explain('1', 'all')$$);
RESET ROLE;
\c postgres
DROP DATABASE webhook_console;
DROP ROLE regress_console_op;
