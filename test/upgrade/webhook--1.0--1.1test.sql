-- An update that touches everything the worker and the trigger have cached, for
-- test/t/411_update.pl. No version of the extension; never installed with it.
\echo Use "ALTER EXTENSION webhook UPDATE TO '1.1test'" to load this file. \quit

-- rewrites the tables: their default is another one for each row
ALTER TABLE webhook.checkpoint ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.pending ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.attempt ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.outbox ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
ALTER TABLE webhook.dead_letter ADD COLUMN noted_at timestamptz NOT NULL DEFAULT clock_timestamp();
-- and does not
ALTER TABLE webhook.subscription ADD COLUMN remark text NOT NULL DEFAULT 'none';
ALTER TABLE webhook.secret ADD COLUMN remark text;
ALTER TABLE webhook.identity ADD COLUMN remark text;

CREATE INDEX ON webhook.pending (noted_at);
CREATE INDEX ON webhook.outbox (noted_at);

CREATE OR REPLACE FUNCTION webhook.capture() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture';
CREATE FUNCTION webhook.of_the_update() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'there' $$;
