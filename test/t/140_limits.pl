# The promise: max_in_flight, rate_limit and timeout of a subscription, and
# webhook.max_in_flight for all, hold as the receiver sees it, can be changed
# while everything runs, count at once, and a change loses nothing that is
# under way; a backlog beyond a limit holds up nobody else. What descriptors and
# memory are not enough for is said.
#
# Covers: settings change while running; a rate limit per subscription.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql("CREATE TABLE $_ (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)") for qw(flight rate patience share bulk mark);
$t->watch($_) for qw(flight rate patience share bulk mark);
my $worker = $t->wait_for_worker;
$t->subscribe('mark', $r->url('/ok/mark'), events => "'{mark.*}'");

sub subscribe
{
	my ($name, $source, $path, %columns) = @_;
	$t->subscribe($name, $r->url($path), events => "'{$source.*}'", %columns);
	return;
}

sub set
{
	my ($name, $what) = @_;
	$t->sql("UPDATE webhook.subscription SET $what WHERE name = '$name'");
	return;
}

# The worker has taken in all that was committed about subscriptions: it has delivered by something newer.
my $marks = 0;

sub config_seen
{
	$marks++;
	$t->sql(qq{UPDATE webhook.subscription SET url = '${\$r->url("/ok/mark/$marks")}' WHERE name = 'mark'});
	$t->sql("INSERT INTO mark VALUES ($marks)");
	$r->wait_for_requests(1, "/ok/mark/$marks");
	return;
}

# So many requests are under way at a path, and no more come although they could.
sub under_way
{
	my ($path, $n, $what) = @_;
	poll_until("$n requests are under way at $path", sub { $r->concurrent($path)->{now} >= $n });
	is($r->concurrent($path)->{now}, $n, $what);
	return;
}

# Requests in the busiest second: as the log has their starts.
sub busiest_second
{
	my ($name, $condition) = @_;
	return $t->sql(<<SQL);
SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY a.started_at RANGE BETWEEN CURRENT ROW AND '999999 us' FOLLOWING) AS n
	FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = '$name' WHERE $condition) x
SQL
}

# What must be so after each part: all arrived, once each, and the worker is the one it was.
sub nothing_lost
{
	my ($path, $n) = @_;
	$t->wait_until_settled;
	my %times;
	$times{ $_->{headers}{'webhook-id'} }++ for grep { $_->{status} } $r->requests($path);
	is(scalar(keys %times) . ' ' . scalar(grep { $_ != 1 } values %times), "$n 0", "$n events at $path, once each");
	is($t->worker_pid, $worker, 'by the same worker');
	return;
}

subtest 'max_in_flight' => sub {
	subscribe('flight', 'flight', '/hold/flight', max_in_flight => 3, timeout => "'60s'");
	$t->sql('INSERT INTO flight SELECT g FROM generate_series(1, 60) g');
	under_way('/hold/flight', 3, 'three are under way');
	set('flight', 'max_in_flight = 7');
	under_way('/hold/flight', 7, 'raised: four more at once, while the three are under way');
	set('flight', 'max_in_flight = 2');
	config_seen();
	$r->release('/hold/flight', 5);
	under_way('/hold/flight', 2, 'lowered: what is under way ends as it ends, and two stay');
	my $before = $r->concurrent('/hold/flight', 1);
	is($before->{most}, 7, 'never more than seven');
	$r->mode('/hold/flight', '/slow/5/flight');
	$r->release('/hold/flight', 2);
	nothing_lost('/hold/flight', 60);
	is($r->concurrent('/hold/flight')->{most}, 2, 'and from then on never more than two');
};

