--
-- The SQL of a user's day: watch, subscribe and their companions, what they
-- store, and what they say to bad input; then the schema itself: everything is
-- commented, nothing is granted, and DROP EXTENSION leaves nothing behind.
-- Runs without a worker, in a database of its own.
--
CREATE DATABASE webhook_api TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\c webhook_api

-- What an error says, whatever line of code it comes from. What was accepted is undone.
CREATE PROCEDURE wrong(statement text) LANGUAGE plpgsql AS $$
DECLARE
	code text;
	message text;
	detail text;
	hint text;
BEGIN
	BEGIN
		EXECUTE statement;
		RAISE SQLSTATE 'ZZ000' USING MESSAGE = 'accepted';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
			detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	END;
	IF code = 'ZZ000' THEN
		RAISE NOTICE 'accepted';
	ELSE
		RAISE NOTICE '%: %', code, message USING DETAIL = detail, HINT = hint;
	END IF;
END
$$;
-- The same for many statements that must all get the same error: one line each.
CREATE PROCEDURE wrong_each(pattern text, VARIADIC parts text[]) LANGUAGE plpgsql AS $$
DECLARE
	part text;
BEGIN
	FOREACH part IN ARRAY parts LOOP
		BEGIN
			EXECUTE format(pattern, part);
			RAISE SQLSTATE 'ZZ000' USING MESSAGE = 'accepted';
		EXCEPTION WHEN OTHERS THEN
			RAISE NOTICE '% -> % %', left(part, 60), CASE SQLSTATE WHEN 'ZZ000' THEN '' ELSE SQLSTATE END, SQLERRM;
		END;
	END LOOP;
END
$$;

