# The promise: under load and faults for as long as it may be, every event is
# accounted for, and the worker grows neither in memory nor in descriptors.
#
#   make soak MINUTES=20
#
# Small transactions all the time, to five subscriptions: one that is well, one
# whose endpoint answers 200, 500, 503, nothing or a reset at random, one that
# hangs for seconds now and then (so that its breaker opens), one that is paused
# and resumed, one that takes its events strictly one after the other. The
# worker is killed now and then, which restarts the whole server. In the end all
# faults stop, and for each subscription: events = delivered + pending + dead,
# and each event is at the receiver. SEED repeats a run's faults.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../t";
use Test::More;
use Time::HiRes qw(time usleep);
use WebhookTest;

my $minutes = $ENV{MINUTES} // 2;
my $seed    = $ENV{SEED}    // int(time);
srand $seed;
note "$minutes minutes, SEED=$seed";

my $t = WebhookTest->new(conf => "webhook.poll_interval = '1s'\n");
my $r = $t->receiver(args => ['--no-http2']);
my %path = (
	well    => '/ok/well',
	random  => "/random/$seed",
	hanging => '/ok/hanging',
	pausing => '/ok/pausing',
	strict  => '/ok/strict');
$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1, note text)');
$t->watch('item');
for my $name (sort keys %path)
{
	$t->subscribe($name, $r->url($path{$name}), timeout => "'1s'", retry_schedule => "'{200ms,1s,2s}'", give_up_after => "'1 day'",
		ordering => $name eq 'strict' ? "'strict'" : "'entity'");
}

# A statement that may fail because the server is just restarting.
sub try_sql { return $t->try_sql($_[0]) }

# A dozen small transactions: many rows, one, none that counts; rolled back now and then.
sub load
{
	my $sql = '';
	for (1 .. 12)
	{
		my $id   = 1 + int rand 300;
		my $dice = rand;
		$sql .= 'BEGIN;'
		  . ( $dice < 0.5 ? "UPDATE item SET v = v + 1 WHERE id = $id;"
			: $dice < 0.7 ? "INSERT INTO item VALUES ($id, 1, repeat('x', " . int(rand 2000) . ")) ON CONFLICT (id) DO UPDATE SET v = item.v + 1;"
			: $dice < 0.8 ? "DELETE FROM item WHERE id = $id;"
			:               "UPDATE item SET v = v + 1 WHERE id BETWEEN $id AND $id + 5;")
		  . (rand() < 0.05 ? 'ROLLBACK;' : 'COMMIT;') . "\n";
	}
	return defined try_sql($sql);
}

sub running_worker { return try_sql("SELECT pid FROM webhook_internal.worker_status() WHERE state = 'running'") }

# kB that are the worker's own, and how many descriptors it has.
sub sample
{
	my $pid = running_worker() or return;
	open my $status, '<', "/proc/$pid/status" or return;
	my ($kb) = map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$status>;
	opendir my $fds, "/proc/$pid/fd" or return;
	return ($pid, $kb, scalar grep { /^\d/ } readdir $fds);
}

my $end       = time + 60 * $minutes;
my $kill_at   = time + 30;
my $sample_at = 0;
my ($hanging, $paused, $kills, $rounds) = (0, 0, 0, 0);
my %lives;    # pid -> samples
my @samples;  # of all, in order
while ((my $now = time) < $end)
{
	$rounds++ if load();
	if ($now >= $sample_at and my ($pid, $kb, $fds) = sample())
	{
		push @{ $lives{$pid} }, [ $kb, $fds ];
		push @samples, [ $kb, $fds ];
		note sprintf '%4d s: worker %d has %.1f MB of its own and %d descriptors', $minutes * 60 - ($end - $now), $pid, $kb / 1024, $fds
		  if @{ $lives{$pid} } % 5 == 1;
		$sample_at = $now + 1;
	}
	if (rand() < 0.03)
	{
		$hanging = !$hanging;
		$r->mode($path{hanging}, $hanging ? '/hang' : undef);
	}
	if (rand() < 0.03)
	{
		$paused = !$paused;
		try_sql(sprintf "SELECT webhook.%s('pausing')", $paused ? 'pause' : 'resume');
	}
	if ($now >= $kill_at)
	{
		my $pid = try_sql("SELECT pid FROM webhook_internal.worker_status() WHERE state = 'running'");
		$kills += kill 'KILL', $pid if $pid;
		# lives of half a minute, some longer
		$kill_at = $now + 25 + rand(rand() < 0.2 ? 200 : 30);
	}
	usleep(100_000);
}

