-- Reads Sequin's configuration, made JSON, and prints pgwebhook's SQL for its webhook sinks.
-- docs/migrating.md tells how it is used. In the database that Sequin reads:
--
--   python3 -c 'import json,sys,yaml; json.dump(yaml.safe_load(sys.stdin),sys.stdout,default=str)' \
--       < sequin.yaml > sequin.json
--   psql -X -v file=sequin.json -f scripts/migrate/sequin.sql > webhook.sql
--   psql -X -v file=sequin.json -v secrets=1 -f scripts/migrate/sequin.sql > secrets.env
--
-- database=NAME picks one of several databases of the file. data=on sends every message inside
-- {"data": [...]}, as versions of Sequin do whose sinks have no "batch".
-- Sinks of which something cannot be carried over are printed as comments, and go on.
\ir common.sql

\setenv MIGRATE_FILE :file
\set config `cat "$MIGRATE_FILE"`
\if :{?database}
\else
\set database ''
\endif
\if :{?data}
\else
\set data off
\endif
CREATE TEMP TABLE migrate_input AS
	SELECT :'config'::jsonb AS config, nullif(:'database', '') AS database, :'data'::boolean AS data;

-- A value of a filter as jsonpath writes it, in the type that the row's JSON has it in: numbers
-- and booleans as such, all else as a string.
CREATE FUNCTION pg_temp.migrate_constant(value jsonb, category text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t CONSTANT text := value #>> '{}';
BEGIN
	IF t IS NULL OR jsonb_typeof(value) IN ('object', 'array') THEN
		RETURN NULL;
	ELSIF category = 'N' THEN
		RETURN CASE WHEN t ~ '^-?[0-9]+(\.[0-9]+)?$' THEN t END;
	ELSIF category = 'B' THEN
		RETURN CASE WHEN lower(t) IN ('true', 't') THEN 'true' WHEN lower(t) IN ('false', 'f') THEN 'false' END;
	END IF;
	RETURN to_json(t)::text;
END
$$;

-- One filter as a jsonpath predicate over a row; null: it has no equivalent. As in SQL, no comparison
-- is true of a value that is null.
CREATE FUNCTION pg_temp.migrate_filter(source text, f jsonb, "row" text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	op   CONSTANT text := lower(f ->> 'operator');
	path text := "row" || '.' || to_json(f ->> 'column_name');
	category text;
	list text[] := '{}';
	v    jsonb;
BEGIN
	IF f ->> 'field_path' IS NULL THEN
		-- dates and the like can be written in more than one way, so they are not compared
		SELECT CASE WHEN op IN ('is null', 'is not null') THEN 'S'
				WHEN t.typcategory IN ('N', 'B') AND t.typname NOT IN ('money', 'oid')
					THEN t.typcategory::text
				WHEN t.typcategory IN ('S', 'E') OR t.typname = 'uuid' THEN 'S' END
			INTO category
			FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
			WHERE a.attrelid = to_regclass(source) AND a.attname = f ->> 'column_name'
				AND a.attnum > 0 AND NOT a.attisdropped;
	ELSE
		category := CASE coalesce(f ->> 'field_type', 'string')
			WHEN 'number' THEN 'N' WHEN 'boolean' THEN 'B' ELSE 'S' END;
		path := path || (SELECT string_agg('.' || to_json(p), '' ORDER BY n)
			FROM unnest(string_to_array(f ->> 'field_path', '.')) WITH ORDINALITY x(p, n));
	END IF;

	IF category IS NULL THEN
		RETURN NULL;
	ELSIF op = 'is null' THEN
		RETURN format('(%s == null || !exists (%s))', path, path);
	ELSIF op = 'is not null' THEN
		RETURN format('(%s != null)', path);
	ELSIF op IN ('in', 'not in') AND jsonb_typeof(f -> 'comparison_value') = 'array'
			AND jsonb_array_length(f -> 'comparison_value') > 0 THEN
		FOR v IN SELECT jsonb_array_elements(f -> 'comparison_value') LOOP
			IF pg_temp.migrate_constant(v, category) IS NULL THEN
				RETURN NULL;
			END IF;
			list := list || format('%s %s %s', path, CASE op WHEN 'in' THEN '==' ELSE '!=' END,
				pg_temp.migrate_constant(v, category));
		END LOOP;
		RETURN '(' || CASE op WHEN 'in' THEN array_to_string(list, ' || ')
			ELSE array_to_string(list || format('%s != null', path), ' && ') END || ')';
	ELSIF op IN ('=', '!=') OR op IN ('>', '>=', '<', '<=') AND category = 'N' THEN
		-- the order of texts is the database's in SQL, and another in jsonpath
		RETURN '(' || path || CASE op WHEN '=' THEN ' == ' ELSE format(' %s ', op) END
			|| pg_temp.migrate_constant(f -> 'comparison_value', category)
			|| CASE op WHEN '!=' THEN format(' && %s != null', path) ELSE '' END || ')';
	END IF;
	RETURN NULL;
END
$$;

-- All filters of a sink; empty: it has none.
CREATE FUNCTION pg_temp.migrate_filters(source text, filters jsonb, "row" text) RETURNS text
	LANGUAGE sql AS $$
	SELECT coalesce(string_agg(pg_temp.migrate_filter(source, f, "row"), ' && '), '')
		FROM jsonb_array_elements(coalesce(nullif(filters, 'null'), '[]')) f
$$;

-- [schema.]table as the catalog writes it
CREATE FUNCTION pg_temp.migrate_source(listed text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN strpos(listed, '.') = 0 THEN format('public.%I', listed)
		ELSE format('%I.%I', split_part(listed, '.', 1), substr(listed, strpos(listed, '.') + 1)) END
$$;

DO $do$
DECLARE
	i        migrate_input;
	bases    text[];
	s        record;
	endpoint jsonb;
	listed   text[];
	item     text;
	source   text;
	name     text;
	actions  text[];
	why      text[];
	notes    text[];
	url      text;
	f        jsonb;
	filtered text;
	grouped  boolean;
	header   record;
	in_data  boolean;
	n        int := 0;
	text_    text;
BEGIN
	SELECT * INTO i FROM migrate_input;
	bases := ARRAY(SELECT DISTINCT x ->> 'database' FROM
		jsonb_array_elements(coalesce(i.config -> 'sinks', '[]')) x
		WHERE i.database IS NULL OR x ->> 'database' = i.database);
	IF cardinality(bases) <> 1 THEN
		RAISE EXCEPTION 'the sinks are of % such databases; name one with -v database=NAME',
			cardinality(bases);
	END IF;

	PERFORM pg_temp.migrate_print('body', $sql$CREATE SCHEMA from_sequin;
CREATE FUNCTION from_sequin.body(event webhook.outbox, sink text, in_data boolean) RETURNS json
	LANGUAGE plpgsql AS $body$
DECLARE
	source CONSTANT text[] := parse_ident(event.entity_type);
	message CONSTANT json := json_build_object(
		'record', CASE WHEN event.action_type = 'delete' THEN event.previous ELSE event.result END,
		'changes', CASE WHEN event.action_type = 'update' THEN event.previous END,
		'action', CASE event.action_type WHEN 'new' THEN 'insert' ELSE event.action_type END,
		'metadata', json_build_object(
			'table_schema', source[1], 'table_name', source[2],
			'commit_timestamp', to_char(event.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
			'idempotency_key', webhook.event_id(event.event_number),
			'consumer', json_build_object('name', sink)));
BEGIN
	RETURN CASE WHEN in_data THEN json_build_object('data', json_build_array(message)) ELSE message END;
END
$body$;$sql$);

	FOR s IN
		SELECT x.x AS conf, x.x ->> 'name' AS name, x.x -> 'destination' AS destination
			FROM jsonb_array_elements(i.config -> 'sinks') WITH ORDINALITY x(x, n)
			WHERE x.x ->> 'database' = bases[1] ORDER BY x.n
	LOOP
		why := '{}';
		notes := '{}';
		grouped := false;
		IF s.destination ->> 'type' IS DISTINCT FROM 'webhook' THEN
			why := why || format('it is a sink of type %s', coalesce(s.destination ->> 'type', 'none'));
		END IF;
		IF s.conf ->> 'status' = 'disabled' THEN
			why := why || 'it is disabled'::text;
		END IF;
		FOREACH item IN ARRAY '{transform,enrichment,routing,filter}'::text[] LOOP
			IF coalesce(s.conf ->> item, 'none') <> 'none' THEN
				why := why || format('it has the %s %s, for which write a filter, a transform or subscriptions',
					item, s.conf ->> item);
			END IF;
		END LOOP;

		-- which tables: of the sink's table, of its list, or of its source
		listed := ARRAY(SELECT DISTINCT x FROM (
			SELECT s.conf ->> 'table'
			UNION ALL SELECT jsonb_array_elements_text(coalesce(s.conf #> '{source,include_tables}', '[]'))
			UNION ALL SELECT jsonb_array_elements(coalesce(s.conf -> 'tables', '[]')) ->> 'name'
				WHERE s.conf #> '{source,include_tables}' IS NULL) l(x) WHERE x IS NOT NULL ORDER BY x);
		IF listed = '{}' THEN
			why := why || 'it names no tables: list them as include_tables of its source'::text;
		END IF;

		SELECT e INTO endpoint FROM jsonb_array_elements(coalesce(i.config -> 'http_endpoints', '[]')) e
			WHERE e ->> 'name' = s.destination ->> 'http_endpoint' LIMIT 1;
		url := endpoint ->> 'url';
		IF s.destination ->> 'type' = 'webhook' AND url IS NULL THEN
			why := why || 'its HTTP endpoint has no url (a tunnel, a test endpoint, or not in this file)'::text;
		ELSIF url ~ '^[a-z]+://[^/?#]*@' THEN
			why := why || 'its URL has a password, which belongs into the credential basic'::text;
		ELSIF url ~ '\$\{' THEN
			why := why || 'its URL has a variable: give this script what "sequin config interpolate" prints'::text;
		END IF;
		IF s.destination ->> 'http_endpoint_path' IS NOT NULL THEN
			url := rtrim(url, '/') || '/' || ltrim(s.destination ->> 'http_endpoint_path', '/');
		END IF;

		actions := ARRAY(SELECT v.a FROM (VALUES (1, 'insert', 'new'), (2, 'update', 'update'),
				(3, 'delete', 'delete')) v(n, op, a)
			WHERE jsonb_typeof(s.conf -> 'actions') IS DISTINCT FROM 'array'
				OR s.conf -> 'actions' ? v.op ORDER BY v.n);
		IF actions = '{}' THEN
			why := why || 'it has no actions'::text;
		END IF;

		IF jsonb_typeof(s.conf -> 'group_column_names') = 'array' OR EXISTS (
				SELECT FROM jsonb_array_elements(coalesce(s.conf -> 'tables', '[]')) x
					WHERE jsonb_typeof(x -> 'group_column_names') = 'array') THEN
			notes := notes || 'groups by columns: ordering is strict, which keeps the order of any group'::text;
			grouped := true;
		END IF;
		in_data := i.data OR coalesce((s.destination ->> 'batch')::boolean, false)
			OR coalesce((s.conf ->> 'batch_size')::int, 1) > 1;
		IF in_data AND coalesce((s.conf ->> 'batch_size')::int, 1) > 1 THEN
			notes := notes || format('batches of %s: each message comes in a "data" of its own', s.conf ->> 'batch_size');
		END IF;

		IF why = '{}' THEN
			FOREACH item IN ARRAY listed LOOP
				source := pg_temp.migrate_source(item);
				FOR f IN SELECT jsonb_array_elements(coalesce(nullif(s.conf -> 'filters', 'null'), '[]')) LOOP
					IF pg_temp.migrate_filter(source, f, '$') IS NULL THEN
						why := why || format('its filter %s of %s has no equivalent (or the table is not here)', f, source);
					END IF;
				END LOOP;
			END LOOP;
		END IF;
		IF why <> '{}' THEN
			PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
				'NOT CARRIED OVER: %s: %s', s.name, array_to_string(why, '; '))));
			CONTINUE;
		END IF;
		PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format('%s (%s; %s)', s.name,
			array_to_string(listed, ', '), array_to_string(actions, ', '))));
		FOREACH item IN ARRAY notes LOOP
			PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note('  ' || item));
		END LOOP;

		n := n + 1;
		text_ := format('BEGIN RETURN from_sequin.body(event, %L, %L); END', s.name, in_data);
		PERFORM pg_temp.migrate_print('body', format('CREATE FUNCTION from_sequin.body_%s(event '
			'webhook.outbox) RETURNS json LANGUAGE plpgsql AS %L;', n, text_));

		-- filters are of a table's columns, so each table has a subscription
		FOREACH item IN ARRAY listed LOOP
			source := pg_temp.migrate_source(item);
			name := CASE WHEN cardinality(listed) = 1 THEN s.name ELSE s.name || '/' || source END;
			INSERT INTO migrate_watch VALUES (source, actions);
			PERFORM pg_temp.migrate_print('cut', format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE;', source));
			filtered := pg_temp.migrate_filters(source, s.conf -> 'filters', '$.result');
			PERFORM pg_temp.migrate_print('subscription', format(
				'INSERT INTO webhook.subscription (name, url, events, filter, ordering, transform)'
				' VALUES (%L, %L, %L, %L, %L, ''from_sequin.body_%s'');', name, url,
				ARRAY(SELECT source || '.' || a FROM unnest(actions) a),
				-- a deleted row is in previous
				CASE WHEN filtered <> '' THEN format(
					'($.action_type != "delete" && %s) || ($.action_type == "delete" && %s)', filtered,
					pg_temp.migrate_filters(source, s.conf -> 'filters', '$.previous')) END,
				CASE WHEN grouped THEN 'strict' WHEN s.conf ->> 'message_grouping' = 'false' THEN 'none' ELSE 'entity' END, n));
			FOR header IN
				SELECT h.h ->> 'key' AS key, h.h ->> 'value' AS value
					FROM (VALUES ('headers'), ('encrypted_headers')) k(k),
						jsonb_array_elements(CASE jsonb_typeof(endpoint -> k.k) WHEN 'array' THEN endpoint -> k.k
							WHEN 'object' THEN (SELECT jsonb_agg(jsonb_build_object('key', e.key, 'value', e.value))
								FROM jsonb_each(endpoint -> k.k) e) ELSE '[]' END) h(h)
			LOOP
				IF pg_temp.migrate_header(name, header.key, '') IS NOT NULL THEN
					PERFORM pg_temp.migrate_print('subscription', pg_temp.migrate_header(name, header.key,
						pg_temp.migrate_secret(format('header %s of %s', header.key, name), header.value)));
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END
$do$;

\ir print.sql