-- The same where only the kind of error matters, and that it has a detail and a hint.
CREATE PROCEDURE wrong_code(statement text, never text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	code text;
	message text;
	detail text;
	hint text;
BEGIN
	BEGIN
		EXECUTE statement;
		RAISE SQLSTATE 'ZZ000';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	END;
	RAISE NOTICE '%', CASE WHEN code = 'ZZ000' THEN 'accepted' WHEN detail = '' THEN code || ' without detail'
		WHEN hint = '' THEN code || ' without hint' WHEN concat(message, detail, hint) ~ never THEN code || ' that quotes the row' ELSE code END;
END
$$;

--
-- Installing
--
SET client_min_messages = error; -- not to be told about preloading
CREATE EXTENSION webhook;
RESET client_min_messages;
SELECT extname, extversion, extrelocatable, obj_description(oid, 'pg_extension') FROM pg_extension WHERE extname = 'webhook';
-- this cluster and this database may deliver
SELECT instance ~ '^[0-9a-f]{8}$' AS instance, system_identifier = (SELECT c.system_identifier FROM pg_control_system() c) AS cluster,
	database_oid = (SELECT oid FROM pg_database WHERE datname = current_database()) AS database, enabled_at <= clock_timestamp() AS enabled
	FROM webhook.identity;
-- called again, it changes nothing
CREATE TEMP TABLE identity_before AS SELECT * FROM webhook.identity;
SELECT webhook.enable_delivery();
SELECT webhook.enable_delivery();
(TABLE identity_before EXCEPT TABLE webhook.identity) UNION ALL (TABLE webhook.identity EXCEPT TABLE identity_before);
-- the row of another cluster or database gives way to one with a new instance
UPDATE webhook.identity SET database_oid = (database_oid::bigint + 1)::oid;
SELECT webhook.enable_delivery();
SELECT count(*), bool_and(i.instance <> b.instance) AS new_instance, bool_and(i.database_oid = b.database_oid) AS this_database
	FROM webhook.identity i, identity_before b;
UPDATE webhook.identity SET system_identifier = 1;
SELECT webhook.enable_delivery();
SELECT count(*), bool_and(i.system_identifier = b.system_identifier) AS this_cluster FROM webhook.identity i, identity_before b;
-- as receivers see an event's id
SELECT webhook.event_id(42) = 'evt_' || instance || '_42' AS event_id FROM webhook.identity;
SELECT webhook.event_id(9223372036854775807) LIKE 'evt\_%\_9223372036854775807' AS largest, webhook.event_id(NULL) IS NULL AS no_event;
-- without preload: it says so
SELECT subscription, state, regexp_replace(reason, '\d+ kB', '... kB') AS reason FROM webhook.status;
SELECT name, description FROM webhook.profile ORDER BY name;
-- twice
CALL wrong('CREATE EXTENSION webhook');

--
-- Watching
--
CREATE TABLE users (id bigint PRIMARY KEY, name text, "E-Mail" text, password text, org integer);
CREATE TABLE item (a integer, b text, c date, PRIMARY KEY (b, a) INCLUDE (c));
CREATE TABLE keyless (x integer, y text);
CREATE TABLE "Odd ""Name""" ("The Key" integer PRIMARY KEY);
CREATE TABLE part (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (100);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200) PARTITION BY LIST (id);
CREATE TABLE part_2_default PARTITION OF part_2 DEFAULT;
CREATE VIEW users_view AS SELECT id FROM users;
CREATE MATERIALIZED VIEW users_matview AS SELECT id FROM users;
CREATE TEMP TABLE passing (id integer PRIMARY KEY);

-- no problem where the view shows none
CREATE VIEW sources AS
	SELECT source, entity_type AS type, id_columns AS ids, action_types, columns, exclude_columns, tenant, keep_previous AS prev, regexp_replace(trigger, '[0-9]+$', 'oid') AS trigger, fires, problem
	FROM webhook.source ORDER BY source::text, trigger;
TABLE sources;
-- with all defaults
SELECT webhook.watch('users');
TABLE sources;
-- called again, it changes what is given, and what is not given stays as it is (watch_again)
SELECT webhook.watch('users', 'user', exclude_columns => '{password}', tenant => 'org', keep_previous => true);
TABLE sources;
SELECT webhook.watch('public.users', action_types => '{delete,truncate}', columns => '{id,E-Mail}', id_columns => '{E-Mail}');
TABLE sources;
SELECT tgname, tgtype, tgenabled, tgisinternal FROM pg_trigger WHERE tgrelid = 'users'::regclass ORDER BY 1;
SELECT webhook.watch('users', action_types => '{truncate}');
TABLE sources;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass ORDER BY 1;
SELECT webhook.watch('users', action_types => '{new}');
TABLE sources;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass ORDER BY 1;
-- several key columns, no key but columns that are one, names that need quotes, a partitioned table
SELECT webhook.watch('item');
SELECT webhook.watch('keyless', id_columns => '{y,x}');
SELECT webhook.watch('"Odd ""Name"""', 'odd', id_columns => '{The Key}');
SELECT webhook.watch('part', action_types => '{update,new}');
TABLE sources;
-- one argument says it all, and it can be written by hand
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'keyless'::regclass;
CREATE TABLE by_hand (id integer PRIMARY KEY, status text);
CREATE TRIGGER only_paid AFTER UPDATE ON by_hand FOR EACH ROW WHEN (NEW.status = 'paid') EXECUTE FUNCTION webhook.capture();
SELECT source, entity_type, id_columns, action_types, trigger, problem FROM webhook.source WHERE source = 'by_hand'::regclass;
DROP TABLE by_hand;
-- how ALTER TABLE has set it
ALTER TABLE keyless ENABLE ALWAYS TRIGGER webhook_capture;
ALTER TABLE item DISABLE TRIGGER webhook_capture;
ALTER TABLE users ENABLE REPLICA TRIGGER webhook_capture;
SELECT source, fires FROM sources;
-- what no longer fits the table
SELECT webhook.watch('users', exclude_columns => '{password}', tenant => 'org');
ALTER TABLE users DROP COLUMN password, DROP COLUMN org;
ALTER TABLE keyless RENAME COLUMN y TO z;
SELECT source, problem FROM sources WHERE problem IS NOT NULL;
ALTER TABLE keyless RENAME COLUMN z TO y;
ALTER TABLE users ADD password text, ADD org integer;
-- renamed, the table stays watched
ALTER TABLE item RENAME TO things;
SELECT source, type FROM sources WHERE source = 'things'::regclass;
ALTER TABLE things RENAME TO item;

-- no more
SELECT webhook.unwatch('users');
SELECT regexp_replace(webhook.unwatch('part'), '[0-9]+$', 'oid') AS unwatch;
SELECT webhook.unwatch('"Odd ""Name"""');
SELECT source FROM sources;
SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('users'::regclass, 'part'::regclass, 'part_1'::regclass, 'part_2'::regclass, 'part_2_default'::regclass);
SELECT webhook.watch('users');
SELECT webhook.unwatch('users');
SELECT webhook.unwatch('item');
SELECT webhook.unwatch('keyless');
TABLE sources;

-- bad input: which table
CALL wrong($$ SELECT webhook.watch('no_such_table') $$);
CALL wrong($$ SELECT webhook.watch(4294967295::regclass) $$);
CALL wrong($$ SELECT webhook.watch(NULL) $$);
CALL wrong($$ SELECT webhook.watch('users_view') $$);
CALL wrong($$ SELECT webhook.watch('users_matview') $$);
CALL wrong($$ SELECT webhook.watch('users_pkey') $$);
CALL wrong($$ SELECT webhook.watch('pg_class') $$);
CALL wrong($$ SELECT webhook.watch('information_schema.sql_features') $$);
CALL wrong($$ SELECT webhook.watch('webhook.subscription') $$);
CALL wrong($$ SELECT webhook.watch('passing') $$);
CALL wrong($$ SELECT webhook.watch('keyless') $$);
-- which columns
CALL wrong($$ SELECT webhook.watch('users', id_columns => '{id,nix}') $$);
CALL wrong($$ SELECT webhook.watch('users', columns => '{ID}') $$);
CALL wrong($$ SELECT webhook.watch('users', exclude_columns => '{e-mail}') $$);
CALL wrong($$ SELECT webhook.watch('users', tenant => 'nix') $$);
CALL wrong($$ SELECT webhook.watch('users', columns => '{ctid}') $$);
CALL wrong($$ SELECT webhook.watch('users', columns => '{id,NULL}') $$);
CALL wrong($$ SELECT webhook.watch('users', columns => '{id}', exclude_columns => '{name}') $$);
CALL wrong($$ SELECT webhook.watch('users', exclude_columns => '{name}', include_columns => '{id,name}') $$);
CALL wrong($$ SELECT webhook.watch('users', include_columns => '{e-mail}') $$);
CALL wrong($$ SELECT webhook.watch('users', id_columns => '{}') $$);
-- which action types, and what kind of thing
CALL wrong($$ SELECT webhook.watch('users', action_types => '{new,insert}') $$);
CALL wrong($$ SELECT webhook.watch('users', action_types => '{test}') $$);
CALL wrong($$ SELECT webhook.watch('users', action_types => '{NULL}') $$);
CALL wrong($$ SELECT webhook.watch('users', action_types => '{}') $$);
CALL wrong($$ SELECT webhook.watch('users', entity_type => '') $$);
CALL wrong($$ SELECT webhook.watch('users', entity_type => repeat('x', 201)) $$);
-- and not watched
CALL wrong($$ SELECT webhook.unwatch('users') $$);
CALL wrong($$ SELECT webhook.unwatch('no_such_table') $$);
CALL wrong($$ SELECT webhook.unwatch(4294967295::regclass) $$);
CALL wrong($$ SELECT webhook.unwatch(NULL) $$);
TABLE sources;

--
-- Subscribing
--
-- a signing secret is made, and is Standard Webhooks': whsec_ and the base64 of 32 bytes
SELECT webhook.subscribe('crm', 'https://hooks.example.com/crm?token=abc') ~ '^whsec_[A-Za-z0-9+/]{43}=$' AS secret;
\x on
SELECT id, name, url, events, profile, tenant, filter, headers, params, retry_schedule, give_up_after,
	timeout, max_in_flight, ordering, state, state_reason, created_at <= clock_timestamp() AS created FROM webhook.subscription;
\x off
-- or one is given
SELECT webhook.subscribe('billing', 'https://hooks.example.com', '{user.new,user.delete,invoice.*}', 'entity', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
	'7', NULL, '{"X-Environment": "production"}', '{"team": 5}');
SELECT name, events, tenant, headers, params FROM webhook.subscription WHERE name = 'billing';
SELECT s.name, k.id, k.secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' AS given, generated, expires_at
	FROM webhook.secret k JOIN webhook.subscription s ON s.id = k.subscription_id ORDER BY s.id;
BEGIN;
SELECT count(DISTINCT webhook.rotate_secret('crm', overlap => '0')) FROM generate_series(1, 100);
ROLLBACK;
-- shown for each
SELECT subscription, state, regexp_replace(reason, '\d+ kB', '... kB') AS reason, breaker, queued, in_flight, pending, oldest_pending_age, dead_letters, delivered, failed FROM webhook.status ORDER BY subscription;
-- paused, active again, gone
SELECT webhook.pause('crm');
SELECT name, state, state_reason = format('paused by %s', session_user) AS reason FROM webhook.subscription ORDER BY id;
SELECT subscription, state FROM webhook.status ORDER BY subscription;
SELECT webhook.pause('crm');
SELECT webhook.resume('crm');
SELECT webhook.resume('crm');
UPDATE webhook.subscription SET state = 'inactive' WHERE name = 'crm';
SELECT subscription, state FROM webhook.status ORDER BY subscription;
SELECT webhook.resume('crm');
SELECT name, state, state_reason FROM webhook.subscription ORDER BY id;
SELECT webhook.unsubscribe('billing');
SELECT name FROM webhook.subscription;
SELECT count(*) AS secrets FROM webhook.secret;
-- its pending deliveries go with it, its dead letters stay
INSERT INTO webhook.pending (subscription_id, event_number, lane, state, next_attempt_at, segment)
	SELECT id, 1, 1, 'deferred', now(), 0 FROM webhook.subscription;
INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts, xid, entity_type, action_type, created_at)
	SELECT id, 1, name, 'example', 1, '1', 'user', 'new', now() FROM webhook.subscription;
