# The promise: one look tells how things are, at a bounded cost. webhook.status passes
# pending and dead_letter once, however many subscriptions there are, with row
# security too; webhook.worker tells how many committed events nobody has read,
# and since when, whoever looks and whoever holds which lock.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(name => 'status', preload => '', conf => "autovacuum = off\n");
my $node = $t->node;
$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int)');
$t->watch('item');

# ---------------------------------------------------------------- subscriptions

# of as many statistics as there can be, those with which a look-up for each is the worst: one has it all
$t->sql(<<'SQL');
INSERT INTO webhook.subscription (name, url) SELECT 's' || g, 'https://hooks.example.com/' || g FROM generate_series(1, 200) g;
INSERT INTO webhook.pending (subscription_id, event_number, lane, state, next_attempt_at, pending_since, segment)
	SELECT s.id, g, g, CASE g % 3 WHEN 0 THEN 'retry' WHEN 1 THEN 'blocked' ELSE 'deferred' END,
		CASE g % 3 WHEN 1 THEN 'infinity' ELSE '2100-01-01 00:00:00+00'::timestamptz + g * interval '1 s' END, clock_timestamp() - g * interval '1 s', 0
	FROM webhook.subscription s, generate_series(1, 3000) g WHERE s.name = 's1';
INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts, xid, entity_type, action_type, created_at)
	SELECT s.id, g, s.name, 'timeout', 1, '1', 'item', 'new', clock_timestamp() FROM webhook.subscription s, generate_series(1, 500) g WHERE s.name IN ('s1', 's2');
ANALYZE webhook.pending, webhook.dead_letter, webhook.subscription;
CREATE ROLE webhook_viewer NOLOGIN;
CREATE ROLE eve LOGIN IN ROLE webhook_viewer;
SQL
# what a viewer is granted, and no more
$t->sql(<<'SQL');
GRANT USAGE ON SCHEMA webhook TO webhook_viewer;
GRANT SELECT ON webhook.status, webhook.worker TO webhook_viewer;
GRANT SELECT (id, name, state, state_reason) ON webhook.subscription TO webhook_viewer;
GRANT SELECT (subscription_id, pending_since, state, next_attempt_at) ON webhook.pending TO webhook_viewer;
GRANT SELECT (subscription_id) ON webhook.dead_letter TO webhook_viewer;
GRANT EXECUTE ON FUNCTION webhook_internal.counters, webhook_internal.worker_status TO webhook_viewer;
SQL

sub as_eve { return $node->safe_psql($WebhookTest::DB, $_[0], extra_params => [ '-U', 'eve' ]) }

# how often each table was passed: in the plan, as it was run
sub passes
{
	my ($plan) = @_;
	my %n = (pending => 0, dead_letter => 0);
	$n{$1} += $2 while $plan =~ /Scan.* on (pending|dead_letter)\b.*loops=(\d+)/g;
	return "$n{pending} $n{dead_letter}";
}
my $explain = 'EXPLAIN (ANALYZE, COSTS off, TIMING off)';
is(passes($t->sql("$explain SELECT * FROM webhook.status")), '1 1', 'for 200 subscriptions each table is passed once');
is(passes($t->sql("$explain SELECT subscription, state, breaker, last_error FROM webhook.status")), '0 0', 'and not at all for who asks for nothing of it');
my $numbers = 'SELECT subscription, pending, dead_letters, oldest_pending_age > $$2999 s$$ FROM webhook.status';
is($t->sql("$numbers WHERE subscription IN ('s1', 's2', 's3') ORDER BY 1"), "s1|3000|500|t\ns2|0|500|\ns3|0|0|", 'the numbers are right, also where there is nothing');
is(as_eve("$numbers WHERE subscription IN ('s1', 's2', 's3') ORDER BY 1"), "s1|3000|500|t\ns2|0|500|\ns3|0|0|", 'a viewer sees the same');

my $next = "SELECT subscription, next_attempt_at AT TIME ZONE 'UTC' FROM webhook.status WHERE subscription IN ('s1', 's2') ORDER BY 1";
is(as_eve("SET TimeZone = 'UTC'; $next"), "s1|2100-01-01 00:00:03\ns2|", 'when the earliest retry goes, whatever is blocked or deferred');
$t->sql("SELECT webhook.isolate_operators(); UPDATE webhook.subscription SET owner = 'eve' WHERE name IN ('s2', 's3')");
is(as_eve("$numbers ORDER BY 1"), "s2|0|500|\ns3|0|0|", 'kept apart by row security, who looks sees what is theirs');
is(passes(as_eve("$explain SELECT * FROM webhook.status")), '1 1', 'in one pass as well');
$t->sql('SELECT webhook.isolate_operators(false)');

