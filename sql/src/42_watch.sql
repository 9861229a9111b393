--
-- Tables as sources: watch, unwatch, and the view of what is watched.
--

-- What is not named stays as it is: a second call must not send what the first one excluded. So the
-- decision is made with the table locked, by what its triggers say then. If nothing would change,
-- nothing is locked at all.
CREATE FUNCTION webhook.watch(
	source          regclass,
	entity_type     text    DEFAULT NULL,
	id_columns      name[]  DEFAULT NULL,
	action_types    text[]  DEFAULT NULL,
	columns         name[]  DEFAULT NULL,
	exclude_columns name[]  DEFAULT NULL,
	tenant          name    DEFAULT NULL,
	keep_previous   boolean DEFAULT NULL,
	include_columns name[]  DEFAULT NULL
) RETURNS text
	-- its plans over the catalog are never worth compiling, whatever the session's costs say
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	named  CONSTANT jsonb := jsonb_strip_nulls(jsonb_build_object(
		'id_columns', to_jsonb(watch.id_columns), 'columns', to_jsonb(watch.columns),
		'exclude_columns', to_jsonb(watch.exclude_columns),
		'include_columns', to_jsonb(watch.include_columns),
		'tenant', CASE WHEN watch.tenant IS NOT NULL THEN jsonb_build_array(watch.tenant) END));
	has    webhook_internal.watch_state;
	wanted webhook_internal.watch_state;
	gone   text;
BEGIN
	PERFORM webhook_internal.check_source(watch.source);
	PERFORM webhook_internal.check_watch(watch.source, watch.entity_type, watch.action_types,
		named);
	FOR attempt IN 1..2 LOOP
		has := webhook_internal.watched(watch.source, attempt = 2);
		wanted := webhook_internal.watch_as(watch.source, has, watch.entity_type,
			watch.action_types, named, watch.keep_previous);
		EXIT WHEN (has.args, has.events, has.truncates, has.same_args)
			= (wanted.args, wanted.events, wanted.truncates, true);
		PERFORM webhook_internal.lock_source(watch.source);
	END LOOP;

	-- the table may have changed since the options were given
	SELECT string_agg(format('"%s" of %s', m.name, m.key), ', ') INTO gone
		FROM webhook_internal.named_columns(wanted.args) m
		WHERE NOT EXISTS (SELECT FROM pg_attribute a
			WHERE a.attrelid = watch.source AND a.attname = m.name AND a.attnum > 0
				AND NOT a.attisdropped);
	IF gone IS NOT NULL THEN
		RAISE WARNING USING
			MESSAGE = format('columns named for watching "%s" do not exist: %s',
				watch.source, gone),
			DETAIL = 'While an excluded column is missing, events contain only the key. If a '
				'column of the key is missing, the primary key is used.',
			HINT = 'Call webhook.watch() with the current names. To drop an excluded name, name it '
				'in include_columns.';
	END IF;
	IF has_function_privilege('webhook_internal.warn_undelivered()', 'EXECUTE') THEN
		PERFORM webhook_internal.warn_undelivered();
	END IF;
	IF (has.args, has.events, has.truncates, has.same_args)
		= (wanted.args, wanted.events, wanted.truncates, true) THEN
		RETURN format('unchanged "%s"', watch.source);
	END IF;
	IF has.own_terms THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('cannot replace the customized trigger of "%s"', watch.source),
			DETAIL = 'It has a condition, names columns, or is deferred. webhook.watch() would '
				'drop that, and more would be sent.',
			HINT = 'Use CREATE OR REPLACE TRIGGER, or call webhook.unwatch() first.';
	END IF;
	PERFORM webhook_internal.tell_watch(watch.source, has, wanted);
	PERFORM webhook_internal.make_triggers(watch.source, has, wanted);
	RETURN webhook_internal.watch_done(watch.source, has, wanted);