subtest 'webhook.max_in_flight' => sub {
	config_seen();
	my $setting = sub {
		$t->node->append_conf('postgresql.conf', "webhook.max_in_flight = $_[0]\n");
		$t->node->reload;
	};
	$setting->(8);
	subscribe("share$_", 'share', "/hold/share/$_", max_in_flight => 50, timeout => "'60s'") for 1 .. 2;
	$t->sql('INSERT INTO share SELECT g FROM generate_series(1, 100) g');
	# two that hang have 3 and 3 of 8, or 4 and 2 if one came first: a place is left in any case
	poll_until('both have their share', sub { $r->concurrent('/hold/share')->{now} >= 6 });
	my @now = map { $r->concurrent("/hold/share/$_")->{now} } 1, 2;
	cmp_ok($now[0] + $now[1], '<', 8, "places are left beside two that hang (@now)");
	cmp_ok($now[$_], '>=', 2, 'and each has some') for 0, 1;
	subscribe('well', 'bulk', '/ok/well');
	$t->sql('INSERT INTO bulk SELECT g FROM generate_series(1, 500) g');
	$r->wait_for_requests(500, '/ok/well');
	pass('another subscription gets everything meanwhile');
	$setting->(20);
	poll_until('raised: more at once', sub { $r->concurrent('/hold/share')->{now} >= 12 });
	cmp_ok($r->concurrent('/hold/share', 1)->{most}, '<=', 20, 'and no more than that');
	$r->mode('/hold/share', '/slow/5/share');
	$r->release('/hold/share', 1000);
	nothing_lost("/hold/share/$_", 100) for 1, 2;
	$setting->(4);
	my $n = 100;
	my $round = sub {
		$r->concurrent('/hold/share', 1);
		$t->sql("UPDATE share SET v = v + 1");
		$n += 100;
		$t->wait_until_settled;
		return $r->concurrent('/hold/share')->{most};
	};
	poll_until('lowered: the worker has taken it in', sub { $round->() <= 4 });
	cmp_ok($round->(), '<=', 4, 'lowered: never more');
	nothing_lost("/hold/share/$_", $n) for 1, 2;
	$setting->(200);
};

# The limit comes down below what is under way while deliveries wait for a transform, which they then do not need any more.
subtest 'webhook.max_in_flight, and a transform' => sub {
	config_seen();
	my $set = sub {
		my ($places, $memory) = @_;
		$t->node->append_conf('postgresql.conf', "webhook.max_in_flight = $places\nwebhook.worker_memory = '${memory}MB'\n");
		$t->node->reload;
		my $most = $memory * 1024 * 1024;
		poll_until("$places places", sub { slurp_file("/proc/$worker/limits") =~ /^Max data size\s+(\d+)/m && $1 == $most - $most / 16 });
	};
	$t->sql("CREATE TABLE $_ (id int PRIMARY KEY)") for qw(held made);
	$t->watch($_) for qw(held made);
	$t->sql('CREATE FUNCTION slowly(e webhook.outbox) RETURNS json LANGUAGE sql AS $$ SELECT e.result FROM pg_sleep(0.3) $$');    # part of the scenario
	subscribe('held', 'held', '/hold/held', max_in_flight => 50, timeout => "'60s'");
	subscribe('made', 'made', '/ok/made', max_in_flight => 50, transform => "'public.slowly'");
	$set->(8, 480);
	$t->sql('INSERT INTO held SELECT g FROM generate_series(1, 10) g');
	poll_until('requests are under way', sub { $r->concurrent('/hold/held')->{now} >= 3 });
	$t->sql('INSERT INTO made SELECT g FROM generate_series(1, 10) g');
	$r->wait_for_requests(1, '/ok/made');
	$set->(1, 496);
	set('made', 'transform = NULL');
	$r->wait_for_requests(3, '/ok/made');
	$r->mode('/hold/held', '/ok/held');
	$r->release('/hold/held', 1000);
	nothing_lost('/ok/made', 10);
	nothing_lost('/hold/held', 10);
	$set->(200, 512);
};

