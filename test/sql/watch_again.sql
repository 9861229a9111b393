--
-- webhook.watch() for a table that is watched: what is not named stays as it
-- is, what is sent is never more than before without a word, and where nothing
-- changes nothing is touched.
--
\set SHOW_CONTEXT never
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS webhook;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
RESET client_min_messages;
TRUNCATE webhook.outbox;
CREATE SCHEMA again;
SET search_path = again;
CREATE VIEW sources AS
	SELECT source, entity_type AS type, id_columns AS ids, action_types, columns, exclude_columns, tenant, keep_previous AS prev,
		regexp_replace(trigger, '[0-9]+$', 'oid') AS trigger, fires
	FROM webhook.source WHERE source::text !~ '^public' ORDER BY source::text, trigger;
CREATE VIEW triggers AS
	SELECT tgrelid::regclass AS source, tgname, tgtype, tgenabled, xmin::text AS version FROM pg_trigger
	WHERE tgfoid IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc);
CREATE TABLE users (id int PRIMARY KEY, name text, password_hash text, org int);

--
-- What is not named stays
--
SELECT webhook.watch('users', 'user', action_types => '{update,delete,truncate}', exclude_columns => '{password_hash}', tenant => 'org');
TABLE sources;
SELECT webhook.watch('users', keep_previous => true);
TABLE sources;
UPDATE users SET name = 'nobody';
INSERT INTO users VALUES (1, 'Ann', 'geheim', 7);
UPDATE users SET name = 'Bob';
SELECT entity_type, action_type, tenant, result, previous FROM webhook.outbox ORDER BY event_number;
SELECT webhook.watch('users', 'person');
SELECT webhook.watch('users', action_types => '{new,truncate}');
SELECT webhook.watch('users', tenant => 'id');
SELECT webhook.watch('users', id_columns => '{name}');
TABLE sources;
-- both triggers say the same
SELECT count(DISTINCT tgargs), count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass AND tgname LIKE 'webhook%';
-- let go of, by name
SELECT webhook.watch('users', keep_previous => false, tenant => '');
TABLE sources;

--
-- What is excluded stays so until it is let go of, by name
--
SELECT webhook.watch('users', exclude_columns => '{org}');
SELECT webhook.watch('users', exclude_columns => '{}');
SELECT webhook.watch('users', exclude_columns => '{org,password_hash,org}');
SELECT webhook.watch('users', columns => '{id,org}');
SELECT webhook.watch('users', columns => '{*}');
SELECT webhook.watch('users', columns => '{id,name}');
TABLE sources;
SELECT webhook.watch('users', columns => '{id}');
SELECT webhook.watch('users', columns => '{*}');
TABLE sources;
SELECT webhook.watch('users', include_columns => '{org}');
SELECT webhook.watch('users', include_columns => '{org}');
SELECT webhook.watch('users', columns => '{id,password_hash}', include_columns => '{password_hash}');
SELECT webhook.watch('users', include_columns => '{org,id}');
SELECT webhook.watch('users', exclude_columns => '{id}', include_columns => '{id}');
SELECT webhook.watch('users', columns => '{*}', exclude_columns => '{id}');
TABLE sources;
-- nothing else that is named lets go of it
SELECT webhook.watch('users', 'person', '{name}', '{new,truncate}', NULL, NULL, '', true);
SELECT webhook.watch('users', keep_previous => false);
SELECT webhook.watch('users', columns => '{}');
SELECT webhook.watch('users', columns => '{name}', exclude_columns => '{org}');
SELECT webhook.watch('users', id_columns => '{}');
SELECT webhook.watch('users', action_types => '{}');
-- a list that was emptied by dropping all of its columns is still a list
SELECT webhook.watch('users', columns => '{name}');
ALTER TABLE users DROP COLUMN name;
SELECT webhook.watch('users', 'user');
SELECT webhook.unwatch('users');
ALTER TABLE users ADD name text;

--
-- Watched again, nothing is left of it
--
SELECT webhook.watch('users');
TABLE sources;

