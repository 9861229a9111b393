# The promise: a smart shutdown waits for sessions and not for endpoints that
# hang, and until the sessions have ended events are delivered; a reload changes
# settings under way, and requests under way end as they would have.
#
# (030_shutdown has the fast shutdown and the terminated worker.)
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '10min'\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id serial PRIMARY KEY); CREATE TABLE other (id serial PRIMARY KEY)');
$t->watch($_) for 'item', 'other';
$t->subscribe('crm', $r->url('/ok/crm'), events => "'{item.*}'", timeout => "'60s'", retry_schedule => "'{1s}'");
$t->subscribe('other', $r->url('/ok/other'), events => "'{other.*}'", timeout => "'60s'", retry_schedule => "'{200ms}'");

# N requests to /ok/crm under way that end after so many milliseconds (0: never).
sub under_way
{
	my ($n, $ms) = @_;
	my $before = $r->count('/ok/crm');
	$r->mode('/ok/crm', $ms ? "/slow/$ms" : '/hang');
	$t->sql("INSERT INTO item SELECT FROM generate_series(1, $n)");
	$r->wait_for_requests($before + $n, '/ok/crm');
	$t->wait_until_read;
	$r->mode('/ok/crm', undef);
	return;
}

sub reload
{
	my (%settings) = @_;
	$node->append_conf('postgresql.conf', join '', map { "$_ = '$settings{$_}'\n" } sort keys %settings);
	$node->reload;
	return;
}

#
# Reload, each setting while requests are under way
#
my $worker = $t->worker_pid;
under_way(5, 8000);
$t->poll_sql('requests are under way', 'SELECT in_flight FROM webhook_internal.worker_status()', 5);

reload('webhook.max_in_flight' => 6);
$r->mode('/ok/other', '/slow/5000');
$t->sql('INSERT INTO other SELECT FROM generate_series(1, 3)');
$r->wait_for_requests(1, '/ok/other');
$t->wait_until_read;
$t->poll_sql('one more is under way', 'SELECT in_flight FROM webhook_internal.worker_status()', 6);
is($t->sql('SELECT queued + in_flight FROM webhook_internal.worker_status()'), 8, 'max_in_flight: one more, and two wait');
$r->mode('/ok/other', undef);
reload('webhook.max_in_flight' => 200);
$r->wait_for_requests(3, '/ok/other');
pass('raised: they wait no longer');

# a network that is not allowed any more is not spoken to, on open connections either
reload('webhook.allowed_networks' => '');
$t->sql('INSERT INTO other DEFAULT VALUES');
$t->poll_sql('refused', "SELECT count(*) > 0 FROM webhook.attempt WHERE outcome = 'address_refused'");
is($r->count('/ok/other'), 3, 'allowed_networks: emptied, nothing is dialled');
reload('webhook.allowed_networks' => '127.0.0.0/8, ::1/128');
$r->wait_for_requests(4, '/ok/other');
pass('allowed again, it is');

# an authority nobody has heard of: the file is another one for the next connection
my $stranger = $t->receiver(cert => 'selfsigned', args => ['--no-http2']);
$t->sql("UPDATE webhook.subscription SET url = '@{[ $stranger->url('/ok/other') ]}' WHERE name = 'other'");
$t->sql('INSERT INTO other DEFAULT VALUES');
$t->poll_sql('not trusted', "SELECT count(*) > 0 FROM webhook.attempt WHERE outcome LIKE 'tls%'");
reload('webhook.ca_file' => "$t->{certs}/selfsigned.pem");
$stranger->wait_for_requests(1, '/ok/other');
pass('ca_file: what was not trusted is');
reload('webhook.ca_file' => "$t->{certs}/ca.pem");

is(scalar(grep { defined $_->{status} && $_->{status} == 200 } $r->requests('/ok/crm')), 5, 'nobody has made again what was under way');
$t->poll_sql('it has ended as it would have', "SELECT count(*) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id WHERE s.name = 'crm' AND a.outcome = 'delivered' AND a.attempt_number = 1", 5);
is($r->count('/ok/crm'), 5, 'once');

# A transaction without an event wakes nobody. With a shorter poll_interval the worker looks for
# what such transactions have left: each time, and not only because of the reload.
reload('webhook.poll_interval' => '200ms');
for my $n (1 .. 3)
{
	my $read = $t->sql('SELECT last_read_at FROM webhook_internal.worker_status()');
	$t->sql("CREATE TABLE unwatched_$n ()");
	$t->poll_sql("the worker looks, $n", "SELECT last_read_at > '$read' FROM webhook_internal.worker_status()");
}
pass('poll_interval: a shorter one holds at once');

# the ring turns faster
my $oldest = $t->sql('SELECT min(event_number) FROM webhook.outbox');
reload('webhook.retention' => '6s');
poll_until('what is older goes', sub {
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$t->sql("SELECT min(event_number) > $oldest FROM webhook.outbox") eq 't';
});
pass('retention: a shorter one holds at once');
reload('webhook.retention' => '7d');
is($t->worker_pid, $worker, 'all of it by the same worker');
$t->sql('DELETE FROM webhook.subscription WHERE name = $$other$$');
$t->wait_until_settled;

#
# pg_ctl stop -m smart, with a session and requests that hang
#
under_way(20, 0);
my $last    = $r->count('/ok/crm');
my $session = $node->background_psql('postgres');
$session->query_safe('SELECT 1');
my $stop = IPC::Run::start([ 'pg_ctl', 'stop', '-m', 'smart', '-D', $node->data_dir ], '>', \my $out, '2>&1');
poll_until('the server shuts down', sub { slurp_file($node->logfile) =~ /received smart shutdown request/ });
$session->query_safe('INSERT INTO item DEFAULT VALUES');
$r->wait_for_requests($last + 1, '/ok/crm');
pass('smart shutdown, a session goes on: what it writes is delivered');
my $start = time;
$session->quit;
ok($stop->finish, 'it ends when the session has');
my $took = time - $start;
cmp_ok($took, '<', 2, sprintf('at once, whatever hangs: %.2f s', $took));

$node->_update_pid(0);
$node->start;
$t->wait_until_settled;
$t->load_requests($r, 'request');
is($t->sql("SELECT count(*) FROM webhook.outbox o WHERE entity_type = 'item' AND NOT EXISTS (SELECT FROM request r WHERE r.event_number = o.event_number AND r.status = 200)"),
	0, 'nothing is lost');
is($t->sql('SELECT count(*) FROM (SELECT event_number FROM request WHERE path = $$/ok/crm$$ AND status = 200 GROUP BY 1 HAVING count(*) > 1) twice'),
	0, 'or answered twice');
unlike(slurp_file($node->logfile), qr/webhook worker[^\n]*exited with exit code 1|PANIC|terminated by signal/, 'no worker died');

$t->stop;
done_testing();
