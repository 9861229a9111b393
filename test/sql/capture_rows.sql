--
-- Which changes make which events: keys, columns, every way a row can change,
-- and tables that are altered under their triggers.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS webhook;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
RESET client_min_messages;
TRUNCATE webhook.outbox;

CREATE TEMP VIEW events AS
	SELECT entity_type AS type, entity_id AS id, action_type AS action, result, previous, tenant
	  FROM webhook.outbox o ORDER BY o.event_number;
CREATE PROCEDURE pg_temp.forget() LANGUAGE sql AS $$ TRUNCATE webhook.outbox $$;

--
-- New, update, delete
--
CREATE TABLE rows_user (id serial PRIMARY KEY, name text, settings json, org integer, secret text);
SELECT webhook.watch('rows_user', 'user');
INSERT INTO rows_user (name, settings, org) VALUES ('Ann', '{"a": 1}', 7), ('Bob', NULL, NULL) RETURNING id, name;
UPDATE rows_user SET name = 'Anna' WHERE id = 1 RETURNING name;
DELETE FROM rows_user WHERE id = 2 RETURNING id;
TABLE events;
CALL pg_temp.forget();

-- an update that changes nothing is none; a json column, which has no equality, is compared too
UPDATE rows_user SET name = name, settings = '{"a": 1}';
TABLE events;
UPDATE rows_user SET settings = '{"a":1}';
UPDATE rows_user SET settings = NULL;
UPDATE rows_user SET settings = NULL, name = NULL;
TABLE events;
CALL pg_temp.forget();

-- rows of the same bytes except for which column is null, and rows stored before a column was added
CREATE TABLE rows_pair (id integer PRIMARY KEY, a integer, b integer);
SELECT webhook.watch('rows_pair');
INSERT INTO rows_pair VALUES (1, 5, NULL);
CALL pg_temp.forget();
UPDATE rows_pair SET a = b, b = a;
ALTER TABLE rows_pair ADD c integer DEFAULT 7, ADD d integer;
UPDATE rows_pair SET c = 7, d = NULL;
UPDATE rows_pair SET c = NULL;
TABLE events;
DROP TABLE rows_pair;
CALL pg_temp.forget();

-- the application's lastval() is its own, and so are row counts
INSERT INTO rows_user (name) VALUES ('Cid');
SELECT lastval() = currval('rows_user_id_seq') AS lastval_kept;
DO $$
DECLARE
	n bigint;
BEGIN
	INSERT INTO rows_user (name) SELECT 'x' FROM generate_series(1, 3);
	GET DIAGNOSTICS n = ROW_COUNT;
	RAISE NOTICE 'row count %', n;
	UPDATE rows_user SET name = 'y' WHERE false;
	RAISE NOTICE 'found %', FOUND;
END $$;
CALL pg_temp.forget();

-- ids ascend, an event has the id of its transaction, and the time of the change
BEGIN;
INSERT INTO rows_user (name) VALUES ('a');
SELECT pg_sleep(0.002);
INSERT INTO rows_user (name) VALUES ('b');
SELECT count(*), count(DISTINCT xid), bool_and(xid = pg_current_xact_id()) AS own_xid,
	   count(DISTINCT created_at) AS times, min(created_at) > now() AS after_start, count(DISTINCT segment) <= 2 AS segment
  FROM webhook.outbox;
COMMIT;
SELECT event_number - lag(event_number) OVER (ORDER BY event_number) AS step FROM webhook.outbox ORDER BY event_number;
CALL pg_temp.forget();
DROP TABLE rows_user;

--
-- Columns, exclude_columns, tenant, previous
--
CREATE TABLE rows_user (id integer PRIMARY KEY, name text, email text, org integer, secret text);
SELECT webhook.watch('rows_user', columns => '{id,name}', tenant => 'org', keep_previous => true);
INSERT INTO rows_user VALUES (1, 'Ann', 'ann@x', 7, 's3cret');
UPDATE rows_user SET secret = 'other', email = 'a@x';
UPDATE rows_user SET name = 'Anna', secret = 'third';
UPDATE rows_user SET org = 8;
DELETE FROM rows_user;
TABLE events;
CALL pg_temp.forget();

SELECT webhook.watch('rows_user', columns => '{*}', exclude_columns => '{secret}', tenant => 'name', keep_previous => true);
INSERT INTO rows_user VALUES (1, 'Ann', 'ann@x', 7, 's3cret');
UPDATE rows_user SET secret = 'other';
UPDATE rows_user SET email = NULL, org = NULL, secret = NULL;
DELETE FROM rows_user;
TABLE events;
CALL pg_temp.forget();

