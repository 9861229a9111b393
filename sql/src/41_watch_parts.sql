--
-- What webhook.watch() is made of: what can be watched, what is asked for, how a table is watched,
-- how it is to be, and the triggers that make it so.
--

CREATE FUNCTION webhook_internal.warn_undelivered() RETURNS void
	LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'webhook_warn_undelivered';
COMMENT ON FUNCTION webhook_internal.warn_undelivered() IS
	'Raises a WARNING, once per session, if webhook was neither preloaded nor started, so that '
	'events are kept and not delivered. For CREATE EXTENSION, webhook.watch() and '
	'webhook.subscribe().';

CREATE FUNCTION webhook_internal.lock_source(source regclass) RETURNS void
	LANGUAGE c STRICT VOLATILE AS 'MODULE_PATHNAME', 'webhook_lock_source';
COMMENT ON FUNCTION webhook_internal.lock_source(regclass) IS
	'Locks a table as CREATE TRIGGER does, with the same rights: its triggers stay as they are '
	'until this transaction ends. Part of webhook.watch().';

CREATE TYPE webhook_internal.watch_state AS (
	args      jsonb,   -- the argument of its triggers; null: it is not watched
	events    text[],  -- what the row trigger fires for
	truncates boolean, -- is there a trigger for TRUNCATE
	trigger   name,    -- the row trigger's name; null: there is none
	same_args boolean, -- the two triggers agree
	own_terms boolean  -- one has a condition or the like, which webhook.watch() cannot express
);
COMMENT ON TYPE webhook_internal.watch_state IS
	'How a table is watched, or should be, by its triggers: their argument, what they fire for, '
	'the name of the row trigger, whether they agree, and whether one has a condition or the like.';

CREATE FUNCTION webhook_internal.watched(source regclass, locked boolean)
	RETURNS webhook_internal.watch_state
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	has webhook_internal.watch_state := (NULL, '{}', false, NULL, true, false);
	t record;
	argument text;
	first_argument text;
	other text;
