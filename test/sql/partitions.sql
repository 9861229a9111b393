--
-- Partitions that are watched beside the tables above them: whatever was done
-- in whatever order, a row change makes one event, and no column that anybody
-- has excluded is in it.
--
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS webhook;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
TRUNCATE webhook.outbox;
CREATE ROLE regress_part_owner;
CREATE SCHEMA part AUTHORIZATION regress_part_owner;
GRANT USAGE ON SCHEMA webhook, webhook_internal TO regress_part_owner;
GRANT EXECUTE ON FUNCTION webhook.watch, webhook.unwatch TO regress_part_owner;
GRANT EXECUTE ON FUNCTION webhook_internal.watched, webhook_internal.lock_source,
	webhook_internal.check_source, webhook_internal.check_watch, webhook_internal.named_columns,
	webhook_internal.watch_as, webhook_internal.tell_watch, webhook_internal.make_triggers,
	webhook_internal.watch_done TO regress_part_owner;
GRANT SELECT ON webhook.source, webhook.outbox TO regress_part_owner;
SET search_path = part;
CREATE VIEW told AS
	SELECT entity_type AS type, action_type AS action, entity_id AS id, tenant, result, previous
	FROM webhook.outbox ORDER BY event_number;
CREATE VIEW sources AS
	SELECT source, entity_type AS type, action_types, exclude_columns, fires, parent
	FROM webhook.source WHERE source::text !~ '\.' ORDER BY source::text;
GRANT SELECT ON told, sources TO regress_part_owner;

--
-- Every order of watching three levels and attaching them, as the tables' owner
--
SET SESSION AUTHORIZATION regress_part_owner;
CREATE FUNCTION orders(steps text[]) RETURNS SETOF text[] LANGUAGE sql AS $$
	WITH RECURSIVE r(done, rest) AS (
		SELECT '{}'::text[], steps
		UNION ALL SELECT done || s, array_remove(rest, s) FROM r, unnest(rest) s)
	SELECT done FROM r WHERE rest = '{}'
