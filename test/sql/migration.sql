-- A migration script can run twice: what is there already is changed or left as
-- it is, by INSERT ... ON CONFLICT and by MERGE, with the same rules as ever.
SET client_min_messages = warning;
CREATE DATABASE webhook_migration;
\c webhook_migration
SET client_min_messages = error; -- not to be told about preloading
CREATE EXTENSION webhook;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
RESET client_min_messages;

CREATE PROCEDURE script() LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO webhook.subscription (name, url, events) VALUES ('crm', 'https://crm.example.com/hooks', '{*.new}')
		ON CONFLICT (name) DO UPDATE SET url = excluded.url, events = excluded.events;
	INSERT INTO webhook.subscription (name, url) VALUES ('billing', 'https://billing.example.com/hooks') ON CONFLICT DO NOTHING;
	INSERT INTO webhook.subscription (name, url) VALUES ('billing', 'https://elsewhere.example.com/') ON CONFLICT (name) DO NOTHING;
	MERGE INTO webhook.subscription s USING (VALUES ('mail', 'https://mail.example.com/hooks')) v (name, url) ON s.name = v.name
		WHEN MATCHED THEN UPDATE SET url = v.url
		WHEN NOT MATCHED THEN INSERT (name, url) VALUES (v.name, v.url);
END
$$;
CALL script();
CREATE TABLE first AS SELECT s.id, s.name, s.url, s.events, s.created_at, k.secret
	FROM webhook.subscription s JOIN webhook.secret k ON k.subscription_id = s.id;
CALL script();
-- the same subscriptions, each with the secret it had
SELECT name, url, events FROM webhook.subscription ORDER BY name;
SELECT count(*) AS same FROM first f JOIN webhook.subscription s USING (id, name, url, events, created_at)
	JOIN webhook.secret k ON k.subscription_id = s.id AND k.secret = f.secret WHERE f.events IS NOT NULL;
SELECT count(*) AS same FROM first f JOIN webhook.subscription s USING (id, name, url, created_at)
	JOIN webhook.secret k ON k.subscription_id = s.id AND k.secret = f.secret;
SELECT count(*) AS secrets FROM webhook.secret;
-- what is changed so is changed by the rules
INSERT INTO webhook.subscription (name, url) VALUES ('crm', 'https://crm.example.com/hooks')
	ON CONFLICT (name) DO UPDATE SET max_in_flight = 0;
INSERT INTO webhook.subscription (name, url) VALUES ('crm', 'https://crm.example.com/hooks')
	ON CONFLICT (name) DO UPDATE SET url = 'http://crm.example.com/hooks';
-- and without ON CONFLICT a name is there once
INSERT INTO webhook.subscription (name, url) VALUES ('crm', 'https://crm.example.com/hooks');
UPDATE webhook.subscription SET name = 'billing' WHERE name = 'crm';
SELECT webhook.subscribe('crm', 'https://crm.example.com/hooks');

-- profiles of one's own likewise
INSERT INTO webhook.profile (name, description, envelope) VALUES ('mine', 'first', '"$object"')
	ON CONFLICT (name) DO UPDATE SET description = 'again';
INSERT INTO webhook.profile (name, description, envelope) VALUES ('mine', 'first', '"$object"')
	ON CONFLICT (name) DO UPDATE SET description = 'again' RETURNING name, description;
INSERT INTO webhook.profile (name, description, envelope) VALUES ('mine', 'third', '"$object"') ON CONFLICT DO NOTHING;
SELECT name, description FROM webhook.profile WHERE NOT builtin;
SELECT webhook.copy_profile('entity', 'mine');
SELECT webhook.copy_profile('entity', 'stripe');

-- an id that is given, as where rows are restored without their sequence, is not given out again
INSERT INTO webhook.subscription (id, name, url) VALUES (1000, 'restored', 'https://restored.example.com/');
INSERT INTO webhook.subscription (name, url) VALUES ('next', 'https://next.example.com/') RETURNING id;
INSERT INTO webhook.subscription (id, name, url) VALUES (500, 'older', 'https://older.example.com/');
INSERT INTO webhook.subscription (name, url) VALUES ('after', 'https://after.example.com/') RETURNING id;

\c regression
DROP DATABASE webhook_migration;
