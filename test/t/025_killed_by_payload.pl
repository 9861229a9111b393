# The promise: each attempt at a payload that kills the worker is counted, so
# that it runs out of them instead of killing the worker for ever, although an event is sent before anything about it is
# written down.
#
# A worker that has run for a while does not write its read checkpoint before it
# sends. Here a lock keeps it from writing at all, and it is killed while the
# request is under way: that attempt nobody can count. The next worker is
# checkpoint_first, and when it is killed the same way, the attempt is counted.
#
# Such a worker has nothing to flush for itself, but an event that was committed
# asynchronously must be on disk before it is announced. The WAL writer is made
# so slow here that nobody else flushes it.
#
# Covers: crashes need no repair.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "wal_writer_delay = '10s'\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE poison (id int PRIMARY KEY)');
$t->watch($_) for qw(item poison);
$t->subscribe('good', $r->url('/ok/good'), events => "'{item.*}'");
$t->subscribe('bad', $r->url('/hold/bad'), events => "'{poison.*}'", retry_schedule => "'{1s}'");

sub kill_worker
{
	my $pid = $t->worker_pid;
	kill 'KILL', $pid;
	return $t->wait_for_worker($pid);
}

sub attempts { return $t->sql('SELECT attempts FROM webhook.pending') }

# It is careful no more when an event is delivered and settled, and reading wrote no checkpoint.
my $items = 0;
my $reads = "SELECT count(*) FROM webhook.checkpoint WHERE kind = 'read'";
poll_until('the worker is careful no more', sub {
	my $before = $t->sql($reads);
	$t->sql('INSERT INTO item VALUES (' . ++$items . ')');
	$t->wait_until_settled;
	return $t->sql($reads) == $before;
});

my $lsn = $t->sql('SET synchronous_commit = off; BEGIN; INSERT INTO item VALUES (' . ++$items . '); SELECT pg_current_wal_insert_lsn(); COMMIT');
$r->wait_for_requests($items, '/ok/good');
is($t->sql("SELECT pg_current_wal_flush_lsn() >= '$lsn'"), 't', 'what was committed asynchronously is on disk when it arrives');
$t->wait_until_settled;

# What was read is written down by the next settle, whether or not a request has ended
$t->sql('INSERT INTO poison VALUES (0)');
$r->wait_for_requests(1, '/hold/bad');
$t->wait_until_read;
is($t->sql("SELECT max(hi) FROM webhook.checkpoint WHERE kind = 'read'"), $items + 1,
	'a request under way is covered by the read checkpoint soon');
$r->release('/hold/bad', 1);
$t->wait_until_settled;

my $holder = $t->node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE webhook.checkpoint IN ACCESS EXCLUSIVE MODE');
$t->sql('INSERT INTO poison VALUES (1)');
$r->wait_for_requests(2, '/hold/bad');
pass('an event is sent while nothing can be written of it');
kill_worker();
eval { $holder->quit };

$r->wait_for_requests(3, '/hold/bad');
is(attempts(), '', 'after the crash it is sent again: of the first attempt nothing is known');
kill_worker();
$r->wait_for_requests(4, '/hold/bad');
is(attempts(), 2, 'the attempt of a careful worker is counted, and so is the one after it');
kill_worker();
$r->wait_for_requests(5, '/hold/bad');
is(attempts(), 3, 'and so on, as for any endpoint that fails');
$r->release('/hold/bad', 5);    # of which four are not under way any more
$t->wait_until_settled;
is($t->sql("SELECT outcome, attempt_number FROM webhook.attempt WHERE entity_type = 'poison' AND entity_id = '1'"),
	'delivered|3', 'it is delivered when the worker survives it');

my @ids = map { $_->{headers}{'webhook-id'} } ($r->requests('/hold/bad'))[ 1 .. 4 ];
is(scalar(grep { $_ eq $ids[0] } @ids), 4, 'always with the same id');

$t->sql('INSERT INTO item VALUES (' . ++$items . ')');
$t->wait_until_settled;
is($r->count('/ok/good'), $items, 'all others were delivered, and once');

$t->stop;
done_testing();
