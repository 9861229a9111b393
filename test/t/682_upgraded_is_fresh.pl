# The promise: an extension that was upgraded, with data in every table, is the one that is installed
# fresh: definitions, comments, grants, what is dumped. Data stay as they were. Nothing that worked
# before is refused: functions grow at the end, by defaults, or by overloads.
#
# Both are looked at for every version that leads to the current one, and for a next version made for
# tests, so that what is compared is seen to differ. And make freeze does what it says.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookUpgrade;

my $root = "$FindBin::RealBin/../..";

# An upgrade that makes something else where there are data: of every kind of line one.
my $differs = <<'SQL';
DO $$
BEGIN
	IF EXISTS (SELECT FROM webhook.subscription) THEN
		ALTER TABLE webhook.attempt ADD COLUMN odd integer DEFAULT 1 CHECK (odd > 0);
		CREATE INDEX odd ON webhook.pending (state);
		COMMENT ON COLUMN webhook.pending.state IS 'odd';
		COMMENT ON TRIGGER check_profile ON webhook.profile IS 'odd';
		GRANT SELECT ON webhook.pending TO PUBLIC;
		REVOKE EXECUTE ON FUNCTION webhook.pause(text) FROM PUBLIC;
		ALTER TABLE webhook.secret DISABLE TRIGGER before_secret;
		ALTER POLICY own ON webhook.pending USING (true);
		ALTER SEQUENCE webhook.event_number_seq CACHE 2;
		ALTER TABLE webhook.pending REPLICA IDENTITY DEFAULT;
		ALTER FUNCTION webhook.resume(text) STRICT;
		CREATE FUNCTION webhook.odd() RETURNS void LANGUAGE sql AS '';
		CREATE RULE odd AS ON DELETE TO webhook_internal.breaker_notice DO INSTEAD NOTHING;
		PERFORM pg_catalog.pg_extension_config_dump('webhook.pending', 'WHERE false');
		ALTER TABLE webhook.profile DISABLE TRIGGER check_profile;
		UPDATE webhook.profile SET description = 'odd' WHERE name = 'github';
		ALTER TABLE webhook.profile ENABLE TRIGGER check_profile;
	END IF;
END
$$;
SQL

# An upgrade after which something does not work as before.
my $refuses = <<'SQL';
DROP FUNCTION webhook.copy_profile(text, text);
CREATE FUNCTION webhook.copy_profile(to_profile text, from_profile text) RETURNS void LANGUAGE sql AS '';
DROP FUNCTION webhook.resume(text);
CREATE FUNCTION webhook.resume(subscription text, how text) RETURNS void LANGUAGE sql AS '';
DROP FUNCTION webhook.pause(text);
CREATE FUNCTION webhook.pause(subscription text, how text DEFAULT NULL) RETURNS void LANGUAGE sql AS '';
ALTER TABLE webhook.dead_letter DROP COLUMN tenant;
ALTER TABLE webhook.secret DISABLE TRIGGER before_secret;
SQL

my $t    = WebhookTest->new(preload => '', install_path => installation(updates => { differs => $differs, refuses => $refuses }));
my $node = $t->node;

# A database with this version, after these updates.
my $databases = 0;

sub database
{
	my ($version, %args) = @_;
	my $name = 'd' . ++$databases;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, "SET client_min_messages = error; CREATE EXTENSION webhook VERSION '$version'");
	$node->safe_psql($name, slurp_file("$root/test/upgrade/data.sql")) if $args{data};
	$args{before}->($name) if $args{before};
	$node->safe_psql($name, "ALTER EXTENSION webhook UPDATE TO '$args{update}'") if $args{update};
	return $name;
}

