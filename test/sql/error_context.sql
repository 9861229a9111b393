--
-- An error of ours is one message, detail and hint: no CONTEXT tells of the functions
-- in between. What is somebody else's keeps its own.
--
\set VERBOSITY default
\set SHOW_CONTEXT errors
-- as where it is preloaded
LOAD 'webhook';

-- functions
SELECT webhook.redeliver('nothing');
SELECT webhook.subscribe('a', 'ftp://example.com/');
SELECT webhook.subscribe('a', 'https://example.com/', profile => 'nobody');
SELECT webhook.watch('pg_class');
SELECT webhook.copy_profile('nobody', 'a');
SELECT webhook.purge_dead_letters();
SELECT webhook.grant_viewer(NULL);
-- those that take the name of a subscription say the same of one that is not there
SELECT webhook.pause('nobody');
SELECT webhook.resume('nobody');
SELECT webhook.unsubscribe('nobody');
SELECT webhook.rotate_secret('nobody');
SELECT webhook.set_credential('nobody', 'bearer', 'token');
SELECT webhook.redeliver('1', 'nobody');
SELECT webhook.replay('nobody', '-infinity');
SELECT webhook.purge_dead_letters(subscription => 'nobody');
SELECT webhook.enable_delivery('nobody');
CALL webhook.test('nobody');
-- and the wrong switch names the right one
SET client_min_messages = error; -- without a worker, a warning tells how large the outbox is
SELECT webhook.subscribe('a', 'https://example.com/') IS NOT NULL AS subscribed;
RESET client_min_messages;
SELECT webhook.enable_delivery('a');
SELECT webhook.unsubscribe('a');
-- the tables
INSERT INTO webhook.subscription (name, url) VALUES ('', 'https://example.com/');
INSERT INTO webhook.subscription (name, url, headers) VALUES ('a', 'https://example.com/', '[]');
INSERT INTO webhook.profile (name, description, envelope) VALUES ('a', 'one', '"$nothing"');
UPDATE webhook.profile SET description = 'another' WHERE name = 'github';
-- what the server finds within a function of ours
CREATE ROLE regress_webhook_nobody;
GRANT USAGE ON SCHEMA webhook TO regress_webhook_nobody;
GRANT EXECUTE ON FUNCTION webhook.pause TO regress_webhook_nobody;
SET ROLE regress_webhook_nobody;
SELECT webhook.pause('nobody');
RESET ROLE;
DROP OWNED BY regress_webhook_nobody;
DROP ROLE regress_webhook_nobody;

-- the function of somebody who calls one of ours: theirs is shown, with the statement that they ran
CREATE FUNCTION setup() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM webhook.pause('nobody');
END
$$;
SELECT setup();
DROP FUNCTION setup();

-- somebody's event trigger, within one of ours: their frames stay
CREATE TABLE error_context_item (id int PRIMARY KEY);
CREATE FUNCTION no_triggers() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
	n integer;
BEGIN
	EXECUTE 'SELECT 1 /
		0' INTO n;
END
$$;
CREATE EVENT TRIGGER no_triggers ON ddl_command_end WHEN TAG IN ('CREATE TRIGGER')
	EXECUTE FUNCTION no_triggers();
SELECT webhook.watch('error_context_item');
DROP EVENT TRIGGER no_triggers;
DROP FUNCTION no_triggers();
DROP TABLE error_context_item;

-- for who looks for a bug
SET client_min_messages = debug1;
SELECT webhook.pause('nobody');
RESET client_min_messages;