-- action_types
SELECT webhook.watch('rows_user', action_types => '{delete}');
INSERT INTO rows_user VALUES (1, 'Ann'), (2, 'Bob');
UPDATE rows_user SET name = 'x';
UPDATE rows_user SET id = 3 WHERE id = 1;
DELETE FROM rows_user;
TABLE events;
CALL pg_temp.forget();
SELECT webhook.watch('rows_user', action_types => '{update}');
INSERT INTO rows_user VALUES (1, 'Ann'), (2, 'Bob');
UPDATE rows_user SET name = 'x';
UPDATE rows_user SET id = 3 WHERE id = 1;
DELETE FROM rows_user;
TABLE events;
CALL pg_temp.forget();

-- truncate
SELECT webhook.watch('rows_user', 'user', action_types => '{truncate}');
INSERT INTO rows_user VALUES (1, 'Ann');
TRUNCATE rows_user;
TABLE events;
CALL pg_temp.forget();
SELECT webhook.watch('rows_user', action_types => '{new,truncate}');
INSERT INTO rows_user VALUES (1, 'Ann');
TRUNCATE rows_user;
TABLE events;
CALL pg_temp.forget();
SELECT webhook.unwatch('rows_user');
TRUNCATE rows_user;
INSERT INTO rows_user VALUES (1, 'Ann');
TABLE events;
DROP TABLE rows_user;

--
-- Keys
--
CREATE TABLE rows_key (a integer, b text, v integer, PRIMARY KEY (b, a));
SELECT webhook.watch('rows_key', keep_previous => true);
INSERT INTO rows_key VALUES (1, 'x "y"', 0);
UPDATE rows_key SET v = 1;
-- another key is another entity
UPDATE rows_key SET a = 2, v = 2;
DELETE FROM rows_key;
TABLE events;
CALL pg_temp.forget();
SELECT webhook.watch('rows_key', id_columns => '{v}', columns => '{a}');
INSERT INTO rows_key VALUES (1, 'x', 10);
UPDATE rows_key SET v = 11;
UPDATE rows_key SET b = 'y';
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_key;

-- keys swapped within one statement
CREATE TABLE rows_key (id text, v integer, PRIMARY KEY (id) DEFERRABLE);
SELECT webhook.watch('rows_key');
INSERT INTO rows_key VALUES ('1', 1), ('2', 2);
CALL pg_temp.forget();
UPDATE rows_key SET id = CASE id WHEN '1' THEN '2' ELSE '1' END;
TABLE events;
DROP TABLE rows_key;
CALL pg_temp.forget();

--
-- Triggers written by hand
--
CREATE TABLE rows_hand (id integer PRIMARY KEY, v integer, owner text);
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON rows_hand FOR EACH ROW WHEN (NEW.v > 10)
	EXECUTE FUNCTION webhook.capture();
INSERT INTO rows_hand VALUES (1, 5), (2, 15);
UPDATE rows_hand SET v = v + 10;
UPDATE rows_hand SET id = id + 10;
DELETE FROM rows_hand;
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_hand;

-- without a primary key there is no id; a key may be null
CREATE TABLE rows_hand (a integer, b integer);
CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON rows_hand FOR EACH ROW EXECUTE FUNCTION webhook.capture('{}');
INSERT INTO rows_hand VALUES (1, NULL);
UPDATE rows_hand SET a = 2;
DELETE FROM rows_hand;
CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON rows_hand FOR EACH ROW
	EXECUTE FUNCTION webhook.capture('{"id_columns": ["b"], "tenant": null, "columns": []}');
INSERT INTO rows_hand VALUES (3, NULL);
UPDATE rows_hand SET a = 4;
UPDATE rows_hand SET b = 5;
UPDATE rows_hand SET b = NULL;
CREATE OR REPLACE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON rows_hand FOR EACH ROW
	EXECUTE FUNCTION webhook.capture('{"id_columns": ["b", "a"], "entity_type": "\u00e9"}');
DELETE FROM rows_hand;
TABLE events;
CALL pg_temp.forget();

-- two triggers with different settings on one table, one of them deferred
CREATE OR REPLACE TRIGGER tell AFTER INSERT ON rows_hand FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"entity_type": "one"}');
CREATE CONSTRAINT TRIGGER tell_later AFTER INSERT ON rows_hand DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	EXECUTE FUNCTION webhook.capture('{"entity_type": "two", "exclude_columns": ["b"]}');
BEGIN;
INSERT INTO rows_hand VALUES (1, 2);
TABLE events;
COMMIT;
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_hand;

