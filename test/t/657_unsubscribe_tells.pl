# The promise: whoever removes a subscription is told what goes with it: how many
# deliveries wait in webhook.pending, and how many the worker holds in memory.
# Where there is none, nothing is told; rolled back, all of it is delivered. Nothing is
# left in webhook.pending without its subscription.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
$t->sql("CREATE ROLE op LOGIN; CREATE TABLE item (id serial PRIMARY KEY); SELECT FROM webhook.grant_operator('op'), webhook.watch('item')");

# What is told, in a transaction that ends with END.
sub told
{
	my ($subscription, $end) = @_;
	my (undef, undef, $err) = $node->psql($WebhookTest::DB, "BEGIN; SELECT webhook.unsubscribe('$subscription'); $end", extra_params => [ '-U', 'op' ]);
	return join ' ', $err =~ /NOTICE:  (.*)/g;
}

sub subscribe
{
	my ($name, %columns) = @_;
	return $t->subscribe($name, $r->url("/ok/$name"), owner => "'op'", ordering => "'none'", %columns);
}

# in webhook.pending
subscribe('waits');
$t->sql("SELECT webhook.pause('waits')");
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 7)');
$t->poll_sql('they are pending', "SELECT pending FROM webhook.status WHERE subscription = 'waits'", 7);
like(told('waits', 'ROLLBACK'), qr/^\D*7 pending deliveries$/, 'what waits in webhook.pending is told');

# in the worker's memory: one is under way, the rest waits for it
$r->mode('/ok/queued', '/hold');
subscribe('queued', max_in_flight => 1);
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 5)');
$r->wait_for_requests(1, '/ok/queued');
$t->poll_sql('they are queued', "SELECT queued, in_flight FROM webhook.status WHERE subscription = 'queued'", '4|1');
like(told('queued', 'ROLLBACK'), qr/^removed subscription "queued" and 4 queued deliveries$/, 'what is in memory is told');
is($t->sql("SELECT pending FROM webhook.status WHERE subscription = 'waits'"), 12, 'there is more for the other one meanwhile');

# rolled back, nothing is gone
$r->mode('/ok/queued', undef);
$r->release('/ok/queued', 1);
$t->sql("SELECT webhook.resume('waits')");
$r->wait_for_requests(12, '/ok/waits');
$r->wait_for_requests(5,  '/ok/queued');
$t->wait_until_settled;
is($r->count('/ok/waits') . ' ' . $r->count('/ok/queued'), '12 5', 'what was rolled back is delivered, once');

# nothing is left, nothing is told
is(told('waits', 'COMMIT'), '', 'where nothing waits nothing is told');
is($t->sql("SELECT count(*) FROM webhook.subscription WHERE name = 'waits'"), 0, 'and the subscription is gone');

# Removed while the worker writes that a delivery is to be tried again: the removing transaction cannot see that
# row yet, and nothing of it is left all the same. A trigger keeps that transaction of the worker open at a gate.
$t->sql(<<'SQL');
CREATE TABLE gate ();
CREATE FUNCTION wait_there() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	LOOP
		BEGIN
			LOCK TABLE public.gate IN ACCESS SHARE MODE;
			RETURN NULL;
		EXCEPTION WHEN lock_not_available THEN -- the worker waits half a second for a lock
		END;
	END LOOP;
END $$;
CREATE TRIGGER wait_there AFTER INSERT ON webhook.pending EXECUTE FUNCTION wait_there();
SQL
my $closed = $node->background_psql($WebhookTest::DB, on_error_stop => 1);
$closed->query_safe('BEGIN; LOCK TABLE gate');
$r->mode('/ok/fails', '/status/500');
subscribe('fails', retry_schedule => "'{1h}'");
$t->sql('INSERT INTO item DEFAULT VALUES');
$t->poll_sql('the worker is about to write it', q(SELECT count(*) FROM pg_locks l WHERE l.relation = 'gate'::regclass AND NOT l.granted), 1);
is(told('fails', 'COMMIT'), '', 'nothing of it can be seen when the subscription is removed');
$closed->query_safe('COMMIT');
$closed->quit;
$t->poll_sql('it is written', q(SELECT count(*) FROM webhook.attempt WHERE outcome = 'server_error'), 1);
$t->poll_sql('and nothing is left without a subscription', 'SELECT count(*) FROM webhook.pending', 0);
$t->sql('DROP TRIGGER wait_there ON webhook.pending; DROP FUNCTION wait_there; DROP TABLE gate');

# no worker: pending is told all the same
$t->sql("SELECT webhook.pause('queued')");
$t->sql('INSERT INTO item DEFAULT VALUES');
$t->poll_sql('it is pending', "SELECT pending FROM webhook.status WHERE subscription = 'queued'", 1);
$node->stop('fast');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->start;
like(told('queued', 'COMMIT'), qr/\b1 pending deliver/, 'without a worker, too');
is($t->sql('SELECT count(*) FROM webhook.pending'), 0, 'and they are gone');

$t->stop;
done_testing();
