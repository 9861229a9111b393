# The promise: whoever sets the wall clock, by a year back or ahead, causes no more than
# that: retries, prepared transactions, the rings of segments and the worker's other waits
# go on as if nothing had happened, also when the clock is right again.
#
# The server's processes see a clock of ours: a library that is loaded before all
# others adds to it what a file says.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $YEAR = 365 * 86400;
my $t    = WebhookTest->new(conf => "webhook.poll_interval = '500ms'\nwebhook.allow_http = on\nwebhook.retention = '6s'\n");
my $node = $t->node;
my $r    = $t->receiver(args => [ '--secret', $WebhookTest::SECRET ]);
my $dir  = PostgreSQL::Test::Utils::tempdir();

open my $source, '>', "$dir/clock.c" or die $!;
print $source <<'C';
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* seconds; the file is changed in place */
static int64_t
offset(void)
{
	static volatile int64_t *at = NULL;

	if (at == NULL)
	{
		int fd = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY);
		void *map = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);

		if (fd >= 0)
			close(fd);
		if (map == MAP_FAILED)
			return 0;
		at = map;
	}
	return *at;
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int) syscall(SYS_clock_gettime, id, t);

	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += offset();
	return rc;
}

int
gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec now;

	(void) zone;
	clock_gettime(CLOCK_REALTIME, &now);
	t->tv_sec = now.tv_sec;
	t->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (t)
		*t = now.tv_sec;
	return now.tv_sec;
}
C
close $source;
system_or_bail('cc', '-shared', '-fPIC', '-o', "$dir/clock.so", "$dir/clock.c");

sub set_clock
{
	my ($seconds) = @_;
	# in place, at once
	open my $file, '+<', "$dir/offset" or die $!;
	syswrite $file, pack('q', $seconds);
	close $file;
	return;
}
{
	open my $file, '>', "$dir/offset" or die $!;
	print $file pack('q', 0);
	close $file;
}

sub start
{
	local $ENV{LD_PRELOAD}        = "$dir/clock.so";
	local $ENV{CLOCK_OFFSET_FILE} = "$dir/offset";
	$node->start;
	return;
}
$node->stop;
start();
set_clock($YEAR);
is($t->sql("SELECT clock_timestamp() > now() + interval '0' AND extract(year FROM clock_timestamp()) > " . (1900 + (gmtime)[5])), 't', 'the server sees our clock');
set_clock(0);

$t->sql(<<'SQL');
CREATE TABLE item (id serial PRIMARY KEY, v int NOT NULL DEFAULT 0);
CREATE TABLE tick (id serial PRIMARY KEY);
CREATE TABLE segments (segment text, filenode oid, PRIMARY KEY (segment, filenode));
SQL
$t->watch('item');
$t->watch('tick');
my $base = "http://localhost:$r->{http_port}";
$t->subscribe('crm', "$base/ok/crm", events => "'{item.*}'");
$t->subscribe('ticks', "$base/ok/ticks", events => "'{tick.*}'");
$t->subscribe('again', "$base/again", events => "'{item.*}'", retry_schedule => "'{3s}'", give_up_after => "'1 hour'");
$t->subscribe('later', "$base/status/500/later", events => "'{item.*}'", filter => q('$.result.id == 1'), retry_schedule => "'{1 day}'", give_up_after => "'20 days'");
$t->sql('INSERT INTO item SELECT FROM generate_series(1, 5)');
$t->poll_sql('all goes', "SELECT count(*) FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered'", 5);

# All segments of both logs are emptied from now on: the rings go round.
sub rings_go_round
{
	my ($what) = @_;
	my $nodes = "SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relnamespace = 'webhook'::regnamespace AND relname ~ '^(outbox|attempt)_[0-7]\$'";
	$t->sql("TRUNCATE segments; INSERT INTO segments $nodes");
	my $ok = eval {
		poll_until(
			"$what: the rings go round",
			sub {
				$t->sql('INSERT INTO tick DEFAULT VALUES');
				return $t->sql("SELECT NOT EXISTS (($nodes) INTERSECT SELECT segment, filenode FROM segments)") eq 't';
			});
	};
	ok($ok, "$what: the rings go round") or diag($t->sql("SELECT string_agg(segment, ' ') FROM (($nodes) INTERSECT SELECT segment, filenode FROM segments) x(segment, f)"));
	return;
}

