-- Reads Hasura's metadata as JSON and prints pgwebhook's SQL for its event triggers.
-- docs/migrating.md tells how it is used. In the database that Hasura watches:
--
--   psql -X -v file=metadata.json -f scripts/migrate/hasura.sql > webhook.sql
--   psql -X -v file=metadata.json -v secrets=1 -f scripts/migrate/hasura.sql > secrets.env
--
-- source=NAME picks one of several sources of the metadata; without it the only one is taken.
-- Event triggers of which something cannot be carried over are printed as comments, and go on.
\ir common.sql

\setenv MIGRATE_FILE :file
\set metadata `cat "$MIGRATE_FILE"`
\if :{?source}
\else
\set source ''
\endif
CREATE TEMP TABLE migrate_input AS
	SELECT coalesce(m.m -> 'metadata', m.m) AS metadata, nullif(:'source', '') AS source
		FROM (SELECT :'metadata'::jsonb) m(m);

-- A URL as an expression of SQL: {{NAME}} is a variable of the environment, as Hasura has it.
CREATE FUNCTION pg_temp.migrate_url(url text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rest  text := url;
	parts text[] := '{}';
	found text[];
BEGIN
	LOOP
		found := regexp_match(rest, '^(.*?)\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}(.*)$');
		EXIT WHEN found IS NULL;
		IF found[1] <> '' THEN
			parts := parts || quote_literal(found[1]);
		END IF;
		parts := parts || pg_temp.migrate_env(found[2]);
		rest := found[3];
	END LOOP;
	IF rest <> '' OR parts = '{}' THEN
		parts := parts || quote_literal(rest);
	END IF;
	RETURN array_to_string(parts, ' || ');
END
$$;

-- The columns of an operation's payload as an array of text in SQL; null: all.
CREATE FUNCTION pg_temp.migrate_columns(columns jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN jsonb_typeof(columns) = 'array'
		THEN format('%L', ARRAY(SELECT jsonb_array_elements_text(columns))) ELSE 'NULL' END
$$;

DO $do$
DECLARE
	sources jsonb;
	t       record;
	source  text;
	actions text[];
	op      record;
	why     text[];
	n       int := 0;
	url     text;
	changed text[];
	retries int;
	every   numeric;
	text_   text;
	header  jsonb;
	value   text;
BEGIN
	-- version 3 has sources; version 2 has the tables of the only one
	SELECT CASE WHEN i.metadata ? 'sources' THEN i.metadata -> 'sources'
			ELSE jsonb_build_array(jsonb_build_object('name', 'default', 'kind', 'postgres',
				'tables', i.metadata -> 'tables')) END
		INTO sources FROM migrate_input i;
	SELECT coalesce(jsonb_agg(s), '[]') INTO sources
		FROM jsonb_array_elements(sources) s, migrate_input i
		WHERE CASE WHEN i.source IS NULL THEN true ELSE s ->> 'name' = i.source END;
	IF jsonb_array_length(sources) <> 1 THEN
		RAISE EXCEPTION 'the metadata has % such sources; name one with -v source=NAME',
			jsonb_array_length(sources);
	END IF;

	PERFORM pg_temp.migrate_print('body', $sql$CREATE SCHEMA from_hasura;
CREATE FUNCTION from_hasura.pick(record json, columns text[]) RETURNS json LANGUAGE plpgsql AS $body$
BEGIN
	RETURN CASE WHEN columns IS NULL OR record IS NULL THEN record ELSE
		(SELECT coalesce(json_object_agg(c.key, c.value), '{}') FROM json_each(record) c
			WHERE c.key = ANY (columns)) END;
END
$body$;
CREATE FUNCTION from_hasura.body(event webhook.outbox, trigger text, retries int,
	of_insert text[], of_update text[], of_delete text[]) RETURNS json LANGUAGE plpgsql AS $body$
DECLARE
	source CONSTANT text[] := parse_ident(event.entity_type);
	columns CONSTANT text[] := CASE event.action_type WHEN 'new' THEN of_insert
		WHEN 'update' THEN of_update WHEN 'delete' THEN of_delete END;
BEGIN
	RETURN json_build_object(
		'id', md5(webhook.event_id(event.event_number))::uuid,
		'created_at', to_char(event.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
		'delivery_info', json_build_object('current_retry', 0, 'max_retries', retries),
		'table', json_build_object('schema', source[1], 'name', source[2]),
		'trigger', json_build_object('name', trigger),
		'event', json_build_object(
			'op', CASE event.action_type WHEN 'new' THEN 'INSERT' WHEN 'test' THEN 'MANUAL'
				ELSE upper(event.action_type) END,
			'session_variables', NULL,
			'data', json_build_object(
				'old', from_hasura.pick(CASE WHEN event.action_type = 'update'
					THEN (event.result::jsonb || event.previous::jsonb)::json
					ELSE event.previous END, columns),
				'new', from_hasura.pick(event.result, columns))));
END
$body$;$sql$);

	FOR t IN
		SELECT e.e AS conf, e.e ->> 'name' AS name, e.e -> 'definition' AS definition,
				coalesce(x.x #>> '{table,schema}', 'public') AS schema,
				CASE jsonb_typeof(x.x -> 'table') WHEN 'string' THEN x.x ->> 'table'
					ELSE x.x #>> '{table,name}' END AS "table",
				sources -> 0 ->> 'kind' AS kind
			FROM jsonb_array_elements(coalesce(sources -> 0 -> 'tables', '[]'))
					WITH ORDINALITY x(x, a),
				jsonb_array_elements(coalesce(x.x -> 'event_triggers', '[]'))
					WITH ORDINALITY e(e, b)
			ORDER BY x.a, e.b
	LOOP
		source := format('%I.%I', t.schema, t."table");
		actions := ARRAY(SELECT v.a FROM (VALUES (1, 'insert', 'new'), (2, 'update', 'update'),
				(3, 'delete', 'delete')) v(n, op, a)
			WHERE jsonb_typeof(t.definition -> v.op) = 'object' ORDER BY v.n);
		why := '{}';
		IF t.kind NOT IN ('postgres', 'pg') THEN
			why := why || format('the source is a %s', t.kind);
		END IF;
		IF actions = '{}' THEN
			why := why || 'it is for manual events only'::text;
		END IF;
		FOREACH text_ IN ARRAY '{request_transform,response_transform}'::text[] LOOP
			IF jsonb_typeof(t.conf -> text_) = 'object' THEN
				why := why || format('it has a %s, for which write a transform or a profile',
					text_);
			END IF;
		END LOOP;
		IF coalesce(t.conf ->> 'webhook_from_env', 'X') !~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN
			why := why || 'webhook_from_env is no name of a variable'::text;
		ELSIF coalesce(t.conf ->> 'webhook', t.conf ->> 'webhook_from_env') IS NULL THEN
			why := why || 'it has no URL'::text;
		ELSIF t.conf ->> 'webhook' ~ '^[a-z]+://[^/?#]*@' THEN
			why := why || 'its URL has a password, which belongs into the credential basic'::text;
		END IF;
		text_ := format('%s (%s, %s)', t.name, source, array_to_string(actions, ', '));
		IF why <> '{}' THEN
			PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
				'NOT CARRIED OVER: %s: %s', text_, array_to_string(why, '; '))));
			CONTINUE;
		END IF;
		PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(text_));
		IF (t.definition ->> 'enable_manual')::boolean THEN
			PERFORM pg_temp.migrate_print('note',
				'--   manual events have no equivalent: CALL webhook.test() sends one of a row');
		END IF;
		IF (t.conf ->> 'trigger_on_replication')::boolean THEN
			PERFORM pg_temp.migrate_print('note',
				'--   for what logical replication applies, let the trigger fire always: docs/guide.md');
		END IF;

		n := n + 1;
		INSERT INTO migrate_watch VALUES (source, actions);
		PERFORM pg_temp.migrate_print('cut', format(
			'SELECT format(''ALTER TABLE %%s DISABLE TRIGGER %%I'', tgrelid::regclass, tgname)'
			' FROM pg_trigger WHERE tgrelid = to_regclass(%L) AND tgname = ANY (%L) \gexec', source,
			ARRAY(SELECT format('notify_hasura_%s_%s', t.name, o)
				FROM unnest('{INSERT,UPDATE,DELETE}'::text[]) o)));

		retries := coalesce((t.conf #>> '{retry_conf,num_retries}')::int, 0);
		every := least(greatest(coalesce((t.conf #>> '{retry_conf,interval_sec}')::numeric, 10),
			0.1), 30 * 86400);
		changed := CASE WHEN jsonb_typeof(t.definition #> '{update,columns}') = 'array'
			THEN ARRAY(SELECT jsonb_array_elements_text(t.definition #> '{update,columns}')) END;
		url := CASE WHEN t.conf ->> 'webhook' IS NOT NULL THEN pg_temp.migrate_url(t.conf ->> 'webhook')
			ELSE pg_temp.migrate_env(t.conf ->> 'webhook_from_env') END;

		-- a function for each, which knows its name and the columns that it may send
		text_ := format('BEGIN RETURN from_hasura.body(event, %L, %s, %s, %s, %s); END', t.name, retries,
			pg_temp.migrate_columns(t.definition #> '{insert,payload}'),
			pg_temp.migrate_columns(t.definition #> '{update,payload}'),
			pg_temp.migrate_columns(t.definition #> '{delete,payload}'));
		PERFORM pg_temp.migrate_print('body', format('CREATE FUNCTION from_hasura.body_%s(event '
			'webhook.outbox) RETURNS json LANGUAGE plpgsql AS %L;', n, text_));
		PERFORM pg_temp.migrate_print('subscription', format(
			'INSERT INTO webhook.subscription (name, url, events, changed_columns, timeout, transform)'
			' VALUES (%L, %s, %L, %L, %L, ''from_hasura.body_%s'');', t.name, url,
			ARRAY(SELECT source || '.' || a FROM unnest(actions) a), nullif(changed, '{}'),
			make_interval(secs => least(greatest(coalesce(
				(t.conf #>> '{retry_conf,timeout_sec}')::numeric, 60), 0.1), 600)::float8), n));
		-- Hasura's default gives up after one attempt, which nobody has chosen
		IF retries > 0 THEN
			PERFORM pg_temp.migrate_print('subscription', format(
				'UPDATE webhook.subscription SET retry_schedule = ARRAY[%L::interval], '
				'give_up_after = %L WHERE name = %L;', make_interval(secs => every::float8),
				make_interval(secs => least(every * retries, 365 * 86400)::float8), t.name));
		END IF;
		FOR header IN SELECT jsonb_array_elements(coalesce(nullif(t.conf -> 'headers', 'null'), '[]'))
		LOOP
			CONTINUE WHEN pg_temp.migrate_header(t.name, header ->> 'name', '') IS NULL;
			IF header ->> 'value_from_env' ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN
				value := pg_temp.migrate_env(header ->> 'value_from_env');
			ELSE
				value := pg_temp.migrate_secret(format('header %s of %s', header ->> 'name', t.name),
					header ->> 'value');
			END IF;
			PERFORM pg_temp.migrate_print('subscription',
				pg_temp.migrate_header(t.name, header ->> 'name', value));
		END LOOP;
	END LOOP;
END
$do$;

\ir print.sql
