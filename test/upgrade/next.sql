-- The next version of the extension, for tests: WebhookUpgrade.pm installs it as an update of the
-- current one. It touches everything that the worker and the trigger have cached, and does what an
-- upgrade script may do (CONTRIBUTING.md). No version that is released; never installed with one.
\echo Use "ALTER EXTENSION webhook UPDATE TO 'next'" to load this file. \quit

-- rewrites the tables: their default is another one for each row
ALTER TABLE webhook.checkpoint ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.pending ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.attempt ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.outbox ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.dead_letter ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
-- and does not
ALTER TABLE webhook.outbox ADD COLUMN later text; -- the next library fills it
ALTER TABLE webhook.subscription ADD COLUMN remark text NOT NULL DEFAULT 'none';
ALTER TABLE webhook.secret ADD COLUMN remark text;
ALTER TABLE webhook.identity ADD COLUMN remark text;

CREATE INDEX ON webhook.pending (noted_at);
CREATE INDEX ON webhook.outbox (noted_at);

CREATE TABLE webhook.remark (subscription_id bigint NOT NULL, remark text NOT NULL);
COMMENT ON TABLE webhook.remark IS 'What people say.';
SELECT pg_catalog.pg_extension_config_dump('webhook.remark', '');

CREATE OR REPLACE FUNCTION webhook.capture() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture';
CREATE FUNCTION webhook.of_the_update() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'there' $$;

-- profiles, by the rule
ALTER TABLE webhook.profile DISABLE TRIGGER check_profile;
UPDATE webhook.profile SET content_type = 'application/json; charset=utf-8'
	WHERE name = 'stripe' AND builtin;
INSERT INTO webhook.profile (name, builtin, description, envelope)
	VALUES ('newcomer', true, 'as nobody sends them', '{"of": "the extension", "data": "$object"}')
	ON CONFLICT (name) DO NOTHING;
UPDATE webhook.profile SET content_type = 'application/newcomer+json' -- as a version after that may
	WHERE name = 'newcomer' AND builtin;
ALTER TABLE webhook.profile ENABLE TRIGGER check_profile;