# Clock by clock: what is begun before the jump goes on after it.
my $items = 5;
for my $case ([ 'a year ahead', $YEAR ], [ 'back where it was', 0 ], [ 'a year back', -$YEAR ], [ 'right again', 0 ], [ 'an hour ahead', 3600 ], [ 'and back', 0 ])
{
	my ($what, $offset) = @$case;
	my $log = -s $node->logfile;
	# something failed and waits, something is prepared
	$r->mode('/again', '/status/500');
	$t->sql('INSERT INTO item DEFAULT VALUES');
	$items++;
	$t->poll_sql('it waits for its retry', "SELECT count(*) > 0 FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = 'again' AND p.state = 'retry'");
	$t->sql("BEGIN; INSERT INTO item DEFAULT VALUES; PREPARE TRANSACTION 'p'");
	$items++;
	my $left = $t->sql("SELECT count(*), bool_and(next_attempt_at > clock_timestamp() + interval '20 hours' AND next_attempt_at < clock_timestamp() + interval '27 hours') FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = 'later'");
	set_clock($offset);
	poll_until("$what: the log says so", sub { slurp_file($node->logfile, $log) =~ /webhook worker adjusted to the system clock, which was set (ahead|back) by/ });
	$t->sql("COMMIT PREPARED 'p'");
	$r->mode('/again', '/ok/again');
	$t->poll_sql("$what: events are delivered", "SELECT count(*) >= 2 FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered' AND entity_id::int > $items - 2");
	pass("$what: so is what was prepared before");
	$t->poll_sql("$what: retries go on", "SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = 'again'", 0, 60);
	pass("$what: retries go on");
	is($t->sql("SELECT count(*), bool_and(next_attempt_at > clock_timestamp() + interval '20 hours' AND next_attempt_at < clock_timestamp() + interval '27 hours') FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name = 'later'"),
		$left, "$what: what waits for long waits as long");
	is($t->sql("SELECT count(*) FROM webhook.dead_letter"), 0, "$what: nothing is given up for it");
	rings_go_round($what);
}
is($t->sql("SELECT abs(extract(epoch FROM last_read_at - clock_timestamp())) < 60 FROM webhook_internal.worker_status()"), 't', 'what people see is by the wall clock');

# A worker that starts with times of another clock
$t->sql("UPDATE webhook.pending SET next_attempt_at = next_attempt_at + interval '1 year', first_attempt_at = first_attempt_at + interval '1 year' WHERE state = 'retry'");
$node->stop;
start();
$t->wait_for_worker;
is($t->sql("SELECT count(*), bool_and(next_attempt_at < clock_timestamp() + interval '27 hours'), bool_and(first_attempt_at <= clock_timestamp()) FROM webhook.pending"), '1|t|t', 'a worker that starts brings back what waits for longer than its schedule says');
# the clock was set while there was no worker
$node->stop;
set_clock(-$YEAR);
start();
$t->wait_for_worker;
$t->sql('INSERT INTO item DEFAULT VALUES');
$items++;
$t->poll_sql('a clock that was set back while there was no worker: events are delivered', "SELECT count(*) FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered' AND entity_id::int = $items", 1);
is($t->sql("SELECT bool_and(next_attempt_at < clock_timestamp() + interval '27 hours') FROM webhook.pending WHERE state = 'retry'"), 't', 'and nothing waits for a year');
rings_go_round('a clock that was set back while there was no worker');

$t->load_requests($r, 'request');
is($t->sql("SELECT count(*) FROM (SELECT FROM request WHERE path = '/ok/crm' GROUP BY id HAVING count(*) > 1) x"), 0, 'nothing was sent twice');
is($t->sql("SELECT count(DISTINCT id) FROM request WHERE path = '/ok/crm'"), $items, 'and nothing was lost');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|webhook worker.*exited with exit code 1/, 'no process died');
$t->stop;
done_testing();
