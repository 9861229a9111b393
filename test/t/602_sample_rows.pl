# The promise: to read a row of a watched table for webhook.test is to run code
# that belongs to the table's owner, and that code gets nobody else's rights.
# Tables that were not named are read only where they are the caller's; a table
# whose code fails is no trouble of a test that did not name it; and whatever
# columns are called, and whatever type a key has, the row is found.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $page = slurp_file("$FindBin::RealBin/../../docs/security.md");

sub block
{
	my ($mark) = @_;
	$page =~ /<!-- roles: $mark -->\n```sql\n(.*?)```/s or die "docs/security.md has no block \"$mark\"";
	return $1;
}

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
my $ok   = $r->url('/ok/crm');

$t->sql($_) for map { block($_) } 'operator', 'viewer', 'watcher';
$t->sql(<<'SQL');
CREATE ROLE op LOGIN IN ROLE webhook_operator;
CREATE ROLE evil LOGIN IN ROLE webhook_watcher, webhook_operator;
CREATE SCHEMA evil AUTHORIZATION evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TABLE trace (who name, session name, at text);
GRANT INSERT ON trace TO PUBLIC;
SQL

# What a role gets for a statement: its output, or the first line of the error.
sub as
{
	my ($role, $sql) = @_;
	my ($rc, $out, $err) = $node->psql($WebhookTest::DB, $sql, extra_params => [ '-U', $role ]);
	return $out if $rc == 0;
	return $err =~ /(ERROR: .*)/ ? $1 : "no error message: $err";
}

sub last_body { return ($r->requests('/ok/crm'))[-1]{body} }

