# The promise: the cost of keeping events does not grow with age. The outbox and
# the log of requests are rings of segments that the worker empties by TRUNCATE;
# nothing younger than webhook.retention is thrown away, nothing that is not
# settled is, what is still pending by then keeps its event, which moves on into
# the current segment; and the worker neither waits for a lock on a segment nor makes an
# application wait.
#
# With a retention of six seconds a segment is one second wide, and the ring goes
# round every eight. Two sessions write all the while, with a lock_timeout.
#
# Covers: rotation with open and prepared transactions; no DELETE, bounded.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookTest;

my $RETENTION = 6;
my $LATEST    = 2 * $RETENTION;    # 4/3 of it, and patience for a busy machine

my $t    = WebhookTest->new(conf => "webhook.retention = '${RETENTION}s'\n");
my $node = $t->node;
my $r    = $t->receiver(args => [ '--no-http2', '--secret', $WebhookTest::SECRET ]);

$t->sql(<<'SQL');
CREATE TABLE item (id serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE doomed (id serial PRIMARY KEY);
CREATE TABLE stop_now (x int);
CREATE TABLE seen (id bigint PRIMARY KEY, created_at timestamptz NOT NULL);
CREATE TABLE segments (segment text, filenode oid, first_seen timestamptz DEFAULT clock_timestamp(), PRIMARY KEY (segment, filenode));

-- an application, until it is told to stop
CREATE PROCEDURE write_items() LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM stop_now) LOOP
		INSERT INTO item DEFAULT VALUES;
		COMMIT;
		PERFORM pg_sleep(0.01); -- part of the scenario
	END LOOP;
END
$$;

-- How many events younger than the retention, seen at an earlier look, are gone by now.
CREATE FUNCTION look() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	missing bigint;
BEGIN
	INSERT INTO seen SELECT event_number, created_at FROM webhook.outbox ON CONFLICT DO NOTHING;
	INSERT INTO segments SELECT relname, pg_relation_filenode(oid) FROM pg_class
		WHERE relnamespace = 'webhook'::regnamespace AND relname ~ '^(outbox|attempt)_[0-7]$' ON CONFLICT DO NOTHING;
	SELECT count(*) INTO missing FROM seen s
		WHERE s.created_at > clock_timestamp() - current_setting('webhook.retention')::interval
			AND NOT EXISTS (SELECT FROM webhook.outbox o WHERE o.event_number = s.id);
	RETURN missing;
END
$$;
SQL
$t->watch('item');
$t->watch('doomed');
# one endpoint that fails now and then, one that always does, one that is paused, for others' events
$t->subscribe('crm', $r->url('/flaky/5/1'), events => "'{item.*}'", retry_schedule => "'{500ms}'");
$t->subscribe('failing', $r->url('/status/500'), events => "'{doomed.*}'", retry_schedule => "'{1s}'");
$t->subscribe('paused', $r->url('/ok/paused'), events => "'{doomed.*}'");
$t->sql("SELECT webhook.pause('paused')");

# Events that are where the clock has put them: not those that somebody has waited for, and that were moved on.
my $not_carried = 'segment = floor(extract(epoch FROM created_at))::bigint % 8';

my $missing = 0;
my $oldest  = 0;

# Look at the segments until a fact holds.
sub watch_until
{
	my ($what, $sql) = @_;
	poll_until(
		$what,
		sub {
			$missing += $t->sql('SELECT look()');
			my $age = $t->sql('SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM webhook.outbox WHERE ' . $not_carried);
			$oldest = $age if $age > $oldest;
			return $t->sql($sql) eq 't';
		});
	return;
}

# Each segment of both logs has been emptied so often since we last asked.
my $emptied_since = <<'SQL';
SELECT bool_and(n > %d) FROM (
	SELECT c.relname, count(d.filenode) AS n FROM pg_class c LEFT JOIN segments d ON d.segment = c.relname
	WHERE c.relnamespace = 'webhook'::regnamespace AND c.relname ~ '^(outbox|attempt)_[0-7]$' GROUP BY 1) c
SQL

my @sessions = $t->sessions(("SET lock_timeout = '500ms';\nCALL write_items();\n") x 2);

