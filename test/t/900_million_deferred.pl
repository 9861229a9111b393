# The promise: a dead endpoint costs rows, not memory. While everything for it is
# deferred the worker stays as small as it was, and when it is back all of it
# arrives, at a cost for each delivery that depends neither on how much there is
# nor on somebody's old snapshot.
#
# 50,000 deliveries always, and 1,000,000 where PGWEBHOOK_LONG is set (make
# million, which CI runs; two minutes on a quiet machine). The receiver counts them and remembers only their ids.
#
# Then a smaller number is drained without and under an old snapshot, because of
# which nothing that is taken or deleted from pending can be cleaned up. If each
# look for the next rows had to pass all of those again, n deliveries would cost
# the square of n. No time is asserted, but how many index entries are passed.
#
# Covers: bounded memory; an old snapshot; much that waits does not slow the
# rest.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $N     = $ENV{PGWEBHOOK_LONG} ? 1_000_000 : 50_000;
my $STEPS = $ENV{PGWEBHOOK_LONG} ? 10 : 5;
my $M     = $ENV{PGWEBHOOK_LONG} ? 200_000 : 20_000;    # under an old snapshot

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


my $seen = 0;    # events committed so far

sub insert
{
	my ($n) = @_;
	$seen += $n;
	$t->sql("INSERT INTO item SELECT g FROM generate_series($seen - $n + 1, $seen) g");
	return;
}

# So many events at once; returns after how many seconds all of it was settled, as deferred.
sub defer
{
	my ($n) = @_;
	insert($n);
	return wait_for("$n are deferred", sub {
		return $t->sql('SELECT events_read FROM webhook_internal.worker_status()') >= $seen
		  && $t->sql("SELECT coalesce((SELECT hi FROM webhook.checkpoint WHERE kind = 'settled' ORDER BY id DESC LIMIT 1), 0)") >= $seen;
	});
}

sub arrived { return ($r->counted('/count/dead'))[2] }

# The endpoint is there again: wait until all has arrived.
sub drain
{
	my ($what) = @_;
	my $from  = arrived();
	my $left  = $seen - $from;
	my $start = time;
	my $line  = '';
	for my $quarter (1 .. 4)
	{
		my $until = $from + $left * $quarter / 4;
		$line .= sprintf ' %.0f/s', $left / 4 / wait_for("$what: $until have arrived", sub { arrived() >= $until });
	}
	$t->wait_until_settled($patience);
	note sprintf '%s: %d in %.1f s; by quarters%s', $what, $left, time - $start, $line;
	return;
}

# Entries of the index of what is deferred that the worker has passed so far.
# It reports what it did at most once a second, so let it do something until all is in.
my $deleted = 0;

sub passed
{
	wait_for('its statistics are in', sub {
		insert(1);
		return $t->sql(q{SELECT n_tup_del FROM pg_stat_all_tables WHERE relid = 'webhook.pending'::regclass}) >= $deleted;
	});
	return $t->sql(q{SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'pending_deferred_idx'});
}

$r->mode('/count/dead', '/status/503');
defer(1000);
$t->poll_sql('its breaker is open', "SELECT breaker FROM webhook.status WHERE subscription = 'dead'", 'open');
my $before = memory();
note "memory of the worker: $before kB; pending: ${\sizes()}";
my $largest = 0;
my $pid     = $t->worker_pid;
for my $step (1 .. $STEPS)
{
	my $took   = defer($N / $STEPS);
	my $memory = memory();
	$largest = $memory if $memory > $largest;
	note sprintf '%d deferred: %d kB; %.0f/s; pending: %s', $seen, $memory, $N / $STEPS / $took, sizes();
}
is($t->sql('SELECT count(*) FROM webhook.pending'), $seen, "all $seen are kept");

$r->mode('/count/dead', undef);
drain('recovered');
$deleted = $seen;
my $memory = memory();
$largest = $memory if $memory > $largest;
note "memory: $memory kB; pending: ${\sizes()}";
my (undef, $ok, $distinct) = $r->counted('/count/dead');
is("$ok $distinct", "$seen $seen", "all $seen arrive, once each");
# a delivery that stayed in memory would be more than half a kilobyte: for a million 500 MB
cmp_ok($largest - $before, '<', 200_000, "the worker grew by no more than ${\($largest - $before)} kB meanwhile");
is($t->worker_pid, $pid, 'and is the same');

my %cost;
for my $when ('without', 'under')
{
	my $holder = $when eq 'under' ? $t->node->background_psql('postgres') : undef;
	$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM item') if $holder;
	my $passed = passed();
	$t->wait_until_settled;
	$t->sql("SELECT webhook.pause('dead')");
	defer($M);
	$t->sql("SELECT webhook.resume('dead')");
	drain("$when an old snapshot");
	$deleted += $M;
	$cost{$when} = (passed() - $passed) / $M;
	note sprintf '%s an old snapshot: %.1f index entries passed for each delivery; pending: %s', $when, $cost{$when}, sizes();
	$t->wait_until_settled;
	$holder->quit if $holder;
}
# one to take it; all of those taken before would be thousands
cmp_ok($cost{under}, '<', 6, 'an old snapshot makes nobody pass what was taken before again and again');
(undef, $ok, $distinct) = $r->counted('/count/dead');
is("$ok $distinct", "$seen $seen", "all $seen arrive, once each");

$t->stop;
done_testing();