-- an argument that cannot be used makes no event and a warning; the statement goes on, and webhook.source says the same
CREATE TABLE rows_hand (id integer PRIMARY KEY);
CREATE PROCEDURE pg_temp.try(args text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE TRIGGER tell AFTER INSERT ON rows_hand FOR EACH ROW EXECUTE FUNCTION webhook.capture(%s)', args);
	INSERT INTO rows_hand VALUES (1), (2);
	ASSERT (SELECT count(*) FROM rows_hand) = 2 AND NOT EXISTS (TABLE events);
	RAISE NOTICE '%', (SELECT problem FROM webhook.source WHERE source = 'rows_hand'::regclass);
	DELETE FROM rows_hand;
END $$;
CALL pg_temp.try($$ '[]' $$);
CALL pg_temp.try($$ '"text"' $$);
CALL pg_temp.try($$ '' $$);
CALL pg_temp.try($$ '{"a": 1' $$);
CALL pg_temp.try($$ '{}', '{}' $$);
CALL pg_temp.try($$ '{"entity": "x"}' $$);
CALL pg_temp.try($$ '{"entity_type": ""}' $$);
CALL pg_temp.try($$ '{"entity_type": ["x"]}' $$);
CALL pg_temp.try($$ '{"id_columns": "id"}' $$);
CALL pg_temp.try($$ '{"id_columns": []}' $$);
CALL pg_temp.try($$ '{"columns": [1]}' $$);
CALL pg_temp.try($$ '{"exclude_columns": [["id"]]}' $$);
CALL pg_temp.try($$ '{"exclude_columns": {"id": true}}' $$);
CALL pg_temp.try($$ '{"tenant": false}' $$);
CALL pg_temp.try($$ '{"keep_previous": "true"}' $$);
CALL pg_temp.try($$ '{"action_types": ["insert"]}' $$);
CALL pg_temp.try($$ 'not json' $$);
CALL pg_temp.try($$ '{"tenant": "\u0000"}' $$);
CALL pg_temp.try($$ '{"keep_previous": 1e999999}' $$);
CALL pg_temp.try($$ '{"tenant": {"tenant": "id"}}' $$);
CALL pg_temp.try($$ '{"exclude_columns": ["id", null]}' $$);
CALL pg_temp.try($$ '{"id_columns": [""]}' $$);
CALL pg_temp.try(format('%L', repeat('[', 200000)));
CALL pg_temp.try(format('%L', '{"x": "' || repeat('x', 1000000) || '"}'));
CALL pg_temp.try(format('%L', '{"' || repeat('ü', 1000000) || '": 1}'));
CALL pg_temp.try(format('%L', json_build_object('id_columns', json_build_array(repeat('n', 64)))));
CALL pg_temp.try(format('%L', json_build_object('entity_type', repeat('n', 201))));
-- nobody tells of subscriptions but webhook itself
CALL pg_temp.try($$ '{"entity_type": "webhook_subscription"}' $$);
CALL pg_temp.try($$ '{"entity_type": "webhook\u005fsubscription"}' $$);
CALL pg_temp.try($$ '{"entity_type": " WebHook_Subscription\t"}' $$);
CALL pg_temp.try($$ '{"entity_type": "x", "entity_type": "webhook_subscription"}' $$);
CREATE OR REPLACE TRIGGER tell AFTER INSERT ON rows_hand FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"entity": "x"}');
INSERT INTO rows_hand VALUES (1);
DELETE FROM rows_hand;
CREATE OR REPLACE TRIGGER tell BEFORE INSERT ON rows_hand FOR EACH ROW EXECUTE FUNCTION webhook.capture();
INSERT INTO rows_hand VALUES (1);
DROP TRIGGER tell ON rows_hand;
CREATE TRIGGER tell AFTER INSERT ON rows_hand FOR EACH STATEMENT EXECUTE FUNCTION webhook.capture();
INSERT INTO rows_hand VALUES (1);
DROP TRIGGER tell ON rows_hand;
CREATE TRIGGER tell AFTER INSERT ON rows_hand FOR EACH STATEMENT EXECUTE FUNCTION webhook.capture_truncate();
INSERT INTO rows_hand VALUES (1);
SELECT webhook.capture();
TABLE events;
DROP TABLE rows_hand;

