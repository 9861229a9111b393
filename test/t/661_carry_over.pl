# The promise: the configuration is carried into another database by a dump of
# its rows alone: the subscriptions with their secrets, credentials and profiles
# work there, and new ones can be made.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new;
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
my $ok   = $r->url('/ok');

$t->sql(<<SQL);
SELECT webhook.copy_profile('standard', 'mine');
SELECT webhook.subscribe('s' || g, '$ok/' || g, profile => CASE g WHEN 3 THEN 'mine' ELSE 'entity' END, secret => '$WebhookTest::SECRET') FROM generate_series(1, 12) g;
SELECT webhook.set_credential('s5', 'bearer', 'token5');
SELECT webhook.pause('s7');
SQL

my $dump = "$PostgreSQL::Test::Utils::tmp_check/configuration.sql";
$node->command_ok([ 'pg_dump', '--data-only', '-f', $dump, (map { ('-t', "webhook.$_") } qw(profile subscription secret credential)), $WebhookTest::DB ], 'the rows are dumped');
unlike(slurp_file($dump), qr/setval/, 'without the sequence');

$node->safe_psql($WebhookTest::DB, 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION webhook');
$node->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('other'), '-f', $dump ], 'and restored in another database');
my $rows = "SELECT s.id, s.name, s.url, s.profile, s.state, k.id, k.secret, k.generated, c.value FROM webhook.subscription s JOIN webhook.secret k ON k.subscription_id = s.id LEFT JOIN webhook.credential c ON c.subscription_id = s.id ORDER BY 1";
is($node->safe_psql('other', $rows), $t->sql($rows), 'everything is there: state, profile, secret and credential');

is($node->safe_psql('other', "SELECT count(webhook.subscribe('new' || g, '$ok/new' || g)) FROM generate_series(1, 12) g"), 12, 'new ones can be made');
{
	local $WebhookTest::DB = 'other';
	$t->sql('CREATE TABLE item (id int PRIMARY KEY)');
	$t->watch('item');
	$t->sql('INSERT INTO item VALUES (1)');
	$r->wait_for_requests(1, "/ok/$_") for 1 .. 6, 8 .. 12, 'new1', 'new12';
}
is(($r->requests('/ok/5'))[0]{headers}{authorization}, 'Bearer token5', 'an endpoint gets the credential that it had');
is($r->count('/ok/7'), 0, 'what was paused is paused');

$t->stop;
done_testing();
