# The promise: one name has one type, in everything that people call and read in the schema
# webhook; one word has one meaning; and what people may call fits on a screen.
#
# docs/names.md has the words, and a reason for each name of several types: what it says is compared
# with the catalogue. (All names are in docs/reference.md, which 092_reference.pl compares.)
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

# the reason is the page's own
is_deeply([ map { s/^(\|[^|]*\|[^|]*\|).+/$1/r } lines_of('types') ], [ split /\n/, $t->sql("$named " . <<'SQL') ], 'names of several types are those of the page');
SELECT format('| %s | %s |', x.name, string_agg(DISTINCT x.type, ', '))
	FROM (SELECT name, type FROM arguments UNION SELECT name, type FROM columns) x GROUP BY x.name HAVING count(DISTINCT x.type) > 1 ORDER BY 1
SQL
ok(!(grep { !/^\|[^|]*\|[^|]*\| \S.+ \|$/ } lines_of('types')), 'for each of which the page has a reason');
is($t->sql("$named SELECT count(*) FROM arguments WHERE name = '(no name)'"), 0, 'every argument has a name');

my @words = map { /^\| (\S[^|]*?) \|/ } lines_of('glossary');
my %words = map { lc $_ => 1 } @words;
is(scalar(keys %words), scalar(@words), 'a word has one meaning');
cmp_ok($t->sql("$named SELECT count(*) FROM functions"), '<=', 45, 'the functions are one screen');

$t->stop;
done_testing();
