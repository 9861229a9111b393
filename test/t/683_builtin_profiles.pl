# The promise: an upgrade may change built-in profiles and add some. Subscriptions speak the changed one
# from their next request on. What people have made stays as it is, also where a new one has its name.
#
# The upgrade is test/upgrade/next.sql, which does it by the rule in CONTRIBUTING.md.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;
use WebhookUpgrade;

my $t    = WebhookTest->new(install_path => installation(), conf => "webhook.poll_interval = '1s'\nwebhook.allow_http = on\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

# the content type of the last of N requests that one has got
sub spoken
{
	my ($name, $n) = @_;
	$r->wait_for_requests($n, "/ok/$name");
	return ($r->requests("/ok/$name"))[ $n - 1 ]->{headers}{'content-type'};
}

sub profiles
{
	my ($db) = @_;
	return $node->safe_psql($db, "SELECT string_agg(name || ' ' || builtin || ' ' || content_type, ', ' ORDER BY name) FROM webhook.profile WHERE name IN ('stripe', 'mine', 'newcomer')");
}

$t->sql('CREATE TABLE item (id int PRIMARY KEY)');
$t->watch('item');
$t->sql($_) for q{SELECT webhook.copy_profile('stripe', 'mine')}, q{SELECT webhook.copy_profile('entity', 'newcomer')},
  map { sprintf q{SELECT webhook.subscribe('%s', '%s', profile => '%1$s')}, $_, $r->url("/ok/$_") } qw(stripe mine newcomer);
my $worker = $t->wait_for_worker;
$t->sql('INSERT INTO item VALUES (1)');
is(join(' ', map { spoken($_, 1) } qw(stripe mine newcomer)), join(' ', ('application/json') x 3), 'before');

$t->sql(q{ALTER EXTENSION webhook UPDATE TO 'next'});
is(profiles('postgres'), 'mine false application/json, newcomer false application/json, stripe true application/json; charset=utf-8', 'only the built-in one is changed');
$t->sql('INSERT INTO item VALUES (2)');
is(join(' ', map { spoken($_, 2) } qw(stripe mine newcomer)), 'application/json; charset=utf-8 application/json application/json', 'and spoken, at once');
is(($r->requests('/ok/newcomer'))[1]->{body} =~ /"of"/ ? 'the new one' : 'their own', 'their own', 'a profile of that name stays what it was');
is($t->worker_pid, $worker, 'by the same worker');

# the built-in ones are protected as before
for my $statement (q{UPDATE webhook.profile SET description = 'x' WHERE name = 'stripe'}, q{DELETE FROM webhook.profile WHERE name = 'github'})
{
	my (undef, undef, $error) = $node->psql('postgres', $statement);
	like($error, qr/cannot change or delete built-in profile/, 'protected as before');
}
$t->sql(q{UPDATE webhook.profile SET description = 'ours' WHERE name = 'newcomer'});
pass('and theirs are not');

# as valid as a profile of one's own has to be
is($t->sql(q{SELECT count(webhook.copy_profile(name, 'copy of ' || name)) FROM webhook.profile WHERE builtin}), $t->sql('SELECT count(*) FROM webhook.profile WHERE builtin'), 'every built-in one passes the checks');

#
# A dump with a profile of that name, restored where the new version is installed
#
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->safe_psql('postgres', 'CREATE DATABASE old; CREATE DATABASE new; CREATE DATABASE moved');
$node->safe_psql('old', q{CREATE EXTENSION webhook; SELECT webhook.copy_profile('entity', 'newcomer')});
$node->command_ok([ 'pg_dump', '-d', $node->connstr('old'), '-f', $dump ], 'a dump');
$node->safe_psql('new', q{CREATE EXTENSION webhook VERSION 'next'});
is(profiles('new'), 'newcomer true application/newcomer+json, stripe true application/json; charset=utf-8', 'a new database has the new one');
my ($status, undef, $error) = $node->psql('new', undef, extra_params => [ '-f', $dump ]);
like($error, qr/duplicate key value violates unique constraint "profile_pkey"/, 'where that is there, the row does not fit');
$node->safe_psql('moved', sprintf q{CREATE EXTENSION webhook VERSION '%s'}, version());
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('moved'), '-f', $dump ], 'restored at the version of the dump');
$node->safe_psql('moved', q{ALTER EXTENSION webhook UPDATE TO 'next'});
is(profiles('moved'), 'newcomer false application/json, stripe true application/json; charset=utf-8', 'and updated then, it is whole');

$t->stop;
done_testing();