# As many as the subscriptions ask for, beyond the 200 that there are in any case; what is
# not enough for what is asked is said, and deliveries go on.
subtest 'webhook.max_in_flight by itself' => sub {
	config_seen();
	my $setting = sub {
		$t->node->append_conf('postgresql.conf', "$_\n") for @_;
		$t->node->reload;
	};
	my $reason = sub { $t->sql('SELECT state, reason FROM webhook.worker') };
	$setting->('webhook.max_in_flight = 0');
	$t->sql('CREATE TABLE many (id int PRIMARY KEY, v int NOT NULL DEFAULT 1)');
	$t->watch('many');
	subscribe("many$_", 'many', "/hold/many/$_", max_in_flight => 50, timeout => "'60s'") for 1 .. 6;
	$t->sql('INSERT INTO many SELECT g FROM generate_series(1, 60) g');
	under_way("/hold/many/$_", 50, "50 of subscription $_ are under way") for 1 .. 6;
	is($reason->(), 'running|', 'nothing is short');
	my $offset = -s $t->node->logfile;
	$setting->('webhook.max_in_flight = 10000', "webhook.worker_memory = '64MB'");
	poll_until('memory is short for what is asked', sub { $reason->() =~ /^running\|at most \d+ requests at once: webhook\.max_in_flight is 10000, but webhook\.worker_memory is enough for \d+\.$/ });
	like(slurp_file($t->node->logfile, $offset), qr/webhook worker sends at most \d+ requests at once.*HINT:  Raise webhook\.worker_memory, or lower webhook\.max_in_flight\./s, 'and so says the log');
	$t->node->reload;
	$r->mode('/hold/many', '/ok/many');
	$r->release('/hold/many', 1000);
	nothing_lost("/hold/many/$_", 60) for 1 .. 6;
	is(scalar(() = slurp_file($t->node->logfile, $offset) =~ /sends at most/g), 1, 'once');
	$setting->('webhook.max_in_flight = 200', "webhook.worker_memory = '512MB'");
	poll_until('it is enough again', sub { $reason->() eq 'running|' });
	$t->sql("DELETE FROM webhook.subscription WHERE name LIKE 'many%'");
};

# What hangs of subscriptions that were paused, removed or limited takes no places from the others.
subtest 'webhook.max_in_flight by itself, with subscriptions that are paused' => sub {
	$t->node->append_conf('postgresql.conf', "webhook.max_in_flight = 0\n");
	$t->node->reload;
	$t->sql('CREATE TABLE gone (id int PRIMARY KEY)');
	$t->watch('gone');
	subscribe("gone$_", 'gone', "/hold/gone/$_", max_in_flight => 50, timeout => "'60s'") for 1 .. 15;
	$t->sql('INSERT INTO gone SELECT g FROM generate_series(1, 50) g');
	under_way("/hold/gone/$_", 50, "50 of subscription $_ are under way") for 1 .. 15;
	$t->sql("UPDATE webhook.subscription SET state = 'paused' WHERE name IN ('gone1', 'gone2', 'gone3', 'gone4', 'gone5')");
	$t->sql("UPDATE webhook.subscription SET max_in_flight = 1 WHERE name IN ('gone6', 'gone7', 'gone8', 'gone9', 'gone10')");
	$t->sql("DELETE FROM webhook.subscription WHERE name IN ('gone11', 'gone12', 'gone13', 'gone14', 'gone15')");
	config_seen();
	is($r->concurrent('/hold/gone')->{now}, 750, 'all others go on while all of it hangs');
	$r->mode('/hold/gone', '/ok/gone');
	$r->release('/hold/gone', 1000);
	nothing_lost("/hold/gone/$_", 50) for 1 .. 15;
	$t->sql("DELETE FROM webhook.subscription WHERE name LIKE 'gone%'");
	$t->node->append_conf('postgresql.conf', "webhook.max_in_flight = 200\n");
	$t->node->reload;
};