SELECT subscription, pending, oldest_pending_age >= '0' AS oldest_pending_age, dead_letters FROM webhook.status WHERE subscription IS NOT NULL;
SELECT webhook.unsubscribe('crm');
SELECT (SELECT count(*) FROM webhook.subscription) AS subscriptions, (SELECT count(*) FROM webhook.secret) AS secrets,
	(SELECT count(*) FROM webhook.pending) AS pending, (SELECT count(*) FROM webhook.dead_letter) AS dead;
TRUNCATE webhook.dead_letter;

-- no such subscription
CALL wrong($$ SELECT webhook.unsubscribe('nix') $$);
CALL wrong($$ SELECT webhook.pause('nix') $$);
CALL wrong($$ SELECT webhook.resume('nix') $$);
CALL wrong($$ SELECT webhook.resume(NULL) $$);

-- bad input: the URL
CALL wrong($$ SELECT webhook.subscribe('s', 'no url') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'http://hooks.example.com/') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'ftp://hooks.example.com/') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://ann:geheim@hooks.example.com/') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/#part') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://127.0.0.1/') $$);
CALL wrong($$ SELECT webhook.subscribe('s', NULL) $$);
CALL wrong_each('SELECT webhook.subscribe(''s'', %L)', '', ' ', 'hooks.example.com', '/path', 'https://', 'https:///path', 'https://?',
	'https://hooks example.com/', ' https://hooks.example.com/', 'https://hooks.example.com/ ', E'https://hooks.example.com/\nX: y',
	E'https://hooks.example.com/\\..', 'https://hooks.example.com:0/', 'https://hooks.example.com:65536/', 'https://hooks.example.com:https/',
	'https://höoks.example.com/', 'https://[::1', 'https://1.2.3.4.5/', 'https://256.0.0.1/',
	'https://hooks.example.com/' || repeat('x', 2022), 'https://hooks.example.com/' || repeat('x', 2023));
CALL wrong_each('SELECT webhook.subscribe(''s'', %L)', 'javascript:alert(1)', 'file:///etc/passwd', 'gopher://hooks.example.com/',
	'HTTP://hooks.example.com/', 'HTTPS://hooks.example.com/', 'https+unix://hooks.example.com/');
