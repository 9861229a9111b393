/*
 * The install script of the extension "webhook".
 *
 * Made by "make" of the files in sql/src, in the order of their numbers: the
 * tables (each column commented), watching, the rules and triggers that keep the
 * tables right, subscribing and sending again, the views, and the grants.
 *
 * Two schemas, both members of the extension: "webhook" has what people call and
 * read, "webhook_internal" all else. Where somebody has made a schema of such a
 * name before, CREATE EXTENSION fails and touches nothing. (A control file's
 * "schema = webhook" would install into it, and would leave the schema behind
 * when the extension is dropped.)
 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION webhook" to load this file. \quit

CREATE SCHEMA webhook;
COMMENT ON SCHEMA webhook IS 'webhooks straight out of PostgreSQL: what people call and read';
CREATE SCHEMA webhook_internal;
COMMENT ON SCHEMA webhook_internal IS
	'what the functions, triggers and views of webhook are made of; nobody calls it by hand';

--
-- Identity: which cluster and database may deliver
--

CREATE TABLE webhook.identity (
	instance          text        NOT NULL PRIMARY KEY CHECK (instance ~ '^[0-9a-f]{8}$'),
	system_identifier bigint      NOT NULL,
	database_oid      oid         NOT NULL,
	timeline          integer     NOT NULL,
	enabled_at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE webhook.identity IS
	'where this database may deliver from: delivery starts only while every row matches the '
	'running cluster and database; webhook.enable_delivery() leaves one row, and a restored dump '
	'brings a foreign one';
COMMENT ON COLUMN webhook.identity.instance IS
	'eight random hex digits, part of every event id this database sends';
COMMENT ON COLUMN webhook.identity.system_identifier IS
	'the cluster''s system identifier (pg_control_system) when delivery was enabled';
COMMENT ON COLUMN webhook.identity.database_oid IS 'the database''s oid when delivery was enabled';
COMMENT ON COLUMN webhook.identity.timeline IS
	'the cluster''s timeline; the worker follows it when a standby is promoted, and sets it to 0 '
	'where the cluster turns out to be recovered from a backup';
COMMENT ON COLUMN webhook.identity.enabled_at IS 'when delivery was enabled here';
SELECT pg_catalog.pg_extension_config_dump('webhook.identity', '');
