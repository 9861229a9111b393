# The promise: ALTER EXTENSION webhook UPDATE waits for nobody, requests that
# hang included; worker and sessions go on with the tables as they are then, and
# nothing is lost or repeated.
#
# The update is to a version made for tests (test/upgrade/next.sql).
#
# Covers: update between two versions while the worker runs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;
use WebhookUpgrade;

my $t    = WebhookTest->new(install_path => installation(), conf => "webhook.poll_interval = '1s'\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

sub seconds_of
{
	my ($sql) = @_;
	my $start = time;
	$t->sql($sql);
	return time - $start;
}

# Two sources: one for an endpoint that is well or hangs, one for an endpoint that fails each event first
# (a few of them, so that its breaker stays out of it).
sub furnish
{
	my ($n) = @_;
	$t->watch('item');
	$t->watch('rare');
	$t->subscribe('crm', $r->url("/ok/$n"), events => "'{item.*}'", timeout => "'60s'");
	$t->subscribe('again', $r->url("/fail-first/1/$n"), events => "'{rare.*}'", retry_schedule => "'{2s}'");
	return;
}

# Of N events and M rare ones: each was delivered once, the rare ones at the second attempt.
sub check
{
	my ($path, $events, $rare, $what) = @_;
	$t->wait_until_settled;
	$t->load_requests($r, 'request');
	is($t->sql("SELECT count(*) FILTER (WHERE entity_type = 'item'), count(*) FILTER (WHERE entity_type = 'rare') FROM webhook.outbox"), "$events|$rare", "$what: all is captured");
	is( $t->sql(<<SQL), "$events|$events|$rare|$rare|$rare", "$what: and delivered, each once, and what fails first at its second attempt");
SELECT count(*) FILTER (WHERE path = '/ok/$path'), count(DISTINCT event_number) FILTER (WHERE path = '/ok/$path'),
	count(*) FILTER (WHERE path = '/fail-first/1/$path' AND status = 500), count(*) FILTER (WHERE path = '/fail-first/1/$path' AND status = 200),
	count(DISTINCT event_number) FILTER (WHERE path = '/fail-first/1/$path') FROM request
SQL
	return;
}

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1); CREATE TABLE rare (LIKE item INCLUDING ALL)');
furnish('first');
$t->sql('INSERT INTO item SELECT g FROM generate_series(1, 100) g');
$t->wait_until_settled;

# how long it takes by itself
my $floor = seconds_of(q{BEGIN; ALTER EXTENSION webhook UPDATE TO 'next'; ROLLBACK});
is($t->sql("SELECT extversion FROM pg_extension WHERE extname = 'webhook'"), version(), 'an update that was rolled back');

#
# While requests hang, deliveries wait in memory and in pending, and a session has all it needs cached
#
my $worker  = $t->worker_pid;
my $session = $node->background_psql('postgres');
$session->query_safe('UPDATE item SET v = 2 WHERE id = 100');
$t->sql('INSERT INTO rare SELECT generate_series(1, 5)');
$r->wait_for_requests(5, '/fail-first/1/first');
$r->wait_for_requests(101, '/ok/first');
$r->mode('/ok/first', '/slow/6000');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 80');
$r->wait_for_requests(151, '/ok/first');
$t->wait_until_read;
$r->mode('/ok/first', undef);
$t->poll_sql('deliveries are pending', "SELECT count(*) FROM webhook.pending WHERE state = 'retry'", 5);
my $took = seconds_of(q{ALTER EXTENSION webhook UPDATE TO 'next'});
is($t->sql('SELECT in_flight FROM webhook_internal.worker_status()'), 50, 'requests hung meanwhile, and hang still');
cmp_ok($took - $floor, '<', 1, sprintf('ALTER EXTENSION UPDATE: %.2f s, and %.2f s when nothing was under way', $took, $floor));
is($t->sql("SELECT extversion, webhook.of_the_update() FROM pg_extension WHERE extname = 'webhook'"), 'next|there', 'it is the new version');

$session->query_safe('UPDATE item SET v = 3 WHERE id = 100');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 90; UPDATE rare SET v = 2 WHERE id <= 3');
check('first', 100 + 1 + 80 + 1 + 90, 8, 'before, during and after it');
is($t->sql('SELECT count(*) FILTER (WHERE noted_at IS NULL) FROM webhook.outbox'), 0, 'what the update added is filled in');
is($t->worker_pid, $worker, 'by the same worker');
$session->quit;

#
# Updates and sessions that write, a worker that reads and settles: nobody fails
#
$t->sql(q{DROP EXTENSION webhook CASCADE});
$t->sql(q{CREATE EXTENSION webhook});
furnish('second');
my $script = join '', map { 'UPDATE item SET v = v + 1 WHERE id = ' . (1 + $_ % 90) . ";\n" } 1 .. 400;
my @sessions = $t->sessions($script, $script);
$t->sql('UPDATE rare SET v = 3');
$r->wait_for_requests(20, '/ok/second');
$took = seconds_of(q{ALTER EXTENSION webhook UPDATE TO 'next'});
is_deeply([ $t->finish_sessions(@sessions) ], [], sprintf('sessions that write are not disturbed by an update under way (%.2f s)', $took));
check('second', 800, 5, 'written meanwhile');

#
# A rewrite of the outbox makes its rows as new as itself; the worker, woken while it waits for the
# lock, must not look with older eyes. The event of a transaction that commits late is at stake: later
# ones have been read.
#
my $late = $node->background_psql('postgres');
my $alter = $node->background_psql('postgres');
$worker = $t->worker_pid;
for my $i (1 .. 3)
{
	$late->query_safe("BEGIN; INSERT INTO item VALUES (1000 + $i)");
	$t->sql("INSERT INTO item VALUES (2000 + $i)");
	$r->wait_for_requests(800 + 2 * $i - 1, '/ok/second');
	$t->wait_until_settled if $i == 1;
	# begins when the late one commits, which wakes the worker, and ends when that waits
	$alter->query_until(qr/altering/, <<SQL);
\\echo altering
BEGIN;
ALTER TABLE webhook.outbox ADD COLUMN rewritten_$i timestamptz NOT NULL DEFAULT clock_timestamp();
DO \$\$
BEGIN
	WHILE NOT EXISTS (SELECT FROM pg_locks WHERE pid = $worker AND NOT granted) LOOP
		PERFORM pg_sleep(0.002); -- part of the scenario
	END LOOP;
END
\$\$;
COMMIT;
SQL
	$t->poll_sql('the rewrite waits', "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted");
	$late->query_safe('COMMIT');
	$r->wait_for_requests(800 + 2 * $i, '/ok/second');
}
$_->quit for $late, $alter;
check('second', 806, 5, 'committed while the outbox is rewritten');
unlike(slurp_file($node->logfile), qr/ERROR:|exited with exit code 1|PANIC:|terminated by signal/, 'without an error');

$t->stop;
done_testing();
