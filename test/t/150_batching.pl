# The promise: with batch_size, one request carries an array of up to so many
# events, in order per entity; a batch that fails is sent again whole, under the
# same id and with the same body, whatever else changes; and nothing is lost by
# a crash during it. (That a batch waits no longer than 50 ms for more is
# shown with a clock of its own in test/unit/test_queue_batch.c and
# test_batch.c.)
#
# Covers: the same id on a repeat; order per entity.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => [ '--no-http2', '--secret', $WebhookTest::SECRET ]);

sub source
{
	my ($name) = @_;
	$t->sql("CREATE TABLE $name (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)");
	$t->watch($name);
	return;
}

sub subscribe
{
	my ($name, $source, $path, %columns) = @_;
	$t->subscribe($name, $r->url($path), events => "'{$source.*}'", %columns);
	return;
}

# What has arrived at a path, as tables: batch, a row per request, and element, a row per event in it.
sub load
{
	my ($path) = @_;
	$t->load_requests($r, 'request');
	$t->sql(<<SQL);
SET client_min_messages = warning;
DROP TABLE IF EXISTS batch, element;
CREATE TABLE batch AS SELECT n, id, body, status, verified, json_array_length(body::json) AS size FROM request WHERE path = '$path';
CREATE TABLE element AS SELECT b.n, b.id, b.status, o.place, o.value ->> 'entity_id' AS entity,
	substring(o.value ->> 'event_id' FROM '^evt_[0-9a-f]{8}_([0-9]+)\$')::bigint AS event_number
	FROM batch b, json_array_elements(b.body::json) WITH ORDINALITY o(value, place);
SQL
	return;
}

sub events { return $t->sql("SELECT count(*) FROM webhook.outbox WHERE entity_type = '$_[0]'") }

# All events of a source have arrived, each entity's in order (or all of them), looking at when each was first taken.
sub all_in_order
{
	my ($source, $by) = @_;
	is($t->sql("SELECT count(DISTINCT event_number) FROM element WHERE status = 200"), events($source), 'every event arrived');
	is( $t->sql(<<SQL), '', 'in order') if $by;
SELECT * FROM (SELECT event_number, n, place, lag(event_number) OVER (PARTITION BY $by ORDER BY n, place) AS previous
	FROM (SELECT DISTINCT ON (event_number) event_number, entity, n, place FROM element WHERE status = 200 ORDER BY event_number, n, place) f) x
WHERE previous >= event_number LIMIT 10
SQL
	is($t->sql('SELECT n, place FROM (SELECT n, place, event_number, lag(event_number) OVER (PARTITION BY n ORDER BY place) AS previous FROM element) x WHERE previous >= event_number LIMIT 10'),
		'', 'and within each batch by event id');
	return;
}

subtest 'an array of what is queued' => sub {
	source('plain');
	subscribe('plain', 'plain', '/slow/5/plain', batch_size => 10, max_in_flight => 4);
	$t->sql('INSERT INTO plain SELECT g FROM generate_series(1, 100) g');
	$t->sql("UPDATE plain SET v = v + 1") for 1 .. 10;
	$t->wait_until_settled;
	load('/slow/5/plain');
	all_in_order('plain', 'entity');
	is($t->sql('SELECT count(*) FROM element'), 1100, 'each once');
	is($t->sql('SELECT max(size) FROM batch'), 10, 'ten in one request, no more');
	cmp_ok($t->sql('SELECT count(*) FROM batch'), '<', 200, 'and requests are not many more than needed');
	is($t->sql('SELECT count(*) FROM batch WHERE NOT verified'), 0, 'each is signed as any other');
	is( $t->sql(<<SQL), 0, 'each has the id of a batch, of its first event');
SELECT count(*) FROM batch b JOIN element e ON e.n = b.n AND e.place = 1 WHERE b.id !~ ('^bat_[0-9a-f]{8}_' || e.event_number || '_[0-9a-f]{16}\$')
SQL
	is($t->sql('SELECT count(*) - count(DISTINCT id) FROM batch'), 0, 'of its own');
	is( $t->sql(<<SQL), '1100|1100', 'the log has a row for each delivery');
SELECT count(*), count(DISTINCT event_number) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'plain'
SQL
	is( $t->sql("SELECT count(*) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'plain' WHERE a.response IS NOT NULL"),
		$t->sql('SELECT count(*) FROM batch'), 'the response is kept once for each request');
	is($t->sql("SELECT delivered FROM webhook.status WHERE subscription = 'plain'"), 1100, 'deliveries are counted, not requests');
};