subtest 'timeout' => sub {
	subscribe('patience', 'patience', '/hold/patience', timeout => "'60s'", max_in_flight => 1, retry_schedule => "'{100ms}'");
	$t->sql('INSERT INTO patience SELECT g FROM generate_series(1, 3) g');
	under_way('/hold/patience', 1, 'one is under way, and unanswered');
	set('patience', "timeout = '300ms', max_in_flight = 3");
	$t->poll_sql('the next ones are given up by the new timeout',
		"SELECT count(*) >= 2 FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'patience' WHERE a.outcome = 'timeout'");
	is($r->concurrent('/hold/patience')->{now} >= 1, 1, 'while the first one still has the old one');
	is( $t->sql("SELECT count(*) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'patience' WHERE a.duration_ms NOT BETWEEN 300 AND 10000"),
		0, 'after 300 ms, not after 60 s');
	$r->mode('/hold/patience', '/ok/patience');
	$r->release('/hold/patience', 10);
	$t->wait_until_settled;
	is( $t->sql(<<SQL), '3|1', 'all three are delivered, the first at its first attempt');
SELECT count(*), min(a.attempt_number) FROM webhook.attempt a JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = 'patience' WHERE a.outcome = 'delivered'
SQL
	is($t->worker_pid, $worker, 'by the same worker');
};

subtest 'rate_limit' => sub {
	subscribe('rate', 'rate', '/ok/rate', rate_limit => 40);
	subscribe('free', 'rate', '/ok/free');
	$t->sql('INSERT INTO rate SELECT g FROM generate_series(1, 4000) g');
	$r->wait_for_requests(4000, '/ok/free');
	cmp_ok($r->count('/ok/rate'), '<', 2000, 'a subscription without a limit has everything while one with a limit has not');
	$t->poll_sql('what is beyond the limit is deferred', "SELECT count(*) > 1500 FROM webhook.pending WHERE state = 'deferred'");
	# the server's own statistics come late
	$t->sql(<<'SQL');
CREATE TABLE moved (event_number bigint);
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.moved VALUES (old.event_number); RETURN NULL; END $$;
CREATE TRIGGER note_move AFTER UPDATE OR DELETE ON webhook.pending FOR EACH ROW EXECUTE FUNCTION note_move();
SQL
	my $then = $r->count('/ok/rate');
	$r->wait_for_requests($then + 120, '/ok/rate');
	cmp_ok($t->sql('SELECT queued FROM webhook.status WHERE subscription = $$rate$$'), '<=', 1500, 'what waits in memory is bounded');
	my $busiest = busiest_second('rate', 'true');
	cmp_ok($busiest, '<=', 40, "never more than 40 a second: $busiest");
	cmp_ok($busiest, '>=', 20, 'and not much less');
	# a row that is taken is updated, and deleted when it is sent; one that is put back is updated again
	$t->poll_sql('some of it is settled', 'SELECT count(*) > 100 FROM moved');
	my $moved = $t->sql('SELECT count(*) FROM moved');
	my $sent = $r->count('/ok/rate') - $then;
	cmp_ok($moved, '<=', 2 * ($sent + 1000), "rows are taken once, not taken and put back: $moved changes for $sent requests");
	$t->sql('DROP TRIGGER note_move ON webhook.pending');

	my $since = $t->sql('SELECT clock_timestamp()');
	set('rate', 'rate_limit = 1000');
	nothing_lost('/ok/rate', 4000);
	nothing_lost('/ok/free', 4000);
	$busiest = busiest_second('rate', "a.started_at > '$since'");
	cmp_ok($busiest, '>', 100, "raised: at once ($busiest in a second)");
	cmp_ok($busiest, '<=', 1000, 'and never more than that');
	set('rate', 'rate_limit = 5');
	config_seen();
	$since = $t->sql('SELECT clock_timestamp()');
	$t->sql('UPDATE rate SET v = v + 1 WHERE id <= 20');
	nothing_lost('/ok/rate', 4020);
	cmp_ok(busiest_second('rate', "a.started_at > '$since'"), '<=', 5, 'lowered: at once');
	set('rate', 'rate_limit = NULL');
	$t->sql('UPDATE rate SET v = v + 1');
	nothing_lost('/ok/rate', 8020);
};

$t->stop;
done_testing();