CALL wrong_each('SELECT webhook.subscribe(''s'', %L)', 'https://ann@hooks.example.com/', 'https://:geheim@hooks.example.com/',
	'https://hooks.example.com@127.0.0.1/', 'https://hooks.example.com/ann:geheim@elsewhere');
-- addresses that may not be dialled, in every spelling that reaches them
CALL wrong_each('SELECT webhook.subscribe(''s'', %L)', 'https://127.0.0.1/', 'https://127.1/', 'https://2130706433/', 'https://0x7f000001/',
	'https://0x7f.0.0.1/', 'https://0177.0.0.1/', 'https://017700000001/', 'https://0/', 'https://0.0.0.0/', 'https://10.1.2.3/',
	'https://172.16.0.1/', 'https://192.168.1.1/', 'https://100.64.0.1/', 'https://169.254.169.254/latest/meta-data', 'https://2852039166/',
	'https://224.0.0.1/', 'https://255.255.255.255/', 'https://[::1]/', 'https://[::]/', 'https://[::ffff:127.0.0.1]/',
	'https://[::ffff:7f00:1]/', 'https://[64:ff9b::7f00:1]/', 'https://[fe80::1]/', 'https://[fc00::1]/', 'https://[fd00:ec2::254]/',
	'https://[ff02::1]/', 'https://localhost/', 'https://LOCALHOST:8443/', 'https://localhost./', 'https://crm.localhost/');
CALL wrong_each('SELECT webhook.subscribe(''s'', %L)', 'https://1.1.1.1/', 'https://[2606:4700::1111]:8443/', 'https://notlocalhost/',
	'https://hooks.example.com:8443/a?b=c&d=%20');
-- what a superuser allows is accepted, and no more
SET webhook.allowed_networks = '127.0.0.0/8, 10.1.0.0/16, fd00:1::/32';
CALL wrong_each('SELECT webhook.subscribe(''s'', %L)', 'https://127.0.0.1/', 'https://2130706433/', 'https://localhost/',
	'https://[::ffff:127.0.0.1]/', 'https://10.1.255.255/', 'https://10.2.0.0/', 'https://[fd00:1::5]/', 'https://[fd00:2::5]/',
	'https://[::1]/', 'http://127.0.0.1/');
SET webhook.allow_http = on;
CALL wrong_each('SELECT webhook.subscribe(''s'', %L)', 'http://127.0.0.1/', 'http://hooks.example.com/', 'http://10.2.0.0/',
	'http://ann:geheim@hooks.example.com/', 'ftp://hooks.example.com/');
RESET webhook.allow_http;
RESET webhook.allowed_networks;