$r->mode($_, undef) for $path{hanging};
$r->mode($path{random}, '/ok');
poll_until('it is resumed', sub { defined try_sql("SELECT webhook.resume('pausing')") });
$t->wait_until_settled(300);
note "$rounds rounds of load, the worker was killed $kills times, lived " . keys(%lives) . ' times';
cmp_ok($rounds, '>', 30 * $minutes, 'there was load');
cmp_ok($kills, '>', 0, 'and crashes');

# -- the accounts

$t->load_requests($r, 'request');
my $events = $t->sql('SELECT count(*) FROM webhook.outbox');
for my $name (sort keys %path)
{
	my $own = "(SELECT id FROM webhook.subscription WHERE name = '$name')";
	my ($delivered, $pending, $dead, $attempts) = split /\|/, $t->sql(<<SQL);
SELECT (SELECT count(DISTINCT event_number) FROM webhook.attempt WHERE subscription_id = $own AND outcome = 'delivered'),
	(SELECT count(*) FROM webhook.pending WHERE subscription_id = $own),
	(SELECT count(*) FROM webhook.dead_letter WHERE subscription_id = $own),
	(SELECT count(*) FROM webhook.attempt WHERE subscription_id = $own)
SQL
	my ($arrived, $requests) = split /\|/, $t->sql("SELECT count(DISTINCT id), count(*) FROM request WHERE path LIKE '$path{$name}%' AND status = 200");
	note sprintf '%-8s %d events = %d delivered + %d pending + %d dead; %d attempts; %d repeated at the receiver', $name, $events, $delivered,
	  $pending, $dead, $attempts, $requests - $arrived;
	is($delivered + $pending + $dead, $events, "$name: each event is delivered, pending or dead");
	is( $t->sql("SELECT count(*) FROM webhook.outbox o WHERE NOT EXISTS (SELECT FROM request r WHERE r.event_number = o.event_number AND r.status = 200 AND r.path LIKE '$path{$name}%')"),
		$dead + $pending, "$name: what is delivered is at the receiver");
	is($arrived, $events - $dead - $pending, "$name: and nothing else is");
}
is($t->sql('SELECT id FROM request GROUP BY id HAVING count(DISTINCT body) > 1'), '', 'repeats have identical bodies');
is( $t->sql(<<SQL), '', 'first arrivals are in order per entity at each endpoint');
SELECT path, event_number, previous FROM (
	SELECT r.path, r.event_number, lag(r.event_number) OVER (PARTITION BY r.path, o.entity_id ORDER BY r.n) AS previous
	FROM (SELECT path, event_number, min(n) AS n FROM request WHERE status = 200 GROUP BY 1, 2) r
		JOIN webhook.outbox o ON o.event_number = r.event_number) x
WHERE previous > event_number
SQL

# -- the worker

# At rest there is a connection or two; one that was forgotten would stay for ever. A change now and then has libcurl
# look at the others, which the receiver has closed after five seconds.
sub sockets_of
{
	my ($pid) = @_;
	return scalar grep { (readlink($_) // '') =~ /^socket:/ } glob "/proc/$pid/fd/*";
}
my $at_rest = running_worker();
poll_until(
	'the connections that are not needed any more are closed',
	sub {
		$t->sql('UPDATE item SET v = v + 1 WHERE id = (SELECT min(id) FROM item)');
		$t->wait_until_settled;
		return sockets_of($at_rest) <= 2 * keys %path;
	});
is(running_worker(), $at_rest, 'the last worker forgot no connection');

# Lives are short, and a worker grows while it warms up: the thirds of the whole run are compared, whoever lived in
# them. That takes many lives; in a shorter run the worker's own memory is but bounded.
my $third = int(@samples / 3);
sub median { return (sort { $a <=> $b } @_)[ @_ / 2 ] }
for my $what ([ 0, 'kB', 6 * 1024 ], [ 1, 'descriptors', 60 ])
{
	my ($column, $unit, $noise) = @$what;
	my ($then, $now) =
	  map { median(map { $_->[$column] } @$_) } [ @samples[ $third .. 2 * $third - 1 ] ], [ @samples[ -$third .. -1 ] ];
	note "the second third: $then $unit, the last one: $now $unit";
	cmp_ok($now - $then, '<=', $noise, "the last third of the time took no more $unit than the second, beyond their noise") if $minutes >= 10;
}
cmp_ok((sort { $b <=> $a } map { $_->[0] } @samples)[0], '<', 64 * 1024, 'kB: the worker never had more than 64 MB of its own');

$t->stop;
done_testing();
