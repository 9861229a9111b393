--
-- Writes docs/reference.md from the catalogue of a database that has the extension:
--
--   psql -XAtq -v ON_ERROR_STOP=1 -v labels="$labels" -f scripts/reference.sql
--
-- scripts/docs.sh calls it. What the page says of a function, a table or a column is its COMMENT ON
-- in sql; of a setting, what extension/shared/settings.c says. Here are only the order, the
-- headings and the layout. Nothing of the machine goes into the page, nor anything that the major
-- versions of the server say differently. :labels has what the worker reports while it is busy, a
-- line each.
--

\set QUIET on
SET client_min_messages = warning;
SET search_path = pg_catalog;
SET intervalstyle = postgres;
SET quote_all_identifiers = off;

-- what stands under which heading, in the order of the page; {} marks functions
CREATE TEMP TABLE section (n serial, kind text, title text, names text[]);
INSERT INTO section (kind, title, names) VALUES
	('function', 'Watching tables', '{watch, unwatch, capture, capture_truncate}'),
	('function', 'Subscribing', '{subscribe, unsubscribe, pause, resume, test, copy_profile}'),
	('function', 'Looking before and after', '{preview, match_preview, replay_preview, explain, search_log}'),
	('function', 'Secrets and credentials', '{rotate_secret, set_credential, reseal, verify}'),
	('function', 'Sending again', '{redeliver, replay, purge_dead_letters, event_id, event_number}'),
	('function', 'Monitoring', '{metrics, stat_reset}'),
	('function', 'Where delivery runs', '{enable_delivery, enable_delivery_preview, start_worker}'),
	('function', 'Roles', '{grant_operator, grant_viewer, grant_watcher, grant_service, revoke_operator,
		revoke_viewer, revoke_watcher, revoke_service, isolate_operators, create_api_token, revoke_api_token}'),
	('relation', 'Views', '{status, log, worker, source, stat_subscription, stat_worker, progress}'),
	('relation', 'Tables', '{subscription, profile, secret, credential, outbox, pending, dead_letter,
		attempt, checkpoint, identity, event_number_seq, api_token, audit}');

CREATE TEMP VIEW routine AS
	SELECT p.oid, p.proname::text AS name, p.prokind = 'p' AS is_procedure,
		p.prosecdef AS is_definer, p.prorettype = 'trigger'::regtype AS is_trigger
	FROM pg_proc p WHERE p.pronamespace = 'webhook'::regnamespace;

-- segments are parts of their table; the sequence of an identity column is shown with the column
CREATE TEMP VIEW relation AS
	SELECT c.oid, c.relname::text AS name, c.relkind AS kind
	FROM pg_class c
	WHERE c.relnamespace = 'webhook'::regnamespace AND NOT c.relispartition
		AND c.relkind NOT IN ('i', 'I', 't')
		AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_depend d
			WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'));

-- all that people can name stands under a heading
DO $$
DECLARE
	missing text;
BEGIN
	SELECT string_agg(x.name, ', ' ORDER BY x.name) INTO missing
	FROM (SELECT r.name FROM pg_temp.routine r UNION SELECT r.name FROM pg_temp.relation r
		UNION SELECT t.typname FROM pg_type t
			WHERE t.typnamespace = 'webhook'::regnamespace AND t.typrelid = 0 AND t.typelem = 0) x
	WHERE NOT EXISTS (SELECT FROM pg_temp.section s WHERE x.name = ANY (s.names));
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'no heading for %', missing
			USING HINT = 'Add them to the list in scripts/reference.sql.';
	END IF;
	SELECT string_agg(x.name, ', ' ORDER BY x.name) INTO missing
	FROM pg_temp.section s, unnest(s.names) x(name)
	WHERE x.name NOT IN (SELECT r.name FROM pg_temp.routine r
		UNION SELECT r.name FROM pg_temp.relation r);
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'schema webhook has no %', missing
			USING HINT = 'Remove them from the list in scripts/reference.sql.';
	END IF;
END $$;

-- a comment as Markdown, a sentence: names of the schema, settings and pages become links
CREATE FUNCTION pg_temp.md(comment text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace(
		regexp_replace(regexp_replace(comment, '([\\*<|])', '\\\1', 'g'), '([^.!?])$', '\1.'),
		'\mdocs/([a-z/_-]+\.md)', '[\1](\1)', 'g'),
		'\mwebhook\.(' || (SELECT string_agg(x.name, '|' ORDER BY length(x.name) DESC, x.name)
			FROM pg_temp.section s, unnest(s.names) x(name))
			|| ')(\.[a-z_]+)?(\(\))?(?![a-z_])', '[`webhook.\1\2\3`](#\1)', 'g'),
		'\m(?<!`)(webhook\.(?:' || (SELECT string_agg(substring(g.name FROM 9), '|' ORDER BY length(g.name) DESC, g.name)
			FROM pg_settings g WHERE g.name LIKE 'webhook.%') || '))(?![a-z_`])', '[`\1`](#settings)', 'g')