--
-- What changes nothing touches nothing
--
CREATE TEMP TABLE before AS TABLE triggers;
SELECT webhook.watch('users');
SELECT webhook.watch('users', 'users', '{id}', '{new,update,delete}', tenant => '', keep_previous => false, exclude_columns => '{}');
SELECT webhook.watch('users', action_types => NULL, columns => NULL, exclude_columns => NULL, keep_previous => NULL);
TABLE before EXCEPT TABLE triggers;
BEGIN;
SELECT webhook.watch('users');
SELECT mode FROM pg_locks WHERE relation = 'users'::regclass AND mode NOT IN ('AccessShareLock');
COMMIT;

--
-- How it fires stays
--
ALTER TABLE users DISABLE TRIGGER webhook_capture;
SELECT webhook.watch('users', keep_previous => true);
SELECT source, fires FROM sources;
ALTER TABLE users ENABLE ALWAYS TRIGGER webhook_capture;
SELECT webhook.watch('users', action_types => '{new,truncate}');
ALTER TABLE users ENABLE REPLICA TRIGGER webhook_truncate;
SELECT webhook.watch('users', 'user');
SELECT tgname, tgenabled FROM triggers WHERE source = 'users'::regclass ORDER BY 1;
SELECT webhook.watch('users', action_types => '{truncate}');
SELECT webhook.watch('users', action_types => '{new}');
SELECT tgname, tgenabled FROM triggers WHERE source = 'users'::regclass ORDER BY 1;
SELECT webhook.unwatch('users');

--
-- Columns that were renamed meanwhile
--
SELECT webhook.watch('users', exclude_columns => '{password_hash}', tenant => 'org');
ALTER TABLE users RENAME password_hash TO pw;
ALTER TABLE users RENAME org TO team;
TRUNCATE webhook.outbox;
SELECT webhook.watch('users', keep_previous => true);
SET client_min_messages = error;
INSERT INTO users VALUES (2, 'geheim', 7, 'Eve');
RESET client_min_messages;
SELECT result FROM webhook.outbox;
SELECT webhook.watch('users', exclude_columns => '{pw}');
SELECT webhook.watch('users', tenant => 'team');
SELECT webhook.watch('users', include_columns => '{password_hash}');
TABLE sources;
INSERT INTO users VALUES (3, 'geheim', 7, 'Eva');
SELECT result FROM webhook.outbox ORDER BY event_number DESC LIMIT 1;
SELECT webhook.unwatch('users');

--
-- Triggers made by hand
--
-- one that watch could have made: it is changed as if it had
CREATE TRIGGER webhook_capture AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"exclude_columns": ["pw"]}');
SELECT webhook.watch('users', keep_previous => true);
TABLE sources;
SELECT tgtype FROM triggers WHERE source = 'users'::regclass;
SELECT webhook.unwatch('users');
-- without an argument
CREATE TRIGGER webhook_capture AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION webhook.capture();
CREATE TEMP TABLE by_hand AS TABLE triggers;
SELECT webhook.watch('users');
TABLE by_hand EXCEPT TABLE triggers;
SELECT webhook.watch('users', exclude_columns => '{pw}');
TABLE sources;
SELECT webhook.unwatch('users');
-- with terms that would be lost
CREATE TRIGGER webhook_capture AFTER UPDATE ON users FOR EACH ROW WHEN (NEW.id > 100) EXECUTE FUNCTION webhook.capture('{"exclude_columns": ["pw"]}');
SELECT webhook.watch('users');
SELECT webhook.watch('users', keep_previous => true);
DROP TRIGGER webhook_capture ON users;
CREATE TRIGGER webhook_capture AFTER UPDATE OF name ON users FOR EACH ROW EXECUTE FUNCTION webhook.capture();
SELECT webhook.watch('users', keep_previous => true);
DROP TRIGGER webhook_capture ON users;
CREATE CONSTRAINT TRIGGER webhook_capture AFTER UPDATE ON users DEFERRABLE FOR EACH ROW EXECUTE FUNCTION webhook.capture();
SELECT webhook.watch('users', keep_previous => true);
DROP TRIGGER webhook_capture ON users;
-- of another name: watch would send the same rows once more, with all columns
CREATE TRIGGER my_hook AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"exclude_columns": ["pw"]}');
SELECT webhook.watch('users', keep_previous => true);
TABLE sources;
-- beside one that watch made it is left alone
DROP TRIGGER my_hook ON users;
SELECT webhook.watch('users', exclude_columns => '{pw}');
CREATE TRIGGER my_hook AFTER UPDATE ON users FOR EACH ROW WHEN (NEW.id > 100) EXECUTE FUNCTION webhook.capture('{"entity_type": "big"}');
SELECT webhook.watch('users', keep_previous => true);
TABLE sources;
SELECT webhook.unwatch('users');
-- an argument that cannot be read, and a trigger of somebody else's
CREATE TRIGGER webhook_capture AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"exclude_columns": "pw"}');
SELECT webhook.watch('users', keep_previous => true);
CREATE OR REPLACE TRIGGER webhook_capture AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION webhook.capture('exclude_columns pw');
SELECT webhook.watch('users', keep_previous => true);
CREATE OR REPLACE TRIGGER webhook_capture AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION webhook.capture('["pw"]');
SELECT webhook.watch('users', keep_previous => true);
DROP TRIGGER webhook_capture ON users;
CREATE TRIGGER webhook_capture BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT webhook.watch('users');
DROP TRIGGER webhook_capture ON users;