BEGIN
	FOR t IN SELECT g.*,
			(SELECT p.tgrelid::regclass FROM pg_trigger p WHERE p.oid = g.tgparentid) AS parent
		FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
		WHERE g.tgrelid = watched.source
			AND (g.tgname IN ('webhook_capture', 'webhook_truncate')
				OR c.relkind = 'p' AND g.tgparentid = 0 AND g.tgname ~ '^webhook_capture_[0-9]+$'
					AND g.tgfoid = 'webhook.capture'::regproc)
		ORDER BY g.tgname LOOP
		IF t.tgfoid NOT IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc) THEN
			RAISE duplicate_object USING
				MESSAGE = format('trigger "%s" of "%s" does not belong to webhook',
					t.tgname, watched.source),
				DETAIL = 'webhook.watch() creates triggers of that name.',
				HINT = format('Rename it: ALTER TRIGGER %I ON %s RENAME TO another_name.', t.tgname,
					watched.source);
		END IF;
		IF t.parent IS NOT NULL THEN
			RAISE duplicate_object USING
				MESSAGE = format('trigger "%s" of "%s" is inherited from "%s"',
					t.tgname, watched.source, t.parent),
				DETAIL = 'webhook.watch() creates triggers of that name.',
				HINT = format('Rename it: ALTER TRIGGER %I ON %s RENAME TO another_name.', t.tgname,
					t.parent);
		END IF;
		argument := CASE WHEN t.tgnargs > 0
			THEN convert_from(substring(t.tgargs FROM 1 FOR length(t.tgargs) - 1),
				getdatabaseencoding())
			ELSE '{}' END;
		-- the snapshot of an older transaction may show a trigger that has been replaced since
		IF locked AND strpos(coalesce(pg_get_triggerdef(t.oid), ''), CASE WHEN t.tgnargs > 0
				THEN format('(''%s'')', replace(argument, '''', '''''')) ELSE '()' END) = 0 THEN
			RAISE serialization_failure USING
				MESSAGE = format('could not serialize access due to concurrent webhook.watch() of '
					'"%s"', watched.source),
				DETAIL = 'This transaction does not see the change, and would undo it.',
				HINT = 'Retry the transaction.';
		END IF;
		BEGIN
			PERFORM jsonb_array_elements_text(argument::jsonb -> k.key)
				FROM (VALUES ('id_columns'), ('action_types'), ('columns'), ('exclude_columns'))
					k(key)
				WHERE argument::jsonb ? k.key;
			IF jsonb_typeof(argument::jsonb) <> 'object' THEN
				RAISE invalid_parameter_value;
			END IF;
		EXCEPTION WHEN data_exception THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('could not read the argument of trigger "%s" of "%s"', t.tgname,
					watched.source),
				DETAIL = 'It is not the JSON object that webhook.watch() writes, so the columns '
					'that it excludes are not known.',
				HINT = 'Call webhook.unwatch() first, then webhook.watch().';
		END;
		IF has.args IS NULL THEN
			has.args := argument::jsonb;
			first_argument := argument;
		END IF;
		has.same_args := argument::jsonb = first_argument::jsonb;
		has.own_terms := has.own_terms OR t.tgqual IS NOT NULL OR t.tgattr::text <> ''
			OR t.tgconstraint <> 0;
		IF t.tgname = 'webhook_truncate' THEN
			has.truncates := true;
		ELSE
			has.trigger := t.tgname;
			has.events := array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END,
				CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END,
				CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END], NULL);
		END IF;
	END LOOP;

	-- A table watched by a trigger of another name must not be watched again, with other columns.
	-- In partitions, capture takes care of that, unless a trigger has a condition or the like.
	IF has.args IS NULL THEN
		SELECT string_agg(format('"%s" of "%s"', g.tgname, g.tgrelid::regclass), ', '
				ORDER BY g.tgrelid::regclass::text, g.tgname) INTO other
			FROM pg_trigger g
			WHERE g.tgparentid = 0
				AND (g.tgrelid = watched.source AND g.tgfoid IN (
						'webhook.capture'::regproc, 'webhook.capture_truncate'::regproc)
					OR g.tgrelid IN (SELECT p.relid FROM pg_partition_tree(watched.source) p)
						AND g.tgfoid = 'webhook.capture'::regproc
						AND (g.tgqual IS NOT NULL OR g.tgattr::text <> '' OR g.tgconstraint <> 0));
	END IF;
	IF other IS NOT NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('"%s" is already watched by another trigger: %s',
				watched.source, other),
			DETAIL = 'Watching it again would send each change twice, possibly with columns that '
				'are excluded now.',
			HINT = 'Change or drop that trigger, or call webhook.unwatch() for its table first.';
	END IF;
	RETURN has;
END
$$;
COMMENT ON FUNCTION webhook_internal.watched(regclass, boolean) IS
	'How webhook.watch() has a table watched now, read from its triggers. Raises an error if other '
	'triggers watch it. Part of webhook.watch().';

CREATE FUNCTION webhook_internal.named_columns(lists jsonb, OUT key text, OUT name text)
	RETURNS SETOF record
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
	SELECT l.key, e.name FROM jsonb_each(lists) l,
			jsonb_array_elements_text(CASE jsonb_typeof(l.value)
				WHEN 'array' THEN l.value ELSE jsonb_build_array(l.value) END) e(name)
		WHERE l.key IN ('id_columns', 'columns', 'exclude_columns', 'include_columns', 'tenant')
			AND NOT (l.key = 'columns' AND l.value = '["*"]')
			AND NOT (l.key = 'tenant' AND e.name = '')
		ORDER BY l.key, e.name
$$;
COMMENT ON FUNCTION webhook_internal.named_columns(jsonb) IS
	'The columns named by a capture trigger''s argument or by the arguments of webhook.watch(). '
	'Part of webhook.watch().';

CREATE FUNCTION webhook_internal.check_source(source regclass) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	rel    record;
	reason text;
	advice text := 'Watch a table of your application.';
BEGIN
	SELECT c.relkind, c.relpersistence, n.nspname INTO rel
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.oid = check_source.source;
	IF NOT FOUND THEN
		RAISE undefined_table USING
			MESSAGE = 'table to watch does not exist',
			DETAIL = format('There is no table with OID %s.',
				coalesce(check_source.source::oid::text, 'null')),
			HINT = 'Pass the table as ''schema.table''.';
	END IF;
	IF rel.relkind NOT IN ('r', 'p') THEN
		reason := 'Only ordinary and partitioned tables can be watched.';
		advice := 'Watch the tables that the view or foreign table gets its rows from.';
	ELSIF rel.relpersistence = 't' THEN
		reason := 'It is a temporary table.';
	ELSIF rel.nspname IN ('webhook', 'webhook_internal', 'information_schema')
		OR rel.nspname LIKE 'pg\_%' THEN
		reason := 'System tables and the tables of this extension cannot be watched.';
	END IF;
	IF reason IS NOT NULL THEN
		RAISE wrong_object_type USING
			MESSAGE = format('cannot watch "%s"', check_source.source),
			DETAIL = reason,
			HINT = advice;
	END IF;
	IF NOT has_table_privilege(check_source.source, 'TRIGGER') THEN
		PERFORM webhook_internal.lock_source(check_source.source); -- refuses
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_source(regclass) IS
	'Raises an error if the table cannot be watched, or not by the caller. Part of '
	'webhook.watch().';

-- named: the columns that each argument names. Those in include_columns need not exist any more.
CREATE FUNCTION webhook_internal.check_watch(
	source regclass, entity_type text, action_types text[], named jsonb
) RETURNS void
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	word  text;
	bad   record;
BEGIN
	IF cardinality(check_watch.action_types) = 0 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'action_types must not be empty',
			DETAIL = 'Valid action types are new, update, delete and truncate.',
			HINT = 'The default is ''{new,update,delete}''.';
	END IF;
	FOREACH word IN ARRAY coalesce(check_watch.action_types, '{}') LOOP
		IF word IS NULL OR word NOT IN ('new', 'update', 'delete', 'truncate') THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('unknown action type "%s"', word),
				DETAIL = 'Valid action types are new, update, delete and truncate.',
				HINT = 'The default is ''{new,update,delete}''.';
		END IF;
	END LOOP;
	IF check_watch.entity_type = '' OR length(check_watch.entity_type) > 200 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'entity_type must have 1 to 200 characters',
			DETAIL = format('It has %s characters.', length(check_watch.entity_type)),
			HINT = 'Omit it to use the table''s name.';
	END IF;

	SELECT k.key INTO word FROM jsonb_each(named) k
		WHERE k.key IN ('id_columns', 'columns') AND k.value = '[]' ORDER BY k.key DESC LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('%s must not be empty', word),
			DETAIL = 'The list names no column.',
			HINT = CASE word WHEN 'id_columns' THEN 'Omit it to use the primary key.'
				ELSE 'To send all columns, use columns => ''{*}''.' END;
	END IF;
	IF named -> 'columns' <> '["*"]' AND named -> 'exclude_columns' <> '[]' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'cannot specify both columns and exclude_columns',
			DETAIL = 'columns lists what is sent, exclude_columns what is not.',
			HINT = 'Specify one of them.';
	END IF;
	SELECT c.name INTO word FROM jsonb_array_elements_text(named -> 'include_columns') c(name)
		WHERE named -> 'exclude_columns' ? c.name LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('column "%s" is in both include_columns and exclude_columns', word),
			DETAIL = 'include_columns sends a column again, exclude_columns stops sending it.',
			HINT = 'Name it in one of them.';
	END IF;

	-- columns: each must exist, and a trigger must see those that are read
	SELECT m.name, m.key, a.attname IS NOT NULL AS found INTO bad
		FROM webhook_internal.named_columns(named) m
		LEFT JOIN pg_attribute a ON a.attrelid = check_watch.source AND a.attname = m.name
			AND a.attnum > 0 AND NOT a.attisdropped
		WHERE a.attname IS NULL AND m.key <> 'include_columns'
			OR a.attgenerated = 'v' AND m.key <> 'exclude_columns'
		LIMIT 1;
	IF bad.found THEN
		RAISE feature_not_supported USING
			MESSAGE = format('cannot use virtual generated column "%s" of "%s" in %s',
				bad.name, check_watch.source, bad.key),
			DETAIL = 'Its value is computed when a row is read; a trigger does not see it.',
			HINT = 'Use the columns that it is computed from, or a stored generated column.';
	ELSIF bad.key IS NOT NULL THEN
		RAISE undefined_column USING
			MESSAGE = format('column "%s" of "%s" does not exist', bad.name, check_watch.source),
			DETAIL = (SELECT format('The table has the columns %s.',
					string_agg(a.attname, ', ' ORDER BY a.attnum))
				FROM pg_attribute a
				WHERE a.attrelid = check_watch.source AND a.attnum > 0 AND NOT a.attisdropped),
			HINT = 'Names are case-sensitive here; write them as in pg_attribute.';
	END IF;
END
$$;
COMMENT ON FUNCTION webhook_internal.check_watch(regclass, text, text[], jsonb) IS
	'Raises an error if the arguments of webhook.watch() are invalid, whatever is watched already. '
	'named: its lists of columns, by argument. Part of webhook.watch().';

CREATE FUNCTION webhook_internal.watch_as(
	source regclass, has webhook_internal.watch_state, entity_type text, action_types text[],
	named jsonb, keep_previous boolean
) RETURNS webhook_internal.watch_state
	LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted   webhook_internal.watch_state := has;
	is_new   CONSTANT boolean := has.args IS NULL;
	keys     jsonb := named -> 'id_columns';
	listed   jsonb := coalesce(named -> 'columns', has.args -> 'columns');
	excluded jsonb := coalesce(has.args -> 'exclude_columns', '[]');
	actions  text[];
	word     text;
BEGIN
	IF keys IS NULL AND NOT coalesce(has.args ? 'id_columns', false) THEN
		SELECT jsonb_agg(a.attname ORDER BY k.n) INTO keys
			FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n), pg_attribute a
			WHERE i.indrelid = watch_as.source AND i.indisprimary AND a.attrelid = i.indrelid
				AND a.attnum = k.attnum AND k.n <= i.indnkeyatts;
		IF keys IS NULL THEN
			RAISE invalid_table_definition USING
				MESSAGE = format('"%s" has no primary key', watch_as.source),
				DETAIL = 'Without a key, receivers could not tell which row an event is about.',
				HINT = 'Add a primary key, or name the columns that identify a row in id_columns.';
		END IF;
		keys := CASE WHEN is_new THEN keys END; -- a trigger without id_columns uses the primary key
	END IF;

	-- a column stays excluded until include_columns names it; one that is named twice counts once
	SELECT coalesce(jsonb_agg(c.name ORDER BY c.n), '[]') INTO excluded
		FROM (SELECT e.name, min(e.n) AS n
			FROM jsonb_array_elements_text(excluded || coalesce(named -> 'exclude_columns', '[]'))
				WITH ORDINALITY e(name, n)
			WHERE NOT coalesce(named -> 'include_columns' ? e.name, false) GROUP BY e.name) c;
	IF named -> 'columns' = '["*"]' THEN
		listed := NULL;
	ELSIF listed IS NOT NULL THEN
		SELECT coalesce(listed || jsonb_agg(c.name), listed) INTO listed
			FROM (SELECT DISTINCT i.name
				FROM jsonb_array_elements_text(named -> 'include_columns') i(name)
				JOIN pg_attribute a ON a.attrelid = watch_as.source AND a.attname = i.name
					AND a.attnum > 0 AND NOT a.attisdropped
				WHERE NOT listed ? i.name) c;
	END IF;
	SELECT c.name INTO word FROM jsonb_array_elements_text(named -> 'columns') c(name)
		WHERE excluded ? c.name LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('column "%s" of "%s" is excluded', word, watch_as.source),
			DETAIL = 'An earlier call of webhook.watch() named it in exclude_columns.',
			HINT = format('To send it, add include_columns => ''{%s}''.',
				quote_ident(word));
	END IF;
	SELECT i.name INTO word FROM jsonb_array_elements_text(named -> 'include_columns') i(name)
		WHERE NOT coalesce(has.args -> 'exclude_columns' ? i.name, false)
			AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = watch_as.source
				AND a.attname = i.name AND a.attnum > 0 AND NOT a.attisdropped) LIMIT 1;
	IF word IS NOT NULL THEN
		RAISE undefined_column USING
			MESSAGE = format('column "%s" of "%s" does not exist', word, watch_as.source),
			DETAIL = 'It is not an excluded column either.',
			HINT = 'SELECT source, exclude_columns FROM webhook.source shows the excluded columns.';
	END IF;

	actions := array_remove(coalesce(watch_as.action_types,
		CASE WHEN is_new THEN '{new,update,delete}'::text[] END), 'truncate');
	-- an empty value removes the old one
	wanted.args := (coalesce(has.args, '{}') - '{columns,exclude_columns}'::text[]
		- CASE WHEN named -> 'tenant' = '[""]' THEN '{tenant}' ELSE '{}' END::text[]
		- CASE WHEN NOT watch_as.keep_previous THEN '{keep_previous}' ELSE '{}' END::text[])
		|| jsonb_strip_nulls(jsonb_build_object(
			'entity_type', coalesce(watch_as.entity_type, CASE WHEN is_new
				THEN (SELECT c.relname::text FROM pg_class c WHERE c.oid = watch_as.source) END),
			'id_columns', keys,
			'action_types', to_jsonb(actions),
			'columns', listed,
			'exclude_columns', nullif(excluded, '[]'),
			'tenant', nullif(named -> 'tenant' ->> 0, ''),
			'keep_previous', CASE WHEN watch_as.keep_previous THEN true END));
	-- a changed key makes a delete and a new, so updates are looked at for either
	IF actions IS NOT NULL THEN
		wanted.events := array_remove(ARRAY[
			CASE WHEN actions && '{new}' THEN 'INSERT' END,
			CASE WHEN actions && '{new,update,delete}' THEN 'UPDATE' END,
			CASE WHEN actions && '{delete}' THEN 'DELETE' END], NULL);
	END IF;
	wanted.truncates := coalesce('truncate' = ANY (watch_as.action_types), has.truncates);
	wanted.same_args := true;

	-- what capture would refuse is refused here
	SELECT a.problem INTO word FROM pg_class c, webhook_internal.capture_argument(1::smallint,
			convert_to(wanted.args::text, getdatabaseencoding()), c.relname) a
		WHERE c.oid = watch_as.source;
	IF word IS NOT NULL THEN
		RAISE reserved_name USING
			MESSAGE = format('cannot watch "%s" with these options', watch_as.source),
			DETAIL = format('%s.', upper(left(word, 1)) || substr(word, 2)),
			HINT = 'Choose another name in entity_type.';
	END IF;
	RETURN wanted;
END
$$;
COMMENT ON FUNCTION webhook_internal.watch_as(
	regclass, webhook_internal.watch_state, text, text[], jsonb, boolean
) IS
	'How a table should be watched: as it is, with what the arguments of webhook.watch() name '
	'changed. Part of webhook.watch().';

CREATE FUNCTION webhook_internal.make_triggers(
	source regclass, has webhook_internal.watch_state, wanted webhook_internal.watch_state
) RETURNS void
	LANGUAGE plpgsql VOLATILE
	SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
	trigger name := has.trigger;
	again   text[]; -- statements that make triggers fire as they did
	word    text;
	number  oid := make_triggers.source;
BEGIN
	-- A replaced trigger fires as usual. Those that were disabled, or fire always, are set back to
	-- what they were, also where the trigger was cloned to a partition.
	SELECT array_agg(format('ALTER TABLE ONLY %s %s TRIGGER %I', t.tgrelid::regclass,
			CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
				ELSE 'ENABLE ALWAYS' END, t.tgname)) INTO again
		FROM pg_trigger t
		WHERE t.tgenabled <> 'O'
			AND (t.tgname = has.trigger AND wanted.events <> '{}'
					AND (t.tgrelid = make_triggers.source OR t.tgparentid <> 0 AND t.tgrelid IN (
						SELECT p.relid FROM pg_partition_tree(make_triggers.source) p))
				OR t.tgname = 'webhook_truncate' AND wanted.truncates
					AND t.tgrelid = make_triggers.source);
	-- PostgreSQL clones a partitioned table's trigger to partitions, by name: see
	-- docs/internals/reading.md
	IF trigger IS NULL THEN
		trigger := 'webhook_capture';
		IF (SELECT c.relkind FROM pg_class c WHERE c.oid = make_triggers.source) = 'p' THEN
			LOOP
				trigger := 'webhook_capture_' || number;
				EXIT WHEN NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = trigger);
				number := (number::bigint % 4294967295 + 1)::oid; -- a dump brought that name
			END LOOP;
		END IF;
	END IF;
	IF wanted.events <> '{}' THEN
		EXECUTE format('%s TRIGGER %I AFTER %s ON %s FOR EACH ROW '
			'EXECUTE FUNCTION webhook.capture(%L)',
			CASE WHEN has.trigger IS NULL THEN 'CREATE' ELSE 'CREATE OR REPLACE' END, trigger,
			array_to_string(wanted.events, ' OR '), make_triggers.source, wanted.args);
	ELSIF has.trigger IS NOT NULL THEN
		EXECUTE format('DROP TRIGGER %I ON %s', trigger, make_triggers.source);
	END IF;
	IF wanted.truncates THEN
		EXECUTE format('%s TRIGGER webhook_truncate AFTER TRUNCATE ON %s FOR EACH STATEMENT '
			'EXECUTE FUNCTION webhook.capture_truncate(%L)',
			CASE WHEN has.truncates THEN 'CREATE OR REPLACE' ELSE 'CREATE' END,
			make_triggers.source, wanted.args);
	ELSIF has.truncates THEN
		EXECUTE format('DROP TRIGGER webhook_truncate ON %s', make_triggers.source);
	END IF;
	FOREACH word IN ARRAY coalesce(again, '{}') LOOP
		EXECUTE word;
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.make_triggers(
	regclass, webhook_internal.watch_state, webhook_internal.watch_state
) IS
	'Creates, replaces and drops the triggers of a table, so that it is watched as wanted. Part of '
	'webhook.watch().';

CREATE FUNCTION webhook_internal.tell_watch(
	source regclass, has webhook_internal.watch_state, wanted webhook_internal.watch_state
) RETURNS void
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	cols text;
	virtual text;
	other record;
BEGIN
	SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
			FILTER (WHERE (NOT has.args -> 'columns' ? a.attname::text
					OR has.args -> 'exclude_columns' ? a.attname::text)
				AND coalesce(wanted.args -> 'columns' ? a.attname::text, true)
				AND NOT coalesce(wanted.args -> 'exclude_columns' ? a.attname::text, false)),
			string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
			FILTER (WHERE a.attgenerated = 'v' AND NOT wanted.args ? 'columns'
				AND NOT coalesce(wanted.args -> 'exclude_columns' ? a.attname::text, false))
		INTO cols, virtual FROM pg_attribute a
		WHERE a.attrelid = tell_watch.source AND a.attnum > 0 AND NOT a.attisdropped;
	IF cols IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('events of "%s" now contain more columns: %s',
				tell_watch.source, cols),
			DETAIL = 'They were not sent before.',
			HINT = 'To keep a column from being sent, name it in exclude_columns.';
	END IF;
	IF virtual IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('events of "%s" do not contain virtual generated columns: %s',
				tell_watch.source, virtual),
			DETAIL = 'Their values are computed when a row is read; a trigger does not see them.',
			HINT = 'Stored generated columns are sent.';
	END IF;
	FOR other IN SELECT u.what,
			string_agg(DISTINCT format('"%s"', g.tgrelid::regclass), ', ') AS tables
		FROM (SELECT 1 AS n, p.relid, '"%s" is a partition of %s, which is also watched' AS what
				FROM pg_partition_ancestors(tell_watch.source) p
			UNION ALL SELECT 2, p.relid, 'partitions of "%s" are also watched: %s'
				FROM pg_partition_tree(tell_watch.source) p) u
		JOIN pg_trigger g ON g.tgrelid = u.relid
		WHERE u.relid <> tell_watch.source AND g.tgparentid = 0
			AND g.tgfoid = 'webhook.capture'::regproc
		GROUP BY u.n, u.what ORDER BY u.n LOOP
		RAISE NOTICE USING
			MESSAGE = format(other.what, tell_watch.source, other.tables),
			DETAIL = 'The topmost watched table makes the event of a row change, and no other. '
				'Columns that any of them excludes are not sent.',
			HINT = 'SELECT source, parent FROM webhook.source shows these tables.';
	END LOOP;
END
$$;
COMMENT ON FUNCTION webhook_internal.tell_watch(
	regclass, webhook_internal.watch_state, webhook_internal.watch_state
) IS
	'Raises NOTICEs of what people may not expect of watching a table like this. Part of '
	'webhook.watch().';

CREATE FUNCTION webhook_internal.watch_done(
	source regclass, has webhook_internal.watch_state, wanted webhook_internal.watch_state
) RETURNS text
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
	WITH options AS (
		SELECT s.is_new, k.key, CASE jsonb_typeof(k.value)
				WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(k.value))::text
				ELSE k.value #>> '{}' END AS value
			FROM (VALUES (false, has), (true, wanted)) s(is_new, state),
				jsonb_each((s.state).args || jsonb_build_object('action_types',
					coalesce((s.state).args -> 'action_types', to_jsonb((s.state).events)) || CASE
						WHEN (s.state).truncates THEN '["truncate"]' ELSE '[]' END::jsonb)) k
			WHERE (s.state).args IS NOT NULL),
	changes AS (
		SELECT array_position(
				'{entity_type,id_columns,action_types,columns,exclude_columns,tenant}', key) AS n,
				key, o.value AS old, w.value AS new
			FROM (SELECT * FROM options WHERE NOT is_new) o
			FULL JOIN (SELECT * FROM options WHERE is_new) w USING (key)
			WHERE o.value IS DISTINCT FROM w.value)
	SELECT CASE WHEN has.args IS NULL THEN format('created "%s": ', source) || string_agg(
			concat_ws(' ', key, new), ', ' ORDER BY n, key)
		ELSE format('changed "%s": ', source) || coalesce(string_agg(
			concat_ws(' ', key, coalesce(old, 'none'), '->', coalesce(new, 'none')), ', '
			ORDER BY n, key), 'its triggers agree now') END
		FROM changes
$$;
COMMENT ON FUNCTION webhook_internal.watch_done(
	regclass, webhook_internal.watch_state, webhook_internal.watch_state
) IS
	'The result of webhook.watch() if it changed something. Part of webhook.watch().';