#
# It goes round
#
$t->sql('INSERT INTO doomed SELECT FROM generate_series(1, 3)');
my $start = time;
watch_until('each segment has been emptied', sprintf($emptied_since, 1));
my $round = time - $start;
note sprintf 'the ring went round in %.1f s; oldest event seen: %.1f s', $round, $oldest;
is($missing, 0, 'events flow and segments are emptied: nothing younger than the retention is thrown away');
# both are as slow as the machine is: an event that a round left behind is older than that round
cmp_ok($oldest, '<', $round, 'and nothing stays for longer than the ring takes to go round');
note $t->sql("SELECT format('%s segments emptied, %s bytes', (SELECT count(*) - 16 FROM segments), (SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = 'webhook'::regnamespace AND relkind = 'r'))");

#
# What is pending from a segment that is to be emptied
#
# The deliveries of these subscriptions that are pending, and of how many the event is where their row says, once.
my $kept = <<'SQL';
SELECT s.name, count(*), count(*) FILTER (WHERE (SELECT count(*) FROM webhook.outbox o WHERE o.event_number = p.event_number) = 1
	AND EXISTS (SELECT FROM webhook.outbox o WHERE o.event_number = p.event_number AND o.segment = p.segment AND o.entity_type = 'doomed' AND o.result ->> 'id' = o.entity_id)),
	bool_and(EXISTS (SELECT FROM webhook.outbox o WHERE o.event_number = p.event_number AND o.created_at < clock_timestamp() - interval '6 s'))
FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name <> 'crm' GROUP BY 1 ORDER BY 1
SQL
is($t->sql($kept), "failing|3|3|t\npaused|3|3|t", 'what is pending is still there, and so is each event, once, with all it had');
like(slurp_file($node->logfile), qr/webhook worker kept \d+ events older than webhook\.retention/, 'the log says so');
is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'nothing of it was given up');
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'crm'"), 0, 'an endpoint that fails now and then loses nothing by it');
$t->sql("SELECT webhook.resume('paused'); INSERT INTO doomed DEFAULT VALUES");
$r->wait_for_requests(4, '/ok/paused');
is(join(' ', map { $_->{body} =~ /"id":(\d+)/ } $r->requests('/ok/paused')), '1 2 3 4', 'resumed, it goes on with what it has missed, then with what comes next');

#
# Somebody reads the outbox in a transaction that stays open
#
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM webhook.outbox; SELECT count(*) FROM webhook.attempt');
my $held = $t->sql('SELECT max(id) FROM item');
my $nodes = "SELECT string_agg(pg_relation_filenode(oid)::text, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'webhook'::regnamespace AND relname ~ '^(outbox|attempt)_[0-7]\$'";
my $before = $t->sql($nodes);
my $worker = $t->worker_pid;
my $since = $t->sql('SELECT clock_timestamp()');
watch_until('the ring would have gone round', "SELECT clock_timestamp() - '$since' > interval '10 s'");
is($t->sql($nodes), $before, 'somebody has read the outbox and the log and not ended the transaction: no segment is emptied');
$t->poll_sql('events are delivered meanwhile',
	"SELECT count(*) > 100 FROM webhook.attempt a JOIN webhook.outbox o ON o.event_number = a.event_number WHERE outcome = 'delivered' AND o.entity_id::int > $held AND o.entity_type = 'item' AND o.created_at > '$since'");
pass('and deliveries go on');
is($t->worker_pid, $worker, 'by the same worker');
is($t->sql("SELECT count(*) FROM pg_locks WHERE NOT granted"), 0, 'nobody waits for a lock');

# what was kept meanwhile is emptied when it can be
$reader->query_safe('COMMIT');
$t->sql('TRUNCATE segments');
$t->sql('SELECT look()');
watch_until('each segment has been emptied', sprintf($emptied_since, 1));
watch_until('the outbox holds what it should', "SELECT min(created_at) > clock_timestamp() - interval '$LATEST s' FROM webhook.outbox WHERE $not_carried");
pass('the transaction has ended: the worker catches up');

