/*
 * The install script of the extension "webhook".
 *
 * In this order: the tables (each column commented), watching, the rules and triggers
 * that keep the tables valid, subscribing and sending again, the views, and the grants.
 *
 * There are two schemas, both members of the extension: "webhook" has what people
 * call and read, "webhook_internal" everything else. If a schema of either name
 * already exists, CREATE EXTENSION fails and changes nothing. ("schema = webhook"
 * in the control file would install into it, and would leave the schema behind
 * when the extension is dropped.)
 */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION webhook" to load this file. \quit

CREATE SCHEMA webhook;
COMMENT ON SCHEMA webhook IS
	'Webhooks from PostgreSQL: the functions, tables and views that people use.';
CREATE SCHEMA webhook_internal;
COMMENT ON SCHEMA webhook_internal IS
	'What the functions, triggers and views of schema webhook are built on. Not to be called '
	'directly; names may change.';

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
	'Where this database may deliver from. Delivery runs only while every row matches the running '
	'cluster and database. webhook.enable_delivery() leaves one row; a restored dump adds that of '
	'its original.';
COMMENT ON COLUMN webhook.identity.instance IS
	'Eight random hex digits, part of every event id that this database sends.';
COMMENT ON COLUMN webhook.identity.system_identifier IS
	'The cluster''s system identifier (pg_control_system()) when delivery was enabled.';
COMMENT ON COLUMN webhook.identity.database_oid IS 'The database''s OID when delivery was enabled.';
COMMENT ON COLUMN webhook.identity.timeline IS
	'The cluster''s timeline. The worker updates it when a standby is promoted, and sets it to 0 '
	'if the cluster was recovered from a backup.';
COMMENT ON COLUMN webhook.identity.enabled_at IS 'When delivery was enabled here.';
SELECT pg_catalog.pg_extension_config_dump('webhook.identity', '');