--
-- Every way to change a row
--
CREATE TABLE rows_way (id integer PRIMARY KEY, v text);
SELECT webhook.watch('rows_way');
COPY rows_way FROM stdin;
1	copied
2	\N
\.
INSERT INTO rows_way VALUES (1, 'conflict') ON CONFLICT DO NOTHING;
INSERT INTO rows_way VALUES (1, 'conflict'), (3, 'fresh') ON CONFLICT (id) DO UPDATE SET v = excluded.v;
INSERT INTO rows_way VALUES (1, 'unused') ON CONFLICT (id) DO UPDATE SET v = rows_way.v;
MERGE INTO rows_way t USING (VALUES (1, 'merged'), (2, NULL), (4, 'merged')) s (id, v) ON t.id = s.id
	WHEN MATCHED AND s.v IS NULL THEN DELETE
	WHEN MATCHED THEN UPDATE SET v = s.v
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v);
WITH gone AS (DELETE FROM rows_way WHERE id = 3 RETURNING *) INSERT INTO rows_way SELECT id + 10, v FROM gone;
PREPARE add (integer) AS INSERT INTO rows_way VALUES ($1, 'prepared');
EXECUTE add(20);
EXECUTE add(21);
DEALLOCATE add;
DO $$
DECLARE
	c CURSOR FOR SELECT * FROM rows_way WHERE id = 20 FOR UPDATE;
BEGIN
	FOR r IN c LOOP
		UPDATE rows_way SET v = 'cursor' WHERE CURRENT OF c;
	END LOOP;
END $$;
TABLE events;
CALL pg_temp.forget();

-- what is rolled back leaves nothing
BEGIN;
INSERT INTO rows_way VALUES (30, 'kept');
SAVEPOINT a;
INSERT INTO rows_way VALUES (31, 'undone');
SAVEPOINT b;
INSERT INTO rows_way VALUES (32, 'undone');
RELEASE b;
ROLLBACK TO a;
UPDATE rows_way SET v = 'kept too' WHERE id = 30;
COMMIT;
BEGIN;
INSERT INTO rows_way VALUES (33, 'undone');
ROLLBACK;
INSERT INTO rows_way VALUES (34, 'undone'), (30, 'duplicate');
DO $$
BEGIN
	INSERT INTO rows_way VALUES (35, 'undone');
	RAISE division_by_zero;
EXCEPTION WHEN division_by_zero THEN
	INSERT INTO rows_way VALUES (36, 'kept');
END $$;
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_way;

-- a row trigger before ours changes what is stored, one that returns null prevents it
CREATE TABLE rows_before (id integer PRIMARY KEY, v text, w text GENERATED ALWAYS AS (v || '!') STORED, d integer DEFAULT 5);
CREATE FUNCTION rows_before() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.v = 'no' THEN RETURN NULL; END IF;
	NEW.v := upper(NEW.v);
	RETURN NEW;
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE ON rows_before FOR EACH ROW EXECUTE FUNCTION rows_before();
SELECT webhook.watch('rows_before');
INSERT INTO rows_before VALUES (1, 'yes'), (2, 'no');
UPDATE rows_before SET v = 'yes';
UPDATE rows_before SET v = 'maybe';
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_before;
DROP FUNCTION rows_before;

