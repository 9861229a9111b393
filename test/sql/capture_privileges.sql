--
-- Capture asks for no privilege, trusts no search_path, and gets along with
-- what people add to the outbox.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS webhook;
RESET client_min_messages;
TRUNCATE webhook.outbox;

CREATE TEMP VIEW events AS
	SELECT entity_type AS type, entity_id AS id, action_type AS action, result, tenant, context
	  FROM webhook.outbox o ORDER BY o.event_number;
CREATE PROCEDURE pg_temp.forget() LANGUAGE sql AS $$ TRUNCATE webhook.outbox $$;

CREATE ROLE regress_webhook_owner NOSUPERUSER NOLOGIN;
CREATE ROLE regress_webhook_app NOSUPERUSER NOLOGIN;
CREATE SCHEMA privileges_app AUTHORIZATION regress_webhook_owner;
GRANT USAGE ON SCHEMA privileges_app TO regress_webhook_app;

--
-- An application without any grant on the extension's schema; row security on
-- the watched table, even for its owner
--
SET ROLE regress_webhook_owner;
CREATE TABLE privileges_app.item (id integer PRIMARY KEY, v text, owner text DEFAULT current_user);
ALTER TABLE privileges_app.item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON privileges_app.item USING (owner = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON privileges_app.item TO regress_webhook_app;
RESET ROLE;
SELECT webhook.watch('privileges_app.item', action_types => '{new,update,delete,truncate}', tenant => 'owner');

SELECT has_schema_privilege('regress_webhook_app', 'webhook', 'USAGE') AS schema,
	   has_table_privilege('regress_webhook_app', 'webhook.outbox', 'INSERT') AS outbox,
	   has_function_privilege('regress_webhook_app', 'webhook.capture()', 'EXECUTE') AS capture;
SET ROLE regress_webhook_app;
SELECT count(*) FROM webhook.outbox;
INSERT INTO privileges_app.item VALUES (1, 'app');
UPDATE privileges_app.item SET v = 'changed';
SET ROLE regress_webhook_owner;
INSERT INTO privileges_app.item VALUES (2, 'owner');
UPDATE privileges_app.item SET v = 'not seen by the policy' WHERE id = 1;
SET ROLE regress_webhook_app;
DELETE FROM privileges_app.item;
TRUNCATE privileges_app.item;
-- nobody becomes somebody else by it
SELECT current_user, session_user = 'regress_webhook_app' AS same_session;
RESET ROLE;
TABLE events;
CALL pg_temp.forget();

-- within a function that runs as somebody else
CREATE FUNCTION privileges_app.add(id integer) RETURNS name LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = privileges_app, pg_temp AS $$
BEGIN
	INSERT INTO item VALUES (id, 'definer');
	RETURN current_user;
END $$;
ALTER FUNCTION privileges_app.add OWNER TO regress_webhook_owner;
SET ROLE regress_webhook_app;
SELECT privileges_app.add(3);
SELECT current_user;
RESET ROLE;
TABLE events;
CALL pg_temp.forget();

--
-- A hostile search_path: tables, operators and functions named like those that might be looked up
--
CREATE SCHEMA privileges_evil AUTHORIZATION regress_webhook_app;
SET ROLE regress_webhook_app;
CREATE TABLE privileges_evil.outbox (LIKE pg_class);
CREATE TABLE privileges_evil.outbox_0 ();
CREATE SEQUENCE privileges_evil.event_number_seq;
CREATE FUNCTION privileges_evil.trap() RETURNS void LANGUAGE plpgsql AS
	$$ BEGIN RAISE 'fell into the trap as %', current_user; END $$;
CREATE FUNCTION privileges_evil.to_json(anyelement) RETURNS json LANGUAGE sql AS $$ SELECT privileges_evil.trap(); SELECT '1'::json $$;
CREATE FUNCTION privileges_evil.row_to_json(anyelement) RETURNS json LANGUAGE sql AS $$ SELECT privileges_evil.trap(); SELECT '1'::json $$;
CREATE FUNCTION privileges_evil.nextval(regclass) RETURNS bigint LANGUAGE sql AS $$ SELECT privileges_evil.trap(); SELECT 1::bigint $$;
CREATE FUNCTION privileges_evil.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM privileges_evil.trap(); RETURN ''; END $$;
CREATE FUNCTION privileges_evil.equal(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM privileges_evil.trap(); RETURN true; END $$;
CREATE OPERATOR privileges_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = privileges_evil.equal);
CREATE DOMAIN privileges_evil.text AS integer;
CREATE TEMP TABLE outbox ();
CREATE TEMP SEQUENCE event_number_seq;
SET search_path = privileges_evil, pg_temp, webhook, pg_catalog;
INSERT INTO privileges_app.item VALUES (4, 'hostile');
UPDATE privileges_app.item SET v = 'very' WHERE id OPERATOR(pg_catalog.=) 4;
DELETE FROM privileges_app.item WHERE id OPERATOR(pg_catalog.=) 4;
RESET search_path;
DROP TABLE pg_temp.outbox;
RESET ROLE;
TABLE events;
CALL pg_temp.forget();

--
-- What people add to the outbox: columns, indexes, triggers, row security
--
ALTER TABLE webhook.outbox ADD note text;
SET ROLE regress_webhook_app;
INSERT INTO privileges_app.item VALUES (10, 'extra column');
RESET ROLE;
CREATE INDEX privileges_entity ON webhook.outbox (entity_type, entity_id) INCLUDE (created_at);
CREATE INDEX privileges_hash ON webhook.outbox USING hash (tenant);
CREATE INDEX privileges_brin ON webhook.outbox USING brin (event_number);
CREATE INDEX privileges_partial ON webhook.outbox (created_at) WHERE action_type = 'delete';
SET ROLE regress_webhook_app;
INSERT INTO privileges_app.item VALUES (11, 'indexes'), (12, 'more');
DELETE FROM privileges_app.item WHERE id = 12;
RESET ROLE;

-- an expression is evaluated as the outbox's owner, and finds only its own functions
CREATE FUNCTION privileges_who(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF $1 = 'tell' THEN
		RAISE NOTICE 'evaluated as the owner: %, with search_path %', current_user <> 'regress_webhook_app', current_setting('search_path');
	END IF;
	RETURN lower($1);
END $$;
REVOKE ALL ON FUNCTION privileges_who FROM PUBLIC;
CREATE INDEX privileges_expression ON webhook.outbox (public.privileges_who(context ->> 'note'));
SET ROLE regress_webhook_app;
SET search_path = privileges_evil, pg_catalog;
SET webhook.context = '{"note": "tell"}';
INSERT INTO privileges_app.item VALUES (13, 'expression');
SHOW search_path;
SELECT current_user;
RESET webhook.context;
RESET search_path;
-- restricted, and given back after an error
RESET ROLE;
CREATE OR REPLACE FUNCTION privileges_who(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
	$$ BEGIN RETURN set_config('role', 'regress_webhook_owner', false); END $$;
SET ROLE regress_webhook_app;
BEGIN;
SET LOCAL search_path = privileges_evil, pg_catalog;
SAVEPOINT s;
INSERT INTO privileges_app.item VALUES (14, 'error');
ROLLBACK TO s;
SELECT current_user;
SHOW search_path;
COMMIT;
RESET ROLE;
DROP INDEX webhook.privileges_expression;
DROP FUNCTION privileges_who;

-- defaults, generated columns and checks hold; a trigger on the outbox is not fired, row security not asked
ALTER TABLE webhook.outbox ADD number integer NOT NULL DEFAULT 40 + 2,
	ADD name text GENERATED ALWAYS AS (upper(result ->> 'v')) STORED,
	ADD CONSTRAINT privileges_check CHECK (entity_id <> '17');
CREATE FUNCTION privileges_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
CREATE TRIGGER privileges_trigger BEFORE INSERT ON webhook.outbox FOR EACH ROW EXECUTE FUNCTION privileges_trigger();
ALTER TABLE webhook.outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DO $$
BEGIN
	FOR d IN 0..7 LOOP
		EXECUTE format('ALTER TABLE webhook.outbox_%s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', d);
	END LOOP;
END $$;
SET ROLE regress_webhook_app;
INSERT INTO privileges_app.item VALUES (15, 'default');
\set VERBOSITY sqlstate
INSERT INTO privileges_app.item VALUES (17, 'check');
\set VERBOSITY default
RESET ROLE;
SELECT entity_id, number, name FROM webhook.outbox WHERE entity_id = '15';
TABLE events;

-- every index has every event
SET enable_seqscan = off;
SELECT count(*) FROM webhook.outbox WHERE entity_type = 'item' AND entity_id >= '1';
SELECT count(*) FROM webhook.outbox WHERE tenant = 'regress_webhook_app';
SELECT count(*) FROM webhook.outbox WHERE created_at > '2000-01-01' AND action_type = 'delete';
SELECT count(*) FROM webhook.outbox WHERE xid = ANY (SELECT xid FROM webhook.outbox);
RESET enable_seqscan;

ALTER TABLE webhook.outbox DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
DO $$
BEGIN
	FOR d IN 0..7 LOOP
		EXECUTE format('ALTER TABLE webhook.outbox_%s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', d);
	END LOOP;
END $$;
DROP TRIGGER privileges_trigger ON webhook.outbox;
DROP FUNCTION privileges_trigger;
ALTER TABLE webhook.outbox DROP CONSTRAINT privileges_check, DROP note, DROP number, DROP name;
DROP INDEX webhook.privileges_entity, webhook.privileges_hash, webhook.privileges_brin, webhook.privileges_partial;
CALL pg_temp.forget();
SET ROLE regress_webhook_app;
INSERT INTO privileges_app.item VALUES (18, 'as before');
RESET ROLE;
TABLE events;
-- a unique index is enforced
CREATE UNIQUE INDEX privileges_unique ON webhook.outbox (entity_id, action_type, segment);
SET ROLE regress_webhook_app;
INSERT INTO privileges_app.item VALUES (19, 'unique');
DELETE FROM privileges_app.item WHERE id = 19;
\set VERBOSITY sqlstate
INSERT INTO privileges_app.item VALUES (19, 'not unique');
\set VERBOSITY default
RESET ROLE;
DROP INDEX webhook.privileges_unique;
CALL pg_temp.forget();

--
-- When the outbox is not there, the statement fails and says what to do
--
BEGIN;
ALTER SEQUENCE webhook.event_number_seq RENAME TO elsewhere;
SAVEPOINT s;
INSERT INTO privileges_app.item VALUES (20, 'no sequence');
ROLLBACK TO s;
ROLLBACK;
BEGIN;
ALTER SCHEMA webhook RENAME TO elsewhere;
DO $$
BEGIN
	INSERT INTO privileges_app.item VALUES (20, 'no schema');
EXCEPTION WHEN undefined_table THEN
	RAISE NOTICE '%', regexp_replace(SQLERRM, '\d', 'N');
END $$;
ROLLBACK;
BEGIN;
ALTER TABLE webhook.outbox RENAME tenant TO lodger;
DO $$
BEGIN
	INSERT INTO privileges_app.item VALUES (20, 'no column');
EXCEPTION WHEN undefined_column THEN
	RAISE NOTICE '%', regexp_replace(SQLERRM, '\d', 'N');
END $$;
ROLLBACK;
INSERT INTO privileges_app.item VALUES (20, 'all there', 'me');
TABLE events;
CALL pg_temp.forget();

--
-- Replication's apply fires nothing, a disabled trigger neither
--
SET session_replication_role = replica;
INSERT INTO privileges_app.item VALUES (30, 'replica');
RESET session_replication_role;
ALTER TABLE privileges_app.item DISABLE TRIGGER webhook_capture;
INSERT INTO privileges_app.item VALUES (31, 'disabled');
ALTER TABLE privileges_app.item ENABLE TRIGGER webhook_capture;
INSERT INTO privileges_app.item VALUES (32, 'enabled', 'me');
TABLE events;
CALL pg_temp.forget();

--
-- The context any role may set
--
SET ROLE regress_webhook_app;
BEGIN;
SET LOCAL webhook.context = '{"request_id": "r-1", "actor": "Ann"}';
INSERT INTO privileges_app.item VALUES (40, 'with');
COMMIT;
INSERT INTO privileges_app.item VALUES (41, 'without');
RESET ROLE;
SELECT id, context, context ->> 'actor' AS actor FROM events;
CALL pg_temp.forget();

DROP SCHEMA privileges_app CASCADE;
SET client_min_messages = error;
DROP SCHEMA privileges_evil CASCADE;
DROP OWNED BY regress_webhook_app, regress_webhook_owner;
RESET client_min_messages;
DROP ROLE regress_webhook_app, regress_webhook_owner;
TRUNCATE webhook.outbox;