$$;
CREATE FUNCTION make_tables() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TABLE r (id int, k int, v text, r_pw text, m_pw text, l_pw text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE m (l_pw text, id int, k int, m_pw text, r_pw text, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (id);
	CREATE TABLE l (dropped int, id int, v text, r_pw text, k int, m_pw text, l_pw text, PRIMARY KEY (id, k));
	ALTER TABLE l DROP COLUMN dropped;
END
$$;
CREATE FUNCTION step(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CASE name
		WHEN 'watch r' THEN PERFORM webhook.watch('r', 'root', exclude_columns => '{r_pw}', keep_previous => true);
		WHEN 'watch m' THEN PERFORM webhook.watch('m', 'mid', id_columns => '{id}', exclude_columns => '{m_pw}');
		WHEN 'watch l' THEN PERFORM webhook.watch('l', 'leaf', id_columns => '{k,id}', exclude_columns => '{l_pw}', tenant => 'v');
		WHEN 'attach m' THEN ALTER TABLE r ATTACH PARTITION m FOR VALUES IN (1);
		WHEN 'attach l' THEN ALTER TABLE m ATTACH PARTITION l FOR VALUES IN (7);
		WHEN 'detach m' THEN ALTER TABLE r DETACH PARTITION m;
		WHEN 'detach l' THEN ALTER TABLE m DETACH PARTITION l;
		WHEN 'unwatch r' THEN PERFORM webhook.unwatch('r');
		WHEN 'unwatch m' THEN PERFORM webhook.unwatch('m');
		WHEN 'unwatch l' THEN PERFORM webhook.unwatch('l');
		WHEN 'again r' THEN PERFORM webhook.watch('r', exclude_columns => '{v}'); PERFORM webhook.watch('r', include_columns => '{v}');
		WHEN 'again m' THEN PERFORM webhook.watch('m', 'other'); PERFORM webhook.watch('m', 'mid');
		WHEN 'again l' THEN PERFORM webhook.watch('l', keep_previous => true);
	END CASE;
END
$$;
-- what changes of a row of l tell
CREATE FUNCTION tell() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	last CONSTANT bigint := coalesce((SELECT max(event_number) FROM webhook.outbox), 0);
BEGIN
	INSERT INTO l (id, k, v, r_pw, m_pw, l_pw) VALUES (7, 1, 'a', 'r', 'm', 'l');
	UPDATE l SET v = 'b', r_pw = 'R', m_pw = 'M', l_pw = 'L';
	UPDATE l SET v = v;
	DELETE FROM l;
	RETURN (SELECT string_agg(concat_ws(' ', entity_type, action_type, entity_id, tenant, result, previous), E'\n' ORDER BY event_number)
		FROM webhook.outbox WHERE event_number > last);
END
$$;
CREATE TABLE outcome (way text[], does text);
CREATE FUNCTION try(steps text[], at_last text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	way text[];
	name text;
BEGIN
	FOR way IN SELECT * FROM orders(steps) LOOP
		PERFORM make_tables();
		FOREACH name IN ARRAY way || at_last LOOP
			PERFORM step(name);
		END LOOP;
		INSERT INTO outcome VALUES (way, tell());
		DROP TABLE r;
		DROP TABLE IF EXISTS m;
		DROP TABLE IF EXISTS l;
	END LOOP;
END
$$;
CREATE FUNCTION try_all(steps text[], at_last text[] DEFAULT '{}') RETURNS TABLE (ways bigint, does text) LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM outcome;
	PERFORM try(steps, at_last);
	RETURN QUERY SELECT count(*), o.does FROM outcome o GROUP BY o.does ORDER BY 1, 2;
END
$$;
\x
SELECT * FROM try_all('{watch r,watch m,watch l,attach m,attach l}');
SELECT * FROM try_all('{watch r,watch l,attach m,attach l}');
SELECT * FROM try_all('{watch m,watch l,attach m,attach l}');
SELECT * FROM try_all('{watch r,watch m,attach m,attach l}');
SELECT * FROM try_all('{watch r,attach m,attach l}');
-- then one goes, and what is left tells; or changes, and nothing does
SELECT * FROM try_all('{watch r,watch m,watch l}', '{attach m,attach l,unwatch r}');
SELECT * FROM try_all('{watch r,watch m,watch l}', '{attach m,attach l,unwatch m}');
SELECT * FROM try_all('{watch r,watch m,watch l}', '{attach m,attach l,unwatch l}');
SELECT * FROM try_all('{watch r,watch m,watch l}', '{attach m,attach l,detach m}');
SELECT * FROM try_all('{watch r,watch m,watch l}', '{attach m,attach l,detach l}');
SELECT * FROM try_all('{watch r,watch m,watch l}', '{attach l,attach m,detach l,attach l}');
SELECT * FROM try_all('{watch r,watch m,watch l}', '{attach l,attach m,again r,again m,again l}');
SELECT * FROM try_all('{attach m,attach l}', '{watch r,detach l}');
\x

--
-- Actions: what the table above does not watch, the partition tells itself
--
CREATE TABLE p (id int PRIMARY KEY, v text, pw text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
RESET SESSION AUTHORIZATION;
TRUNCATE webhook.outbox;
SET SESSION AUTHORIZATION regress_part_owner;
RESET client_min_messages;
SELECT webhook.watch('p1', 'one', exclude_columns => '{pw}');
SELECT webhook.watch('p', action_types => '{delete}');
SELECT webhook.watch('p2', 'two', action_types => '{update,truncate}');
SELECT webhook.watch('p2', 'two', action_types => '{update,truncate}');
TABLE sources;
INSERT INTO p VALUES (1, 'a', 'geheim'), (101, 'a', 'pw');
UPDATE p SET v = 'b';
UPDATE p SET pw = 'x';
DELETE FROM p WHERE id = 101;
-- another key: a delete and a new, of which the table above tells the one that it watches
UPDATE p SET id = 2;
-- to another partition
UPDATE p SET id = 102;
TRUNCATE p;
TABLE told;

--
-- How triggers fire
--
RESET SESSION AUTHORIZATION;
TRUNCATE webhook.outbox;
SELECT webhook.watch('p', action_types => '{new}');
SELECT tgname AS clone FROM pg_trigger WHERE tgrelid = 'p1'::regclass AND tgparentid <> 0 \gset
SELECT :'clone' = 'webhook_capture_' || 'p'::regclass::oid AS named_after_the_table;
-- not in this partition: it tells for itself, without what the table above leaves out
SELECT webhook.watch('p', exclude_columns => '{v}');
ALTER TABLE p1 DISABLE TRIGGER :clone;
INSERT INTO p VALUES (3, 'a', 'pw'), (103, 'a', 'pw');
SELECT webhook.watch('p', keep_previous => true);
INSERT INTO p VALUES (4, 'a', 'pw'), (104, 'a', 'pw');
ALTER TABLE p1 ENABLE TRIGGER :clone;
INSERT INTO p VALUES (5, 'a', 'pw');
-- its own is disabled: what it leaves out stays out
ALTER TABLE p1 DISABLE TRIGGER webhook_capture;
INSERT INTO p VALUES (6, 'a', 'pw');
-- each by its own mode
ALTER TABLE p1 ENABLE ALWAYS TRIGGER webhook_capture;
SET session_replication_role = replica;
INSERT INTO p VALUES (7, 'a', 'pw');
RESET session_replication_role;
INSERT INTO p VALUES (8, 'a', 'pw');
TABLE told;
SELECT regexp_replace(webhook.unwatch('p'), '[0-9]+$', 'oid') AS unwatch;
SELECT webhook.unwatch('p2');
TRUNCATE webhook.outbox;

--
-- A list of columns leaves out as well; what cannot be read, or is not found, leaves all out
--
SET client_min_messages = error;
SELECT webhook.unwatch('p1');
SELECT webhook.watch('p1', columns => '{id,v}');
SELECT webhook.watch('p', keep_previous => true);
INSERT INTO p VALUES (10, 'a', 'pw');
UPDATE p SET pw = 'x' WHERE id = 10;
SELECT webhook.unwatch('p1');
CREATE TRIGGER by_hand AFTER INSERT ON p1 FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"exclude_columns": "pw"}');
INSERT INTO p VALUES (11, 'a', 'pw');
DROP TRIGGER by_hand ON p1;
SELECT webhook.watch('p1', exclude_columns => '{pw}');
ALTER TABLE p RENAME pw TO hush;
INSERT INTO p VALUES (12, 'a', 'pw');
SELECT webhook.watch('p1', exclude_columns => '{hush}', include_columns => '{pw}');
INSERT INTO p VALUES (13, 'a', 'pw');
TABLE told;
RESET client_min_messages;
-- also a test does not send it
INSERT INTO webhook.subscription (name, url, events) VALUES ('part', 'https://part.example.com/', '{p.*}');
SELECT s.result FROM webhook_internal.sample_row('p', 'webhook_capture_' || 'p'::regclass::oid, '13', NULL, true) s;
SELECT s.result FROM webhook_internal.sample_row('p', 'webhook_capture_' || 'p'::regclass::oid, '103', NULL, true) s;
DELETE FROM webhook.subscription WHERE name = 'part';
TRUNCATE webhook.outbox;

--
-- Triggers with terms of their own tell beside the others, and leave out what others do
--
CREATE TRIGGER big AFTER INSERT ON p1 FOR EACH ROW WHEN (NEW.id > 20)
	EXECUTE FUNCTION webhook.capture('{"entity_type": "big"}');
INSERT INTO p VALUES (21, 'a', 'pw');
CREATE TRIGGER big_v AFTER INSERT ON p FOR EACH ROW WHEN (NEW.v = 'v')
	EXECUTE FUNCTION webhook.capture('{"entity_type": "v", "exclude_columns": ["v"]}');
INSERT INTO p VALUES (22, 'v', 'pw');
TABLE told;
SELECT regexp_replace(webhook.unwatch('p'), '[0-9]+$', 'oid') AS unwatch;
-- watch does not override them
SELECT webhook.watch('p');
DROP TRIGGER big ON p1;
SELECT webhook.unwatch('p1');

--
-- What there is to say
--
SELECT webhook.watch('p');
SELECT webhook.unwatch('p1');
SELECT regexp_replace(webhook.unwatch('p'), '[0-9]+$', 'oid') AS unwatch;
SELECT regexp_replace(webhook.unwatch('p'), '[0-9]+$', 'oid') AS unwatch;
-- names that others have
CREATE TRIGGER webhook_capture AFTER INSERT ON p FOR EACH ROW WHEN (NEW.v = 'v') EXECUTE FUNCTION webhook.capture();
SELECT webhook.watch('p1');
ALTER TRIGGER webhook_capture ON p RENAME TO by_hand;
SELECT webhook.watch('p1');
SELECT webhook.unwatch('p1');
DROP TRIGGER by_hand ON p;
CREATE TABLE q (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
-- as a dump from elsewhere may bring it along
DO $$ BEGIN
	EXECUTE format('CREATE TRIGGER webhook_capture_%s AFTER INSERT ON p1 FOR EACH ROW EXECUTE FUNCTION webhook.capture()', 'q'::regclass::oid);
END $$;
SELECT webhook.watch('q');
SELECT tgname = 'webhook_capture_' || ('q'::regclass::oid::bigint + 1)::text AS the_next FROM pg_trigger WHERE tgrelid = 'q'::regclass;
SELECT webhook.watch('q', 'quiz');

SET client_min_messages = error;
DROP SCHEMA part CASCADE;
DROP OWNED BY regress_part_owner;
DROP ROLE regress_part_owner;
TRUNCATE webhook.outbox;
