# The promise: docs/names.md has every name that people meet in the schema webhook and
# in its settings, and none that is not there; one name has one type; and what people
# may call fits on a screen.
#
# The tables of the page are compared with the catalogue, both ways. Where this fails
# because a name was added, changed or removed on purpose, the lines it shows are the
# lines the page needs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $page = slurp_file("$FindBin::RealBin/../../docs/names.md");
my $t    = WebhookTest->new;

# The lines of a table of the page, without those that head it.
sub lines_of
{
	my ($mark) = @_;
	$page =~ /<!-- names: $mark -->\n\|.*\n\|[-| ]+\n((?:\|.*\n)+)/ or die "docs/names.md has no table \"$mark\"";
	return split /\n/, $1;
}

sub compare
{
	my ($what, $said, $found) = @_;
	my %said  = map { $_ => 1 } @$said;
	my %found = map { $_ => 1 } @$found;
	is(scalar(keys %said), scalar(@$said), "$what: each is there once");
	is_deeply([ grep { !$said{$_} } @$found ], [], "$what: the page has all there are");
	is_deeply([ grep { !$found{$_} } @$said ], [], "$what: and no others");
	return;
}

# every argument and every column, with its type, and where it is
my $named = <<'SQL';
WITH functions AS (
	SELECT p.oid, p.proname::text AS object, p.prokind = 'p' AS is_procedure, p.prorettype AS returns FROM pg_proc p WHERE p.pronamespace = 'webhook'::regnamespace),
arguments AS (
	SELECT f.oid, f.object, a.n, a.name, CASE a.mode WHEN 'i' THEN '' WHEN 'o' THEN 'OUT ' WHEN 'b' THEN 'INOUT ' WHEN 'v' THEN 'VARIADIC ' ELSE 'TABLE ' END AS mode,
		replace(format_type(a.type, NULL), 'timestamp with time zone', 'timestamptz') AS type
	FROM functions f JOIN pg_proc p USING (oid), unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes) WITH ORDINALITY x(type, name, mode, n),
		LATERAL (SELECT x.n, x.type, coalesce(nullif(x.name, ''), '(no name)') AS name, coalesce(x.mode, 'i') AS mode) a),
relations AS (
	SELECT c.oid, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END AS kind, c.relname::text AS object FROM pg_class c
		WHERE c.relnamespace = 'webhook'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT c.relispartition),
columns AS (
	SELECT r.oid, r.object, a.attnum AS n, a.attname::text AS name, replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz') AS type
	FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid WHERE r.kind <> 'sequence' AND a.attnum > 0 AND NOT a.attisdropped)
SQL

compare('functions', [ lines_of('functions') ], [ split /\n/, $t->sql("$named " . <<'SQL') ]);
SELECT format('| %s | %s | %s |', f.object,
		(SELECT string_agg(format('%s%s %s', a.mode, a.name, a.type), ', ' ORDER BY a.n) FROM arguments a WHERE a.oid = f.oid),
		CASE WHEN f.is_procedure THEN 'procedure' ELSE format_type(f.returns, NULL) END)
	FROM functions f ORDER BY 1
SQL

compare('tables, views and sequences', [ lines_of('relations') ], [ split /\n/, $t->sql("$named " . <<'SQL') ]);
SELECT format('| %s %s | %s |', r.kind, r.object, (SELECT string_agg(format('%s %s', c.name, c.type), ', ' ORDER BY c.n) FROM columns c WHERE c.oid = r.oid))
	FROM relations r ORDER BY 1
SQL

compare('values', [ lines_of('values') ], [ split /\n/, $t->sql(<<'SQL') ]);
SELECT format('| %s.%s | %s |', c.relname, a.attname, (SELECT string_agg(m[1], ', ') FROM regexp_matches(pg_get_constraintdef(k.oid), '''([^'']+)''::text', 'g') m))
	FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1]
	WHERE c.relnamespace = 'webhook'::regnamespace AND NOT c.relispartition AND k.contype = 'c' AND cardinality(k.conkey) = 1
		AND pg_get_constraintdef(k.oid) ~ '= ANY \(ARRAY\['
	ORDER BY 1
SQL

compare('settings', [ lines_of('settings') ], [ split /\n/, $t->sql(<<'SQL') ]);
SELECT format('| %s | %s |', name, coalesce(array_to_string(enumvals, ', '), vartype)) FROM pg_settings WHERE name LIKE 'webhook.%' ORDER BY 1
SQL

# the reason is the page's own
compare('names of several types', [ map { s/^(\|[^|]*\|[^|]*\|).+/$1/r } lines_of('types') ], [ split /\n/, $t->sql("$named " . <<'SQL') ]);
SELECT format('| %s | %s |', x.name, string_agg(DISTINCT x.type, ', '))
	FROM (SELECT name, type FROM arguments UNION SELECT name, type FROM columns) x GROUP BY x.name HAVING count(DISTINCT x.type) > 1 ORDER BY 1
SQL
ok(!(grep { !/^\|[^|]*\|[^|]*\| \S.+ \|$/ } lines_of('types')), 'for each of which the page has a reason');
is($t->sql("$named SELECT count(*) FROM arguments WHERE name = '(no name)'"), 0, 'every argument has a name');

my @words = map { /^\| (\S[^|]*?) \|/ } lines_of('glossary');
my %words = map { lc $_ => 1 } @words;
is(scalar(keys %words), scalar(@words), 'a word has one meaning');
cmp_ok(scalar(lines_of('functions')), '<=', 30, 'the functions are one screen');

$t->stop;
done_testing();
