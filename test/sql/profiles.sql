--
-- Profiles as rows: those built in are protected, a copy is one's own; what
-- cannot work is refused when it is saved, templates with the position; and
-- what a profile asks of its subscriptions. Runs without a worker, in a
-- database of its own.
--
CREATE DATABASE webhook_profiles TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\c webhook_profiles
SET client_min_messages = error; -- not to be told about preloading
CREATE EXTENSION webhook;
RESET client_min_messages;
SET intervalstyle = postgres;

-- What an error says.
CREATE PROCEDURE wrong(statement text) LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION SQLSTATE 'ZZ000';
EXCEPTION
	WHEN SQLSTATE 'ZZ000' THEN
		RAISE NOTICE 'accepted';
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
		RAISE NOTICE '%: %', SQLSTATE, message USING DETAIL = detail, HINT = hint;
END
$$;

--
-- Those that are built in
--
SELECT name, builtin FROM webhook.profile ORDER BY name;
CALL wrong($$ UPDATE webhook.profile SET description = 'mine' WHERE name = 'stripe' $$);
CALL wrong($$ UPDATE webhook.profile SET builtin = false WHERE name = 'stripe' $$);
CALL wrong($$ DELETE FROM webhook.profile WHERE name = 'github' $$);
CALL wrong($$ DELETE FROM webhook.profile $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope, builtin) VALUES ('mine', '', '{}', true) $$);
CALL wrong($$ TRUNCATE webhook.profile CASCADE $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('stripe', '', '{}')
	ON CONFLICT (name) DO UPDATE SET envelope = '{}' $$);

--
-- Copies
--
SELECT webhook.copy_profile('aghanim', 'mine');
-- the same except for the name, and one's own
SELECT to_jsonb(a) - 'name' - 'builtin' = to_jsonb(m) - 'name' - 'builtin' AS same, m.builtin
	FROM webhook.profile a, webhook.profile m WHERE a.name = 'aghanim' AND m.name = 'mine';
UPDATE webhook.profile SET description = 'mine', headers = '{}' WHERE name = 'mine' RETURNING name, headers, failure_match;
CALL wrong($$ UPDATE webhook.profile SET builtin = true WHERE name = 'mine' $$);
CALL wrong($$ SELECT webhook.copy_profile('aghanim', 'mine') $$);
CALL wrong($$ SELECT webhook.copy_profile('nix', 'other') $$);
CALL wrong($$ SELECT webhook.copy_profile('mine', NULL) $$);
CALL wrong($$ SELECT webhook.copy_profile('mine', '') $$);
CALL wrong($$ SELECT webhook.copy_profile('mine', repeat('x', 201)) $$);
-- one that is in use stays
SELECT webhook.subscribe('user', 'https://hooks.example.com/', profile => 'mine', params => '{"game_id": "gm_1"}') IS NOT NULL AS subscribed;
CALL wrong($$ DELETE FROM webhook.profile WHERE name = 'mine' $$);
CALL wrong($$ UPDATE webhook.profile SET name = 'yours' WHERE name = 'mine' $$);
SELECT webhook.unsubscribe('user');
DELETE FROM webhook.profile WHERE name = 'mine';