--
-- Partitions and inheritance
--
CREATE TABLE m (id int PRIMARY KEY, pw text) PARTITION BY RANGE (id);
CREATE TABLE m_old PARTITION OF m FOR VALUES FROM (0) TO (100);
CREATE TABLE m_new PARTITION OF m FOR VALUES FROM (100) TO (200);
-- each may be watched; what either leaves out is left out (partitions)
SELECT webhook.watch('m_old', exclude_columns => '{pw}');
SELECT webhook.watch('m');
TABLE sources;
SELECT webhook.unwatch('m_old');
SELECT regexp_replace(webhook.unwatch('m'), '[0-9]+$', 'oid') AS unwatch;
SELECT webhook.watch('m', exclude_columns => '{pw}');
SELECT webhook.watch('m_old');
SELECT tgname AS clone FROM triggers WHERE source = 'm_new'::regclass \gset
ALTER TABLE m_new DISABLE TRIGGER :clone;
ALTER TABLE m_old ENABLE ALWAYS TRIGGER webhook_capture;
SELECT webhook.watch('m', keep_previous => true);
SELECT source, regexp_replace(tgname, '[0-9]+$', 'oid') AS tgname, tgenabled FROM triggers WHERE source::text LIKE 'm%' ORDER BY source::text, tgname;
TABLE sources;
CREATE TABLE base (id int PRIMARY KEY, pw text);
CREATE TABLE heir (more text) INHERITS (base);
SELECT webhook.watch('base', exclude_columns => '{pw}');
SELECT webhook.watch('heir', id_columns => '{id}', exclude_columns => '{pw,more}');
SELECT webhook.watch('base', 'b');
SELECT webhook.watch('heir', 'h');
TABLE sources;

--
-- Virtual generated columns. PostgreSQL 18 has them; here the catalogue says so of an ordinary one.
--
CREATE TABLE v (id int PRIMARY KEY, a int, twice int);
SET allow_system_table_mods = on;
UPDATE pg_attribute SET attgenerated = 'v' WHERE attrelid = 'v'::regclass AND attname = 'twice';
SELECT webhook.watch('v', id_columns => '{twice}');
SELECT webhook.watch('v', tenant => 'twice');
SELECT webhook.watch('v', columns => '{id,twice}');
SELECT webhook.watch('v', include_columns => '{twice}');
SELECT webhook.watch('v', exclude_columns => '{twice}');
SELECT webhook.unwatch('v');
SELECT webhook.watch('v');
SELECT webhook.watch('v');
SELECT webhook.watch('v', columns => '{id}');
SELECT webhook.unwatch('v');
CREATE TRIGGER by_hand AFTER INSERT ON v FOR EACH ROW EXECUTE FUNCTION webhook.capture('{"id_columns": ["twice"], "columns": ["b"]}');
SELECT problem FROM webhook.source WHERE source = 'v'::regclass;
UPDATE pg_attribute SET attgenerated = '' WHERE attrelid = 'v'::regclass AND attname = 'twice';
RESET allow_system_table_mods;

SET client_min_messages = error;
DROP SCHEMA again CASCADE;
TRUNCATE webhook.outbox;