# one segment alone, as pg_dump locks it
my $segment = $t->sql('SELECT (max(segment) + 4) % 8 FROM webhook.outbox WHERE event_number = (SELECT max(event_number) FROM webhook.outbox)');
$reader->query_safe("BEGIN; LOCK TABLE webhook.outbox_$segment IN ACCESS SHARE MODE");
my $locked = "SELECT pg_relation_filenode('webhook.outbox_$segment')";
$before = $t->sql($locked);
$t->sql('TRUNCATE segments');
$t->sql('SELECT look()');
watch_until('the other segments have been emptied', <<SQL);
SELECT count(*) >= 7 FROM (SELECT FROM segments WHERE segment LIKE 'outbox%' GROUP BY segment HAVING count(*) > 1) d
SQL
is($t->sql($locked), $before, 'a lock on one segment keeps that one, the others are emptied');
$reader->query_safe('COMMIT');
watch_until('it has been emptied', "SELECT pg_relation_filenode('webhook.outbox_$segment') <> $before");
pass('and that one when the lock is gone');
$reader->quit;

#
# A prepared transaction with an event in an old segment
#
$t->sql("BEGIN; INSERT INTO item DEFAULT VALUES; PREPARE TRANSACTION 'old'");
my $prepared = $t->sql("SELECT locks.relation::regclass FROM pg_locks locks JOIN pg_class c ON c.oid = relation
	WHERE locks.pid IS NULL AND c.relname ~ '^outbox_[0-7]\$' AND c.relnamespace = 'webhook'::regnamespace");
like($prepared, qr/^webhook\.outbox_\d$/, 'an event that is prepared is in a segment');
$before = $t->sql("SELECT pg_relation_filenode('$prepared')");
$since  = $t->sql('SELECT clock_timestamp()');
watch_until('the ring would have gone round', "SELECT clock_timestamp() - '$since' > interval '10 s'");
is($t->sql("SELECT pg_relation_filenode('$prepared')"), $before, 'which is not emptied');
$t->sql("COMMIT PREPARED 'old'");
watch_until('its segment is emptied', "SELECT pg_relation_filenode('$prepared') <> $before");
pass('committed, it lets go of the segment');

#
# All of it
#
$t->sql('INSERT INTO stop_now VALUES (1)');
is_deeply([ $t->finish_sessions(@sessions) ], [], 'no application waited longer than its lock_timeout of half a second');
is($t->sql($kept) =~ s/\|[tf]$//r, 'failing|4|4', 'what fails for longer than the retention keeps its events');
$t->sql("SELECT webhook.unsubscribe('failing')");
$t->wait_until_settled;
is($missing, 0, 'in all this time nothing younger than the retention was thrown away');
$t->load_requests($r, 'request');
note $t->sql("SELECT format('%s rows written, %s requests', (SELECT count(*) FROM item), (SELECT count(*) FROM request))");
is( $t->sql(<<'SQL'), '', 'every committed row arrived, the prepared one too');
SELECT i.id FROM item i WHERE NOT EXISTS (
	SELECT FROM request r WHERE r.body::json ->> 'entity_type' = 'item' AND r.body::json ->> 'entity_id' = i.id::text AND r.status = 200)
SQL
is($t->sql("SELECT count(*) FROM (SELECT FROM request WHERE status = 200 GROUP BY id HAVING count(*) > 1) r"), 0, 'and was accepted once');
is($t->sql('SELECT count(*) FROM request WHERE NOT verified'), 0, 'all signatures are right');
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'crm'"), 0, 'nothing of it was given up');
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'failing'"), 0, 'nor of what fails');

#
# Nobody writes any more: what is old goes all the same
#
$t->poll_sql('the outbox and the log are empty', 'SELECT (SELECT count(*) FROM webhook.outbox) + (SELECT count(*) FROM webhook.attempt) = 0', 't', 40);
pass('without new events the segments are emptied too');
# also what was read while another transaction was open
$reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN; CREATE TEMP TABLE has_an_xid (x int)');
$t->sql('INSERT INTO item DEFAULT VALUES');
$t->wait_until_settled;
$reader->query_safe('COMMIT');
$reader->quit;
my $empty = eval { $t->poll_sql('the last event is gone', 'SELECT (SELECT count(*) FROM webhook.outbox) = 0', 't', 40) };
ok($empty, 'and what was read while another transaction was open');

unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|webhook worker.*exited with exit code 1/, 'no process died');
$t->stop;
done_testing();