# ---------------------------------------------------------------- events that nobody has read

my $unread = 'SELECT unread_events, oldest_unread_age FROM webhook.worker';
is($t->sql($unread), '0|', 'nothing has been captured, nothing waits');
my $before = $t->sql('SELECT clock_timestamp()');
$t->sql('INSERT INTO item SELECT g, 1 FROM generate_series(1, 300) g');
my $ages = "SELECT unread_events, oldest_unread_age BETWEEN '0' AND clock_timestamp() - '$before' FROM webhook.worker";
is($t->sql($ages), '300|t', 'without a worker the events wait, and since when is told');
is(as_eve($ages), '300|t', 'to a viewer too');
is($t->sql('SELECT state FROM webhook.worker'), 'not_running', 'beside why');
my $open = $node->background_psql($WebhookTest::DB, on_error_stop => 1);
$open->query_safe('BEGIN; INSERT INTO item VALUES (1001, 1)');
is($t->sql($ages), '300|t', 'what is not committed does not count');
$open->query_safe('ROLLBACK');
$t->sql(<<'SQL');
INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi)
	SELECT 1, 'settled', pg_current_snapshot(), webhook_internal.next_xid(), (SELECT min(event_number) + 99 FROM webhook.outbox);
INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi)
	SELECT 2, 'read', pg_current_snapshot(), webhook_internal.next_xid(), (SELECT min(event_number) + 199 FROM webhook.outbox);
INSERT INTO webhook.checkpoint (id, kind, snapshot, next_xid, hi)
	SELECT 3, 'matching', pg_current_snapshot(), webhook_internal.next_xid(), 1000000;
SQL
is($t->sql($ages), '100|t', 'what a worker has read does not wait');
$t->sql('INSERT INTO item SELECT g, 1 FROM generate_series(2001, 14000) g');
is($t->sql($ages), '10000|t', 'counted up to 10000');
my $read = 'SELECT sum(idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relid::regclass::text ~ $$outbox_$$';
cmp_ok((split /\n/, $t->sql("BEGIN; SELECT 1 FROM webhook.worker; $read; COMMIT"))[1], '<=', 10_008, 'and no more than that is looked at');
is($t->sql("BEGIN; SELECT count(unread_events) FROM webhook.worker; SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text ~ 'webhook.(outbox|checkpoint)'; COMMIT"),
	"1\n0", 'a look leaves no lock behind, by which a segment could not be emptied');
for my $table ('outbox', 'outbox_3', 'checkpoint')
{
	$open->query_safe("BEGIN; LOCK TABLE webhook.$table IN ACCESS EXCLUSIVE MODE");
	is($t->sql("SET statement_timeout = '60s'; SELECT count(*), count(unread_events) FROM webhook.worker"), '1|0', "a lock on webhook.$table is not waited for");
	$open->query_safe('ROLLBACK');
}
is($t->sql("BEGIN; DROP INDEX webhook.checkpoint_idx; SELECT count(*), count(unread_events) FROM webhook.worker; ROLLBACK"), '1|0', 'without the index nothing is told, and nothing scanned');
$open->quit;
$t->stop;

# with a worker
$t = WebhookTest->new(name => 'worker');
$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int)');
$t->watch('item');
$t->wait_for_worker;
$t->sql('INSERT INTO item SELECT g, 1 FROM generate_series(1, 1000) g');
$t->poll_sql('what a worker has read does not wait, although nobody wants it', 'SELECT state, unread_events, oldest_unread_age FROM webhook.worker', 'running|0|');

# one that has not got as far as to look whether it may deliver here
my $pid    = $t->sql('SELECT pid FROM webhook.worker');
my $locker = $t->node->background_psql($WebhookTest::DB, on_error_stop => 1);
$locker->query_safe('BEGIN; LOCK TABLE webhook.identity IN ACCESS EXCLUSIVE MODE');
$t->sql("SELECT pg_terminate_backend($pid)");
my $state = poll_until('its successor is there', sub { $t->sql("SELECT state FROM webhook.worker WHERE pid <> $pid") });
like($state, qr/^(starting|failing)$/, 'a worker that cannot look yet does not say that it is running');
$locker->query_safe('ROLLBACK');
$locker->quit;
$t->poll_sql('it runs when it can', 'SELECT state FROM webhook.worker', 'running');
$t->stop;
done_testing();
