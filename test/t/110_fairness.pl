# The promise: a slow or dead endpoint costs nobody else anything. With 100
# subscriptions of which one hangs for 30 s per request, one answers 500 and one
# drips a byte a second, the other 97 see what they see without the three.
#
# The same load is committed six times, in turns without and with the three; each
# time the worker is a new one, so that nothing is left of the time before.
#
# What is asserted about time is only what no noise of a machine explains: the
# latencies (from the change to its receipt by a well endpoint, by the clock of
# this machine) are compared with those of the runs without the three, with
# room for how much those differ among themselves. The promise itself is
# asserted in numbers of requests, which do not depend on how busy the machine is: in
# the order of arrival, no well endpoint falls behind another, and the three
# together get no more requests than their share while the 97 are waiting for theirs.
#
# Covers: one of 100 hangs; no barrier; no shared pool that fills up; one
# broken subscription cannot stop others.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(max min);
use Test::More;
use WebhookTest;

my $WELL   = 97;
my $EVENTS = 120;    # of each run; those before it, to open connections and the breaker, do not count
my $WARM   = 20;

my $t = WebhookTest->new(conf => "log_min_messages = error\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id serial PRIMARY KEY, run int NOT NULL)');
$t->watch('item');
$t->subscribe("well $_", $r->url("/ok/well/$_")) for 1 .. $WELL;
my %ill = (hangs => '/slow/30000/ill', fails => '/status/500/ill', drips => '/drip/ill');

# One run: a new worker, and so many events, each a transaction of its own. The three are new ones each
# time, with nothing pending, and may have all the places there are: to hang and to drip they would take them.
sub run
{
	my ($run, $with) = @_;
	my $pid = $t->wait_for_worker;
	$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription WHERE name IN ('hangs', 'fails', 'drips')");
	if ($with) { $t->subscribe($_, $r->url($ill{$_}), max_in_flight => 200) for sort keys %ill }
	$t->sql("SELECT pg_terminate_backend($pid)");
	$t->wait_for_worker($pid);
	for my $part ([ $WARM, 0 ], [ $EVENTS, $run ])
	{
		my ($n, $number) = @$part;
		my $arrived = $r->count('/ok');
		my @failed  = $t->finish_sessions($t->sessions("INSERT INTO item (run) VALUES ($number); SELECT pg_sleep(0.05); -- part of the scenario\n" x $n));
		is("@failed", '', "run $run: its events are committed") if $number;
		$r->wait_for_requests($arrived + $WELL * $n, '/ok');
	}
	return;
}

my %runs = (without => [ 1, 3, 5 ], with => [ 2, 4, 6 ]);
run($_, $_ % 2 == 0) for 1 .. 6;

$t->load_requests($r, 'request');
$t->sql(<<'SQL');
CREATE TABLE r AS SELECT q.n, q.path, q.event_number, (o.result ->> 'run')::int AS run, q.at - extract(epoch FROM o.created_at) * 1000 AS ms
	FROM request q JOIN webhook.outbox o ON o.event_number = q.event_number AND o.result ->> 'run' <> '0' WHERE q.path LIKE '/ok/%';
-- to the three; these may be of an event of an earlier run
CREATE TABLE ill AS SELECT n, path, event_number FROM request WHERE path NOT LIKE '/ok/%';
CREATE INDEX ON ill (n);
ANALYZE r, ill;
SQL

my (%median, %p99);
for my $run (1 .. 6)
{
	my ($n, $median, $p99, $ill) = split /\|/, $t->sql(<<SQL);
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms),
	(SELECT count(*) FROM ill WHERE n BETWEEN min(r.n) AND max(r.n)) FROM r WHERE run = $run
SQL
	is($n, $WELL * $EVENTS, "run $run: every event arrives at each of the $WELL, once");
	$median{$run} = $median;
	$p99{$run}    = $p99;
	cmp_ok($ill, '>', 0, "run $run: while the three were being tried") if $run % 2 == 0;
	note sprintf 'run %d, %s the three: median %.1f ms, p99 %.1f ms; %d requests to the three', $run, $run % 2 ? 'without' : 'with', $median, $p99, $ill;
}

# the best of the runs with them against the worst of those without
for (['median', \%median], ['p99', \%p99])
{
	my ($what, $ms) = @$_;
	my $without = max @$ms{@{ $runs{without} }};
	my $with    = min @$ms{@{ $runs{with} }};
	cmp_ok($with, '<=', 2 * $without, sprintf 'with the three the %s is that of without, within noise (%.1f and %.1f ms)', $what, $with, $without);
}

# In numbers of requests, of the runs with the three. Events of a run are
# numbered by k. Ahead: how far another well endpoint had come when one got event k.
my $ahead = $t->sql(<<SQL);
SELECT max(furthest - k) FROM (SELECT k, max(k) OVER (PARTITION BY run ORDER BY n ROWS UNBOUNDED PRECEDING) AS furthest
	FROM (SELECT run, n, dense_rank() OVER (PARTITION BY run ORDER BY event_number) AS k FROM r WHERE run % 2 = 0) e) x
SQL
note "no well endpoint was more than $ahead events behind another";
cmp_ok($ahead, '<=', 10, 'no well endpoint falls behind another');
# Between: what the three get from the first of the 97 to the last that gets the event.
my $between = $t->sql(<<SQL);
SELECT max(c) FROM (SELECT (SELECT count(*) FROM ill i WHERE i.n BETWEEN e.first AND e.last) AS c
	FROM (SELECT event_number, min(n) AS first, max(n) AS last FROM r WHERE run % 2 = 0 GROUP BY 1) e) x
SQL
note "while the $WELL got an event, the three got $between requests at most";
cmp_ok($between, '<=', 3 * 10, 'and the three get no more than their turn meanwhile');

# They were ill indeed.
is($t->sql('SELECT count(*) FROM (SELECT FROM ill GROUP BY path HAVING count(*) > 10) x'), 3, 'all three were tried often');
cmp_ok($t->sql("SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = 'fails'"),
	'>=', $EVENTS, 'what failed is kept');

$t->stop;
done_testing();
