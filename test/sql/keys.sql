-- The promise: the id of an entity, and its tenant, are the same whoever changes the row: no setting of a session
-- shows in them. So one entity is one lane, and one thing to its receiver.
SET client_min_messages = warning;
\set VERBOSITY terse
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS webhook;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
SET client_min_messages = warning;
TRUNCATE webhook.outbox;
CREATE SCHEMA other;
CREATE TYPE other.mood AS ENUM ('a', 'b');
-- somebody's code writes it within an array of keys
CREATE FUNCTION other.tojson(other.mood) RETURNS json LANGUAGE sql STABLE AS
	$$ SELECT to_json(concat($1, ' ', timestamptz '2024-01-01 00:00+00', ' ', bytea '\x00', ' ', interval '1 day 2 h', ' ', 0.1::float8 + 0.2::float8)) $$;
CREATE CAST (other.mood AS json) WITH FUNCTION other.tojson(other.mood);
CREATE DOMAIN other.bytes AS bytea;
CREATE DOMAIN other.spans AS interval[];
CREATE TYPE other.row_of AS (b bytea, t timestamptz, i interval, f float8, m money, c regclass);
CREATE TABLE other."Thing" ();
CREATE TABLE type_of (type text PRIMARY KEY, value text);
INSERT INTO type_of VALUES
	('bytea', '\xdeadbeef'), ('other.bytes', '\x00'), ('bytea[]', '{"\\xff"}'),
	('timestamptz', '2024-06-01 12:00:00+00'), ('timestamptz[]', '{"2024-06-01 12:00:00+00"}'), ('timestamp', '2024-06-01 12:00:00'), ('date', '2024-06-01'), ('date[]', '{2024-06-01}'),
	('time', '12:00:00.5'), ('timetz', '12:00:00+05:30'), ('interval', '-1 year 2 mons -3 days 04:05:06.7'), ('other.spans', '{1 day,-00:00:01}'),
	('tstzrange', '[2020-01-01 00:00:00+00,2021-01-01 00:00:00+00)'), ('tsrange', '[2020-01-01,2021-01-01)'), ('daterange', '[2020-01-01,2021-01-01)'),
	('tstzmultirange', '{[2020-01-01 00:00:00+00,2021-01-01 00:00:00+00)}'), ('datemultirange', '{[2020-01-01,2021-01-01)}'),
	('float4', '0.1'), ('float8', '0.30000000000000004'), ('float8[]', '{0.30000000000000004}'), ('numeric', '1.50'), ('numeric(5,2)', '1.50'),
	('money', '1234.5'), ('money[]', '{1234.5}'), ('other.row_of', '("\\x00ff","2024-06-01 12:00:00+00","1 day",0.30000000000000004,5,"other.\"Thing\"")'),
	('other.row_of[]', '{"(,\"2024-06-01 12:00:00+00\",,,,)"}'), ('other.mood', 'a'), ('other.mood[]', '{a,b}'), ('regclass', 'other."Thing"'), ('regtype', 'other.mood'),
	('regclass[]', '{other.\"Thing\"}'), ('int', '1'), ('bigint', '1'), ('text', 'ä'), ('uuid', '00000000-0000-0000-0000-000000000001'), ('jsonb', '{"a": 1.0}'), ('json', '{"a":1}'), ('boolean', 't'),
	('point', '(0.30000000000000004,1)'), ('box', '(2,2),(1,1)'), ('inet', '10.0.0.1'), ('macaddr', '08:00:2b:01:02:03'), ('bit(3)', '101'), ('"char"', 'c'), ('name', 'n'), ('xml', '<a>ä</a>'),
	('tsvector', '''a'':1'), ('pg_lsn', '0/ABCDEF01'), ('xid8', '5'), ('char(3)', 'a');

CREATE TABLE seen (id bigint, type text, settings int, kind text, action text, entity_id text, tenant text);
CREATE PROCEDURE change(settings int) LANGUAGE plpgsql AS $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT * FROM type_of LOOP
		EXECUTE format('CREATE TABLE one (k %s, n int)', t.type);
		EXECUTE format('CREATE TABLE two (k %s, n int)', t.type);
		PERFORM webhook.watch('one', id_columns => '{k}', tenant => 'k'), webhook.watch('two', id_columns => '{n,k}', tenant => 'k');
		EXECUTE format('INSERT INTO one SELECT value::%s, 1 FROM type_of WHERE type = %L', t.type, t.type);
		INSERT INTO two SELECT * FROM one;
		-- the same key, written by the same session: an update, and no other entity
		UPDATE one SET n = 2;
		UPDATE two SET k = k, n = n;
		DELETE FROM one;
		INSERT INTO seen SELECT o.event_number, t.type, settings, o.entity_type, o.action_type, o.entity_id, o.tenant FROM webhook.outbox o;
		TRUNCATE webhook.outbox;
		DROP TABLE one, two;
	END LOOP;
END $$;

CALL change(0);
SET bytea_output = escape; SET DateStyle = 'German'; SET IntervalStyle = sql_standard; SET TimeZone = 'Asia/Kolkata'; SET extra_float_digits = -5;
SET quote_all_identifiers = on; SET xmlbinary = hex; SET xmloption = content;
CALL change(1);
SET bytea_output = hex; SET DateStyle = 'SQL, DMY'; SET IntervalStyle = iso_8601; SET TimeZone = 'America/New_York'; SET extra_float_digits = 3;
SET quote_all_identifiers = off; SET search_path = public, other; SET lc_monetary = 'C.UTF-8';
CALL change(2);
SET DateStyle = 'Postgres, MDY'; SET IntervalStyle = postgres_verbose; SET TimeZone = '<+01>-01'; SET extra_float_digits = 0;
CALL change(3);
-- what was set is as it was
SHOW DateStyle; SHOW TimeZone; SHOW search_path; SHOW extra_float_digits;
RESET ALL;
SET client_min_messages = warning;

-- all types were seen, and none of them differs
SELECT count(DISTINCT type) = (SELECT count(*) FROM type_of) AS all_types, count(DISTINCT settings) AS settings, count(*) AS events FROM seen;
SELECT type, kind, count(DISTINCT entity_id), count(DISTINCT tenant), array_agg(DISTINCT entity_id), array_agg(DISTINCT tenant) FROM seen
	GROUP BY type, kind HAVING count(DISTINCT entity_id) <> 1 OR count(DISTINCT tenant) <> 1 ORDER BY 1, 2;
SELECT type, kind, settings, string_agg(action, ' ' ORDER BY id) FROM seen GROUP BY 1, 2, 3 HAVING kind = 'one' AND string_agg(action, ' ' ORDER BY id) <> 'new update delete' OR kind = 'two' AND string_agg(action, ' ' ORDER BY id) <> 'new';
-- what they look like
SELECT type COLLATE "C", kind, min(entity_id) AS entity_id FROM seen WHERE type !~ 'reg' GROUP BY 1, 2 ORDER BY 1, 2;

-- somebody's cast that fails within such settings leaves none behind
CREATE FUNCTION other.fail(other.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('DateStyle', 'SQL', false); RAISE 'no'; END $$;
DROP CAST (other.mood AS json);
CREATE CAST (other.mood AS json) WITH FUNCTION other.fail(other.mood);
CREATE TABLE two (n int, k other.mood, PRIMARY KEY (n, k));
SELECT webhook.watch('two', columns => '{n}');
SET TimeZone = 'Asia/Kolkata';
INSERT INTO two VALUES (1, 'a');
BEGIN;
SAVEPOINT s;
INSERT INTO two VALUES (1, 'a');
ROLLBACK TO s;
SHOW TimeZone; SHOW DateStyle; SHOW search_path;
COMMIT;
SHOW TimeZone;

-- a table that is called as the events that webhook itself makes, from the first or later
CREATE TABLE webhook_subscription (id int PRIMARY KEY);
SELECT webhook.watch('webhook_subscription');
CREATE TRIGGER t AFTER INSERT ON webhook_subscription FOR EACH ROW EXECUTE FUNCTION webhook.capture();
CREATE TRIGGER u AFTER TRUNCATE ON webhook_subscription FOR EACH STATEMENT EXECUTE FUNCTION webhook.capture_truncate();
INSERT INTO webhook_subscription VALUES (1), (2);
INSERT INTO webhook_subscription VALUES (3);
TRUNCATE webhook_subscription;
SELECT source, entity_type, id_columns, action_types, columns, exclude_columns, tenant, keep_previous, problem FROM webhook.source WHERE source = 'webhook_subscription'::regclass;
ALTER TABLE webhook_subscription RENAME TO hooks;
INSERT INTO hooks VALUES (1);
SELECT entity_type, entity_id, action_type FROM webhook.outbox;
ALTER TABLE hooks RENAME TO webhook_subscription;
INSERT INTO webhook_subscription VALUES (4);
CREATE TABLE part (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TRIGGER t AFTER INSERT ON part_1 FOR EACH ROW EXECUTE FUNCTION webhook.capture();
INSERT INTO part VALUES (1);
SELECT entity_type, entity_id, action_type FROM webhook.outbox;
SELECT source, entity_type FROM webhook.source WHERE source = 'part_1'::regclass;
DROP TABLE webhook_subscription;
ALTER TABLE part RENAME TO "Webhook_Subscription";
DELETE FROM "Webhook_Subscription";
INSERT INTO "Webhook_Subscription" VALUES (1);
SELECT entity_type, entity_id, action_type FROM webhook.outbox;
SELECT source, entity_type, problem FROM webhook.source WHERE source = 'part_1'::regclass;

DROP TABLE two, "Webhook_Subscription", type_of, seen;
DROP PROCEDURE change;
DROP SCHEMA other CASCADE;
TRUNCATE webhook.outbox;
