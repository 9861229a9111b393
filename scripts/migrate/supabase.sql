-- Reads Supabase's database webhooks, which are triggers that call
-- supabase_functions.http_request(url, method, headers, params, timeout), and prints pgwebhook's
-- SQL for them. docs/migrating.md tells how it is used. In the database that has the triggers:
--
--   psql -X -f scripts/migrate/supabase.sql > webhook.sql
--   psql -X -v secrets=1 -f scripts/migrate/supabase.sql > secrets.env
--
-- Triggers of which something cannot be carried over are printed as comments, and go on.
\ir common.sql

-- A trigger's arguments, which the catalog has one after another, each ended by a zero byte.
CREATE FUNCTION pg_temp.migrate_arguments(args bytea) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	rest bytea := args;
	list text[] := '{}';
	n int;
BEGIN
	LOOP
		n := position('\x00'::bytea IN rest);
		EXIT WHEN n = 0;
		list := list || convert_from(substr(rest, 1, n - 1), getdatabaseencoding());
		rest := substr(rest, n + 1);
	END LOOP;
	RETURN list;
END
$$;

-- The JSON object of an argument; missing ones are null or the word.
CREATE FUNCTION pg_temp.migrate_object(argument text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE WHEN argument IS NULL OR argument IN ('null', '') THEN '{}' ELSE argument END::jsonb
$$;

DO $do$
DECLARE
	t       record;
	args    text[];
	source  text;
	name    text;
	url     text;
	actions text[];
	only_   text[];
	why     text[];
	text_   text;
	header  record;
	waiting bigint;
BEGIN
	PERFORM pg_temp.migrate_print('body', $sql$CREATE SCHEMA from_supabase;
CREATE FUNCTION from_supabase.body(event webhook.outbox) RETURNS json LANGUAGE plpgsql AS $body$
DECLARE
	source CONSTANT text[] := parse_ident(event.entity_type);
BEGIN
	RETURN json_build_object(
		'type', CASE event.action_type WHEN 'new' THEN 'INSERT' ELSE upper(event.action_type) END,
		'table', source[2], 'schema', source[1], 'record', event.result,
		'old_record', CASE WHEN event.action_type = 'update'
			THEN (event.result::jsonb || event.previous::jsonb)::json ELSE event.previous END);
END
$body$;$sql$);

	FOR t IN
		SELECT g.oid, g.tgname, n.nspname, c.relname, g.tgtype::int AS type, g.tgargs, g.tgenabled,
				g.tgqual IS NOT NULL AS conditional,
				ARRAY(SELECT a.attname FROM unnest(g.tgattr::int2[]) x
					JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attnum = x
					ORDER BY a.attnum)::text[] AS of_columns,
				count(*) OVER (PARTITION BY g.tgname) AS namesakes,
				EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS keyed
			FROM pg_trigger g
			JOIN pg_class c ON c.oid = g.tgrelid
			JOIN pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_proc p ON p.oid = g.tgfoid
			JOIN pg_namespace pn ON pn.oid = p.pronamespace
			WHERE pn.nspname = 'supabase_functions' AND p.proname = 'http_request'
				AND NOT g.tgisinternal AND g.tgparentid = 0
			ORDER BY n.nspname, c.relname, g.tgname
	LOOP
		args := pg_temp.migrate_arguments(t.tgargs);
		source := format('%I.%I', t.nspname, t.relname);
		name := CASE WHEN t.namesakes = 1 THEN t.tgname ELSE source || '/' || t.tgname END;
		actions := ARRAY(SELECT a FROM (VALUES (4, 'new'), (16, 'update'), (8, 'delete')) v(bit, a)
			WHERE t.type & bit <> 0);
		url := args[1];
		why := '{}';

		IF t.tgenabled IN ('D', 'R') THEN
			why := why || 'the trigger is disabled'::text;
		END IF;
		IF t.type & 1 = 0 THEN
			why := why || 'it fires for statements, and has no record'::text;
		END IF;
		IF args[2] IS DISTINCT FROM 'POST' THEN
			why := why || format('it sends %s; pgwebhook sends POST', coalesce(args[2], 'nothing'));
		END IF;
		IF t.conditional THEN
			why := why || ('it has a condition, for which write a filter: '
				|| pg_get_triggerdef(t.oid, true));
		END IF;
		IF url ~ '^[a-z]+://[^/?#]*@' THEN
			why := why || 'its URL has a password, which belongs into the credential basic'::text;
		END IF;

		SELECT string_agg(pg_temp.migrate_url_encode(p.key) || '='
					|| pg_temp.migrate_url_encode(p.value), '&' ORDER BY p.key)
			INTO text_ FROM jsonb_each_text(pg_temp.migrate_object(args[4])) p;
		IF text_ IS NOT NULL THEN
			url := url || CASE WHEN url ~ '\?' THEN '&' ELSE '?' END || text_;
		END IF;

		text_ := format('%s (%s, %s)', name, source, array_to_string(actions, ', '));
		IF why <> '{}' THEN
			PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
				'NOT CARRIED OVER: %s: %s', text_, array_to_string(why, '; '))));
			CONTINUE;
		END IF;
		PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(text_));
		IF NOT t.keyed THEN
			PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
				'%s has no primary key: give webhook.watch() id_columns below', source)));
		END IF;
		IF t.tgenabled = 'A' THEN
			PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
				'it also fires for what logical replication applies: see docs/guide.md')));
		END IF;

		INSERT INTO migrate_watch VALUES (source, actions);
		PERFORM pg_temp.migrate_print('cut', format(
			'SELECT format(''ALTER TABLE %%s DISABLE TRIGGER %%I'', tgrelid::regclass, tgname)'
			' FROM pg_trigger WHERE tgrelid = to_regclass(%L) AND tgname = %L \gexec',
			source, t.tgname));
		only_ := ARRAY(SELECT source || '.' || a FROM unnest(actions) a);
		PERFORM pg_temp.migrate_print('subscription', format(
			'INSERT INTO webhook.subscription (name, url, events, changed_columns, timeout, transform)'
			' VALUES (%L, %L, %L, %L, %L, ''from_supabase.body'');', name, url, only_,
			nullif(t.of_columns, '{}'),
			-- net.http_post() waits for a second unless told
			make_interval(secs => least(greatest(coalesce(nullif(args[5], 'null')::numeric,
				1000), 100), 600000)::float8 / 1000)));
		FOR header IN SELECT h.key, h.value FROM jsonb_each_text(pg_temp.migrate_object(args[3])) h
				ORDER BY h.key LOOP
			IF pg_temp.migrate_header(name, header.key, '') IS NOT NULL THEN
				PERFORM pg_temp.migrate_print('subscription', pg_temp.migrate_header(name, header.key,
					pg_temp.migrate_secret(format('header %s of %s', header.key, name),
						header.value)));
			END IF;
		END LOOP;
	END LOOP;

	-- what calls pg_net by itself can be read by people only
	FOR t IN
		SELECT g.tgname, g.tgrelid, p.oid::regprocedure AS function
			FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid
			WHERE p.prosrc ~* '\mnet\.http_(post|get|delete)\M' AND NOT g.tgisinternal
				AND g.tgparentid = 0 AND p.pronamespace IS DISTINCT FROM
					(SELECT oid FROM pg_namespace WHERE nspname = 'supabase_functions')
			ORDER BY g.tgrelid::regclass::text, g.tgname
	LOOP
		PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
			'NOT CARRIED OVER: trigger %s of %s: its function %s calls pg_net by itself',
			t.tgname, t.tgrelid::regclass, t.function)));
	END LOOP;
	IF to_regclass('net.http_request_queue') IS NOT NULL THEN
		EXECUTE 'SELECT count(*) FROM net.http_request_queue' INTO waiting;
		PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
			'%s requests wait in net.http_request_queue; pg_net goes on sending them', waiting)));
	END IF;
END
$do$;

\ir print.sql
