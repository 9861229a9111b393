--
-- A captured row is the text that row_to_json() makes of it: every built-in
-- type, domains, enums, arrays, composites, values at their extremes, under
-- every setting that output depends on.
--
SET client_min_messages = error;
CREATE EXTENSION IF NOT EXISTS webhook;
DO $$ BEGIN PERFORM webhook_internal.warn_undelivered(); END $$; -- once in a session
RESET client_min_messages;
TRUNCATE webhook.outbox;

-- where the event of a row differs from row_to_json of the row; and how many were compared
CREATE FUNCTION pg_temp.mismatches(source regclass, OUT id text, OUT captured text, OUT expected text)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format(
		'SELECT coalesce(o.entity_id, t.id::text), o.result::text, row_to_json(t)::text
		   FROM %s t FULL JOIN webhook.outbox o ON o.entity_id = t.id::text
		  WHERE o.result::text IS DISTINCT FROM row_to_json(t)::text', source);
END $$;

--
-- One table with a column of each type
--
CREATE TYPE types_mood AS ENUM ('sad', 'ok', 'hap"py\');
CREATE TYPE types_pair AS (a integer, b text, c timestamptz);
CREATE TYPE types_nested AS (p types_pair, q types_pair[], r numeric);
CREATE DOMAIN types_positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN types_email AS text CHECK (VALUE LIKE '%@%');
CREATE DOMAIN types_email_again AS types_email;
CREATE DOMAIN types_document AS jsonb;
CREATE DOMAIN types_list AS integer[];
CREATE DOMAIN types_pair_domain AS types_pair;
CREATE DOMAIN types_flag AS boolean;
CREATE DOMAIN types_instant AS timestamptz;
CREATE TYPE types_float_range AS RANGE (subtype = float8);

CREATE TABLE types_all (
	id            integer PRIMARY KEY,
	c_bool        boolean,
	c_int2        smallint,
	c_int4        integer,
	c_int8        bigint,
	c_float4      real,
	c_float8      double precision,
	c_numeric     numeric,
	c_numeric2    numeric(20, 4),
	c_money       money,
	c_text        text,
	c_varchar     varchar(40),
	c_bpchar      char(10),
	c_char        "char",
	c_name        name,
	c_bytea       bytea,
	c_date        date,
	c_time        time,
	c_timetz      timetz,
	c_timestamp   timestamp,
	c_timestamptz timestamptz,
	c_timestamp0  timestamptz(0),
	c_interval    interval,
	c_uuid        uuid,
	c_json        json,
	c_jsonb       jsonb,
	c_jsonpath    jsonpath,
	c_xml         xml,
	c_inet        inet,
	c_cidr        cidr,
	c_macaddr     macaddr,
	c_macaddr8    macaddr8,
	c_bit         bit(5),
	c_varbit      varbit,
	c_point       point,
	c_line        line,
	c_lseg        lseg,
	c_box         box,
	c_path        path,
	c_polygon     polygon,
	c_circle      circle,
	c_tsvector    tsvector,
	c_tsquery     tsquery,
	c_oid         oid,
	c_regclass    regclass,
	c_regtype     regtype,
	c_regproc     regprocedure,
	c_regrole     regrole,
	c_regnsp      regnamespace,
	c_xid         xid,
	c_xid8        xid8,
	c_cid         cid,
	c_tid         tid,
	c_lsn         pg_lsn,
	c_snapshot    pg_snapshot,
	c_int4range   int4range,
	c_numrange    numrange,
	c_daterange   daterange,
	c_tstzrange   tstzrange,
	c_floatrange  types_float_range,
	c_int4multi   int4multirange,
	c_tstzmulti   tstzmultirange,
	c_int2vector  int2vector,
	c_oidvector   oidvector,
	c_ints        integer[],
	c_texts       text[],
	c_matrix      numeric[],
	c_stamps      timestamptz[],
	c_jsons       json[],
	c_jsonbs      jsonb[],
	c_bools       boolean[],
	c_enum        types_mood,
	c_enums       types_mood[],
	c_pair        types_pair,
	c_pairs       types_pair[],
	c_nested      types_nested,
	c_nesteds     types_nested[],
	c_positive    types_positive,
	c_email       types_email_again,
	c_emails      types_email[],
	c_document    types_document,
	c_list        types_list,
	c_pairdomain  types_pair_domain,
	c_flag        types_flag,
	c_instant     types_instant,
	c_generated   text GENERATED ALWAYS AS ('<' || c_text || '>') STORED,
	"Odd ""name\"	integer,
	"ünïcödé €"   text
);
SELECT webhook.watch('types_all');

-- all null
INSERT INTO types_all (id) VALUES (1);

-- ordinary values
INSERT INTO types_all VALUES (2, true, 12, 1234, 123456789012, 1.5, 2.25, 1234.5600, 99.5, 12.34, 'plain', 'varying', 'padded', 'x', 'a_name',
	'\xdeadbeef', '2024-02-29', '12:34:56.789', '12:34:56.789+02', '2024-02-29 12:34:56.789', '2024-02-29 12:34:56.789+02', '2024-02-29 12:34:56.789+02',
	'1 year 2 mons 3 days 04:05:06.789', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b" : 1,   "a":[ null ], "b":2}', '{"b" : 1,   "a":[ null ]}', '$.a[*] ? (@ > 1)',
	'<a href="x">text</a>', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'10110', B'1', '(1,2)', '{1,2,3}', '[(1,2),(3,4)]', '(3,4),(1,2)',
	'[(1,2),(3,4)]', '((1,2),(3,4),(5,6))', '<(1,2),3>', 'a:1 fat:2B ''qu"ote''', 'a & !(b | "c":*)', 1234, 'pg_class', 'integer', 'upper(text)', 'pg_monitor', 'pg_catalog', '7', '7', '3', '(0,1)', '16/B374D848',
	'10:20:10,14', '[1,10)', '(1.5,2.5]', '[2024-01-01,2024-02-01)', '[2024-01-01 00:00+00,)', '[1.5,2.5)', '{[1,3),[5,8)}', '{[2024-01-01 00:00+00,2024-01-02 00:00+00)}', '1 2 3', '1 2 3', '{1,2,null}',
	'{"a","b\"c",null,"d,e"}', '{{1.10,2.20},{3.30,NaN}}', '{2024-01-01 00:00+00,infinity}', '{"{\"a\": 1}","[1]"}', '{"{\"a\": 1}","[1]"}', '{t,f,null}', 'hap"py\', '{sad,ok}', '(1,"two ""2""","2024-01-01 00:00+00")',
	'{"(1,two,)","(,,)"}', '("(1,two,)","{""(2,three,)""}",1.0)', ARRAY['("(1,two,)","{""(2,three,)""}",1.0)', NULL]::types_nested[], 5, 'a@b', '{a@b,c@d}', '{"k": [1, 2]}', '{1,2}', '(1,x,)', false, '2024-02-29 12:34:56+00', DEFAULT, 42, 'ß');

-- extremes
INSERT INTO types_all (id, c_bool, c_int2, c_int4, c_int8, c_float4, c_float8, c_numeric, c_date, c_timestamp, c_timestamptz, c_interval, c_text, c_bpchar, c_bytea, c_ints, c_texts, c_jsonb, c_oid, c_uuid, c_money)
VALUES
	(10, false, -32768, -2147483648, -9223372036854775808, '-Infinity', '-Infinity', '-Infinity', '-infinity', '-infinity', '-infinity', '-178000000 years', '', '', '', '{}', '{}', '{}', 0, '00000000-0000-0000-0000-000000000000', '-92233720368547758.08'),
	(11, true, 32767, 2147483647, 9223372036854775807, 'Infinity', 'Infinity', 'Infinity', 'infinity', 'infinity', 'infinity', '178000000 years', ' ', ' ', '\x00', '[0:1]={1,2}', '{NULL}', '[]', 4294967295, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '92233720368547758.07'),
	(12, NULL, 0, 0, 0, 'NaN', 'NaN', 'NaN', '4713-01-01 BC', '4713-01-01 00:00:00 BC', '4713-01-01 00:00:00+00 BC', '0', 'null', 'null', '\x5c22', '{{{1}}}', '{""}', 'null', 1, NULL, 0),
	(13, NULL, -1, -1, -1, -0.0, -0.0, 0, '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '-1 day +02:03', 'true', NULL, NULL, NULL, NULL, '"str"', NULL, NULL, NULL),
	(14, NULL, NULL, NULL, NULL, 1e-37, 1e-300, 1e-1000, '0001-01-01', '0001-01-01 00:00:00', '1883-11-18 12:03:57+00', '1 us', '1', NULL, NULL, NULL, NULL, '1.50', NULL, NULL, NULL),
	(15, NULL, NULL, NULL, NULL, 3.4e38, 1.7976931348623157e308, 1e1000, '1999-12-31', '1999-12-31 23:59:59.5', '2024-03-10 02:30:00-08', '-1 us', '-', NULL, NULL, NULL, NULL, 'true', NULL, NULL, NULL),
	(16, NULL, NULL, NULL, NULL, 0.1, 0.1, 123456789012345678901234567890.123456789, '2000-01-01', '2000-01-01', '2000-01-01 00:00:00+00', '1 mon -1 day', '--1', NULL, NULL, NULL, NULL, '{"a": "\u0001\"\\"}', NULL, NULL, NULL),
	(17, NULL, NULL, NULL, NULL, 1e20, 1e20, -0.00001, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

-- text with every character below 128, alone and at every place within a word
INSERT INTO types_all (id, c_text, c_varchar, c_bpchar, c_json)
SELECT 100 + i, repeat('x', i % 19) || chr(i) || repeat('y', i % 7), chr(i) || 'é' || chr(i), chr(i), to_json(chr(i))
  FROM generate_series(1, 127) i;
INSERT INTO types_all (id, c_text, c_texts)
SELECT 300 + i, string_agg(chr(1 + (i * 31 + j * j) % 127), ''), array_agg(chr(1 + (i * 17 + j) % 127))
  FROM generate_series(1, 100) i, generate_series(0, i) j GROUP BY i;
INSERT INTO types_all (id, c_text, "ünïcödé €") VALUES
	(500, 'emoji 😀👩‍👩‍👧‍👦 and ‏rtl عربى and 漢字', '𝔘𝔫𝔦𝔠𝔬𝔡𝔢'),
	(501, U&'\0080\00A0\2028\2029\FEFF\FFFD\+01F4A9', U&'\E000'),
	(502, repeat('"', 100), repeat('\', 101)),
	(503, repeat(E'\t\n', 50), repeat('€"', 33));

-- large values: compressed, TOASTed out of line, neither
INSERT INTO types_all (id, c_text, c_bytea, c_jsonb, c_json, c_numeric)
SELECT 600, repeat('0123456789abcde"', 65536), decode(repeat('00ff5c22', 10000), 'hex'),
	   jsonb_build_object('long', repeat('z', 100000)), json_build_object('long', repeat('z', 100000)), (repeat('9', 5000) || '.' || repeat('7', 5000))::numeric;
INSERT INTO types_all (id, c_text, c_texts)
SELECT 601, string_agg(md5(i::text), E'\n'), array_agg(md5(i::text)) FROM generate_series(1, 32768) i;
ALTER TABLE types_all ALTER c_text SET STORAGE EXTERNAL, ALTER c_jsonb SET STORAGE EXTERNAL;
INSERT INTO types_all (id, c_text, c_jsonb) VALUES (602, repeat('external ', 5000), jsonb_build_array(repeat('external ', 5000)));
ALTER TABLE types_all ALTER c_text SET STORAGE PLAIN;
INSERT INTO types_all (id, c_text) VALUES (603, repeat('plain ', 500));

SELECT count(*) AS compared FROM types_all t JOIN webhook.outbox ON entity_id = t.id::text;
SELECT * FROM pg_temp.mismatches('types_all');

--
-- Settings that output depends on
--
CREATE PROCEDURE pg_temp.again(VARIADIC settings text[]) LANGUAGE plpgsql AS $$
DECLARE
	setting text;
	n       bigint;
BEGIN
	TRUNCATE webhook.outbox;
	FOREACH setting IN ARRAY settings LOOP
		PERFORM set_config(split_part(setting, '=', 1), split_part(setting, '=', 2), true);
	END LOOP;
	UPDATE types_all SET "Odd ""name\" = coalesce("Odd ""name\", 0) + 1;
	SELECT count(*) INTO n FROM pg_temp.mismatches('types_all');
	RAISE NOTICE '%: % mismatches in % events', settings, n, (SELECT count(*) FROM webhook.outbox);
END $$;
CALL pg_temp.again('TimeZone=Asia/Kolkata', 'DateStyle=German, DMY', 'IntervalStyle=iso_8601');
CALL pg_temp.again('TimeZone=America/St_Johns', 'DateStyle=SQL, MDY', 'IntervalStyle=sql_standard', 'bytea_output=escape');
CALL pg_temp.again('TimeZone=UTC', 'extra_float_digits=-3', 'IntervalStyle=postgres_verbose');
CALL pg_temp.again('TimeZone=<+12:34>-12:34', 'extra_float_digits=3', 'xmlbinary=hex', 'quote_all_identifiers=on');

-- the same dates and times row after row, also in another time zone and after others
CREATE TABLE types_times (id integer PRIMARY KEY, at timestamptz, local timestamp, day date);
SELECT webhook.watch('types_times');
SET TimeZone = 'Asia/Tokyo';
INSERT INTO types_times SELECT i, '2024-01-01 00:00+00', '2024-01-01 00:00', '2024-01-01' FROM generate_series(1, 2) i;
SET TimeZone = 'UTC';
INSERT INTO types_times SELECT i, '2024-01-01 00:00+00', '2024-01-01 00:00', '2024-01-01' FROM generate_series(3, 4) i;
INSERT INTO types_times VALUES (5, '-infinity', '2024-01-01 00:00:00.5', 'infinity'), (6, '2024-01-01 00:00+00', NULL, '2024-01-02');
RESET TimeZone;
SELECT result FROM webhook.outbox WHERE entity_type = 'types_times' ORDER BY event_number;
DROP TABLE types_times;

--
-- Types that users bring: a cast to json counts, and may come and go
--
TRUNCATE webhook.outbox;
CREATE TYPE types_level AS ENUM ('low', 'high');
CREATE TABLE types_cast (id integer PRIMARY KEY, level types_level, levels types_level[]);
SELECT webhook.watch('types_cast');
INSERT INTO types_cast VALUES (1, 'low', '{low,high}');
SELECT result FROM webhook.outbox WHERE entity_id = '1';
CREATE FUNCTION types_level_to_json(types_level) RETURNS json LANGUAGE sql AS
	$$ SELECT json_build_object('level', $1::text) $$;
CREATE CAST (types_level AS json) WITH FUNCTION types_level_to_json(types_level);
INSERT INTO types_cast VALUES (2, 'high', '{low,high}');
SELECT result FROM webhook.outbox WHERE entity_id = '2';
CREATE OR REPLACE FUNCTION types_level_to_json(types_level) RETURNS json LANGUAGE plpgsql AS
	$$ BEGIN RETURN json_build_array($1::text); END $$;
INSERT INTO types_cast VALUES (3, 'high', '{low,high}');
SELECT result FROM webhook.outbox WHERE entity_id = '3';
DROP CAST (types_level AS json);
INSERT INTO types_cast VALUES (4, 'high', '{low,high}');
SELECT result FROM webhook.outbox WHERE entity_id = '4';

-- a cast function that inserts into the watched table, after making stale what is known of it
CREATE FUNCTION types_insert_more() RETURNS void LANGUAGE sql AS
	$$ INSERT INTO types_cast VALUES (6, 'low', NULL); $$;
CREATE OR REPLACE FUNCTION types_level_to_json(types_level) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	IF $1 = 'high' THEN
		CREATE CAST (types_mood AS json) WITH INOUT;
		PERFORM types_insert_more();
	END IF;
	RETURN to_json($1::text);
END $$;
CREATE CAST (types_level AS json) WITH FUNCTION types_level_to_json(types_level);
INSERT INTO types_cast VALUES (5, 'high', NULL);
SELECT entity_id, result FROM webhook.outbox WHERE entity_id >= '5' ORDER BY event_number;
DROP CAST (types_mood AS json);
DROP CAST (types_level AS json);
DROP TABLE types_cast;
DROP FUNCTION types_insert_more, types_level_to_json;
DROP TYPE types_level;

-- hstore, where it is installed, has one in C
DO $$
DECLARE
	n bigint := 0;
BEGIN
	IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hstore') THEN
		CREATE EXTENSION hstore;
		TRUNCATE webhook.outbox;
		CREATE TABLE types_hstore (id integer PRIMARY KEY, h hstore, hs hstore[]);
		PERFORM webhook.watch('types_hstore');
		INSERT INTO types_hstore VALUES (1, 'a=>1, "b c"=>NULL, d=>"q\"uote"', ARRAY['a=>1'::hstore, NULL]), (2, NULL, NULL), (3, '', '{}');
		SELECT count(*) INTO n FROM pg_temp.mismatches('types_hstore');
		n := n + abs(3 - (SELECT count(*) FROM webhook.outbox));
		DROP TABLE types_hstore;
		DROP EXTENSION hstore;
	END IF;
	RAISE NOTICE 'hstore: % mismatches', n;
END $$;

--
-- Columns dropped, added, renamed and retyped under a cached description
--
TRUNCATE webhook.outbox;
CREATE TABLE types_ddl (gone text, id integer PRIMARY KEY, a integer);
SELECT webhook.watch('types_ddl');
INSERT INTO types_ddl VALUES ('x', 1, 1);
ALTER TABLE types_ddl DROP gone;
INSERT INTO types_ddl VALUES (2, 2);
ALTER TABLE types_ddl ADD b text DEFAULT 'added', ADD c timestamptz;
UPDATE types_ddl SET a = a + 1 WHERE id = 1;
ALTER TABLE types_ddl RENAME a TO "A";
INSERT INTO types_ddl VALUES (3, 3);
ALTER TABLE types_ddl ALTER b DROP DEFAULT;
ALTER TABLE types_ddl ALTER "A" TYPE text, ALTER b TYPE jsonb USING to_jsonb(b);
INSERT INTO types_ddl VALUES (4, '4');
BEGIN;
ALTER TABLE types_ddl ADD d integer DEFAULT 7;
INSERT INTO types_ddl VALUES (5, '5');
SAVEPOINT s;
ALTER TABLE types_ddl DROP d;
INSERT INTO types_ddl VALUES (6, '6');
ROLLBACK TO s;
INSERT INTO types_ddl VALUES (7, '7');
ROLLBACK;
INSERT INTO types_ddl VALUES (8, '8');
SELECT entity_id, action_type, result FROM webhook.outbox ORDER BY event_number;
ALTER TABLE types_ddl DROP "A", DROP b, DROP c;
INSERT INTO types_ddl VALUES (9);
SELECT result FROM webhook.outbox WHERE entity_id = '9';
DROP TABLE types_ddl;

-- many columns
TRUNCATE webhook.outbox;
DO $$
BEGIN
	EXECUTE 'CREATE TABLE types_wide (id integer PRIMARY KEY, ' ||
		(SELECT string_agg(format('c%s integer', i), ', ') FROM generate_series(1, 1500) i) || ')';
END $$;
SELECT webhook.watch('types_wide');
INSERT INTO types_wide (id, c1, c1500) VALUES (1, 1, 1500);
SELECT count(*) AS compared FROM types_wide t JOIN webhook.outbox ON entity_id = t.id::text;
SELECT count(*) AS mismatches FROM pg_temp.mismatches('types_wide');
DROP TABLE types_wide;

--
-- The entity's id is the same whatever the session's time zone
--
TRUNCATE webhook.outbox;
CREATE TABLE types_key (at timestamptz, day date, local timestamp, n numeric, t char(3), PRIMARY KEY (at, day, local, n, t));
CREATE TABLE types_key_one (at timestamptz PRIMARY KEY);
SELECT webhook.watch('types_key'), webhook.watch('types_key_one', tenant => 'at');
SET TimeZone = 'Asia/Tokyo';
INSERT INTO types_key VALUES ('2024-01-01 00:00+00', '2024-01-01', '2024-01-01 00:00', 1.0, 'a');
INSERT INTO types_key_one VALUES ('2024-01-01 00:00+00'), ('infinity');
RESET TimeZone;
DELETE FROM types_key;
DELETE FROM types_key_one;
SELECT entity_type, entity_id, action_type, tenant, result FROM webhook.outbox ORDER BY event_number;
DROP TABLE types_key, types_key_one;

-- other types of keys
TRUNCATE webhook.outbox;
CREATE TABLE types_key (kind text PRIMARY KEY, b boolean, u uuid, e types_mood, i2 smallint, c char(3), bin bytea, r int4range, x types_email);
INSERT INTO types_key VALUES ('a "b" \c', true, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'hap"py\', -7, 'x', '\x00ff', '[1,2]', 'a"@b');
DO $$
DECLARE
	col name;
BEGIN
	FOREACH col IN ARRAY '{kind,b,u,e,i2,c,bin,r,x}'::name[] LOOP
		PERFORM webhook.watch('types_key', col, ARRAY[col]);
		UPDATE types_key SET kind = kind || '.';
	END LOOP;
	PERFORM webhook.watch('types_key', 'all', '{kind,b,u,e,i2,c,bin,r,x}');
	DELETE FROM types_key;
END $$;
SELECT entity_type, action_type, entity_id FROM webhook.outbox ORDER BY event_number;
DROP TABLE types_key;

DROP TABLE types_all;
DROP DOMAIN types_positive, types_email_again, types_email, types_document, types_list, types_pair_domain, types_flag, types_instant;
DROP TYPE types_mood, types_nested, types_pair, types_float_range;
TRUNCATE webhook.outbox;
