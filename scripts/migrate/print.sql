-- Prints what a script has collected (see common.sql): pgwebhook's SQL, or with -v secrets=1 the
-- values that it takes from the environment, as lines of a shell, and nothing else.
CREATE FUNCTION pg_temp.migrate_section(section text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(l.line, E'\n' ORDER BY l.n) || E'\n', '')
		FROM migrate_line l WHERE l.section = migrate_section.section
$$;

CREATE FUNCTION pg_temp.migrate_watches() RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(w.call || E'\n', '' ORDER BY w.source), '')
		FROM (SELECT v.source, format(
					'SELECT webhook.watch(%L, entity_type => %L, action_types => %L%s);',
					v.source, v.source, ARRAY(SELECT a FROM
						unnest('{new,update,delete,truncate}'::text[]) WITH ORDINALITY a(a, n)
						WHERE a = ANY (array_agg(x)) ORDER BY n),
					coalesce(v.options, ', keep_previous => true')) AS call
				FROM migrate_watch v, unnest(v.actions) x GROUP BY v.source, v.options) w
$$;

\if :{?secrets}
SELECT format('export WEBHOOK_SECRET_%s=''%s''', n, replace(value, '''', '''\'''''))
	FROM migrate_secret WHERE value IS NOT NULL ORDER BY n;
\else
SELECT $$\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
$$ || pg_temp.migrate_section('note') || $$\if :{?only_watch}
\else
-- These come from the environment. One that is missing is a syntax error below.
$$ || pg_temp.migrate_section('env') || $$\endif
BEGIN;
\if :{?only_watch}
\else
-- The cut: writers of these tables wait until COMMIT.
$$ || pg_temp.migrate_section('cut') || $$\endif
$$ || pg_temp.migrate_watches() || $$\if :{?only_watch}
COMMIT;
\quit
\endif
$$ || pg_temp.migrate_section('body') || pg_temp.migrate_section('subscription') || 'COMMIT;';
\endif
