# The promise: a dead endpoint costs rows, not memory. While everything for it is
# parked the worker stays as large as it was, and when it is back all of it
# arrives, at a speed that does not depend on how much there is, nor on
# somebody's old snapshot.
#
# 50,000 deliveries always, and 1,000,000 where PGWEBHOOK_LONG is set (some
# minutes). The receiver counts them and remembers only their ids.
#
# Half of a smaller batch is drained while a transaction holds an old
# snapshot, because of which nothing that is deleted from pending can be
# cleaned up. If each look for the next rows had to walk over all of those, the
# time for n deliveries would grow with the square of n. Time is not asserted:
# the buffers that the worker's statements visit per delivery are counted instead.
#
# Covers T7 and T46 (bounded memory), T47 (an old snapshot), T49 (much that is
# due some day does not slow the rest).
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $N     = $ENV{PGWEBHOOK_LONG} ? 1_000_000 : 50_000;
my $STEPS = 5;

my $t = WebhookTest->new(conf => "max_wal_size = '4GB'\nlog_checkpoints = off\n");
my $r = $t->receiver(args => ['--no-http2']);
# whatever it takes: a million of deliveries on a busy machine
my $patience = 600 + $N / 500;

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)');
$t->watch('item');
$t->subscribe('dead', $r->url('/count/dead'), retry_schedule => "'{1h}'");

# Kilobytes of the worker that are its own, not shared memory that it has merely touched.
sub memory
{
	my $rollup = slurp_file('/proc/' . $t->worker_pid . '/smaps_rollup');
	my $kb     = 0;
	$kb += $1 while $rollup =~ /^Private_(?:Clean|Dirty):\s+(\d+) kB/mg;
	return $kb;
}

sub sizes { return $t->sql("SELECT pg_size_pretty(pg_table_size('webhook.pending')) || ' and ' || pg_size_pretty(pg_indexes_size('webhook.pending')) || ' of indexes'") }

sub wait_for
{
	my ($what, $code) = @_;
	my $start = time;
	poll_until($what, $code, $patience);
	return time - $start;
}


# Blocks of pending and its indexes that have been looked at so far.
sub blocks
{
	return $t->sql(<<'SQL');
SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit FROM pg_statio_all_tables WHERE relid = 'webhook.pending'::regclass
SQL
}

my $seen = 0;    # events inserted so far

sub park
{
	my ($n) = @_;
	$seen += $n;
	$t->sql("INSERT INTO item SELECT g FROM generate_series($seen - $n + 1, $seen) g");
	return wait_for("$n are parked", sub { $t->sql('SELECT events_read FROM webhook.worker_status()') >= $seen
		&& $t->sql("SELECT NOT EXISTS (SELECT FROM webhook.outbox WHERE id > coalesce((SELECT hi FROM webhook.checkpoint WHERE kind = 'settled' ORDER BY id DESC LIMIT 1), 0))") eq 't' });
}

my $last_blocks;
sub drain
{
	my ($what) = @_;
	my $from = ($r->counted('/count/dead'))[2];
	my $left = $seen - $from;
	my $blocks = blocks();
	my $line = '';
	my $start = time;
	for my $quarter (1 .. 4)
	{
		my $until = $from + $left * $quarter / 4;
		my $took = wait_for("$what: $quarter quarters of $left arrived", sub { ($r->counted('/count/dead'))[2] >= $until });
		$line .= sprintf ' %.0f/s (%.1f blocks each)', $left / 4 / ($took || 0.001), (blocks() - $blocks) / ($left / 4);
		$blocks = blocks();
	}
	$t->wait_until_settled($patience);
	note sprintf '%s: %d in %.1f s; by quarters%s', $what, $left, time - $start, $line;
	return;
}

$r->mode('/count/dead', '/status/503');
park(1000);
$t->poll_sql('its breaker is open', "SELECT breaker FROM webhook.status WHERE subscription = 'dead'", 'open');
my $before = memory();
note "memory of the worker: $before kB; pending: ${\sizes()}";
my $largest = 0;
my $took = 0;
for my $step (1 .. $STEPS)
{
	my $t0 = park($N / $STEPS);
	$took += $t0;
	my $memory = memory();
	$largest = $memory if $memory > $largest;
	note sprintf '%d parked: %d kB, %.0f/s; pending: %s', $seen, $memory, $N / $STEPS / $t0, sizes();
}
is($t->sql('SELECT count(*) FROM webhook.pending'), $seen, "all $seen are kept");
$r->mode('/count/dead', undef);
drain('recovered');
my $memory = memory();
$largest = $memory if $memory > $largest;
note "memory: $memory kB; pending: ${\sizes()}";
my (undef, $ok, $distinct) = $r->counted('/count/dead');
is("$ok $distinct", "$seen $seen", "all $seen arrive, once each");
note "memory grew by ${\($largest - $before)} kB at most";

for my $held ('without', 'under', 'under', 'without')
{
	my $holder = $t->node->background_psql('postgres', on_error_stop => 1) if $held eq 'under';
	$holder->query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1;") if $holder;
	$t->sql("SELECT webhook.pause('dead')");
	park($ENV{M} // 50000);
	$t->sql("SELECT webhook.resume('dead')");
	drain("$held an old snapshot");
	$holder->quit if $holder;
	note sizes();
}

$t->stop;
done_testing();