END
$$;
COMMENT ON FUNCTION webhook.watch(
	regclass, text, name[], text[], name[], name[], name, boolean, name[]
) IS
	'Makes a table a source: its committed row changes become events from now on. entity_type: '
	'default the table''s name; id_columns: default the primary key; action_types: of new, update, '
	'delete (the default) and truncate; columns: the only columns sent, {*} for all; '
	'exclude_columns: columns not sent; tenant: the column whose value routes events ('''' for '
	'none); keep_previous: store old values too; include_columns: send excluded columns again. A '
	'second call changes only what it names, and excluded columns stay excluded until '
	'include_columns names them; webhook.unwatch() starts over. Returns what it did: created, '
	'changed or unchanged, and the options. Error wrong_object_type if the table cannot be '
	'watched, undefined_column, invalid_table_definition without a key, '
	'object_not_in_prerequisite_state if another trigger would be overridden.';

CREATE FUNCTION webhook.unwatch(source regclass) RETURNS text
	LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	t record;
	dropped text[];
	parent text;
	below text;
BEGIN
	FOR t IN SELECT g.tgname FROM pg_trigger g
		WHERE g.tgrelid = unwatch.source AND g.tgparentid = 0
			AND g.tgfoid IN ('webhook.capture'::regproc, 'webhook.capture_truncate'::regproc)
		ORDER BY g.tgname LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, unwatch.source);
		dropped := dropped || t.tgname::text;
	END LOOP;
	SELECT string_agg(DISTINCT format('"%s"', g.tgrelid::regclass), ', ') INTO parent
		FROM pg_partition_ancestors(unwatch.source) p JOIN pg_trigger g ON g.tgrelid = p.relid
		WHERE p.relid <> unwatch.source AND g.tgparentid = 0
			AND g.tgfoid = 'webhook.capture'::regproc;
	IF dropped IS NULL AND parent IS NOT NULL THEN
		RAISE wrong_object_type USING
			MESSAGE = format('"%s" is watched as a partition of %s', unwatch.source, parent),
			DETAIL = 'It has no trigger of its own.',
			HINT = format('Call webhook.unwatch() for %s.', parent);
	ELSIF dropped IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('"%s" is not watched', unwatch.source),
			DETAIL = 'It has no trigger of this extension.',
			HINT = 'SELECT * FROM webhook.source shows the watched tables.';
	END IF;
	IF parent IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('"%s" is still watched, as a partition of %s', unwatch.source, parent),
			DETAIL = 'Columns that only its own trigger excluded are sent from now on.',
			HINT = format('To keep a column from being sent, exclude it for %s.', parent);
	END IF;
	SELECT string_agg(DISTINCT format('"%s"', g.tgrelid::regclass), ', ') INTO below
		 FROM pg_partition_tree(unwatch.source) p JOIN pg_trigger g ON g.tgrelid = p.relid
		WHERE p.relid <> unwatch.source AND g.tgparentid = 0
			AND g.tgfoid = 'webhook.capture'::regproc;
	IF below IS NOT NULL THEN
		RAISE NOTICE USING
			MESSAGE = format('partitions of "%s" are still watched: %s', unwatch.source, below),
			DETAIL = 'They have triggers of their own.',
			HINT = 'Call webhook.unwatch() for each of them.';
	END IF;
	RETURN format('unwatched "%s": dropped %s', unwatch.source, array_to_string(dropped, ', '));
END
$$;
COMMENT ON FUNCTION webhook.unwatch(regclass) IS
	'Stops making events of a table; events already captured are still delivered. Returns which '
	'triggers it dropped. Error undefined_object if the table is not watched, wrong_object_type if '
	'it is watched only as a partition.';

CREATE VIEW webhook.source AS
	SELECT t.tgrelid::regclass AS source,
		a.entity_type,
		CASE WHEN a.problem IS NULL THEN coalesce(a.id_columns,
			ARRAY(SELECT f.attname
				FROM pg_catalog.pg_index i,
					unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n),
					pg_catalog.pg_attribute f
				WHERE i.indrelid = t.tgrelid AND i.indisprimary AND f.attrelid = t.tgrelid
					AND f.attnum = k.attnum AND k.n <= i.indnkeyatts
				ORDER BY k.n)) END AS id_columns,
		CASE WHEN a.problem IS NULL THEN coalesce(a.action_types,
				array_remove(ARRAY[
					CASE WHEN t.tgtype & 4 <> 0 THEN 'new' END,
					CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,
					CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END], NULL))
			|| CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger u
					WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture_truncate'::regproc)
				THEN '{truncate}'::text[] ELSE '{}' END
			ELSE '{}' END AS action_types,
		a.columns,
		a.exclude_columns,
		a.tenant,
		coalesce(a.keep_previous, false) AS keep_previous,
		t.tgname AS trigger,
		CASE t.tgenabled WHEN 'D' THEN 'disabled' WHEN 'R' THEN 'replica'
			WHEN 'A' THEN 'always' ELSE 'origin' END AS fires,
		(SELECT u.tgrelid::regclass
			FROM pg_partition_ancestors(t.tgrelid) WITH ORDINALITY p(relid, n)
			JOIN pg_catalog.pg_trigger u ON u.tgrelid = p.relid
			WHERE p.relid <> t.tgrelid AND u.tgparentid = 0
				AND u.tgfoid = 'webhook.capture'::regproc
			ORDER BY p.n DESC LIMIT 1) AS parent,
		CASE
			WHEN a.problem IS NOT NULL THEN a.problem
			WHEN t.tgfoid = 'webhook.capture'::regproc AND t.tgtype & 67 <> 1
				THEN 'the trigger is not AFTER, FOR EACH ROW: it fails when it fires'
			ELSE nullif(concat_ws('; ',
				(SELECT 'column ' || string_agg(quote_ident(m.col), ', ' ORDER BY m.col)
						|| ' does not exist'
					FROM (SELECT DISTINCT n.col FROM unnest(
						a.id_columns || a.columns || a.exclude_columns || a.tenant) n(col)) m
					WHERE m.col IS NOT NULL AND NOT EXISTS (
						SELECT FROM pg_catalog.pg_attribute f
						WHERE f.attrelid = t.tgrelid AND f.attname = m.col AND f.attnum > 0
							AND NOT f.attisdropped)),
				(SELECT 'column ' || string_agg(quote_ident(f.attname), ', ' ORDER BY f.attname)
						|| ' is virtual: a trigger does not see its value'
					FROM pg_catalog.pg_attribute f WHERE f.attrelid = t.tgrelid AND f.attnum > 0
						AND NOT f.attisdropped AND f.attgenerated = 'v'
						AND f.attname = ANY (a.id_columns || a.columns || a.tenant))), '')
		END AS problem
	FROM pg_catalog.pg_trigger t
	JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
	LEFT JOIN pg_catalog.pg_class root ON root.oid = pg_partition_root(c.oid)
	CROSS JOIN LATERAL webhook_internal.capture_argument(
		t.tgnargs, t.tgargs, coalesce(root.relname, c.relname)) a
	WHERE t.tgparentid = 0
		AND (t.tgfoid = 'webhook.capture'::regproc
			OR t.tgfoid = 'webhook.capture_truncate'::regproc AND NOT EXISTS (
				SELECT FROM pg_catalog.pg_trigger u
				WHERE u.tgrelid = t.tgrelid AND u.tgfoid = 'webhook.capture'::regproc));
COMMENT ON VIEW webhook.source IS 'The watched tables, read from their triggers.';
COMMENT ON COLUMN webhook.source.source IS 'The watched table.';
COMMENT ON COLUMN webhook.source.entity_type IS
	'What its events call a row. Null: it makes no events, see problem.';
COMMENT ON COLUMN webhook.source.id_columns IS 'The columns that make entity_id.';
COMMENT ON COLUMN webhook.source.action_types IS 'The changes that make events.';
COMMENT ON COLUMN webhook.source.columns IS 'The only columns sent. Null: see exclude_columns.';
COMMENT ON COLUMN webhook.source.exclude_columns IS 'The columns not sent. Null: all are sent.';
COMMENT ON COLUMN webhook.source.tenant IS 'The column whose value routes the event.';
COMMENT ON COLUMN webhook.source.keep_previous IS 'Whether old values are stored.';
COMMENT ON COLUMN webhook.source.trigger IS 'Name of the trigger.';
COMMENT ON COLUMN webhook.source.fires IS
	'When the trigger fires, as set by ALTER TABLE ... TRIGGER: origin, always, replica or '
	'disabled.';
COMMENT ON COLUMN webhook.source.parent IS
	'The topmost watched table that this one is a partition of; that table makes the event of a '
	'change, and this one does not repeat it. Null: none.';
COMMENT ON COLUMN webhook.source.problem IS
	'Which of its settings are invalid or no longer fit the table. Null: none.';