# every place of a table where its owner's code may be, each noting who runs it
is(as('evil', <<'SQL'), '', 'an owner puts code wherever a table takes it');
CREATE FUNCTION evil.note(text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	BEGIN INSERT INTO public.trace VALUES (current_user, session_user, $1); EXCEPTION WHEN OTHERS THEN NULL; END;
	BEGIN EXECUTE 'ALTER ROLE evil SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
	BEGIN EXECUTE 'SET ROLE postgres'; EXCEPTION WHEN OTHERS THEN NULL; END;
	BEGIN EXECUTE 'SET SESSION AUTHORIZATION postgres'; EXCEPTION WHEN OTHERS THEN NULL; END;
	BEGIN EXECUTE 'CREATE TEMP TABLE left_behind ()'; EXCEPTION WHEN OTHERS THEN NULL; END;
	PERFORM set_config('search_path', 'evil', false), set_config('application_name', 'left behind', false);
	-- an operator too: what a session's user may do must not be lent to him
	BEGIN UPDATE webhook.subscription SET url = 'https://127.0.0.1:1/stolen' WHERE name = 'guarded'; EXCEPTION WHEN OTHERS THEN NULL; END;
	BEGIN PERFORM webhook.set_credential('guarded', 'ca', 'file:/etc/passwd'); EXCEPTION WHEN OTHERS THEN NULL; END;
	BEGIN PERFORM webhook.set_credential('crm', 'bearer', 'file:/etc/passwd'); EXCEPTION WHEN OTHERS THEN NULL; END;
END $$;
CREATE TYPE evil.mood AS ENUM ('a', 'b');
CREATE FUNCTION evil.tojson(evil.mood) RETURNS json LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM evil.note('cast'); RETURN '"x"'; END $$;
CREATE CAST (evil.mood AS json) WITH FUNCTION evil.tojson(evil.mood);
CREATE FUNCTION evil.totext(evil.mood) RETURNS text LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM evil.note('cast to text'); RETURN 'x'; END $$;
CREATE CAST (evil.mood AS text) WITH FUNCTION evil.totext(evil.mood);
CREATE FUNCTION evil.policy() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.note('policy'); RETURN true; END $$;
CREATE FUNCTION evil.domain_check(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.note('domain'); RETURN true; END $$;
CREATE FUNCTION evil.indexed(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.note('index'); RETURN $1; END $$;
CREATE DOMAIN evil.key AS int CHECK (evil.domain_check(VALUE));
CREATE TYPE evil.pair AS (m evil.mood, n int);
CREATE TABLE evil.a (id evil.key PRIMARY KEY, m evil.mood, p evil.pair, l evil.mood[], org evil.mood);
CREATE INDEX ON evil.a ((evil.indexed(id)));
ALTER TABLE evil.a ENABLE ROW LEVEL SECURITY;
ALTER TABLE evil.a FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON evil.a USING (evil.policy());
INSERT INTO evil.a VALUES (1, 'a', ROW('a', 1), '{a,b}', 'a');
SET client_min_messages = error;
SELECT FROM webhook.watch('evil.a', 'mine', tenant => 'org');
CREATE TABLE evil.b (id int PRIMARY KEY, m evil.mood);
INSERT INTO evil.b VALUES (1, 'a');
SELECT FROM webhook.watch('evil.b', 'mine too');
GRANT SELECT ON evil.a, evil.b TO PUBLIC;
SQL
$t->sql("TRUNCATE trace");
$t->subscribe('crm', $ok, owner => "'op'");
$t->subscribe('guarded', $r->url('/ok/guarded'));
$t->sql("SELECT webhook.set_credential('guarded', 'bearer', 'ours')");
my $is_as_before = <<'SQL';
SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = 'evil'),
	(SELECT url LIKE '%/ok/guarded' FROM webhook.subscription WHERE name = 'guarded'),
	(SELECT string_agg(s.name || ' ' || c.kind, ',') FROM webhook.credential c JOIN webhook.subscription s ON s.id = c.subscription_id)
SQL
my $before = 'f|t|guarded bearer';

# not named: not read by anybody whose it is not
for my $who ('postgres', 'op')
{
	is(as($who, "CALL webhook.test('crm')"), '200|', "$who tests");
	like(last_body(), qr/"test"\s*:\s*true/, 'with an event that is made up');
	is($t->sql('SELECT count(*) FROM trace'), 0, 'and nothing of a table that is not theirs has run');
}
is(as('evil', "CALL webhook.test('crm')"), '200|', 'its owner tests');
like(last_body(), qr/"entity_type":"mine too"/, 'with a row of his, of the table whose row security does not apply to him');
$t->sql("TRUNCATE trace");

# named: all of it as the owner
for my $who ('postgres', 'op')
{
	for my $call ("'mine too'", "'mine too', '1'")
	{
		is(as($who, "CALL webhook.test('crm', $call); SELECT current_user, current_setting('search_path') <> 'evil', current_setting('application_name') <> 'left behind', to_regclass('pg_temp.left_behind') IS NULL"),
			"200|\n$who|t|t|t", "$who tests with a table named ($call), and its session is as it was");
	}
	is($t->sql('SELECT DISTINCT who FROM trace'), 'evil', 'what has run of it was its owner');
	is($t->sql($is_as_before), $before, 'and has gained nothing');
	$t->sql('TRUNCATE trace');
}
# the row security of one table, that of the owner, and a tenant's and a key's type of the owner's
like(as('op', "CALL webhook.test('crm', 'mine')"), qr/^ERROR:  cannot read a row of table "a" for a test/, 'where row security applies to the caller nothing is read');
is($t->sql('SELECT count(*) FROM trace'), 0, 'and nothing is run');
$t->sql("UPDATE webhook.subscription SET tenant = 'a' WHERE name = 'crm'");
for my $call ("'mine'", "'mine', '1'")
{
	is(as('postgres', "CALL webhook.test('crm', $call)"), '200|', "a superuser tests with it ($call)");
}
is($t->sql("SELECT string_agg(DISTINCT who || ' ' || at, ',' ORDER BY who || ' ' || at) FROM trace"),
	'evil cast,evil domain,evil policy', 'casts, domains and policies ran as the owner');
is($t->sql($is_as_before), $before, 'and have gained nothing');
$t->sql("UPDATE webhook.subscription SET tenant = NULL WHERE name = 'crm'; TRUNCATE trace");

# the rights that are asked for are the caller's
$t->sql("CREATE ROLE low LOGIN IN ROLE webhook_operator; CREATE TABLE hidden (id int PRIMARY KEY, v text); INSERT INTO hidden VALUES (1, 'hush'); CREATE SCHEMA shut; CREATE TABLE shut.in (id int PRIMARY KEY); GRANT SELECT ON shut.in TO low");
$t->watch('hidden');
$t->watch('shut.in', entity_type => "'shut in'");
like(as('low', "CALL webhook.test('crm', 'hidden')"), qr/^ERROR:  permission denied for table hidden/, 'without SELECT: refused');
like(as('low', "CALL webhook.test('crm', 'shut in')"), qr/^ERROR:  permission denied for schema shut/, 'without USAGE of the schema: refused');
like(as('low', "SELECT * FROM webhook_internal.sample_row('hidden', 'webhook_capture', NULL, NULL, true)"), qr/^ERROR:  permission denied for table hidden/, 'also by hand');
is(as('low', "SELECT * FROM webhook_internal.sample_row('hidden', 'webhook_capture', NULL, NULL, false)"), '||', 'or shown nothing');
$t->sql('GRANT SELECT (id, v) ON hidden TO low');
like(as('low', "CALL webhook.test('crm', 'hidden')"), qr/^ERROR:  permission denied for table hidden/, 'nor with columns only');
$t->sql('CREATE ROLE owners; GRANT owners TO low; ALTER TABLE hidden OWNER TO owners; GRANT USAGE ON SCHEMA public TO owners');
is(as('low', "CALL webhook.test('crm')"), '200|', 'a member of the role that owns it need not name it');
like(last_body(), qr/"v":"hush"/, 'and is shown its row');
is($t->sql("SELECT * FROM webhook_internal.sample_row('hidden', 'webhook_capture', NULL, NULL, false)"), '||', 'a superuser must name it: he is a member of all roles, and of none');

# an error, or no end, of the owner's code
as('evil', <<'SQL');
CREATE FUNCTION evil.fail(evil.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE assert_failure USING MESSAGE = 'my own ' || session_user; END $$;
DROP CAST (evil.mood AS json); CREATE CAST (evil.mood AS json) WITH FUNCTION evil.fail(evil.mood);
SELECT webhook.watch('evil.b', 'hidden');
SQL
$t->sql("GRANT SELECT ON hidden TO op");
is(as('op', "CALL webhook.test('crm', 'hidden')"), '200|', 'of two tables called the same the one that fails is left out');
like(last_body(), qr/"v":"hush"/, 'and the other read');
is(as('evil', "CALL webhook.test('crm')"), '200|', 'a table that was not named fails: the test is made up');
like(last_body(), qr/"test"\s*:\s*true/, 'and sent');
as('evil', "SELECT webhook.watch('evil.b', 'mine too')");
like(as('op', "CALL webhook.test('crm', 'mine too')"), qr/^ERROR:  my own op/, 'a table that was named: the error is told');
is(as('op', <<'SQL'), 'op|t', 'and afterwards the user is the caller again');
DO $$ BEGIN PERFORM webhook_internal.sample_row('evil.b', 'webhook_capture', NULL, NULL, true); EXCEPTION WHEN assert_failure THEN NULL; END $$;
SELECT current_user, current_setting('search_path') <> 'pg_catalog, pg_temp';
SQL
as('evil', <<'SQL');
CREATE FUNCTION evil.endless(evil.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN LOOP PERFORM pg_sleep(0.1); END LOOP; END $$; -- part of the scenario
DROP CAST (evil.mood AS json); CREATE CAST (evil.mood AS json) WITH FUNCTION evil.endless(evil.mood);
SQL
like(as('op', "SET statement_timeout = '500ms'; CALL webhook.test('crm', 'mine too')"), qr/^ERROR:  canceling statement due to statement timeout/, 'code without end ends with the caller\'s timeout');

#
# Names and types
#
$t->sql(<<'SQL');
SET client_min_messages = error;
CREATE SCHEMA ext;
DO $$ BEGIN EXECUTE 'CREATE EXTENSION IF NOT EXISTS ltree SCHEMA ext'; EXECUTE 'CREATE EXTENSION IF NOT EXISTS citext SCHEMA ext'; END $$;
CREATE TYPE colour AS ENUM ('red', 'it''s');
CREATE TYPE point3 AS (x int, y text, z numeric);
CREATE DOMAIN code AS text CHECK (VALUE <> 'never');
CREATE TABLE made (kind text, v text);
SQL
my @types = (
	[ 'int',            '7' ],
	[ 'ext.ltree',      "'a.b'" ],
	[ 'ext.citext',     "'MiXed'" ],
	[ 'colour',         "'it''s'" ],
	[ 'point3',         q{'(1,"a ""b"", c",2.50)'} ],
	[ 'code',           "'x'" ],
	[ 'int[]',          "'{1,NULL,3}'" ],
	[ 'text[]',         q{'{"a,b","c\"d"}'} ],
	[ 'colour[]',       q{'{red,it''s}'} ],
	[ 'bytea',          q{'\\x00ff5c'} ],
	[ 'interval',       "'1 day -02:03:04.5'" ],
	[ 'timestamptz',    "'2024-02-29 12:00:00+05:30'" ],
	[ 'date',           "'2024-02-29'" ],
	[ 'tstzrange',      "'[2024-01-01 00:00+00,2024-02-01 00:00+00)'" ],
	[ 'int4multirange', "'{[1,3),[5,9)}'" ],
	[ 'float8',         '0.1::float8 + 0.2::float8' ],
	[ 'numeric',        '1.500' ],
	[ 'money',          "'1234.56'" ],
	[ 'uuid',           "'00000000-0000-0000-0000-00000000000a'" ],
	[ 'inet',           "'10.0.0.1/8'" ],
	[ 'boolean',        'true' ],
	[ '"char"',         "'c'" ],
	[ 'bit(3)',         "B'101'" ],
	[ 'jsonb',          q{'{"b": [1, "x"], "a": null}'} ],
	[ 'regclass',       "'made'" ],
	[ 'json',           q{'{"a": 1}'} ],    # no equality at all
	[ 'xml',            q{'<a>1</a>'} ],
	[ 'point',          q{'(1,2)'} ],
);
my $n = 0;
my $calls = '';
for my $type (@types)
{
	$n++;
	# alone, and with another one; columns whose names are in the way of any query about them
	$t->sql(<<SQL);
SET client_min_messages = error;
CREATE TABLE k$n (t $type->[0], c text, q text, "row_" text, "row_row_" int, "we""ird col" text);
CREATE TABLE m$n (t $type->[0], "row_" int);
INSERT INTO k$n VALUES ($type->[1], 'one'), (NULL, 'null');
INSERT INTO m$n VALUES ($type->[1], 1), ($type->[1], 2), (NULL, 3);
SELECT webhook.watch('k$n', id_columns => '{t}'), webhook.watch('m$n', id_columns => '{t,row_}', tenant => 't');
UPDATE k$n SET q = 'seen' WHERE c = 'one';
UPDATE m$n SET row_ = 20 WHERE row_ = 2;
SQL
	my $found = $t->sql(<<SQL);
SELECT count(*), bool_and((o.entity_id, o.tenant) IS NOT DISTINCT FROM (s.entity_id, s.tenant)
	-- names of objects are written as the search path has it, here and in capture
	AND ('$type->[0]' = 'regclass' OR o.result::text = s.result::text))
FROM webhook.outbox o CROSS JOIN LATERAL webhook_internal.sample_row(o.entity_type::regclass, 'webhook_capture', o.entity_id, o.tenant, true) s
WHERE o.entity_type IN ('k$n', 'm$n') AND o.action_type <> 'delete'
SQL
	is($found, '2|t', "a key of type $type->[0] is found again, alone and beside another");
	$calls .= "CALL webhook.test('crm', 'k$n'); CALL webhook.test('crm', 'm$n');\n";
}
is($t->sql($calls), join("\n", ('200|') x (2 * $n)), 'and each is in a test');
$t->stop;
done_testing();