# Of each table with these columns of its own: how many rows, and what is in them.
sub data
{
	my ($name, $columns) = @_;
	return {
		map {
			my $list = join ', ', map { s/:.*//r } @{ $columns->{$_} };
			($_ => $node->safe_psql($name, "SELECT count(*), md5(string_agg(r::text, ' ' ORDER BY r::text)) FROM (SELECT $list FROM $_) r"))
		} keys %$columns
	};
}

sub tables
{
	my ($name) = @_;
	my $json = $node->safe_psql($name, <<'SQL');
SELECT jsonb_object_agg(c.oid::regclass, (SELECT jsonb_agg(quote_ident(a.attname) ORDER BY a.attnum) FROM pg_attribute a
	WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_class c WHERE c.relnamespace IN ('webhook'::regnamespace, 'webhook_internal'::regnamespace)
	AND c.relkind IN ('r', 'p') AND NOT c.relispartition
SQL
	return JSON::PP::decode_json($json);
}

# Lines that only one of the two has, each with its sign.
sub difference
{
	my ($fresh, $upgraded) = map { my %lines = map { $_ => 1 } @$_; \%lines } @_;
	return sort((map { "-$_" } grep { !$upgraded->{$_} } keys %$fresh), (map { "+$_" } grep { !$fresh->{$_} } keys %$upgraded));
}

sub same
{
	my ($from, $to) = @_;
	my (%tables, $data, $old);
	my $upgraded = database($from, data => 1, update => $to, before => sub {
		my ($name) = @_;
		%tables = %{ tables($name) };
		$data   = data($name, \%tables);
		$old    = interface($t, $name);
	});
	my @empty = grep { $data->{$_} =~ /^0\|/ } sort keys %tables;
	is("@empty", '', "$from: every table has data");
	# switched on by the row of operator_isolation, which is data
	my @secured = qw(webhook.attempt webhook.audit webhook.dead_letter webhook.pending webhook.subscription webhook_internal.stat_subscription);
	$node->safe_psql($upgraded, join '', map { "ALTER TABLE $_ DISABLE ROW LEVEL SECURITY;" } @secured);
	is(join("\n", difference([ catalogue($t, database($to)) ], [ catalogue($t, $upgraded) ])), '', "$from to $to: as a fresh one");
	# built-in profiles may be changed
	my $rows = data($upgraded, \%tables);
	delete $_->{'webhook.profile'} for $rows, $data;
	is_deeply($rows, $data, "$from to $to: with the same data");
	is(join("\n", breaks($old, interface($t, $upgraded))), '', "$from to $to: all works as before");
	return;
}

my $current = version();
my @older   = split /\n/, $node->safe_psql('postgres', <<SQL);
SELECT source FROM pg_extension_update_paths('webhook') WHERE target = '$current' AND source <> target AND path IS NOT NULL ORDER BY 1
SQL
same($_, $current) for @older;
same($current, 'next');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_extension_update_paths('webhook') WHERE target = '$current' AND source = '1.0' AND path IS NOT NULL") || $current, $current eq '1.0' ? '1.0' : 1,
	'the first version leads to the current one');

#
# What differs is seen
#
my @difference = difference([ catalogue($t, database('differs')) ], [ catalogue($t, database($current, data => 1, update => 'differs')) ]);
my %kinds      = map { JSON::PP::decode_json(substr $_, 1)->[0] => 1 } @difference;
is_deeply([ sort keys %kinds ],
	[ sort 'column', 'comment', 'constraint', 'dump', 'function', 'grant', 'index', 'initial grant', 'member', 'policy', 'profile', 'relation', 'rule', 'sequence', 'trigger' ],
	'a difference of each kind');
is(scalar(grep { /"check_profile on webhook.profile"/ && /odd/ } @difference), 1, 'comments on what belongs to tables as well');
is_deeply(
	[ breaks(interface($t, database($current)), interface($t, database('refuses'))) ],
	[
		'function copy_profile(from_profile text, to_profile text) cannot be called as before',
		'function resume(subscription text) cannot be called as before',
		'the columns of webhook.dead_letter do not begin as before',
		'trigger before_secret on webhook.secret is not enabled as before'
	],
	'arguments in another order, a new one without a default, a column that is gone, a trigger left disabled; not a new one with a default');

#
# Who has a role of an older version has that of the new one; who has some of its privileges keeps them
#
for my $from (@older)
{
	my $kinds = q{unnest('{operator,viewer,watcher}'::text[]) k};
	my $name  = database($from, before => sub {
		my ($name) = @_;
		$node->safe_psql($name, 'CREATE ROLE of_operator; CREATE ROLE of_viewer; CREATE ROLE of_watcher; CREATE ROLE some_of_it; SELECT webhook_internal.change_role_privileges(format(\'of_%s\', k)::regrole, k, true)'
			  . " FROM $kinds; GRANT USAGE ON SCHEMA webhook TO some_of_it; GRANT SELECT ON webhook.log TO some_of_it; SELECT webhook.isolate_operators()");
	}, update => $current);
	is($node->safe_psql($name, "SELECT string_agg(r.rolname || ' ' || k, ', ' ORDER BY k, r.rolname) FROM $kinds, pg_roles r WHERE webhook_internal.has_role_privileges(k, r.oid) AND r.oid <> (SELECT extowner FROM pg_extension WHERE extname = 'webhook')"),
		'of_operator operator, of_viewer viewer, of_watcher watcher', "$from: an operator, a viewer and a watcher stay what they are");
	is($node->safe_psql($name, q{SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee = 'some_of_it'::regrole}), 'webhook.log', 'and nobody becomes one');
	is($node->safe_psql($name, q{SELECT count(*) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE NOT c.relrowsecurity}), 0, 'operators who are kept apart are so in all tables');
	$node->safe_psql($name, 'DROP OWNED BY of_operator, of_viewer, of_watcher, some_of_it; DROP ROLE of_operator, of_viewer, of_watcher, some_of_it');
}

#
# make freeze, in a copy of the tree
#
{
	my $tree = PostgreSQL::Test::Utils::tempdir() . '/tree';
	mkdir $tree;
	system_or_bail('cp', '-R', (map { "$root/$_" } qw(Makefile extension scripts sql test)), $tree);
	my $run = sub {
		my $out = '';
		my $ok = IPC::Run::run([@_], '<', \undef, '>', \$out, '2>&1', init => sub { chdir $tree or die $! });
		return ($ok ? '' : 'failed: ') . $out;
	};
	my $rule = sub { $run->('bash', '-c', q{source <(sed -n '/^frozen_sql() {/,/^}/p' scripts/lint.sh); found=$(frozen_sql 2>&1) || true; echo "$found"}) };
	my ($latest) = map { s{^\Q$tree\E/}{}r } glob("$tree/sql/webhook--*--$current.sql");
	my $hashes = "$tree/test/upgrade/frozen.sha256";
	my $older  = join '', grep { !/--\Q$current\E\.sql$/ } map { "$_\n" } split /\n/, slurp_file($hashes);
	unlink $hashes;
	append_to_file($hashes, $older);
	like($run->('make', 'freeze', 'SQL_VERSION=1.0'), qr/^failed: .*makes \Q$current\E, not 1\.0/, 'another version than the current one is not frozen');
	is($rule->(), "\n", 'lint finds what is frozen as it was');
	like($run->('make', '-s', 'freeze', "SQL_VERSION=$current"), qr{^frozen: \Q$latest\E$}m, 'the current version is frozen with its upgrade script');
	is($rule->(), "\n", 'lint finds it as it was');
	like($run->('make', 'freeze', "SQL_VERSION=$current"), qr/^failed: .*frozen already/, 'it is not frozen again');
	append_to_file("$tree/$latest", "-- a change\n");
	like($rule->(), qr{\Q$latest\E: FAILED}, 'lint finds a change');
}

$t->stop;
done_testing();
