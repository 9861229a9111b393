-- Prints pgwebhook's SQL for an outbox table of your own: one that applications insert rows into,
-- and that a program of yours, the relay, sends and marks as sent. docs/migrating.md tells how it is
-- used. In the database that has the table:
--
--   psql -X -v table=public.outbox -v name=events -v url=https://receiver.example.com/hooks \
--       -v entity=aggregate_id -v type=event_type -v sent=sent_at \
--       -f scripts/migrate/outbox.sql > webhook.sql
--
-- table    its name, with its schema
-- name     what the subscription, the profile and the function are called
-- url      where the rows go
-- id       the column that identifies a row (default id): sent as header X-Outbox-Id
-- payload  the column that is the body (default payload): json, jsonb, or text that is JSON
-- type     a column that is sent as header X-Outbox-Type (default: none)
-- entity   the columns, with commas, whose rows are delivered in order (default: id, no order)
--
-- and one of these:
-- sent     a column that says that a row is sent: new rows get it at once, and the relay drains what
--          is older. Times get now(), booleans true; for others give sent_value.
-- unsent   a condition of SQL for what is not sent. The relay is stopped before; these rows go out
--          with pgwebhook, in the order of id, and before any new one.
\ir common.sql

-- what is not given is empty
\if :{?id}
\else
\set id id
\endif
\if :{?payload}
\else
\set payload payload
\endif
\if :{?type}
\else
\set type ''
\endif
\if :{?entity}
\else
\set entity :id
\endif
\if :{?sent}
\else
\set sent ''
\endif
\if :{?sent_value}
\else
\set sent_value ''
\endif
\if :{?unsent}
\else
\set unsent ''
\endif
CREATE TEMP TABLE migrate_input AS
	SELECT :'table'::regclass AS "table", :'name' AS name, :'url' AS url, :'id' AS id,
		:'payload' AS payload, nullif(:'type', '') AS type, string_to_array(:'entity', ',') AS entity,
		nullif(:'sent', '') AS sent, nullif(:'sent_value', '') AS sent_value,
		nullif(:'unsent', '') AS unsent;

DO $do$
DECLARE
	i      migrate_input;
	source text;
	c      text;
	kind   text;
	value  text;
	moved  text;
BEGIN
	SELECT * INTO i FROM migrate_input;
	SELECT format('%I.%I', n.nspname, r.relname) INTO source
		FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = i."table";
	IF i.name !~ '^[a-z_][a-z0-9_]{0,40}$' THEN
		RAISE EXCEPTION 'name must be at most 41 lower-case letters, digits and underscores';
	END IF;
	IF (i.sent IS NULL) = (i.unsent IS NULL) THEN
		RAISE EXCEPTION 'give one of sent and unsent';
	END IF;
	FOREACH c IN ARRAY array_remove(ARRAY[i.id, i.payload, i.type, i.sent] || i.entity, NULL) LOOP
		IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i."table" AND a.attname = c
				AND a.attnum > 0 AND NOT a.attisdropped) THEN
			RAISE EXCEPTION '% has no column %', source, c;
		END IF;
	END LOOP;
	FOREACH c IN ARRAY array_remove(ARRAY[i.id, i.type], NULL) LOOP
		IF c !~ '^[A-Za-z0-9_-]+$' THEN
			RAISE EXCEPTION 'a header cannot be made of column %: only letters, digits, _ and -', c;
		END IF;
	END LOOP;

	SELECT t.typcategory INTO kind FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = i."table" AND a.attname = i.payload;
	SELECT CASE WHEN a.atttypid IN ('json'::regtype, 'jsonb'::regtype)
				THEN format('event.result -> %L', i.payload)
			WHEN kind = 'S' THEN format('(event.result ->> %L)::json', i.payload) END
		INTO value FROM pg_attribute a WHERE a.attrelid = i."table" AND a.attname = i.payload;
	IF value IS NULL THEN
		RAISE EXCEPTION 'column % is neither JSON nor text', i.payload;
	END IF;
	PERFORM pg_temp.migrate_print('body', 'CREATE SCHEMA IF NOT EXISTS from_outbox;');
	PERFORM pg_temp.migrate_print('body', format('CREATE FUNCTION from_outbox.%I(event webhook.outbox)'
		' RETURNS json LANGUAGE plpgsql AS %L;', i.name, format('BEGIN RETURN %s; END', value)));
	PERFORM pg_temp.migrate_print('body', format('SELECT webhook.copy_profile(''entity'', %L);', i.name));
	PERFORM pg_temp.migrate_print('body', format('UPDATE webhook.profile SET batch_envelope = NULL, '
		'description = %L, headers = %L WHERE name = %L;', 'rows of ' || source,
		jsonb_strip_nulls(jsonb_build_object('X-Outbox-Id', format('{result.%s}', i.id),
			'X-Outbox-Type', '{result.' || i.type || '}')), i.name));

	-- rows that are deleted or marked are no events
	INSERT INTO migrate_watch VALUES (source, '{new}', format(', id_columns => %L', i.entity));
	PERFORM pg_temp.migrate_print('cut', format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE;', source));
	PERFORM pg_temp.migrate_print('subscription', format(
		'INSERT INTO webhook.subscription (name, url, events, profile, transform)'
		' VALUES (%L, %L, %L, %L, %L);', i.name, i.url, ARRAY[source || '.new'], i.name,
		'from_outbox.' || quote_ident(i.name)));

	IF i.sent IS NOT NULL THEN
		SELECT CASE WHEN t.typname IN ('timestamptz', 'timestamp', 'date') AND i.sent_value IS NULL
					THEN 'now()'
				WHEN t.typname = 'bool' AND i.sent_value IS NULL THEN 'true'
				WHEN i.sent_value IS NOT NULL THEN quote_literal(i.sent_value) END
			INTO value FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
			WHERE a.attrelid = i."table" AND a.attname = i.sent;
		IF value IS NULL THEN
			RAISE EXCEPTION 'give sent_value: what is in column % of a row that is sent', i.sent;
		END IF;
		PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
			'new rows of %s are marked as sent; the relay drains the others', source)));
		PERFORM pg_temp.migrate_print('body', format('CREATE FUNCTION from_outbox.%I() RETURNS trigger '
			'LANGUAGE plpgsql AS %L;', i.name || '_sent', format('BEGIN NEW.%I := %s; RETURN NEW; END',
				i.sent, value)));
		PERFORM pg_temp.migrate_print('body', format('CREATE TRIGGER from_outbox_%s BEFORE INSERT ON %s '
			'FOR EACH ROW EXECUTE FUNCTION from_outbox.%I();', i.name, source, i.name || '_sent'));
	ELSE
		SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO moved
			FROM pg_attribute a WHERE a.attrelid = i."table" AND a.attnum > 0
				AND NOT a.attisdropped AND a.attgenerated = '';
		PERFORM pg_temp.migrate_print('note', pg_temp.migrate_note(format(
			'stop the relay of %s first: what it has not sent is inserted again', source)));
		PERFORM pg_temp.migrate_print('subscription', format(
			'WITH unsent AS (DELETE FROM %s WHERE %s RETURNING %s) INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE'
			' SELECT %s FROM unsent ORDER BY %I;', source, i.unsent, moved, source, moved, moved, i.id));
	END IF;
END
$do$;

\ir print.sql
