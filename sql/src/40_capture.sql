--
-- Trigger functions: capture, and news of the configuration.
--

CREATE FUNCTION webhook.capture() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture';
COMMENT ON FUNCTION webhook.capture() IS
	'AFTER ROW trigger: appends the row change to webhook.outbox with the owner''s rights. Takes '
	'one argument, a JSON object that webhook.watch() writes, or none: the table''s name, its '
	'primary key, all columns';

CREATE FUNCTION webhook.capture_truncate() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture_truncate';
COMMENT ON FUNCTION webhook.capture_truncate() IS
	'AFTER STATEMENT trigger on TRUNCATE: appends one event with action truncate';

CREATE FUNCTION webhook_internal.capture_argument(
	nargs smallint, args bytea, table_name name, OUT entity_type text, OUT id_columns name[], OUT action_types text[], OUT columns name[],
	OUT exclude_columns name[], OUT tenant name, OUT keep_previous boolean, OUT problem text
)
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_capture_argument';
COMMENT ON FUNCTION webhook_internal.capture_argument(smallint, bytea, name) IS
	'what the argument of a capture trigger (pg_trigger''s tgnargs and tgargs) means to capture: '
	'its values, null where it has none; or, where it cannot be used and makes no events, the '
	'problem alone. Never an error';

CREATE FUNCTION webhook_internal.config_changed() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_config_changed';
COMMENT ON FUNCTION webhook_internal.config_changed() IS
	'makes the worker read its subscriptions anew when this transaction commits';
