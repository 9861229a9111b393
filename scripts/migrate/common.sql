-- What the scripts that read another system's configuration share. Each of them includes this
-- file, fills the tables below, and includes print.sql, which prints pgwebhook's SQL.
--
-- Nothing is written to the database but temporary objects, which end with the session. All that
-- is printed goes through migrate_note(), %L or %I: names and values of the old configuration are
-- somebody else's text, and must stay text. Values of headers are not printed: migrate_secret()
-- gives each a name in the environment.
\set QUIET on
\set ON_ERROR_STOP on
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET search_path = pg_catalog, pg_temp;

-- what is printed, by section: note, env, cut, body, subscription
CREATE TEMP TABLE migrate_line (
	n       int GENERATED ALWAYS AS IDENTITY,
	section text NOT NULL,
	line    text NOT NULL
);
-- the tables to watch; several hooks of a table make one call
CREATE TEMP TABLE migrate_watch (source text NOT NULL, actions text[] NOT NULL, options text);
CREATE TEMP TABLE migrate_secret (
	n     int GENERATED ALWAYS AS IDENTITY,
	what  text NOT NULL,
	value text
);

CREATE FUNCTION pg_temp.migrate_print(section text, line text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO migrate_line (section, line) VALUES (section, line)
$$;

-- As comment lines of SQL, whatever the text has in it.
CREATE FUNCTION pg_temp.migrate_note(note text) RETURNS text LANGUAGE sql AS $$
	SELECT '-- ' || regexp_replace(note, '\r\n|\r|\n', E'\n-- ', 'g')
$$;

CREATE FUNCTION pg_temp.migrate_url_encode(value text) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(
			CASE WHEN chr(get_byte(b, i)) ~ '[A-Za-z0-9._~-]' AND get_byte(b, i) < 128
				THEN chr(get_byte(b, i))
				ELSE '%' || upper(lpad(to_hex(get_byte(b, i)), 2, '0')) END, '' ORDER BY i), '')
		FROM convert_to(value, 'UTF8') b, generate_series(0, length(b) - 1) i
$$;

-- A value that is taken from the environment: how the printed SQL names it. psql has variables of
-- its own, so ours have a prefix. The caller has looked at the name.
CREATE FUNCTION pg_temp.migrate_env(name text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF migrate_env.name !~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN
		RAISE EXCEPTION 'not a name of an environment variable: %', migrate_env.name;
	END IF;
	IF NOT EXISTS (SELECT FROM migrate_line l WHERE l.section = 'env'
			AND l.line = format('\getenv env_%1$s %1$s', migrate_env.name)) THEN
		PERFORM pg_temp.migrate_print('env', format('\getenv env_%1$s %1$s', migrate_env.name));
	END IF;
	RETURN format(':''env_%s''', migrate_env.name);
END
$$;

-- The same for a secret, which gets a name.
CREATE FUNCTION pg_temp.migrate_secret(what text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	INSERT INTO migrate_secret (what, value) VALUES (migrate_secret.what, migrate_secret.value)
		RETURNING 'WEBHOOK_SECRET_' || n INTO name;
	PERFORM pg_temp.migrate_print('env', pg_temp.migrate_note(name || ': ' || what));
	RETURN pg_temp.migrate_env(name);
END
$$;

-- A request header as a credential of the subscription; null for one that is not ours to set:
-- requests have a Content-Type, a Host and a length anyway.
CREATE FUNCTION pg_temp.migrate_header(subscription text, header text, value text) RETURNS text
	LANGUAGE sql AS $$
	SELECT CASE WHEN lower(header) NOT IN ('content-type', 'content-length', 'host', 'connection',
			'transfer-encoding', 'user-agent', 'accept')
		THEN format('SELECT webhook.set_credential(%L, %L, %s);', subscription, 'header:' || header,
			value) END
$$;
