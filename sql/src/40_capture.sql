--
-- Trigger functions: capture, and changes of the configuration.
--

CREATE FUNCTION webhook.capture() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture';
COMMENT ON FUNCTION webhook.capture() IS
	'Row trigger (AFTER INSERT, UPDATE or DELETE, FOR EACH ROW) that appends the change to '
	'webhook.outbox with the owner''s rights. webhook.watch() creates it. Its argument is the JSON '
	'object that webhook.watch() writes; without one, the entity type is the table''s name, the '
	'key is the primary key, and all columns are sent.';

CREATE FUNCTION webhook.capture_truncate() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_capture_truncate';
COMMENT ON FUNCTION webhook.capture_truncate() IS
	'Statement trigger (AFTER TRUNCATE) that appends one event with action type truncate. '
	'webhook.watch() creates it.';

CREATE FUNCTION webhook_internal.capture_argument(
	nargs smallint, args bytea, table_name name,
	OUT entity_type text, OUT id_columns name[], OUT action_types text[], OUT columns name[],
	OUT exclude_columns name[], OUT tenant name, OUT keep_previous boolean, OUT problem text
)
	LANGUAGE c STRICT IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'webhook_capture_argument';
COMMENT ON FUNCTION webhook_internal.capture_argument(smallint, bytea, name) IS
	'What the argument of a capture trigger (tgnargs and tgargs of pg_trigger) means: its values, '
	'null where it has none, or only the problem if it is invalid and makes no events. Never '
	'raises an error.';

CREATE FUNCTION webhook_internal.config_changed() RETURNS trigger
	LANGUAGE c AS 'MODULE_PATHNAME', 'webhook_config_changed';
COMMENT ON FUNCTION webhook_internal.config_changed() IS
	'Makes the worker read its subscriptions again when this transaction commits.';
