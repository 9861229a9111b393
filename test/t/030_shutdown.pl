# The promise: a server is stopped at once, whatever endpoints do, and nothing
# is lost by it: what was broken off goes out again after the start, with no
# attempt counted for it. A worker that is terminated comes back by itself.
#
# The endpoint hangs; the worker has as many requests under way as it may, and
# far more queued than it holds in memory. Then "pg_ctl stop -m fast", and, with
# the same in flight again, pg_terminate_backend(worker).
#
# Covers T15 (terminated worker, fast stop with a hung endpoint), T26, and of
# the traps of the terrain 17 and 18.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $EVENTS   = 2000;
my $ENTITIES = 400;
my $t        = WebhookTest->new;
my $r        = $t->receiver(args => ['--no-http2']);
my $node     = $t->node;

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));

# Five changes of each entity, v from FROM.
sub change
{
	my ($from) = @_;
	$t->sql(<<SQL);
INSERT INTO item SELECT g, $from FROM generate_series(1, $ENTITIES) g ON CONFLICT (id) DO UPDATE SET v = excluded.v;
UPDATE item SET v = v + 1;
UPDATE item SET v = v + 1;
UPDATE item SET v = v + 1;
UPDATE item SET v = v + 1;
SQL
	return;
}

# All of the $EVENTS events after the first AFTER: each delivered at its first
# attempt; those that were in flight were seen twice by the receiver.
sub check
{
	my ($what, $after) = @_;
	$t->wait_until_settled;
	$t->load_requests($r, 'request');
	is($t->sql("SELECT count(DISTINCT event_id) FROM request WHERE event_id > $after"), $EVENTS, "$what: nothing is lost");
	is( $t->sql("SELECT count(*), min(attempt), max(attempt), min(outcome), max(outcome) FROM webhook.attempt WHERE event_id > $after"),
		"$EVENTS|1|1|delivered|delivered",
		"$what: each was delivered by its first attempt, what was broken off counts for none");
	is($t->sql("SELECT count(*) FROM request WHERE event_id > $after AND status = 200"), $EVENTS, "$what: and answered once");
	is($t->sql("SELECT count(*) FROM request WHERE event_id > $after AND status IS NULL"), 50, "$what: only what was in flight was sent before");
	is( $t->sql(<<SQL), '', "$what: in order per entity, what was broken off first");
SELECT n, body FROM (SELECT *, lag(event_id) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous
	FROM request WHERE event_id > $after) r WHERE previous > event_id
SQL
	is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, "$what: nothing was given up");
	return;
}

#
# pg_ctl stop -m fast
#
$r->mode('/ok/crm', '/hang');
change(1);
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
check('after the start', 0);

#
# pg_terminate_backend
#
$r->mode('/ok/crm', '/hang');
my $before = $r->count;
my $last   = $t->sql('SELECT max(id) FROM webhook.outbox');
change(6);
$r->wait_for_requests($before + 50);
$t->wait_until_read;
my $pid = $t->worker_pid;
$at = time;
is($t->sql("SELECT pg_terminate_backend($pid)"), 't', 'the worker is terminated');
my $new = $t->wait_for_worker($pid, 10);
note sprintf 'another worker ran after %.2f s', time - $at;
isnt($new, $pid, 'another one comes by itself');
$r->wait_for_requests($before + 100);
$r->mode('/ok/crm', undef);

# The 50 of the new worker hang on; its requests end when they are broken off, as before.
is($t->sql("SELECT pg_terminate_backend($new)"), 't', 'that one is terminated as well');
$t->wait_until_settled;
$t->load_requests($r, 'request');
is($t->sql("SELECT count(DISTINCT event_id) FROM request WHERE event_id > $last"), $EVENTS, 'terminated twice: nothing is lost');
is( $t->sql("SELECT count(*), min(attempt), max(attempt) FROM webhook.attempt WHERE event_id > $last"),
	"$EVENTS|1|1", 'terminated twice: no attempt is counted for what was broken off');
is( $t->sql(<<SQL), '', 'terminated twice: in order per entity');
SELECT n, body FROM (SELECT *, lag(event_id) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous
	FROM request WHERE event_id > $last) r WHERE previous > event_id
SQL
is($t->sql('SELECT count(*) FROM webhook.pending'), 0, 'nothing is left behind');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|was terminated by/, 'no process died of a signal');

$t->stop;
done_testing();