-- the name, the profile, what is wanted
SELECT webhook.subscribe('crm', 'https://hooks.example.com/') IS NOT NULL AS subscribed;
CALL wrong($$ SELECT webhook.subscribe('crm', 'https://hooks.example.com/') $$);
CALL wrong($$ SELECT webhook.subscribe('', 'https://hooks.example.com/') $$);
CALL wrong($$ SELECT webhook.subscribe(NULL, 'https://hooks.example.com/') $$);
CALL wrong($$ SELECT webhook.subscribe(repeat('x', 201), 'https://hooks.example.com/') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', profile => 'nix') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', profile => NULL) $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{user.*,user.created}') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{user}') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{*}') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{user.payment}') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{.new}') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{user.}') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{{user.*}}') $$);
-- a list that nothing can match
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{}') $$);
CALL wrong_code($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', events => '{user.*,NULL}') $$);
-- what no source has, once a statement, and not for what any subscription may ask for
BEGIN;
INSERT INTO webhook.subscription (name, url, events) VALUES ('one', 'https://hooks.example.com/', '{compny.*,*.new,webhook_subscription.*}'),
	('two', 'https://hooks.example.com/', '{compny.new,user.payment.update}');
UPDATE webhook.subscription SET state = 'paused' WHERE name IN ('one', 'two');
CREATE TABLE compny (id int PRIMARY KEY);
SELECT webhook.watch('compny');
UPDATE webhook.subscription SET events = '{compny.*}' WHERE name = 'one';
UPDATE webhook.subscription SET events = '{usr.*}' WHERE name = 'two';
SELECT webhook.subscribe('three', 'https://hooks.example.com/', '{*.*,comapny.delete}') IS NOT NULL AS subscribed;
ROLLBACK;
-- a filter is a predicate: true, false or unknown for any event, and nothing else
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', filter => '$.result.total') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', filter => '$.result.total > $limit') $$);
CALL wrong_code($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', filter => '$') $$);
CALL wrong_code($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', filter => 'strict $.result') $$);
CALL wrong_code($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', filter => '$.result ? (@.total > 10)') $$);
CALL wrong_code($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', filter => '"2024-01-01".datetime() < "2024-01-01 00:00:00+00".datetime()') $$);
CALL wrong_each('SELECT webhook.subscribe(''s'', ''https://hooks.example.com/'', filter => %L)', '$.result.total > 10', 'strict $.result.total > 10',
	'exists($.result ? (@.total > 10))', '$.previous.status == "open" && !($.result.status == "open")', '$.tenant starts with "a"',
	'$.result.name like_regex "^a"', '($.result.at.datetime() < "2030-01-01".datetime()) is unknown');
INSERT INTO webhook.subscription (name, url, filter) VALUES ('filtered', 'https://hooks.example.com/', '$.result.total > 10');
UPDATE webhook.subscription SET filter = '$.result.total > 20', timeout = '1s' WHERE name = 'filtered';
CALL wrong_code($$ UPDATE webhook.subscription SET filter = '$.result' WHERE name = 'filtered' $$);
SELECT filter FROM webhook.subscription WHERE name = 'filtered';
SELECT webhook.unsubscribe('filtered');
-- changed: a warning if an update's changes are unknown, and only then
CREATE TABLE with_previous (id int PRIMARY KEY, v int);
CREATE TABLE without_previous (id int PRIMARY KEY, v int);
CREATE TABLE without_updates (id int PRIMARY KEY, v int);
SELECT webhook.watch('with_previous', 'one', keep_previous => true);
SELECT webhook.watch('without_previous', 'two');
SELECT webhook.watch('without_updates', 'three', action_types => '{new,delete}');
INSERT INTO webhook.subscription (name, url, changed_columns, events) VALUES ('changed', 'https://hooks.example.com/', '{v}', '{one.*,three.*,two.delete}');
UPDATE webhook.subscription SET events = NULL WHERE name = 'changed';
UPDATE webhook.subscription SET timeout = '1s' WHERE name = 'changed';
-- a filter that can find nothing: a warning as well
INSERT INTO webhook.subscription (name, url, filter, events) VALUES ('filtered', 'https://hooks.example.com/', '$.previous.v == 1 || $.result.previous == 2', '{one.*,two.new,three.*}');
UPDATE webhook.subscription SET events = '{one.*,two.new,three.new}' WHERE name = 'filtered';
UPDATE webhook.subscription SET events = '{two.delete}' WHERE name = 'filtered';
UPDATE webhook.subscription SET filter = '$.reslt.v == 1 || $.context.actor == "$.resutl" || $."enttiy_type" == "two"' WHERE name = 'filtered';
SELECT webhook.unsubscribe('filtered');
SELECT webhook.watch('without_previous', 'two', keep_previous => true);
UPDATE webhook.subscription SET changed_columns = '{v,w}' WHERE name = 'changed';
SELECT webhook.unsubscribe('changed');
DROP TABLE with_previous, without_previous, without_updates;
-- headers and params
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', headers => '[]') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', params => '"x"') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', headers => '{"X Y": "z"}') $$);
CALL wrong($$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', headers => '{"Content-Length": "0"}') $$);
CALL wrong_each('SELECT webhook.subscribe(''s'', ''https://hooks.example.com/'', headers => %L)', '{"": "x"}', '{"X:": "x"}', '{"X\n": "x"}',
	'{"Ä": "x"}', '{"X": 1}', '{"X": null}', '{"X": {}}', '{"X": "a\r\nY: b"}', '{"X": "a\u0001"}', '{"webhook-id": "x"}',
	'{"WEBHOOK-Signature": "x"}', '{"host": "x"}', '{"Transfer-Encoding": "chunked"}', '{"X": ""}', '{"X": "tab\tis fine"}',
	'{"Authorization": "Bearer abc", "X-Y": "z"}', '{}');
SELECT webhook.subscribe('nulls', 'https://hooks.example.com/', headers => NULL, params => NULL) IS NOT NULL AS subscribed;
SELECT headers, params FROM webhook.subscription WHERE name = 'nulls';
SELECT webhook.unsubscribe('nulls');

-- a bad secret is named by no part of it, in no field of the error
CREATE PROCEDURE wrong_secret(secret text, statement text, show boolean DEFAULT true) LANGUAGE plpgsql AS $$
DECLARE
	code text;
	message text;
	detail text;
	hint text;
	context text;
BEGIN
	BEGIN
		EXECUTE statement USING secret;
		RAISE SQLSTATE 'ZZ000' USING MESSAGE = 'accepted';
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
			hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	END;
	IF show OR code = 'ZZ000' THEN
		RAISE NOTICE '%: %', code, message USING DETAIL = detail, HINT = hint;
	ELSE
		RAISE NOTICE 'an error';
	END IF;
	-- every eight characters of it
	IF EXISTS (SELECT FROM generate_series(1, length(secret) - 7) i
		WHERE strpos(concat_ws('|', message, detail, hint, context), substr(secret, i, 8)) > 0 AND substr(secret, i, 8) !~ 'whsec_') THEN
		RAISE NOTICE 'THE SECRET IS IN THE ERROR';
	END IF;
END
$$;
CALL wrong_secret('geheimes-Passwort', $$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', secret => $1) $$);
CALL wrong_secret('whsec_not/base64!', $$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', secret => $1) $$);
CALL wrong_secret('whsec_dG9vIHNob3J0IGEgc2VjcmV0', $$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', secret => $1) $$);
CALL wrong_secret('whsec_' || encode(convert_to(repeat('long', 20), 'UTF8'), 'base64'), $$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', secret => $1) $$);
CALL wrong_secret('', $$ SELECT webhook.subscribe('s', 'https://hooks.example.com/', secret => $1) $$);
CALL wrong_secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS', $$ UPDATE webhook.secret SET secret = $1 $$);
-- nor is a good one quoted, whatever else is wrong with its row
CALL wrong_secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', $$ INSERT INTO webhook.secret (subscription_id, secret) VALUES (NULL, $1) $$, false);
CALL wrong_secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', $$ INSERT INTO webhook.secret (subscription_id, id, secret) SELECT id, NULL, $1 FROM webhook.subscription $$, false);
CALL wrong_secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', $$ INSERT INTO webhook.secret (subscription_id, secret, created_at) SELECT id, $1, NULL FROM webhook.subscription $$, false);
CALL wrong_secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', $$ INSERT INTO webhook.secret (subscription_id, secret) VALUES (0, $1) $$, false);
CALL wrong_secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', $$ UPDATE webhook.secret SET secret = $1, generated = NULL $$, false);

--
-- The tables written directly: the same rules, the same errors
--
INSERT INTO webhook.subscription (name, url, ordering, timeout, max_in_flight, retry_schedule, give_up_after)
	VALUES ('direct', 'https://hooks.example.com/direct', 'strict', '10 minutes', 1000, '{100ms,30d}', '0') RETURNING name, state;
SELECT secret ~ '^whsec_[A-Za-z0-9+/]{43}=$' AS secret, generated FROM webhook.secret k JOIN webhook.subscription s ON s.id = k.subscription_id WHERE name = 'direct';
UPDATE webhook.subscription SET url = 'https://hooks.example.com/elsewhere', max_in_flight = 1, timeout = '100 ms', ordering = 'none',
	give_up_after = '365 days', name = 'renamed' WHERE name = 'direct' RETURNING name, url;
CALL wrong($$ INSERT INTO webhook.subscription (name, url) VALUES ('crm', 'https://hooks.example.com/') $$);
CALL wrong($$ INSERT INTO webhook.subscription (name, url) VALUES ('s', 'https://127.0.0.1/') $$);
CALL wrong($$ INSERT INTO webhook.subscription (name) VALUES ('s') $$);
CALL wrong($$ INSERT INTO webhook.subscription (url) VALUES ('https://hooks.example.com/') $$);
CALL wrong($$ UPDATE webhook.subscription SET name = 'crm' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET url = 'http://hooks.example.com/' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET profile = 'nix' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET events = '{user.insert}' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET ordering = 'global' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET state = 'asleep' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET timeout = '0' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET max_in_flight = 0 WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET retry_schedule = '{}' WHERE name = 'renamed' $$);
CALL wrong($$ UPDATE webhook.subscription SET give_up_after = '-1s' WHERE name = 'renamed' $$);
CALL wrong_each('UPDATE webhook.subscription SET %s', 'timeout = ''99 ms''', 'timeout = ''10 minutes 1 ms''', 'timeout = ''-1 s''', 'max_in_flight = -1',
	'max_in_flight = 1001', 'rate_limit = 0', 'rate_limit = 100001', 'batch_size = 0', 'batch_size = 1001', 'changed_columns = ''{}''',
	'changed_columns = ''{NULL}''', 'exclude_origins = ''{}''', 'exclude_origins = ''{crm,NULL}''', 'retry_schedule = ''{99ms}''', 'retry_schedule = ''{5s,31d}''', 'retry_schedule = ''{5s,NULL}''',
	'retry_schedule = array_fill(interval ''1s'', ARRAY[33])', 'retry_schedule = array_fill(interval ''1s'', ARRAY[32])',
	'events = ''{{user.*}}''', 'events = ''{{user.new},{user.update}}''', 'events = ''{}''', 'events = ''{user.*,NULL}''', 'events = ''{*.test,a.b.c.*}''', 'changed_columns = ''{{a,b}}''', 'exclude_origins = ''{{crm}}''', 'retry_schedule = ''{{1s}}''',
	'transform = ''''', 'transform = ''"unclosed''',
	'give_up_after = ''366 days''', 'headers = ''{"host": "x"}''', 'params = ''[]''');
-- a null where none may be: an error with a hint, which does not quote the row, since a URL or header may hold a token
DO $$
DECLARE
	col text;
BEGIN
	FOREACH col IN ARRAY '{ordering,state,timeout,max_in_flight,batch_size,retry_schedule,give_up_after,created_at}'::text[] LOOP
		RAISE NOTICE '%', col;
		CALL wrong_code(format('UPDATE webhook.subscription SET %s = NULL WHERE name = ''renamed''', col), 'example|token');
		CONTINUE WHEN col IN ('retry_schedule', 'give_up_after'); -- a new row has the profile's
		CALL wrong_code(format('INSERT INTO webhook.subscription (name, url, headers, %s)
			VALUES (''s'', ''https://hooks.example.com/token'', ''{"Authorization": "token"}'', NULL)', col), 'example|token');
	END LOOP;
END
$$;
-- several at once, and again after a restore: a row that is inserted takes the place of the generated secret, whatever its number
WITH new AS (INSERT INTO webhook.subscription (name, url) SELECT 's' || n, 'https://hooks.example.com/' || n FROM generate_series(1, 3) n RETURNING id)
SELECT count(*) FROM new;
INSERT INTO webhook.secret (subscription_id, secret) SELECT id, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' FROM webhook.subscription WHERE name = 's1';
INSERT INTO webhook.secret (subscription_id, id, secret) SELECT id, 2, 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' FROM webhook.subscription WHERE name = 's2';
CALL wrong_secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', $$ INSERT INTO webhook.secret (subscription_id, secret) SELECT id, $1 FROM webhook.subscription WHERE name = 's1' $$, false);
SELECT s.name, k.id, k.generated, k.secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' AS given
	FROM webhook.subscription s JOIN webhook.secret k ON k.subscription_id = s.id WHERE s.name ~ '^s[1-3]' ORDER BY 1, 2;
DELETE FROM webhook.subscription WHERE name ~ '^s[1-3]';
SELECT count(*) AS secrets_left, (SELECT count(*) FROM webhook.subscription) AS subscriptions FROM webhook.secret;
DELETE FROM webhook.subscription;
SELECT count(*) AS secrets_left FROM webhook.secret;

--
-- Settings
--
SELECT name, setting, unit, context FROM pg_settings WHERE name LIKE 'webhook.%' ORDER BY name;
CALL wrong($$ SET webhook.allowed_networks = '10.0.0.0/8, nonsense' $$);
CALL wrong($$ SET webhook.allowed_networks = '10.0.0.0/33' $$);
CALL wrong($$ SET webhook.allowed_networks = '10.0.0.0/8,' $$);
CALL wrong($$ SET webhook.context = 'not json' $$);
CALL wrong($$ SET webhook.context = '["no object"]' $$);
CALL wrong($$ SET webhook.context = '{"half": ' $$);
CALL wrong($$ SET webhook.context = '{"a": 1} {"b": 2}' $$);
CALL wrong_each('SET webhook.context = %L', '', '{}', ' {"request_id": "r-1", "deep": [{"a": null}]} ', '1', 'null', '"x"');
CALL wrong($$ SET webhook.no_such_setting = 1 $$);
CALL wrong($$ SET webhook.retention = '1h' $$);
CREATE ROLE regress_webhook_app;
SET ROLE regress_webhook_app;
SET webhook.context = '{"actor": "ann"}';
SHOW webhook.context;
RESET ROLE;
-- who may set them, and who may do what
GRANT EXECUTE ON PROCEDURE wrong(text) TO regress_webhook_app;
SET ROLE regress_webhook_app;
CALL wrong($$ SET webhook.allow_http = on $$);
CALL wrong($$ SET webhook.allowed_networks = '10.0.0.0/8' $$);
CALL wrong($$ SELECT webhook.watch('users') $$);
CALL wrong($$ SELECT * FROM webhook.subscription $$);
CALL wrong($$ SELECT * FROM webhook.secret $$);
RESET ROLE;
-- an operator may grant: who owns a table may then watch it, and no other; secrets stay the owner's
GRANT USAGE ON SCHEMA webhook, webhook_internal TO regress_webhook_app;
GRANT EXECUTE ON FUNCTION webhook.watch, webhook_internal.watched, webhook_internal.lock_source, webhook_internal.check_source, webhook_internal.check_watch,
	webhook_internal.named_columns, webhook_internal.watch_as, webhook_internal.tell_watch, webhook_internal.make_triggers, webhook_internal.watch_done,
	webhook.capture, webhook.start_worker TO regress_webhook_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook.subscription, webhook.profile TO regress_webhook_app;
GRANT CREATE ON SCHEMA public TO regress_webhook_app;
SET ROLE regress_webhook_app;
CREATE TABLE app_table (id integer PRIMARY KEY);
SELECT webhook.watch('app_table');
CALL wrong($$ SELECT webhook.watch('users') $$);
CALL wrong($$ SELECT * FROM webhook.secret $$);
CALL wrong($$ SELECT webhook.start_worker() $$);
DROP TABLE app_table;
RESET ROLE;
REVOKE ALL ON SCHEMA public, webhook FROM regress_webhook_app;
DROP OWNED BY regress_webhook_app;
DROP ROLE regress_webhook_app;

--
-- The schema: every table, view, sequence, function and column has a comment
--
SELECT c.oid::regclass AS no_comment FROM pg_class c
	WHERE c.relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm') AND obj_description(c.oid, 'pg_class') IS NULL ORDER BY 1;
SELECT p.oid::regprocedure AS no_comment FROM pg_proc p
	WHERE p.pronamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND obj_description(p.oid, 'pg_proc') IS NULL ORDER BY 1;
-- (a segment's columns are those of the table it is a partition of)
SELECT c.oid::regclass::text AS relation, a.attname AS no_comment FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
	WHERE c.relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
		AND col_description(c.oid, a.attnum) IS NULL
	ORDER BY 1, a.attnum;
SELECT c.relkind, count(*) > 0 AS some FROM pg_class c WHERE c.relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v') GROUP BY 1 ORDER BY 1;
-- nothing is granted to everybody
SELECT 'schema' AS what, nspname::text AS name, a.privilege_type FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
	WHERE n.nspname IN ('webhook', 'webhook_internal') AND a.grantee = 0
UNION ALL
SELECT 'function', p.oid::regprocedure::text, a.privilege_type FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
	WHERE p.pronamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND a.grantee = 0
UNION ALL
SELECT 'relation', c.oid::regclass::text, a.privilege_type FROM pg_class c,
	aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner))) a
	WHERE c.relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND a.grantee = 0
UNION ALL
SELECT 'column', t.attrelid::regclass || '.' || t.attname, a.privilege_type FROM pg_attribute t, aclexplode(t.attacl) a
	WHERE t.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace)) AND a.grantee = 0
ORDER BY 1, 2;
-- functions resolve names where they mean to; a procedure that commits cannot, nor matches(), which is to be inlined: they name all in full
SELECT p.oid::regprocedure AS search_path_is_the_callers FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND l.lanname <> 'c' AND p.prosqlbody IS NULL AND p.prokind <> 'p' AND p.proname <> 'matches' AND NOT coalesce(array_to_string(p.proconfig, ',') LIKE 'search_path=%', false) ORDER BY 1;
-- a parsed body that uses a table's row type would let nobody add columns to it, on newer servers
SELECT d.objid::regprocedure AS holds_on_to, d.refobjid::regtype AS row_type FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	WHERE p.prosqlbody IS NOT NULL AND d.refclassid = 'pg_type'::regclass
		AND d.refobjid IN (SELECT reltype FROM pg_class WHERE relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND relkind IN ('r', 'p', 'v')) ORDER BY 1, 2;
-- all of it belongs to the extension
SELECT c.oid::regclass AS not_a_member FROM pg_class c WHERE c.relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'S')
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i', 'a')) ORDER BY 1;

--
-- Dropping
--
CREATE PROCEDURE left_behind() LANGUAGE plpgsql AS $$
DECLARE
	thing text;
BEGIN
	FOR thing IN
		SELECT 'extension' FROM pg_extension WHERE extname = 'webhook'
		UNION ALL SELECT 'schema' FROM pg_namespace WHERE nspname LIKE 'webhook%'
		UNION ALL SELECT 'relation ' || relname FROM pg_class c WHERE NOT EXISTS (SELECT FROM pg_namespace n WHERE n.oid = c.relnamespace)
		UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE 'webhook%'
		UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE probin LIKE '%webhook%' OR prosrc LIKE '%webhook.%' AND proname NOT IN ('left_behind', 'wrong_secret')
		UNION ALL SELECT 'type ' || typname FROM pg_type t WHERE NOT EXISTS (SELECT FROM pg_namespace n WHERE n.oid = t.typnamespace)
		UNION ALL SELECT 'setting of a role or database' FROM pg_db_role_setting WHERE array_to_string(setconfig, ',') LIKE '%webhook%'
		UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
	LOOP
		RAISE NOTICE 'left behind: %', thing;
	END LOOP;
END
$$;
DROP VIEW sources;
SELECT webhook.watch('users');
-- watched tables ask for CASCADE
CALL wrong('DROP EXTENSION webhook');
SELECT source FROM webhook.source;
-- which takes their triggers, and not the tables
SET client_min_messages = error;
SELECT webhook.watch('part');
SELECT webhook.watch('item', action_types => '{new,truncate}');
INSERT INTO users (id) VALUES (1);
DROP EXTENSION webhook CASCADE;
RESET client_min_messages;
CALL left_behind();
INSERT INTO users (id) VALUES (2);
INSERT INTO part VALUES (1, 'x'), (150, 'y');
DELETE FROM users;
-- the settings go with the library, from the next session on
\c -
SELECT name FROM pg_settings WHERE name LIKE 'webhook%';
SELECT current_setting('webhook.retention', true) IS NULL AS no_setting;

-- created again it starts from nothing, also in a session that knew its predecessor
SET client_min_messages = error;
CREATE EXTENSION webhook;
SELECT webhook.watch('users');
INSERT INTO users (id, name) VALUES (3, 'first');
SELECT entity_type, entity_id, action_type FROM webhook.outbox;
SELECT webhook.unwatch('users');
-- nothing watched: no CASCADE needed
DROP EXTENSION webhook;
RESET client_min_messages;
CALL left_behind();
SET client_min_messages = error;
CREATE EXTENSION webhook;
SELECT count(*) FROM webhook.outbox;
SELECT webhook.watch('users');
INSERT INTO users (id, name) VALUES (4, 'second');
SELECT event_number, entity_type, entity_id, action_type FROM webhook.outbox;
-- all in one transaction
BEGIN;
DROP EXTENSION webhook CASCADE;
CREATE EXTENSION webhook;
SELECT webhook.watch('users');
INSERT INTO users (id, name) VALUES (5, 'third');
SELECT entity_id, action_type FROM webhook.outbox;
COMMIT;
INSERT INTO users (id, name) VALUES (6, 'fourth');
SELECT event_number, entity_id, action_type FROM webhook.outbox ORDER BY event_number;
-- and undone
BEGIN;
DROP EXTENSION webhook CASCADE;
INSERT INTO users (id, name) VALUES (7, 'unseen');
ROLLBACK;
INSERT INTO users (id, name) VALUES (8, 'fifth');
SELECT entity_id FROM webhook.outbox ORDER BY event_number;
BEGIN;
DROP EXTENSION webhook CASCADE;
CREATE EXTENSION webhook;
ROLLBACK;
SELECT source FROM webhook.source;
INSERT INTO users (id, name) VALUES (9, 'sixth');
SELECT entity_id FROM webhook.outbox ORDER BY event_number;
DROP EXTENSION webhook CASCADE;
BEGIN;
CREATE EXTENSION webhook;
SELECT webhook.watch('users');
DROP EXTENSION webhook CASCADE;
COMMIT;
RESET client_min_messages;
CALL left_behind();
SET client_min_messages = error;
BEGIN;
CREATE EXTENSION webhook;
ROLLBACK;
RESET client_min_messages;
CALL left_behind();
-- somebody's schema of that name is left as it is
CREATE SCHEMA webhook;
CREATE TABLE webhook.outbox (something text);
CALL wrong('CREATE EXTENSION webhook');
SELECT oid::regclass FROM pg_class WHERE relnamespace = 'webhook'::regnamespace;
DROP TABLE webhook.outbox;
CALL wrong('CREATE EXTENSION webhook');
DROP SCHEMA webhook;

\c regression
DROP DATABASE webhook_api;
