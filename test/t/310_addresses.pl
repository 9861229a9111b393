# The promise: the database's host is not made to talk to what only it can
# reach. Internal addresses are refused when they are dialled, whatever name
# stood for them and whatever connection is open already, unless a superuser
# has named their network.
#
# Which addresses, and names whose answer changes between look-ups:
# test/unit/test_address_policy.c, test_engine_address.c.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => ['--no-http2']);

# -- who may name networks

$t->sql('CREATE ROLE owner LOGIN CREATEROLE; CREATE DATABASE theirs OWNER owner; GRANT ALL ON SCHEMA public TO owner');
for my $what (
	"SET webhook.allowed_networks = '0.0.0.0/0'",
	"SET webhook.allow_http = on",
	"SELECT set_config('webhook.allowed_networks', '0.0.0.0/0', false)",
	"ALTER DATABASE theirs SET webhook.allowed_networks = '0.0.0.0/0'",
	"ALTER ROLE owner SET webhook.allowed_networks = '0.0.0.0/0'",
	"CREATE FUNCTION f() RETURNS int LANGUAGE sql SET webhook.allowed_networks = '0.0.0.0/0' AS 'SELECT 1'",
	"ALTER SYSTEM SET webhook.allowed_networks = '0.0.0.0/0'")
{
	my ($rc, $out, $err) = $t->node->psql($WebhookTest::DB, "SET ROLE owner; $what");
	like($err, qr/ERROR:  permission denied/, "only a superuser: $what");
}

# -- a name that is internal

$t->sql('CREATE TABLE item (id serial PRIMARY KEY)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'), retry_schedule => "'{500ms}'", ordering => "'none'");
my ($rc, $out, $err) = $t->node->psql($WebhookTest::DB,
	"SET webhook.allowed_networks = ''; SELECT webhook.subscribe('again', '" . $r->url('/ok/again') . "')");
like($err, qr/ERROR/, 'localhost is refused when somebody subscribes, if its network is not allowed');

sub outcomes
{
	my ($outcome) = @_;
	return $t->sql("SELECT count(*) FROM webhook.log WHERE outcome = '$outcome'");
}

# An event at a time until the worker has read its settings again, which is seen by what becomes of one.
sub allow
{
	my ($networks, $outcome) = @_;
	my $before = outcomes($outcome);
	$t->node->append_conf('postgresql.conf', "webhook.allowed_networks = '$networks'\n");
	$t->node->reload;
	poll_until("with '$networks' allowed something is $outcome", sub {
		$t->sql('INSERT INTO item DEFAULT VALUES');
		outcomes($outcome) > $before;
	});
	return;
}

$t->sql('INSERT INTO item DEFAULT VALUES');
$t->wait_until_settled;
my ($first) = $r->requests('/ok/crm');
is(outcomes('delivered'), 1, 'delivered while it is allowed');

allow('10.0.0.0/8', 'address_refused');
my $arrived = $r->count('/ok/crm');
my $refused = outcomes('address_refused');
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 20)');
poll_until('more are refused', sub { outcomes('address_refused') >= $refused + 20 });
is($r->count('/ok/crm'), $arrived, 'what localhost resolves to is refused when it is dialled');
is( scalar(grep { $_->{conn} != $first->{conn} } $r->requests('/ok/crm')), 0, 'also on the connection that is open: no other was made before');
is($t->sql("SELECT count(*) FROM webhook.log WHERE outcome = 'address_refused' AND (http_status IS NOT NULL OR response IS NOT NULL)"),
	0, 'nothing of a response is told');
unlike($t->sql("SELECT DISTINCT error FROM webhook.log WHERE outcome = 'address_refused'"), qr/127\.|::1/, 'nor where the name leads to');

allow('127.0.0.1, ::1', 'delivered');
$t->wait_until_settled;
is($t->sql('SELECT count(*) FROM item'), $t->sql("SELECT count(*) FROM webhook.log WHERE outcome = 'delivered'"),
	'once its network is named all is delivered');

$t->stop;
done_testing();