$$;

CREATE FUNCTION pg_temp.type_name(type oid, mod integer) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT replace(format_type(type, mod), 'timestamp with time zone', 'timestamptz')
$$;

-- an expression as people write it
CREATE FUNCTION pg_temp.plain(expression text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT regexp_replace(regexp_replace(expression, '::[a-z_]+( with time zone)?(\[\])?', '', 'g'),
		'^NULL$', 'null')
$$;

-- what a CHECK of one column allows; nothing where the column's comment names all values itself
CREATE FUNCTION pg_temp.allowed(expression text, comment text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT CASE
		WHEN m.list IS NOT NULL
			THEN (SELECT 'One of ' || string_agg('`' || v.m[1] || '`', ', ')
				FROM regexp_matches(m.list[1], '''([^'']+)''', 'g') v(m)
				HAVING NOT bool_and(comment ~ ('\m' || v.m[1] || '\M')))
		WHEN x.plain ~ '^cardinality\((\w+)\) > 0 AND array_ndims\(\1\) = 1 AND array_position\(\1, NULL\) IS NULL$'
			THEN 'One-dimensional, not empty, without nulls'
		WHEN m.range IS NOT NULL
			THEN format('From %s to %s', trim(m.range[2], ''''), trim(m.range[3], ''''))
				|| CASE WHEN m.range[1] ~ '^length' THEN ' characters' ELSE '' END
		ELSE 'CHECK `' || x.plain || '`'
		END || '.'
	FROM (SELECT pg_temp.plain(expression) AS plain) x,
		LATERAL (SELECT regexp_match(x.plain, '^\w+ = ANY \(ARRAY\[(.*)\]\)$') AS list,
			regexp_match(x.plain, '^([\w()]+) >= (\S+|''[^'']+'') AND \1 <= (\S+|''[^'']+'')$') AS range) m
$$;

-- who has what the functions webhook.grant_... give
CREATE FUNCTION pg_temp.roles(what oid, wanted text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce(string_agg(k.kind || 's' || coalesce(' (' || array_to_string(p.columns, ', ') || ')', ''), ', ' ORDER BY k.n),
		'the owner of the extension')
	FROM unnest('{operator,viewer,watcher}'::text[]) WITH ORDINALITY k(kind, n),
		webhook_internal.role_privileges(k.kind) p
	WHERE p.privilege = wanted AND p.class <> 'SCHEMA' AND what = CASE
		WHEN p.class = 'TABLE' THEN p.object::regclass::oid
		WHEN p.object LIKE '%(%' THEN p.object::regprocedure::oid
		ELSE p.object::regproc::oid END
$$;

CREATE FUNCTION pg_temp.signature(called oid) RETURNS text LANGUAGE sql STABLE AS $$
	WITH argument AS (
		SELECT a.n, concat_ws(' ',
			CASE a.mode WHEN 'o' THEN 'OUT' WHEN 'b' THEN 'INOUT' WHEN 'v' THEN 'VARIADIC' END,
			a.name, pg_temp.type_name(a.type, NULL),
			'DEFAULT ' || regexp_replace(pg_temp.plain(CASE WHEN a.mode <> 'o' THEN
				pg_get_function_arg_default(called, a.n::integer) END), '^null$', 'NULL')) AS text,
			a.mode
		FROM pg_proc p, unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes)
				WITH ORDINALITY x(type, name, mode, n),
			LATERAL (SELECT x.n, x.type, x.name, coalesce(x.mode, 'i') AS mode) a
		WHERE p.oid = called),
	line AS (
		SELECT format('webhook.%s(', p.proname) AS head,
			CASE WHEN p.prokind = 'p' THEN ')'
				WHEN EXISTS (SELECT FROM argument a WHERE a.mode IN ('o', 'b')) THEN ')'
				ELSE ') RETURNS ' || replace(pg_get_function_result(p.oid), 'timestamp with time zone', 'timestamptz') END AS tail
		FROM pg_proc p WHERE p.oid = called)
	SELECT CASE WHEN p.prokind = 'p' THEN 'CALL ' ELSE '' END || l.head || CASE
		WHEN length(concat(l.head, (SELECT string_agg(a.text, ', ' ORDER BY a.n) FROM argument a), l.tail)) <= 80
			THEN coalesce((SELECT string_agg(a.text, ', ' ORDER BY a.n) FROM argument a), '')
		ELSE (SELECT E'\n' || string_agg('    ' || a.text, E',\n' ORDER BY a.n) || E'\n' FROM argument a)
		END || l.tail
	FROM pg_proc p, line l WHERE p.oid = called
$$;

-- the functions of one name, one after the other
CREATE FUNCTION pg_temp.show_function(function_name text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(concat_ws(E'\n\n',
		E'```text\n' || pg_temp.signature(r.oid) || E'\n```',
		pg_temp.md(obj_description(r.oid, 'pg_proc')),
		CASE WHEN NOT r.is_trigger THEN 'Called by: ' || pg_temp.roles(r.oid, 'EXECUTE') || '.'
			|| CASE WHEN r.is_definer THEN ' SECURITY DEFINER.' ELSE '' END END),
		E'\n\n' ORDER BY pg_get_function_identity_arguments(r.oid) COLLATE "C")
	FROM pg_temp.routine r WHERE r.name = function_name
$$;

CREATE FUNCTION pg_temp.show_relation(relation_name text) RETURNS text LANGUAGE sql STABLE AS $$
	WITH col AS (
		SELECT a.attnum AS n, a.attname, pg_temp.type_name(a.atttypid, a.atttypmod) AS type,
			CASE WHEN a.attidentity <> '' THEN 'ascending'
				WHEN d.adbin IS NOT NULL THEN '`' || pg_temp.plain(pg_get_expr(d.adbin, d.adrelid)) || '`'
				WHEN a.attnotnull THEN '' ELSE 'null' END AS initially,
			concat_ws(' ', pg_temp.md(col_description(a.attrelid, a.attnum)),
				(SELECT string_agg(replace(pg_temp.allowed(pg_get_expr(k.conbin, k.conrelid, true), col_description(a.attrelid, a.attnum)), '|', '\|'), ' ' ORDER BY k.conname)
					FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND k.conkey = ARRAY[a.attnum])) AS meaning
		FROM pg_temp.relation r JOIN pg_attribute a ON a.attrelid = r.oid
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE r.name = relation_name AND r.kind <> 'S' AND a.attnum > 0 AND NOT a.attisdropped)
	SELECT concat_ws(E'\n\n',
		pg_temp.md(obj_description(r.oid, 'pg_class')),
		CASE WHEN r.kind <> 'S' THEN 'Read by: ' || pg_temp.roles(r.oid, 'SELECT') || '.' END,
		CASE WHEN r.kind = 'v' THEN E'| Column | Type | Meaning |\n|---|---|---|\n'
				|| (SELECT string_agg(format('| `%s` | %s | %s |', c.attname, c.type, c.meaning), E'\n' ORDER BY c.n) FROM col c)
			WHEN r.kind <> 'S' THEN E'| Column | Type | Default | Meaning |\n|---|---|---|---|\n'
				|| (SELECT string_agg(format('| `%s` | %s | %s | %s |', c.attname, c.type, c.initially, c.meaning), E'\n' ORDER BY c.n) FROM col c)
			END,
		(SELECT string_agg('`' || x.text || '`', ', ' ORDER BY x.text COLLATE "C") || '.'
			FROM (SELECT pg_get_constraintdef(k.oid, true) AS text FROM pg_constraint k WHERE k.conrelid = r.oid
				AND (k.contype IN ('p', 'u', 'f') OR k.contype = 'c' AND cardinality(k.conkey) <> 1)) x))
	FROM pg_temp.relation r WHERE r.name = relation_name
$$;

-- a number of a setting's unit, in the largest unit that it is a whole number of
CREATE FUNCTION pg_temp.amount(value text, unit text) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT coalesce((SELECT value::bigint / u.size || ' ' || u.name
			FROM (VALUES ('ms', 'd', 86400000), ('ms', 'h', 3600000), ('ms', 'min', 60000), ('ms', 's', 1000), ('ms', 'ms', 1),
				('s', 'd', 86400), ('s', 'h', 3600), ('s', 'min', 60), ('s', 's', 1),
				('MB', 'GB', 1024), ('MB', 'MB', 1)) u(unit, name, size)
			WHERE u.unit = amount.unit AND value::bigint % u.size = 0 ORDER BY u.size DESC LIMIT 1),
		CASE WHEN unit IS NULL THEN value ELSE value || ' ' || unit END)
$$;

\echo '<!-- Made by "make docs" from the catalogue. Change the COMMENT ON, by an upgrade script, not this page. -->'
\echo
\echo '# Reference'
\echo
\echo 'Every function, view and table of schema `webhook`, and every setting. The texts are those of'
\echo '`COMMENT ON`: psql shows them with `\\df+ webhook.*` and `\\d+ webhook.*`. Schema `webhook_internal`'
\echo 'is not listed. It is not to be called, and its names may change.'
\echo
\echo 'Arguments can be given by name: `webhook.watch(''users'', keep_previous => true)`. Functions run'
\echo 'with the caller''s rights, except those marked SECURITY DEFINER. *Called by* and *read by* name the'
\echo 'roles of [security](security.md); superusers and the owner of the extension may do everything.'
\echo

SELECT format('- [%s](#%s): ', s.title, replace(lower(s.title), ' ', '-'))
	|| (SELECT string_agg(format('[`%s`](#%s)', x.name, x.name), ', ' ORDER BY x.n) FROM unnest(s.names) WITH ORDINALITY x(name, n))
FROM pg_temp.section s ORDER BY s.n;
\echo '- [Settings](#settings), [processes](#processes)'

SELECT E'\n## ' || s.title || E'\n\n'
	|| string_agg(format(E'### %s\n\n%s', x.name,
		CASE WHEN s.kind = 'function' THEN pg_temp.show_function(x.name) ELSE pg_temp.show_relation(x.name) END), E'\n\n' ORDER BY x.n)
FROM pg_temp.section s, unnest(s.names) WITH ORDINALITY x(name, n)
GROUP BY s.n, s.title ORDER BY s.n;

\echo
\echo '## Settings'
\echo
\echo '| Setting | Type | Default | Range | Set by | Meaning |'
\echo '|---|---|---|---|---|---|'
SELECT format('| `%s` | %s | %s | %s | %s | %s |', g.name, coalesce(array_to_string(g.enumvals, ', '), g.vartype),
	CASE WHEN g.boot_val IS NULL OR g.boot_val = '' THEN 'empty' ELSE '`' || pg_temp.amount(g.boot_val, g.unit) || '`' END,
	CASE WHEN g.max_val = '2147483647' THEN 'from ' || pg_temp.amount(g.min_val, g.unit)
		ELSE pg_temp.amount(g.min_val, g.unit) || ' to ' || pg_temp.amount(g.max_val, g.unit) END,
	CASE g.context WHEN 'sighup' THEN 'configuration, reload' WHEN 'superuser' THEN 'configuration, superuser'
		WHEN 'user' THEN 'anybody' WHEN 'postmaster' THEN 'configuration, restart' ELSE g.context END,
	concat_ws(' ', pg_temp.md(g.short_desc), pg_temp.md(g.extra_desc)))
FROM pg_settings g WHERE g.name LIKE 'webhook.%' ORDER BY g.name COLLATE "C";
\echo
\echo '*Configuration*: in postgresql.conf, by ALTER SYSTEM, or for the whole server in another way.'
\echo '*Reload*: a change counts after `pg_reload_conf()`, without a restart. *Superuser*: also by SET in'
\echo 'a session, for what that session checks; the worker goes by the configuration alone, without settings'
\echo 'of databases and roles. *Anybody*: by SET or SET LOCAL.'
\echo
\echo '## Processes'
\echo
\echo 'What `pg_stat_activity` shows:'
\echo
\echo '| `backend_type` | What |'
\echo '|---|---|'
\echo '| `webhook launcher` | one in the server; starts the workers |'
\echo '| `webhook worker` | one in each database that has the extension; reads, delivers and settles |'
\echo '| `webhook transform` | calls the transforms of one owner, under the owner''s name; `query` has the function''s name |'
\echo
\echo 'They wait with `wait_event` `Extension`. Since PostgreSQL 17 that of the launcher is `WebhookLauncher`,'
\echo 'and that of a worker `WebhookResponses` while requests are under way, else `WebhookEvents`.'
\echo
\echo 'A worker is `active` while it is in a transaction;'
\echo '`query` says what for, and keeps the last one while the worker is `idle` or sends requests:'
\echo
SELECT '- `' || l || '`' FROM regexp_split_to_table(trim(E'\n' FROM :'labels'), E'\n') l ORDER BY l COLLATE "C";