-- foreign keys that act
CREATE TABLE rows_parent (id integer PRIMARY KEY);
CREATE TABLE rows_child (id integer PRIMARY KEY, parent integer REFERENCES rows_parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE rows_friend (id integer PRIMARY KEY, parent integer REFERENCES rows_parent ON DELETE SET NULL ON UPDATE SET DEFAULT);
SELECT webhook.watch(t) FROM unnest('{rows_parent,rows_child,rows_friend}'::regclass[]) t;
INSERT INTO rows_parent VALUES (1), (2);
INSERT INTO rows_child VALUES (10, 1), (11, 2);
INSERT INTO rows_friend VALUES (20, 1), (21, 2);
CALL pg_temp.forget();
DELETE FROM rows_parent WHERE id = 1;
UPDATE rows_parent SET id = 3 WHERE id = 2;
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_child, rows_friend, rows_parent;

--
-- Partitions, inheritance
--
CREATE TABLE rows_part (id integer, region text, v integer, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE rows_part_eu PARTITION OF rows_part FOR VALUES IN ('eu');
-- a partition whose columns have other numbers
CREATE TABLE rows_part_us (gone text, v integer, region text NOT NULL, id integer NOT NULL);
ALTER TABLE rows_part_us DROP gone;
ALTER TABLE rows_part ATTACH PARTITION rows_part_us FOR VALUES IN ('us');
CREATE TABLE rows_part_rest PARTITION OF rows_part DEFAULT PARTITION BY RANGE (id);
CREATE TABLE rows_part_rest_1 PARTITION OF rows_part_rest FOR VALUES FROM (0) TO (100);
SELECT webhook.watch('rows_part', id_columns => '{id}');
INSERT INTO rows_part VALUES (1, 'eu', 0), (2, 'us', 0), (3, 'as', 0);
UPDATE rows_part SET v = 1;
UPDATE rows_part SET region = 'us' WHERE id = 1;
INSERT INTO rows_part_rest_1 VALUES (4, 'af', 0);
DELETE FROM rows_part WHERE id < 3;
TABLE events;
CALL pg_temp.forget();
-- by hand, the name is the topmost table's, and follows it
SELECT regexp_replace(webhook.unwatch('rows_part'), '[0-9]+$', 'oid') AS unwatch;
CREATE TRIGGER tell AFTER INSERT ON rows_part FOR EACH ROW EXECUTE FUNCTION webhook.capture();
INSERT INTO rows_part VALUES (5, 'as', 0), (5, 'us', 0);
ALTER TABLE rows_part RENAME TO rows_renamed;
INSERT INTO rows_renamed VALUES (6, 'as', 0);
ALTER TABLE rows_renamed DETACH PARTITION rows_part_us;
CREATE TRIGGER tell AFTER INSERT ON rows_part_us FOR EACH ROW EXECUTE FUNCTION webhook.capture();
INSERT INTO rows_part_us VALUES (0, 'us', 7);
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_renamed, rows_part_us;

CREATE TABLE rows_base (id integer PRIMARY KEY, v integer);
CREATE TABLE rows_heir (extra text) INHERITS (rows_base);
SELECT webhook.watch('rows_base');
INSERT INTO rows_base VALUES (1, 1);
INSERT INTO rows_heir VALUES (2, 2, 'x');
SELECT webhook.watch('rows_heir', id_columns => '{id}');
UPDATE rows_base SET v = v + 1;
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_heir, rows_base;

--
-- TOASTed values
--
CREATE TABLE rows_toast (id integer PRIMARY KEY, v integer, doc text);
ALTER TABLE rows_toast ALTER doc SET STORAGE EXTERNAL;
SELECT webhook.watch('rows_toast', keep_previous => true);
INSERT INTO rows_toast VALUES (1, 1, repeat('doc ', 100000));
UPDATE rows_toast SET v = 2;
-- the same value, stored again; then another
UPDATE rows_toast SET doc = doc || '';
UPDATE rows_toast SET doc = doc || '.';
SELECT id, action, length(result ->> 'doc') AS doc, length(previous ->> 'doc') AS previous_doc, previous ->> 'v' AS previous_v FROM events;
CALL pg_temp.forget();
DROP TABLE rows_toast;

--
-- Tables altered under their triggers: less is told, and nothing fails
--
CREATE TABLE rows_drift (id integer PRIMARY KEY, code integer UNIQUE, name text, secret text, org integer);
SELECT webhook.watch('rows_drift', id_columns => '{code}', exclude_columns => '{secret}', tenant => 'org', keep_previous => true);
INSERT INTO rows_drift VALUES (1, 100, 'Ann', 's3cret', 7);
ALTER TABLE rows_drift RENAME code TO number;
INSERT INTO rows_drift VALUES (2, 200, 'Bob', 's3cret', 7);
INSERT INTO rows_drift VALUES (3, 300, 'Cid', 's3cret', 7);
ALTER TABLE rows_drift RENAME org TO tenant;
INSERT INTO rows_drift VALUES (4, 400, 'Dan', 's3cret', 7);
ALTER TABLE rows_drift RENAME secret TO hidden;
INSERT INTO rows_drift VALUES (5, 500, 'Eve', 's3cret', 7);
UPDATE rows_drift SET name = 'Eva', hidden = 's4cret' WHERE id = 5;
DELETE FROM rows_drift WHERE id = 5;
ALTER TABLE rows_drift DROP CONSTRAINT rows_drift_pkey;
INSERT INTO rows_drift VALUES (6, 600, 'Fay', 's3cret', 7);
TABLE events;
CALL pg_temp.forget();
-- called again, all is told that may be
SELECT webhook.watch('rows_drift', id_columns => '{id}', columns => '{id,name,tenant}', include_columns => '{secret}', tenant => 'tenant');
INSERT INTO rows_drift VALUES (7, 700, 'Gus', 's3cret', 7);
ALTER TABLE rows_drift DROP name;
INSERT INTO rows_drift VALUES (8, 800, 's3cret', 7);
TABLE events;
CALL pg_temp.forget();
DROP TABLE rows_drift;

TRUNCATE webhook.outbox;
