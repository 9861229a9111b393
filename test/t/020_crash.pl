# The promise: no event is lost, whatever dies, and a repeat carries the same
# event id and the same body; nothing is announced that a crash can undo.
#
# The load of WebhookLoad.pm, and during it the worker is killed with SIGKILL
# twice, upon which the whole cluster restarts and all sessions lose their
# connections, and the server is stopped once with "pg_ctl stop -m immediate".
# The sessions go on after the last unit that the database still knows of
# (half of them commit asynchronously, so it may have forgotten some). Nobody
# repairs anything.
#
# How many repeats may there be? A request is repeated where the log of it was
# lost: it was under way (at most 50, the subscription's max_in_flight), or it
# had ended and was not yet settled (50 ms), or the settling transaction, which
# commits asynchronously, was not yet flushed (3 x wal_writer_delay = 600 ms).
# So what arrived more than 650 ms before a crash is never repeated; the test
# says a second, for a machine that is busy.
#
# Covers: crashes need no repair; the same id on a repeat.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Time::HiRes qw(time);
use WebhookLoad;
use WebhookTest;

my $t = WebhookTest->new;
my $r = $t->receiver(args => ['--no-http2']);

$t->sql($WebhookLoad::SCHEMA);
$t->watch('item');
# slow enough that there is always something in flight
# what is repeated fails once more where it is under way at the next crash: its second retry must not take minutes
$t->subscribe('crm', $r->url('/slow/10/crm'), retry_schedule => "'{1s}'");

my @units = WebhookLoad::all_units(7);

# The sessions, each from where the database says it is.
sub start_sessions
{
	# what a session had prepared before it lost its connection outlives every crash
	$t->sql("COMMIT PREPARED '$_'") for split /\n/, $t->sql("SELECT gid FROM pg_prepared_xacts");
	my %done = map { split /\|/ } split /\n/, $t->sql('SELECT session, max(unit) FROM done GROUP BY session');
	return $t->sessions(map { WebhookLoad::script($_, $units[$_], $done{$_} // 0) } 0 .. $#units);
}

sub committed { return $t->sql('SELECT count(*) FROM audit') }

my @crashes;    # [from, to]: milliseconds between which each came about
my $before = 0;
my $undone = 0;

# Let the load go on until so many changes are committed and, with requests
# under way, end it all by CODE; then wait for the worker.
sub crash
{
	my ($what, $share, $code) = @_;
	my @sessions = start_sessions();
	poll_until("$share of the changes are committed", sub { committed() >= $share * $WebhookLoad::CHANGES });
	my $pid = $t->wait_for_worker;
	poll_until('requests are under way', sub { $t->sql('SELECT in_flight > 0 FROM webhook_internal.worker_status()') eq 't' });
	my $arrived = $r->count;
	cmp_ok($arrived, '>', $before, "$what: requests had arrived since the last time");

	my $at = time;
	$code->($pid);
	push @crashes, [ $at * 1000, time * 1000 ];
	my @failed = $t->finish_sessions(@sessions);
	cmp_ok(scalar @failed, '>', 0, "$what: sessions lost their connections");
	$t->wait_for_worker($pid);
	my $took = time - $at;
	note sprintf "%s: the worker was back after %.1f s", $what, $took;
	cmp_ok($took, '<', 10, "$what: a worker is back within 10 s");

	# units whose commit the session was told of, and which the database does not know
	for my $i (0 .. $#sessions)
	{
		my @told = $sessions[$i]->{output} =~ /^unit (\d+)$/mg;
		my $last = @told ? $told[-1] : 0;
		$undone += $t->sql("SELECT greatest(0, $last - coalesce(max(unit), 0)) FROM done WHERE session = $i");
	}
	$before = $arrived;
	return;
}

crash('SIGKILL', 0.2, sub { kill 'KILL', $_[0] });
crash('SIGKILL again', 0.5, sub { kill 'KILL', $_[0] });
crash('pg_ctl stop -m immediate', 0.75, sub { $t->node->stop('immediate'); $t->node->start });

my @failed = $t->finish_sessions(start_sessions());
is("@failed", '', 'the sessions ran to their end');
$t->wait_until_settled;

note committed() . ' changes were committed; ' . $t->sql($WebhookLoad::STRAGGLERS) . ' of them were found below what had been read';
cmp_ok(committed(), '>', 0.9 * $WebhookLoad::CHANGES, 'nearly all of the load was committed in the end');
is(committed(), $t->sql('SELECT count(*) FROM webhook.outbox'), 'an event for each committed change, and no other');

$t->load_requests($r, 'request');
is($t->sql($WebhookLoad::DIFFERENT), '', 'nothing was lost, nothing undone was announced, and first arrivals are in order per entity');
is($t->sql($WebhookLoad::NOT_AS_CAPTURED), '', 'each request has the id of its event and the row as captured, repeated or not');
is($t->sql('SELECT id FROM request GROUP BY id HAVING count(DISTINCT body) > 1'), '', 'repeats have identical bodies');

# A request that the log knows of is never made again: each event has one row, the last request's.
is($t->sql('SELECT event_number FROM webhook.attempt GROUP BY event_number HAVING count(*) <> 1'), '', 'only requests that the log had lost were repeated');
is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'nothing was given up');

my $repeats = $t->sql('SELECT count(*) - count(DISTINCT id) FROM request');
note "$repeats repeats after ${\(scalar @crashes)} crashes; "
  . $t->sql('SELECT count(*) FROM webhook.attempt WHERE attempt_number > 1')
  . ' deliveries were counted as perhaps lost with the worker';
note "$undone transactions that had been committed asynchronously were undone by the crashes";
my $crashes = join ', ', map { sprintf '(%f, %f)', @$_ } @crashes;
is( $t->sql(<<SQL), '', 'what was repeated had arrived in the last second before a crash, and arrived again once after it');
SELECT p.id, p.previous, p.at FROM (SELECT id, at, lag(at) OVER (PARTITION BY id ORDER BY n) AS previous FROM request) p
WHERE p.previous IS NOT NULL AND NOT EXISTS (
	SELECT FROM (VALUES $crashes) c(since, until) WHERE p.previous BETWEEN c.since - 1000 AND c.until + 1000 AND p.at > c.since)
SQL
my $allowed = $t->sql(<<SQL);
SELECT count(*) FROM request r, (VALUES $crashes) c(since, until) WHERE r.at BETWEEN c.since - 1000 AND c.since
SQL
$allowed += 50 * @crashes;
cmp_ok($repeats, '<=', $allowed, "no more repeats ($repeats) than requests in the last second before the crashes and in flight ($allowed)");

$t->stop;
done_testing();
