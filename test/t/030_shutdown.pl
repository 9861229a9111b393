# The promise: a server is stopped at once, whatever endpoints do, and nothing
# is lost by it: what was broken off goes out again after the start, with no
# attempt counted for it. A worker that is terminated comes back by itself.
#
# The endpoint hangs; the worker has as many requests under way as it may, and
# far more queued than it holds in memory. Then "pg_ctl stop -m fast", and, with
# the same in flight again and what waits in memory, pg_terminate_backend(worker).
# Last, a fast stop that breaks off requests that were a second attempt.
#
# Covers: terminated worker, fast stop with a hung endpoint.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $t    = WebhookTest->new;
my $r    = $t->receiver(args => ['--no-http2']);
my $node = $t->node;

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));

# Five changes of so many entities.
sub change
{
	my ($entities) = @_;
	$t->sql(<<SQL);
INSERT INTO item SELECT g, 1 FROM generate_series(1, $entities) g ON CONFLICT (id) DO UPDATE SET v = item.v + 1;
UPDATE item SET v = v + 1 WHERE id <= $entities;
UPDATE item SET v = v + 1 WHERE id <= $entities;
UPDATE item SET v = v + 1 WHERE id <= $entities;
UPDATE item SET v = v + 1 WHERE id <= $entities;
SQL
	return;
}

# The EVENTS events after number AFTER: each delivered at its first attempt;
# those that were in flight, TWICE of them, were seen by the receiver before.
sub check
{
	my ($what, $after, $events, $twice) = @_;
	$t->wait_until_settled;
	$t->load_requests($r, 'request');
	is($t->sql("SELECT count(DISTINCT event_number) FROM request WHERE event_number > $after"), $events, "$what: nothing is lost");
	is( $t->sql("SELECT count(*), min(attempt_number), max(attempt_number), min(outcome), max(outcome) FROM webhook.attempt WHERE event_number > $after"),
		"$events|1|1|delivered|delivered",
		"$what: each was delivered by its first attempt, what was broken off counts for none");
	is($t->sql("SELECT count(*) FROM request WHERE event_number > $after AND status = 200"), $events, "$what: and answered once");
	is($t->sql("SELECT count(*) FROM request WHERE event_number > $after AND status IS NULL"), $twice, "$what: only what was in flight was sent before");
	is( $t->sql(<<SQL), '', "$what: in order per entity, what was broken off first");
SELECT n, body FROM (SELECT *, lag(event_number) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous
	FROM request WHERE event_number > $after) r WHERE previous > event_number
SQL
	is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, "$what: nothing was given up");
	return;
}

#
# pg_ctl stop -m fast
#
$r->mode('/ok/crm', '/hang');
change(400);
$r->wait_for_requests(50);
$t->wait_until_read;
is($r->count, 50, 'the endpoint hangs, with as many requests as the subscription allows');
note $t->sql("SELECT format('%s queued, %s in flight, %s pending', queued, in_flight, pending) FROM webhook.status WHERE subscription = 'crm'");

my $at = time;
$node->stop('fast');
my $took = time - $at;
note sprintf 'pg_ctl stop -m fast took %.2f s', $took;
cmp_ok($took, '<', 2, 'pg_ctl stop -m fast: under 2 s, with an endpoint that hangs');

$r->mode('/ok/crm', undef);
$node->start;
check('after the start', 0, 2000, 50);

#
# pg_terminate_backend
#
$r->mode('/ok/crm', '/hang');
my $before = $r->count;
my $last   = $t->sql('SELECT max(event_number) FROM webhook.outbox');
change(200);
$r->wait_for_requests($before + 50);
$t->wait_until_read;
note $t->sql("SELECT format('%s queued, %s in flight, %s pending', queued, in_flight, pending) FROM webhook.status WHERE subscription = 'crm'");
my $pid = $t->worker_pid;
$at = time;
is($t->sql("SELECT pg_terminate_backend($pid)"), 't', 'the worker is terminated');
my $new = $t->wait_for_worker($pid, 10);
note sprintf 'another worker ran after %.2f s', time - $at;
isnt($new, $pid, 'another one comes by itself');

# that one hangs as well; it is terminated in its turn, and the third finds the endpoint well
$r->wait_for_requests($before + 100);
$r->mode('/ok/crm', undef);
is($t->sql("SELECT pg_terminate_backend($new)"), 't', 'it is terminated as well');
check('terminated twice', $last, 1000, 100);
$t->sql("SELECT webhook.unsubscribe('crm')");

#
# Broken off at a second attempt
#
$r->requests;    # fetched now, so that the next look is quick
$t->subscribe('again', $r->url('/fail-first/1/again'), retry_schedule => "'{2s}'");
$last = $t->sql('SELECT max(event_number) FROM webhook.outbox');
my $path = '/fail-first/1/again';
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 3');
$r->wait_for_requests(3, $path);
$r->mode($path, '/hang');
$r->wait_for_requests(6, $path);

$at   = time;
$node->stop('fast');
$took = time - $at;
cmp_ok($took, '<', 2, 'pg_ctl stop -m fast: under 2 s, with second attempts that hang');
$r->mode($path, undef);
$node->start;
$t->wait_until_settled;
is( $t->sql("SELECT DISTINCT attempts FROM (SELECT array_agg((attempt_number, outcome) ORDER BY started_at) AS attempts FROM webhook.attempt WHERE event_number > $last GROUP BY event_number) a"),
	'{"(1,server_error)","(2,delivered)"}',
	'the second attempt that was broken off does not count: the next one is the second');
is($r->count($path), 9, 'the receiver saw it, though');

is($t->sql('SELECT count(*) FROM webhook.pending'), 0, 'nothing is left behind');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal/, 'no process died of a signal');

$t->stop;
done_testing();
