--
-- Tables as sources: watch, unwatch, and the view of what is watched.
--

CREATE FUNCTION webhook_internal.warn_undelivered() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_warn_undelivered';
COMMENT ON FUNCTION webhook_internal.warn_undelivered() IS
	'raises a WARNING, once in a session, where webhook was neither preloaded nor started: events'
	' are kept and not delivered. CREATE EXTENSION, webhook.watch() and webhook.subscribe() call '
	'it';

CREATE FUNCTION webhook_internal.lock_source(source regclass) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_source';
COMMENT ON FUNCTION webhook_internal.lock_source(regclass) IS
	'locks a table as CREATE TRIGGER does, for who may make triggers on it: its triggers stay as '
	'they are until this transaction ends. Part of webhook.watch()';

CREATE FUNCTION webhook_internal.watched(
	source regclass, locked boolean,
	OUT args jsonb, OUT events text[], OUT truncates boolean, OUT same_args boolean, OUT own_terms boolean
)
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	t record;
	parent regclass;
	argument text;
	first_argument text;
	other text;
BEGIN
	events := '{}';
	truncates := false;
	same_args := true;
	own_terms := false;
	FOR t IN SELECT g.* FROM pg_trigger g WHERE g.tgrelid = watched.source AND g.tgname IN ('webhook_capture', 'webhook_truncate')
		ORDER BY g.tgname LOOP
		IF t.tgfoid NOT IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc) THEN
			RAISE duplicate_object USING
				MESSAGE = format('"%s" has a trigger "%s" that is not of this extension', watched.source, t.tgname),
				DETAIL = 'webhook.watch() makes triggers of that name.',
				HINT = 'Rename that trigger.';
		END IF;
		IF t.tgparentid <> 0 THEN
			SELECT g.tgrelid INTO parent FROM pg_trigger g WHERE g.oid = t.tgparentid;
			RAISE wrong_object_type USING
				MESSAGE = format('"%s" is watched as a partition of "%s"', watched.source, parent),
				DETAIL = 'A partition cannot be watched in another way than its parent.',
				HINT = format('Call webhook.watch() for "%s".', parent);
		END IF;
		argument := CASE WHEN t.tgnargs > 0
			THEN convert_from(substring(t.tgargs FROM 1 FOR length(t.tgargs) - 1), getdatabaseencoding()) ELSE '{}' END;
		-- under the snapshot of an older transaction it may be another one by now
		IF locked AND strpos(coalesce(pg_get_triggerdef(t.oid), ''), CASE WHEN t.tgnargs > 0
				THEN format('(''%s'')', replace(argument, '''', '''''')) ELSE '()' END) = 0 THEN
			RAISE serialization_failure USING
				MESSAGE = format('"%s" has been watched in another way meanwhile', watched.source),
				DETAIL = 'This transaction does not see how, and would undo it.',
				HINT = 'Try again in a new transaction.';
		END IF;
		BEGIN
			PERFORM jsonb_array_elements_text(argument::jsonb -> k.key) FROM (VALUES ('id_columns'), ('action_types'), ('columns'), ('exclude_columns')) k(key)
				WHERE argument::jsonb ? k.key;
			IF jsonb_typeof(argument::jsonb) <> 'object' THEN
				RAISE invalid_parameter_value;
			END IF;
		EXCEPTION WHEN data_exception THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('the argument of trigger "%s" of "%s" cannot be read', t.tgname, watched.source),
				DETAIL = 'It is not the JSON object that webhook.watch() writes, so what it leaves out is not known.',
				HINT = 'Call webhook.unwatch() first, and watch the table anew.';
		END;
		IF args IS NULL THEN
			args := argument::jsonb;
			first_argument := argument;
		END IF;
		same_args := argument::jsonb = first_argument::jsonb;
		own_terms := own_terms OR t.tgqual IS NOT NULL OR t.tgattr::text <> '' OR t.tgdeferrable OR t.tgconstraint <> 0;
		IF t.tgname = 'webhook_truncate' THEN
			truncates := true;
		ELSE
			events := array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
				CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END], NULL);
		END IF;
	END LOOP;

	-- a table that is watched by a trigger of another name is not to be watched once more, with other columns
	IF args IS NULL THEN
		SELECT string_agg(format('"%s" of "%s"', g.tgname, g.tgrelid::regclass), ', ' ORDER BY g.tgrelid::regclass::text, g.tgname) INTO other
			FROM pg_trigger g
			WHERE g.tgrelid IN (SELECT watched.source UNION SELECT p.relid FROM pg_partition_tree(watched.source) p) AND g.tgparentid = 0
				AND g.tgfoid IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc);
	END IF;
	IF other IS NOT NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('"%s" is watched already, by another trigger: %s', watched.source, other),
			DETAIL = 'To watch it once more would send its changes twice, perhaps with columns that are left out now.',
			HINT = 'Change or drop that trigger, or call webhook.unwatch() for its table first.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.watched(regclass, boolean) IS
	'how webhook.watch() has a table watched now, by the triggers that it made: their argument '
	'(null: not at all), what they fire for, whether they agree, and whether they have a '
	'condition or the like. An error where others watch it. Part of webhook.watch()';

-- What is not named stays as it is: a second call must not send what the first one left out. So it is decided with the
-- table locked, by what its triggers say then; and where nothing would change, nothing is locked at all.
CREATE FUNCTION webhook.watch(
	source      regclass,
	entity_type text    DEFAULT NULL,
	id_columns  name[]  DEFAULT NULL,
	action_types     text[]  DEFAULT NULL,
	columns     name[]  DEFAULT NULL,
	exclude_columns     name[]  DEFAULT NULL,
	tenant      name    DEFAULT NULL,
	keep_previous boolean DEFAULT NULL
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	rel     record;
	word    text;
	col     name;
	has     record; -- as it is watched now
	keys    name[];
	wanted  jsonb;
	row_actions text[];
	events  text[];
	truncates boolean;
	same    boolean;
	cols    text;
	firing  record;
	again   text[]; -- statements that have triggers fire as they did
BEGIN
	SELECT c.oid, c.relname, c.relkind, c.relpersistence, n.nspname INTO rel
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = watch.source;
	IF NOT FOUND THEN
		RAISE undefined_table USING
			MESSAGE = 'the table to watch does not exist',
			DETAIL = format('No table has the oid %s.', coalesce(watch.source::oid::text, 'null')),
			HINT = 'Name the table as ''schema.table''.';
	END IF;
	IF rel.relkind NOT IN ('r', 'p') THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" cannot be watched', watch.source),
			DETAIL = 'Only ordinary and partitioned tables can be watched; this is neither.',
			HINT = 'Watch the tables that the view or foreign table gets its rows from.';
	END IF;
	IF rel.relpersistence = 't' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" cannot be watched', watch.source),
			DETAIL = 'It is a temporary table; its rows are gone with the session.',
			HINT = 'Watch a table of the application.';
	END IF;
	IF rel.nspname IN ('webhook', 'webhook_internal') OR rel.nspname LIKE 'pg\_%' OR rel.nspname = 'information_schema' THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" cannot be watched', watch.source),
			DETAIL = 'Tables of the system and of this extension make no events.',
			HINT = 'Watch a table of the application.';
	END IF;

	IF NOT has_table_privilege(rel.oid, 'TRIGGER') THEN
		PERFORM webhook_internal.lock_source(rel.oid); -- refuses
	END IF;

	-- what is watched
	IF cardinality(watch.action_types) = 0 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'no action types to watch',
			DETAIL = 'action_types is an empty list.',
			HINT = 'Action types: new, update, delete, truncate.';
	END IF;
	FOREACH word IN ARRAY coalesce(watch.action_types, '{}') LOOP
		IF word IS NULL OR word NOT IN ('new', 'update', 'delete', 'truncate') THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown action type "%s"', word),
				DETAIL = 'Action types that can be watched: new, update, delete, truncate.',
				HINT = 'The default is ''{new,update,delete}''.';
		END IF;
	END LOOP;

	IF cardinality(watch.id_columns) = 0 OR cardinality(watch.columns) = 0 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('no columns in %s', CASE WHEN cardinality(watch.id_columns) = 0 THEN 'id_columns' ELSE 'columns' END),
			DETAIL = 'The list is empty.',
			HINT = CASE WHEN cardinality(watch.id_columns) = 0 THEN 'Leave it out to use the primary key.'
				ELSE 'To send all columns, say exclude_columns => ''{}''.' END;
	END IF;

	-- columns: each must exist
	FOREACH col IN ARRAY coalesce(watch.id_columns, '{}') || coalesce(watch.columns, '{}') || coalesce(watch.exclude_columns, '{}')
		|| CASE WHEN coalesce(watch.tenant, '') = '' THEN '{}' ELSE ARRAY[watch.tenant] END LOOP
		IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = rel.oid AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped) THEN
			RAISE undefined_column USING
				MESSAGE = format('column "%s" of "%s" does not exist', col, watch.source),
				DETAIL = (SELECT format('Its columns: %s.', string_agg(a.attname, ', ' ORDER BY a.attnum))
					FROM pg_attribute a WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped),
				HINT = 'Names are case-sensitive here: give them as pg_attribute shows them.';
		END IF;
	END LOOP;

	IF watch.columns IS NOT NULL AND watch.exclude_columns IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'columns and exclude_columns cannot be used together',
			DETAIL = 'columns lists what is sent, exclude_columns what is not.',
			HINT = 'Give one of them.';
	END IF;
	IF watch.entity_type = '' OR length(watch.entity_type) > 200 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'an entity type has 1 to 200 characters',
			DETAIL = format('The entity type given has %s.', length(watch.entity_type)),
			HINT = 'Leave it out to use the table''s name.';
	END IF;

	FOR attempt IN 1..2 LOOP
		SELECT * INTO has FROM webhook_internal.watched(watch.source, attempt = 2);
		-- the key
		keys := watch.id_columns;
		IF keys IS NULL AND NOT coalesce(has.args ? 'id_columns', false) THEN
			SELECT array_agg(a.attname ORDER BY k.n) INTO keys
				FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n), pg_attribute a
				WHERE i.indrelid = rel.oid AND i.indisprimary AND a.attrelid = rel.oid AND a.attnum = k.attnum
					AND k.n <= i.indnkeyatts;
			IF coalesce(cardinality(keys), 0) = 0 THEN
				RAISE invalid_table_definition USING
					MESSAGE = format('"%s" has no primary key', watch.source),
					DETAIL = 'Without a key nobody could tell which row an event is about.',
					HINT = 'Add a primary key, or name the columns that identify a row in id_columns.';
			END IF;
			keys := CASE WHEN has.args IS NULL THEN keys END; -- a trigger that names none goes by the primary key
		END IF;

		row_actions := array_remove(coalesce(watch.action_types, CASE WHEN has.args IS NULL THEN '{new,update,delete}'::text[] END), 'truncate');
		-- columns and exclude_columns are one decision; what is given empty lets go of what there was
		wanted := (coalesce(has.args, '{}')
			- CASE WHEN watch.columns IS NOT NULL OR watch.exclude_columns IS NOT NULL THEN '{columns,exclude_columns}' ELSE '{}' END::text[]
			- CASE WHEN watch.tenant = '' THEN '{tenant}' ELSE '{}' END::text[]
			- CASE WHEN NOT watch.keep_previous THEN '{keep_previous}' ELSE '{}' END::text[])
			|| jsonb_strip_nulls(jsonb_build_object(
				'entity_type', coalesce(watch.entity_type, CASE WHEN has.args IS NULL THEN rel.relname::text END),
				'id_columns', to_jsonb(keys),
				'action_types', to_jsonb(row_actions),
				'columns', to_jsonb(watch.columns),
				'exclude_columns', to_jsonb(nullif(watch.exclude_columns, '{}')),
				'tenant', nullif(watch.tenant, ''),
				'keep_previous', CASE WHEN watch.keep_previous THEN true END));
		-- a changed key makes a delete and a new, so updates are looked at for either
		events := CASE WHEN row_actions IS NULL THEN has.events ELSE array_remove(ARRAY[
			CASE WHEN row_actions && '{new}' THEN 'INSERT' END,
			CASE WHEN row_actions && '{new,update,delete}' THEN 'UPDATE' END,
			CASE WHEN row_actions && '{delete}' THEN 'DELETE' END], NULL) END;
		truncates := coalesce('truncate' = ANY (watch.action_types), has.truncates);
		same := coalesce(has.args = wanted AND has.events = events AND has.truncates = truncates AND has.same_args, false);
		EXIT WHEN same;
		PERFORM webhook_internal.lock_source(watch.source);
	END LOOP;
	-- what capture would refuse is refused here
	SELECT a.problem INTO word FROM webhook_internal.capture_argument(1::smallint, convert_to(wanted::text, getdatabaseencoding()), rel.relname) a;
	IF word IS NOT NULL THEN
		RAISE reserved_name USING
			MESSAGE = format('"%s" cannot be watched like this', watch.source),
			DETAIL = format('The reason: %s.', word),
			HINT = 'Name what a row of the table is in entity_type.';
	END IF;

	-- what was kept may have been overtaken by the table
	SELECT string_agg(format('"%s" of %s', m.col, m.key), ', ' ORDER BY m.key, m.col) INTO cols
		FROM (SELECT k.key, jsonb_array_elements_text(wanted -> k.key) AS col
				FROM (VALUES ('id_columns'), ('columns'), ('exclude_columns')) k(key) WHERE wanted ? k.key
			UNION ALL SELECT 'tenant', wanted ->> 'tenant' WHERE wanted ? 'tenant') m
		WHERE NOT EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = rel.oid AND a.attname = m.col AND a.attnum > 0 AND NOT a.attisdropped);
	IF cols IS NOT NULL THEN
		RAISE WARNING USING
			MESSAGE = format('columns that "%s" is watched by do not exist: %s', watch.source, cols),
			DETAIL = 'While an excluded column is not found, events hold the key alone; instead of a key that is not found, the primary key counts.',
			HINT = 'Call webhook.watch() with the columns as they are named now.';
	END IF;
	IF has_function_privilege('webhook_internal.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook_internal.warn_undelivered();
	END IF;
	IF same THEN
		RETURN;
	END IF;
	IF has.own_terms THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('the trigger of "%s" has terms of its own', watch.source),
			DETAIL = 'It has a condition, names columns, or is deferred. webhook.watch() would drop that, and more would be sent.',
			HINT = 'Change it with CREATE OR REPLACE TRIGGER, or call webhook.unwatch() first to begin anew.';
	END IF;
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO cols FROM pg_attribute a
		WHERE a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
			AND (NOT has.args -> 'columns' ? a.attname::text OR has.args -> 'exclude_columns' ? a.attname::text)
			AND coalesce(wanted -> 'columns' ? a.attname::text, true) AND NOT coalesce(wanted -> 'exclude_columns' ? a.attname::text, false);
	IF cols IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('events of "%s" hold more columns from now on: %s', watch.source, cols),
			DETAIL = 'They were left out so far.',
			HINT = 'Name those that are not to be sent in exclude_columns.';
	END IF;

	-- a trigger that is replaced fires as usual: those that were disabled, or fire always, are put back as they were
	FOR firing IN SELECT t.tgrelid::regclass AS relation, t.tgname, t.tgenabled FROM pg_trigger t
		WHERE t.tgenabled <> 'O' AND t.tgname IN ('webhook_capture', 'webhook_truncate')
			AND t.tgrelid IN (SELECT watch.source UNION SELECT p.relid FROM pg_partition_tree(watch.source) p) LOOP
		again := again || format('ALTER TABLE ONLY %s %s TRIGGER %I', firing.relation,
			CASE firing.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, firing.tgname);
	END LOOP;
	IF events <> '{}' THEN
		EXECUTE format('%s TRIGGER webhook_capture AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION webhook.capture(%L)',
			CASE WHEN has.events = '{}' THEN 'CREATE' ELSE 'CREATE OR REPLACE' END, array_to_string(events, ' OR '), watch.source, wanted);
	ELSIF has.events <> '{}' THEN
		EXECUTE format('DROP TRIGGER webhook_capture ON %s', watch.source);
	END IF;
	IF truncates THEN
		EXECUTE format('%s TRIGGER webhook_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION webhook.capture_truncate(%L)',
			CASE WHEN has.truncates THEN 'CREATE OR REPLACE' ELSE 'CREATE' END, watch.source, wanted);
	ELSIF has.truncates THEN
		EXECUTE format('DROP TRIGGER webhook_truncate ON %s', watch.source);
	END IF;
	FOREACH word IN ARRAY coalesce(again, '{}') LOOP
		IF (events <> '{}' AND word LIKE '%webhook\_capture') OR (truncates AND word LIKE '%webhook\_truncate') THEN
			EXECUTE word;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook.watch(regclass, text, name[], text[], name[], name[], name, boolean) IS
	'turns a table into a source: from now on its committed row changes make events. entity_type:'
	' by default the table''s name. id_columns: by default the primary key. action_types: of new,'
	' update, delete (these by default), truncate. columns or exclude_columns: what result holds.'
	' tenant: a column whose value routes the event. previous: keep the old values too. Called '
	'again it changes what is named; all else stays as it is, and where nothing changes the table'
	' is not even locked. exclude_columns => ''{}'' sends all columns again, tenant => '''' lets '
	'go of the tenant; columns that were left out so far are told in a NOTICE. To begin anew, '
	'webhook.unwatch() first. Errors: object_not_in_prerequisite_state where a trigger made by '
	'hand would be overridden';

CREATE FUNCTION webhook.unwatch(source regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
	n integer := 0;
BEGIN
	FOR t IN SELECT g.tgname FROM pg_trigger g
		WHERE g.tgrelid = unwatch.source AND g.tgparentid = 0
			AND g.tgfoid IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc) LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, unwatch.source);
		n := n + 1;
	END LOOP;
	IF n = 0 THEN
		RAISE undefined_object USING
			MESSAGE = format('"%s" is not watched', unwatch.source),
			DETAIL = 'It has no trigger of this extension.',
			HINT = 'SELECT * FROM webhook.source shows the watched tables.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook.unwatch(regclass) IS
	'the table makes no more events; those already captured are still delivered. Error '
	'undefined_object where it is not watched';

CREATE VIEW webhook.source AS
	SELECT t.tgrelid::regclass AS source,
		a.entity_type,
		CASE WHEN a.problem IS NULL THEN coalesce(a.id_columns,
			ARRAY(SELECT f.attname FROM pg_catalog.pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n), pg_catalog.pg_attribute f
				WHERE i.indrelid = t.tgrelid AND i.indisprimary AND f.attrelid = t.tgrelid AND f.attnum = k.attnum
					AND k.n <= i.indnkeyatts ORDER BY k.n)) END AS id_columns,
		CASE WHEN a.problem IS NULL THEN coalesce(a.action_types,
				array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'new' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,
					CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END], NULL))
			|| CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger u WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture_truncate'::regproc)
				THEN '{truncate}'::text[] ELSE '{}' END ELSE '{}' END AS action_types,
		a.columns,
		a.exclude_columns,
		a.tenant,
		coalesce(a.keep_previous, false) AS keep_previous,
		t.tgname AS trigger,
		CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' ELSE 'origin' END AS fires,
		CASE
			WHEN a.problem IS NOT NULL THEN a.problem
			WHEN t.tgfoid = 'webhook.capture'::regproc AND t.tgtype & 67 <> 1 THEN 'the trigger is not AFTER, FOR EACH ROW: it fails when it fires'
			ELSE (SELECT 'column ' || string_agg(quote_ident(m.col), ', ' ORDER BY m.col) || ' does not exist'
				FROM (SELECT DISTINCT n.col FROM unnest(a.id_columns || a.columns || a.exclude_columns || a.tenant) n(col)) m
				WHERE m.col IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute f
					WHERE f.attrelid = t.tgrelid AND f.attname = m.col AND f.attnum > 0 AND NOT f.attisdropped))
		END AS problem
	FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
	LEFT JOIN pg_catalog.pg_class root ON root.oid = pg_partition_root(c.oid)
	CROSS JOIN LATERAL webhook_internal.capture_argument(t.tgnargs, t.tgargs, coalesce(root.relname, c.relname)) a
	WHERE t.tgparentid = 0
		AND (t.tgfoid = 'webhook.capture'::regproc
			OR t.tgfoid = 'webhook.capture_truncate'::regproc AND NOT EXISTS (
				SELECT FROM pg_catalog.pg_trigger u WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture'::regproc));
COMMENT ON VIEW webhook.source IS
	'the watched tables: a view of their triggers, which are the registry. fires: origin, always,'
	' replica or disabled, as ALTER TABLE ... TRIGGER has set it. problem: what keeps it from '
	'making the events it should; one that makes none has no entity_type';
COMMENT ON COLUMN webhook.source.source IS 'the watched table';
COMMENT ON COLUMN webhook.source.entity_type IS
	'what its events call a row; null: there are none, see problem';
COMMENT ON COLUMN webhook.source.id_columns IS 'the columns that make entity_id';
COMMENT ON COLUMN webhook.source.action_types IS 'which changes make events';
COMMENT ON COLUMN webhook.source.columns IS 'the only columns sent; null: see exclude_columns';
COMMENT ON COLUMN webhook.source.exclude_columns IS 'the columns not sent; null: all are';
COMMENT ON COLUMN webhook.source.tenant IS 'the column whose value routes the event';
COMMENT ON COLUMN webhook.source.keep_previous IS 'whether old values are kept';
COMMENT ON COLUMN webhook.source.trigger IS 'the trigger''s name';
COMMENT ON COLUMN webhook.source.fires IS 'when: origin, always, replica, or disabled';
COMMENT ON COLUMN webhook.source.problem IS
	'what in its settings cannot be used, or no longer fits the table; null: nothing';