subtest 'a failed batch is sent again whole' => sub {
	source('whole');
	subscribe('whole', 'whole', '/ok/whole', batch_size => 20, retry_schedule => "'{1s}'", max_in_flight => 1);
	$r->mode('/ok/whole', '/status/400/whole'); # no failure that the breaker counts
	$t->sql('INSERT INTO whole SELECT g FROM generate_series(1, 50) g');
	$t->poll_sql('all have failed once', "SELECT count(*) FROM webhook.pending WHERE state IN ('retry', 'blocked') AND attempts >= 1", 50);
	is( $t->sql('SELECT string_agg(n::text, $$,$$ ORDER BY batch) FROM (SELECT batch, count(*) AS n FROM webhook.pending GROUP BY batch) x'),
		'20,20,10', 'their rows tell what was sent together');
	# they stay together, whatever comes
	$t->sql("UPDATE webhook.subscription SET batch_size = 7 WHERE name = 'whole'");
	$t->sql('UPDATE whole SET v = v + 1 WHERE id <= 30');
	$t->poll_sql('what comes later is behind them', "SELECT count(*) FROM webhook.pending WHERE batch IS NULL AND state = 'blocked'", 30);
	# also when the worker is another one
	my $worker = $t->worker_pid;
	kill 'KILL', $worker;
	$t->wait_for_worker($worker);
	$r->mode('/ok/whole', undef);
	$t->wait_until_settled;
	load('/ok/whole');
	all_in_order('whole', 'entity');
	is( $t->sql(<<SQL), '20,20,10', 'the batches that failed arrived as they were');
SELECT string_agg(size::text, ',' ORDER BY id) FROM batch b WHERE status = 200 AND EXISTS (SELECT FROM batch f WHERE f.id = b.id AND f.status = 400)
SQL
	is($t->sql('SELECT count(*) FROM batch f WHERE status = 400 AND NOT EXISTS (SELECT FROM batch b WHERE b.id = f.id AND b.status = 200)'),
		0, 'each under the id under which it had failed');
	is($t->sql('SELECT count(*) FROM (SELECT id FROM batch GROUP BY id HAVING count(DISTINCT body) > 1) x'), 0, 'and with the same body');
	is($t->sql('SELECT max(size) FROM batch b WHERE NOT EXISTS (SELECT FROM batch f WHERE f.id = b.id AND f.status = 400)'),
		7, 'those after them have the new size');
};

subtest 'a batch whose lead is gone' => sub {
	source('lead');
	subscribe('lead', 'lead', '/ok/lead', batch_size => 5, retry_schedule => "'{1h}'");
	$r->mode('/ok/lead', '/status/400/lead');
	$t->sql('INSERT INTO lead SELECT g FROM generate_series(1, 5) g');
	$t->poll_sql('it has failed', "SELECT count(*) FROM webhook.pending WHERE state IN ('retry', 'blocked') AND batch IS NOT NULL", 5);
	$t->sql('DELETE FROM webhook.pending WHERE event_number = batch');
	my $worker = $t->worker_pid;
	$r->mode('/ok/lead', undef);
	kill 'KILL', $worker;
	$t->wait_for_worker($worker);
	$t->wait_until_settled;
	load('/ok/lead');
	is($t->sql('SELECT count(DISTINCT event_number) FROM element WHERE status = 200'), 4, 'the others arrive without it');
	is($t->sql('SELECT count(*) FROM batch b JOIN batch f ON f.id = b.id AND f.status = 400 WHERE b.status = 200'), 0, 'as another batch, under another id');
};

subtest 'crashes, failures and each ordering' => sub {
	source('crash');
	my %by = (entity => 'entity', none => undef, strict => '1');
	subscribe($_, 'crash', "/slow/3/$_", batch_size => 6, ordering => "'$_'", retry_schedule => "'{100ms}'", max_in_flight => 5) for keys %by;
	$t->sql('INSERT INTO crash SELECT g FROM generate_series(1, 60) g');
	for my $round (1 .. 3)
	{
		$r->mode("/slow/3/$_", "/flaky/30/$round/$_") for keys %by;
		my $before = $r->count; # before what makes requests: on a busy machine most have been made when that has ended
		$t->sql('UPDATE crash SET v = v + 1 WHERE id % 3 <> 0') for 1 .. 8;
		poll_until('requests go on', sub { $r->count > $before + 20 });
		my $worker = $t->worker_pid;
		kill 'KILL', $worker;
		$t->wait_for_worker($worker);
	}
	$r->mode("/slow/3/$_", undef) for keys %by;
	$t->wait_until_settled;
	for my $ordering (sort keys %by)
	{
		note $ordering;
		load("/slow/3/$ordering");
		all_in_order('crash', $by{$ordering});
		is($t->sql('SELECT max(size) FROM batch'), 6, 'no batch is too large');
		is($t->sql('SELECT count(*) FROM (SELECT id FROM batch GROUP BY id HAVING count(DISTINCT body) > 1) x'), 0, 'one id, one body');
		my $repeats = $t->sql('SELECT count(*) - count(DISTINCT event_number) FROM element WHERE status = 200');
		note "$repeats repeats after 3 crashes";
	}
	is($r->concurrent('/slow/3/strict')->{most}, 1, 'with strict ordering batches go one at a time');
	is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'nothing was given up');
};

$t->stop;
done_testing();