--
-- Templates: refused with position and reason
--
SELECT webhook_internal.check_template('envelope', '{"a": "$id", "b": {"...": "$object"}}'), webhook_internal.check_template('header', '{id}');
CALL wrong($$ SELECT webhook_internal.check_template('body', '{}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('x', '', '{"a": "$idd"}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('x', '', '{"Größe": "$größe"}') $$); -- in characters, not bytes
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('x', '', '{"a": "$secret"}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('x', '', '{"a": "$attempt"}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('x', '', '{"a": 1, "a": 2}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('x', '', '{"...": "$id"}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope, batch_envelope) VALUES ('x', '', '{}', '["$"]') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope, headers) VALUES ('x', '', '{}', '{"X-A": "{id}", "X-B": "<{secret}>"}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope, headers) VALUES ('x', '', '{}', '{"X-A": "a\r\nX-B: b"}') $$);
CALL wrong($$ INSERT INTO webhook.profile (name, description, envelope) VALUES ('x', '', to_json(repeat('x', 16384))) $$);

--
-- The other columns: each of these is one step from what is right
--
CREATE PROCEDURE wrong_profile(col text, value text) LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '% = %', col, left(value, 60);
	CALL wrong(format('INSERT INTO webhook.profile SELECT (jsonb_populate_record(p, jsonb_build_object(''name'', ''x'', ''builtin'', false, %L, %s))).*
		FROM webhook.profile p WHERE name = ''aghanim''', col, coalesce(quote_literal(value), 'NULL') || CASE WHEN col IN ('headers', 'failure_match', 'params') THEN '::jsonb' ELSE '' END));
END
$$;
DO $$
DECLARE
	thirty jsonb := (SELECT jsonb_object_agg('X-' || g, '') FROM generate_series(1, 30) g);
BEGIN
	CALL wrong_profile('content_type', E'text/plain\r\nX: y');
	CALL wrong_profile('content_type', '');
	CALL wrong_profile('content_type', NULL);
	CALL wrong_profile('batch_content_type', E'text\tplain');
	CALL wrong_profile('headers', '[]');
	CALL wrong_profile('headers', '{"X Y": "a"}');
	CALL wrong_profile('headers', '{"X-Größe": "a"}');
	CALL wrong_profile('headers', '{"X-A": 1}');
	CALL wrong_profile('headers', '{"X-A": "a", "x-a": "b"}');
	CALL wrong_profile('headers', '{"content-TYPE": "a"}');
	CALL wrong_profile('headers', '{"Content-Length": "1"}');
	CALL wrong_profile('headers', '{"x-aghanim-signature": "a"}');
	CALL wrong_profile('headers', jsonb_build_object('X-A', repeat('x', 4001))::text);
	CALL wrong_profile('headers', jsonb_build_object('X-A', repeat('x', 4000))::text);
	CALL wrong_profile('headers', (thirty || '{"X-31": ""}')::text);
	CALL wrong_profile('headers', thirty::text);
	CALL wrong_profile('timestamp_header', 'Host');
	CALL wrong_profile('id_header', 'user-agent');
	CALL wrong_profile('event_prefix', 'wh.');
	CALL wrong_profile('event_prefix', repeat('x', 33));
	CALL wrong_profile('event_prefix', '');
	CALL wrong_profile('transaction_prefix', 'ü');
	CALL wrong_profile('failure_match', '{}');
	CALL wrong_profile('failure_match', '"error"');
	CALL wrong_profile('failure_match', '{"status": ["error"]}');
	CALL wrong_profile('failure_match', '{"ok": false, "n": 1, "x": null}');
	CALL wrong_profile('failure_fields', '{}');
	CALL wrong_profile('failure_fields', '{code,NULL}');
	CALL wrong_profile('failure_fields', '{"a b"}');
	CALL wrong_profile('retry_schedule', '{}');
	CALL wrong_profile('retry_schedule', '{1ms}');
	CALL wrong_profile('give_up_after', '366 days');
	CALL wrong_profile('max_url_length', '0');
	CALL wrong_profile('max_url_length', '2049');
	CALL wrong_profile('params', '[]');
	CALL wrong_profile('params', '{"a": "string"}');
	CALL wrong_profile('params', '{"a": {"type": "text"}}');
	CALL wrong_profile('params', '{"a": {"required": "yes"}}');
	CALL wrong_profile('params', '{"a": {"values": "b"}}');
	CALL wrong_profile('params', '{"a": {"default": 1}}');
	CALL wrong_profile('params', '{"a": {"type": "event_types", "covers_events": 1}}');
	CALL wrong_profile('params', '{"a": {}, "b": {"type": "number", "required": false, "values": [1, 2]}}');
	CALL wrong_profile('envelope', NULL);
	CALL wrong_profile('signature_separator', '');
END
$$;

--
-- What a profile asks of a subscription
--
CREATE FUNCTION subscribe(profile text, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}', url text DEFAULT 'https://hooks.example.com/', events text[] DEFAULT NULL) RETURNS text
	LANGUAGE sql AS $$ SELECT format('SELECT webhook.subscribe(%L, %L, %L, profile => %L, params => %L, headers => %L)', 's', url, events, profile, params, headers) $$;
-- Xsolla: project_id is a UUID, event types are theirs and nothing else is sent, a URL has at most 500 characters, Authorization is the signature's
CALL wrong(subscribe('xsolla'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555"}'));
CALL wrong(subscribe('xsolla', '{"project_id": null, "event_types": {"user.new": "registration"}}', events => '{user.new}'));
CALL wrong(subscribe('xsolla', '{"project_id": 17, "event_types": {"user.new": "registration"}}', events => '{user.new}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-55555555555", "event_types": {"user.new": "registration"}}', events => '{user.new}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555\n", "event_types": {"user.new": "registration"}}', events => '{user.new}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration", "user.update": "email_confirmation"}}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration", "user.update": "email_confirmation"}}', events => '{user.update,user.new}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration", "user.update": "email_confirmation"}}', events => '{user.new,user.delete}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration", "user.update": "email_confirmation"}}', events => '{user.*}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration", "user.created": "registration"}}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"*.new": "registration"}}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration", "user.update": "login"}}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": ["registration"]}'));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration"}}', events => '{user.new}', url => 'https://hooks.example.com/' || repeat('x', 474)));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration"}}', events => '{user.new}', url => 'https://hooks.example.com/' || repeat('x', 475)));
CALL wrong(subscribe('xsolla', '{"project_id": "11111111-2222-3333-4444-555555555555", "event_types": {"user.new": "registration"}}', events => '{user.new}', headers => '{"authorization": "mine"}'));
CALL wrong(subscribe('github', '{}', '{"authorization": "mine", "X-More": "1"}'));
-- the others
CALL wrong(subscribe('github', '{}', '{"x-github-event": "mine"}'));
CALL wrong(subscribe('github', '{}', '{"X-Hub-Signature-256": "mine"}'));
CALL wrong(subscribe('aghanim'));
CALL wrong(subscribe('aghanim', '{"game_id": "gm_1"}', '{"User-Agent": "mine"}'));
CALL wrong(subscribe('aghanim', '{"game_id": 5}'));
CALL wrong(subscribe('aghanim', '{"game_id": "gm_1", "other": [5]}'));
CALL wrong(subscribe('cloudevents', '{"source": {}}'));
CALL wrong(subscribe('cloudevents_binary', '{"source": ""}'));
CALL wrong(subscribe('cloudevents_binary', '{"source": "/shop"}'));
-- values of a scalar
INSERT INTO webhook.profile (name, description, envelope, params)
	VALUES ('scalar', '', '{"level": "$param.level"}', '{"level": {"type": "number", "required": true, "values": [1, 2]}}');
CALL wrong(subscribe('scalar', '{"level": 2.0}'));
CALL wrong(subscribe('scalar', '{"level": 3}'));
-- batches
SELECT webhook.subscribe('s', 'https://hooks.example.com/', profile => 'stripe') IS NOT NULL AS subscribed;
CALL wrong($$ UPDATE webhook.subscription SET batch_size = 2 WHERE name = 's' $$);
CALL wrong($$ UPDATE webhook.subscription SET profile = 'xsolla' WHERE name = 's' $$);
-- a row that no longer is as its profile asks (as a later version might) can still be disabled by the worker, and fixed
ALTER TABLE webhook.profile DISABLE TRIGGER USER;
UPDATE webhook.profile SET max_url_length = 10 WHERE name = 'stripe';
UPDATE webhook.subscription SET state = 'disabled' WHERE name = 's';
CALL wrong($$ UPDATE webhook.subscription SET headers = '{"X-A": ""}' WHERE name = 's' $$);
UPDATE webhook.profile SET max_url_length = NULL WHERE name = 'stripe';
ALTER TABLE webhook.profile ENABLE TRIGGER USER;
UPDATE webhook.subscription SET headers = '{"X-A": ""}' WHERE name = 's';
-- a profile whose subscriptions would not fit is not changed
SELECT webhook.copy_profile('entity', 'mine');
INSERT INTO webhook.subscription (name, url, profile, batch_size, headers) VALUES ('t', 'https://hooks.example.com/', 'mine', 100, '{"X-Mine": "1"}');
CALL wrong($$ UPDATE webhook.profile SET batch_envelope = NULL WHERE name = 'mine' $$);
CALL wrong($$ UPDATE webhook.profile SET max_url_length = 25 WHERE name = 'mine' $$);
CALL wrong($$ UPDATE webhook.profile SET params = '{"key": {"required": true}}' WHERE name = 'mine' $$);
CALL wrong($$ UPDATE webhook.profile SET headers = '{"x-mine": "2"}' WHERE name = 'mine' $$);
CALL wrong($$ UPDATE webhook.profile SET signature_algorithm = 'ed25519' WHERE name = 'mine' $$);
UPDATE webhook.profile SET description = 'changed', envelope = '"$object"' WHERE name = 'mine';

--
-- Defaults: the profile's schedule, else the general one; what is given stays
--
INSERT INTO webhook.subscription (name, url, profile, retry_schedule, give_up_after) VALUES
	('wt', 'https://hooks.example.com/', 'website_toolbox', NULL, NULL),
	('wt own', 'https://hooks.example.com/', 'website_toolbox', '{5s}', '1 day');
SELECT name, retry_schedule, give_up_after FROM webhook.subscription ORDER BY name;
CALL wrong($$ UPDATE webhook.subscription SET retry_schedule = NULL WHERE name = 'wt' $$);
CALL wrong($$ UPDATE webhook.subscription SET give_up_after = NULL WHERE name = 'wt' $$);
-- another profile does not change what a subscription has
UPDATE webhook.subscription SET profile = 'entity' WHERE name = 'wt' RETURNING retry_schedule, give_up_after;

\c postgres
DROP DATABASE webhook_profiles;
