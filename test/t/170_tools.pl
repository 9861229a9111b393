# The promises about people's tools: a pause loses nothing and keeps order;
# webhook.test tells how the endpoint answers, whatever state the subscription
# is in, and leaves nothing behind; webhook.redeliver and webhook.replay send
# again what they are asked for, once, with the same id and body, also from a
# dead letter whose event is gone from the outbox; and the log is found without
# a scan.
#
# Covers: dead letters: sent again by several at once, once; pause.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '30s'\n");
my $r = $t->receiver(args => ['--no-http2']);
my $node = $t->{node};

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 1, hush text, owner text)');
$t->watch('item', exclude_columns => "'{hush}'", tenant => "'owner'");
$t->subscribe('crm', $r->url('/ok/crm'), events => "'{item.*}'");

sub ids
{
	my ($path, $from) = @_;
	my @all = $r->requests($path);
	return map { $_->{headers}{'webhook-id'} =~ /_(\d+)$/ ? $1 : '?' } @all[ ($from // 0) .. $#all ];
}

# CALL webhook.test(ARGS) -> "status|error"
sub call_test { return $t->sql("CALL webhook.test($_[0])") }

sub bodies { my ($path, $from) = @_; my @all = $r->requests($path); return map { $_->{body} } @all[ $from .. $#all ] }

# Run scripts in as many sessions, all of which have begun before the first goes on. True: none fails.
sub at_once
{
	my (@scripts) = @_;
	my $holder = $node->background_psql($WebhookTest::DB);
	# what they have in common: they lock rows of it, and may look at it before
	$holder->query_safe('BEGIN; LOCK TABLE webhook.dead_letter IN EXCLUSIVE MODE');
	my @sessions = $t->sessions(@scripts);
	$t->poll_sql('all have begun', "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'webhook.dead_letter'::regclass",
		scalar @scripts);
	$holder->query_safe('COMMIT');
	$holder->quit;
	my @failed = $t->finish_sessions(@sessions);
	diag($_) for @failed;
	return !@failed;
}

# ---------------------------------------------------------------- pause

$t->sql("SELECT webhook.pause('crm')");
$t->sql("INSERT INTO item SELECT g, 1, 'hush', 'org' || g % 2 FROM generate_series(1, 50) g");
$t->sql('UPDATE item SET v = v + 1') for 1 .. 59;
$t->wait_until_read;
is($r->count('/ok/crm'), 0, 'while paused nothing is sent');
$t->sql("SELECT webhook.resume('crm')");
$t->sql('UPDATE item SET v = v + 1');
$t->wait_until_settled;
$t->load_requests($r, 'resumed');
is($t->sql('SELECT count(*), count(DISTINCT id) FROM resumed'), '3050|3050', 'all that happened meanwhile is delivered, once each');
is( $t->sql(<<SQL), '', 'in order per entity');
SELECT n, event_number FROM (SELECT *, lag(event_number) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous FROM resumed) x
WHERE previous >= event_number
SQL

# ---------------------------------------------------------------- test

my $before = $r->count('/ok/crm');
is(call_test("'crm'"), '200|', 'a test returns the status of the answer');
like((bodies('/ok/crm', $before))[0], qr/"action_type":"test","result":\{"id":50,"v":61,"owner":"org0"\}/,
	'it holds the newest row, without the columns that the source leaves out');
is(call_test("'crm', 'item', '7'"), '200|', 'a test with a chosen entity');
like((bodies('/ok/crm', $before))[1], qr/"entity_id":"7".*"action_type":"test","result":\{"id":7,/, 'holds its current row');

$t->subscribe('other', $r->url('/ok/other'), events => "'{nothing.*}'");
is(call_test("'other'"), '200|', 'without a matching source');
like((bodies('/ok/other', 0))[0], qr/"entity_type":"nothing","action_type":"test","result":\{"test" ?: ?true/, 'something is made up');
$t->subscribe('tenant', $r->url('/ok/tenant'), events => "'{item.*}'", tenant => "'org1'");
is(call_test("'tenant'"), '200|', 'with a tenant');
like((bodies('/ok/tenant', 0))[0], qr/"owner":"org1"/, 'it is a row of that tenant');
my ($rc, $out, $err) = $node->psql($WebhookTest::DB, q{CALL webhook.test('tenant', 'item', '2')});
like($err, qr/there is no item "2" for subscription "tenant"/, 'a row of another tenant is not sent');
$t->sql("SELECT webhook.unsubscribe('other'), webhook.unsubscribe('tenant')");

$r->mode('/ok/crm', '/status/503/crm');
is(call_test("'crm'"), '503|unavailable: the endpoint answered with status 503', 'a failure is told with its word');
is($t->sql("SELECT (SELECT count(*) FROM webhook.pending), (SELECT count(*) FROM webhook.dead_letter)"), '0|0', 'it is neither tried again nor kept');

# held: an earlier delivery of the same entity hangs, the breaker is open, the subscription is disabled or paused
$t->sql("UPDATE webhook.subscription SET retry_schedule = '{1h}' WHERE name = 'crm'");
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 20');
$t->poll_sql('the breaker opens', "SELECT breaker FROM webhook.status WHERE subscription = 'crm'", 'open');
$r->mode('/ok/crm', undef);
is(call_test("'crm', 'item', '1'"), '200|', 'a test goes out while the breaker is open, past a failing delivery of its entity');
is($t->sql("SELECT breaker FROM webhook.status WHERE subscription = 'crm'") =~ /open/, 1, 'and says nothing to the breaker');
$t->sql("SELECT webhook.pause('crm')");
is(call_test("'crm'"), '200|', 'a test goes out while it is paused');
$t->sql("UPDATE webhook.subscription SET state = 'disabled' WHERE name = 'crm'");
is(call_test("'crm'"), '200|', 'and while it is disabled');
$t->subscribe('gone', $r->url('/status/410/gone'), events => "'{nothing.*}'");
like(call_test("'gone'"), qr/^410\|gone/, 'a test that is answered with 410');
is($t->sql("SELECT state FROM webhook.subscription WHERE name = 'gone'"), 'active', 'disables nothing');
$t->sql("UPDATE webhook.subscription SET state = 'inactive' WHERE name = 'gone'");
like(call_test("'gone'"), qr/^410\|gone/, 'one goes out to an inactive subscription too');
$t->sql("SELECT webhook.unsubscribe('gone')");
$t->sql("SELECT webhook.resume('crm')");
$t->wait_until_settled;

$r->mode('/ok/crm', '/hang');
is(call_test("'crm', wait => '200 ms'"), '|no answer within 00:00:00.2', 'without an answer in time it says so');
($rc, $out, $err) = $node->psql($WebhookTest::DB, "SET statement_timeout = '300ms'; CALL webhook.test('crm', wait => '1 hour')");
like($err, qr/canceling statement due to statement timeout/, 'the wait can be cancelled');
$r->mode('/ok/crm', undef);
($rc, $out, $err) = $node->psql($WebhookTest::DB, "BEGIN; CALL webhook.test('crm'); COMMIT", on_error_stop => 1);
like($err, qr/cannot run inside a transaction block.*DETAIL.*HINT/s, 'inside a transaction block it fails clearly');
is($t->sql('SELECT webhook.pause(name) FROM webhook.subscription; SELECT webhook.resume(name) FROM webhook.subscription'), "\n", 'all active');

# ---------------------------------------------------------------- redeliver

$t->wait_until_settled;
my $event = $t->sql("SELECT event_id FROM webhook.log WHERE entity_id = '3' AND outcome = 'delivered' AND action_type = 'update' LIMIT 1");
my ($first) = grep { $_->{headers}{'webhook-id'} eq $event } $r->requests('/ok/crm');
is($t->sql("SELECT webhook.redeliver('$event')"), 1, 'redeliver says how many are queued');
$t->wait_until_settled;
my @same = grep { $_->{headers}{'webhook-id'} eq $event && $_->{status} == 200 } $r->requests('/ok/crm');
is(scalar @same, 2, 'the event is sent again, once');
is($same[0]{body}, $same[1]{body}, 'with the same id and body');

# what waits for its retry is due at once
$r->mode('/ok/crm', '/status/404/crm');
$t->sql('UPDATE item SET v = v + 1 WHERE id = 4');
$t->poll_sql('it waits for an hour', "SELECT count(*) FROM webhook.pending WHERE state = 'retry'", 1);
my $retry = $t->sql('SELECT event_number FROM webhook.pending');
$r->mode('/ok/crm', undef);
is($t->sql("SELECT webhook.redeliver('$retry', 'crm')"), 1, 'what waits for its retry');
$t->wait_until_settled;
is(scalar(grep { $_ == $retry } ids('/ok/crm')), 2, 'is sent at once');

# dead letters
sub make_dead
{
	my (@ids) = @_;
	$r->mode('/ok/crm', '/status/413/crm');
	$t->sql("UPDATE item SET v = v + 1, hush = 'x' WHERE id = $_") for @ids;
	$t->poll_sql('given up', 'SELECT count(*) FROM webhook.dead_letter', scalar @ids);
	$r->mode('/ok/crm', undef);
	return split /\n/, $t->sql('SELECT event_number FROM webhook.dead_letter ORDER BY event_number');
}
my @dead = make_dead(5);
ok(at_once(("SELECT webhook.redeliver('$dead[0]')") x 8), 'eight sessions at once redeliver a dead letter');
$t->wait_until_settled;
is(scalar(grep { $_ == $dead[0] } ids('/ok/crm')), 2, 'it is sent once more');
is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'and is dead no more');

# a dead letter whose event is no longer in the outbox, dead for two subscriptions
$t->subscribe('second', $r->url('/ok/crm/second'), events => "'{item.*}'");
$r->mode('/ok/crm', '/status/413/crm');
$t->sql('UPDATE item SET v = v + 1 WHERE id = 6');
$t->poll_sql('given up twice', 'SELECT count(*) FROM webhook.dead_letter', 2);
$t->wait_until_settled;
$r->mode('/ok/crm', undef);
my $gone = $t->sql('SELECT DISTINCT event_number FROM webhook.dead_letter');
my $body = (grep { $_->{headers}{'webhook-id'} =~ /_$gone$/ } $r->requests('/ok/crm'))[0]{body};
$t->sql('TRUNCATE webhook.outbox');
$before = $r->count('/ok/crm');
ok(at_once(map { ("SELECT webhook.redeliver('$gone', '$_')") x 3 } 'crm', 'second'), 'six sessions at once redeliver it to both');
$t->wait_until_settled;
is($t->sql("SELECT count(*) FROM webhook.outbox WHERE event_number = $gone"), 1, 'the event is back in the outbox, once');
is_deeply([ bodies('/ok/crm', $before) ], [ $body, $body ], 'it is sent to each once, with the same body');
is_deeply([ ids('/ok/crm', $before) ], [ $gone, $gone ], 'and the same id');
$t->sql('INSERT INTO item VALUES (1000)');
$t->wait_until_settled;
my $worker = $t->worker_pid;
$t->sql("SELECT pg_terminate_backend($worker)");
$t->wait_for_worker($worker);
$t->sql('INSERT INTO item VALUES (1001)');
$t->wait_until_settled;
is(scalar(grep { $_ == $gone } ids('/ok/crm', $before)), 2, 'nor does a worker that starts read it as a new event');
$t->sql("SELECT webhook.unsubscribe('second')");

# purge
@dead = make_dead(8, 9, 10);
is($t->sql("SELECT webhook.purge_dead_letters('1 hour')"), 0, 'purge by age leaves what is young');
is($t->sql("SELECT webhook.purge_dead_letters(subscription => 'crm')"), 3, 'purge by subscription');
is($t->sql('SELECT count(*) FROM webhook.dead_letter'), 0, 'none are left');

# ---------------------------------------------------------------- replay

$t->wait_until_settled;
my $since = $t->sql('SELECT clock_timestamp()');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 50') for 1 .. 40;
$t->wait_until_settled;
$t->subscribe('late', $r->url('/ok/late'), events => "'{item.update}'");
# in one transaction, so that the worker sees what was asked for and what comes after it at the same moment
is($t->sql("BEGIN; SELECT webhook.replay('late', '$since'); UPDATE item SET v = v + 1 WHERE id <= 50; COMMIT"), 2000, 'a new subscription starts in the past');
$t->wait_until_settled;
$t->load_requests($r, 'replayed');
$t->sql("DELETE FROM replayed WHERE path NOT LIKE '/ok/late%'");
is($t->sql('SELECT count(*), count(DISTINCT id) FROM replayed'), '2050|2050', 'each event arrives once');
is( $t->sql(<<SQL), '', 'in order per entity, and what happens after the call comes after it');
SELECT n, event_number FROM (SELECT *, lag(event_number) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous FROM replayed) x
WHERE previous >= event_number
SQL

# of what is pending nothing is doubled
$t->sql("SELECT webhook.pause('late')");
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 50');
$t->wait_until_read;
$t->poll_sql('all are pending', 'SELECT count(*) FROM webhook.pending', 50);
is($t->sql("SELECT webhook.replay('late', '$since')"), 2050, 'what is pending already is not queued again');

# the server dies while a replay is on its way
$t->sql("SELECT webhook.resume('late')");
$r->wait_for_requests(2050 + 200, '/ok/late');
$node->stop('immediate');
$node->start;
$t->wait_until_settled;
$t->load_requests($r, 'crashed');
is( $t->sql(<<SQL), '2100|t', 'after a crash all of it arrives');
SELECT count(*), bool_and(times >= 2 OR event_number > (SELECT max(event_number) FROM replayed))
FROM (SELECT event_number, count(*) AS times FROM crashed WHERE path LIKE '/ok/late%' GROUP BY 1) x
SQL

# The rule in SQL is the rule of the worker: subscriptions of every kind, live, and asked by webhook_internal.matches.
$t->sql("SELECT webhook.unsubscribe(name) FROM webhook.subscription");
$t->sql('CREATE TABLE rule (id int PRIMARY KEY, v int, org text); CREATE TABLE rule2 (id int PRIMARY KEY)');
$t->watch('rule', tenant => "'org'", keep_previous => 'true');
$t->watch('rule2');
my $n = 0;
for my $events ('NULL', map { "'{$_}'" } qw(*.* rule.* rule.*,other.* webhook_subscription.* *.update rule.update *.new,*.delete
	rule.new,rule.delete,other.* rule.update,*.delete rule2.new,rule.* rule.truncate))
{
	for my $tenant ('NULL', "'a'")
	{
		$t->subscribe('rule' . $n, $r->url("/ok/rule/$n"), events => $events, tenant => $tenant);
		$n++;
	}
}
$t->subscribe('changed', $r->url('/ok/rule/changed'), changed_columns => "'{v}'");
$t->subscribe('origin', $r->url('/ok/rule/origin'), exclude_origins => "'{crm}'");
$t->subscribe('filter', $r->url('/ok/rule/filter'), filter => q{'$.result.v > 1'});
$t->subscribe('filter_old', $r->url('/ok/rule/filter_old'), filter => q{'$.previous.v == 1 && $.action_type == "update"'});
$t->subscribe('filter_who', $r->url('/ok/rule/filter_who'), filter => q{'$.tenant == "a" || $.context.origin == "erp" || $.entity_type == "rule2"'});
my $low = $t->sql('SELECT max(event_number) FROM webhook.outbox');
$t->sql("INSERT INTO rule VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, NULL); INSERT INTO rule2 VALUES (1)");
$t->sql("UPDATE rule SET v = v + 1; UPDATE rule SET org = 'c' WHERE id = 1");
$t->sql(qq{BEGIN; SET LOCAL webhook.context = '{"origin": "$_"}'; UPDATE rule SET v = v + 1; COMMIT}) for 'crm', 'erp';
$t->sql('DELETE FROM rule WHERE id = 2');
$t->wait_until_settled;
is( $t->sql(<<SQL), '', 'webhook_internal.matches says of each event and subscription what the worker says');
SELECT s.name, o.event_number, o.entity_type, o.action_type, webhook_internal.matches(s, o) FROM webhook.subscription s CROSS JOIN webhook.outbox o
WHERE o.event_number > $low AND webhook_internal.matches(s, o) IS DISTINCT FROM EXISTS (
	SELECT FROM webhook.attempt a WHERE a.event_number = o.event_number AND a.subscription_id = s.id)
SQL
cmp_ok($t->sql("SELECT count(*) FROM webhook.attempt a WHERE event_number > $low"), '>', 100, 'they were sent');

# ---------------------------------------------------------------- the log

$t->sql(<<'SQL');
INSERT INTO webhook.attempt (event_number, subscription_id, attempt_number, started_at, outcome, subscription, entity_type, entity_id, action_type, segment)
	SELECT 1000000 + g, g % 100, 1, clock_timestamp() - g * interval '1 ms', CASE g % 1000 WHEN 42 THEN 'timeout' ELSE 'delivered' END, 'sub' || g % 100,
		CASE g % 2 WHEN 0 THEN 'user' ELSE 'order' END, (g % 20000)::text, 'update', g % 8
	FROM generate_series(1, 200000) g;
SELECT count(brin_summarize_new_values(format('webhook.attempt_%s_entity_id_idx', d))) FROM generate_series(0, 7) d; -- the worker does it as it writes
ANALYZE webhook.attempt;
SQL
my $id = $t->sql('SELECT webhook.event_id(1000042)');
for my $q (
	[ 'by subscription', "subscription = 'sub42'",                    10 ],
	[ 'by entity',       "entity_type = 'user' AND entity_id = '42'", 10 ],
	[ 'by event',        "event_number = webhook.event_number('1000042')", 1 ],
	[ 'by the id that the receiver has', "event_id = '$id'", 1 ],
	[ 'by the ids of several', "event_id IN ('$id', 'evt_00000000_1000043', 'evt')", 1 ],
	[ 'by an id of another database', "event_id = 'evt_00000000_1000042'", 0 ],
	[ 'by what is no id', "event_id = 'x'", 0 ],
	[ 'failures of a subscription', "subscription = 'sub42' AND outcome <> 'delivered' AND event_number > 1000000", 10 ],
	[ 'failures', "outcome <> 'delivered' AND event_number > 1000000", 10 ],
	[ 'the newest',      'true',                                      10 ])
{
	my ($what, $where, $rows) = @$q;
	my $query = "SELECT * FROM webhook.log WHERE $where ORDER BY started_at DESC LIMIT 10";
	my $plan  = $t->sql("EXPLAIN (ANALYZE, COSTS off, TIMING off) $query");
	my $read  = 0;
	$read += $_ for $plan =~ /(?:(?<!Bitmap )Index|Bitmap Heap) Scan.*rows=(\d+)/g;
	is($t->sql("SELECT count(*) FROM ($query) x"), $rows, "the log $what");
	unlike($plan, qr/Seq Scan/, "is found without a scan: $what") or diag($plan);
	# of failures all two hundred are read, and sorted; of the rest hardly more than is shown
	cmp_ok($read, '<=', $what =~ /^failures/ ? 300 : $what eq 'by subscription' ? 2100 : 40, "hardly more is read than shown: $what") or diag($plan);
}
is($t->sql("PREPARE by_id AS SELECT event_number FROM webhook.log WHERE event_id = \$1; EXECUTE by_id('$id'); EXPLAIN (COSTS off) EXECUTE by_id('$id')") =~ /^1000042\n.*Index Cond: \(event_number = '1000042'/s,
	1, 'and so where the id is a parameter');
# the same for whoever sees only some of it
$t->sql("CREATE ROLE only_some LOGIN; GRANT USAGE ON SCHEMA webhook TO only_some; GRANT SELECT ON webhook.log, webhook.attempt, webhook.subscription TO only_some; GRANT EXECUTE ON FUNCTION webhook.event_id TO only_some");
$t->sql('SELECT webhook.isolate_operators()');
like($node->safe_psql($WebhookTest::DB, "EXPLAIN (COSTS off) SELECT * FROM webhook.log WHERE event_id = '$id'", extra_params => [ '-U', 'only_some' ]),
	qr/Index Cond: \(event_number = '1000042'/, 'also under row security');
is($node->safe_psql($WebhookTest::DB, "SELECT count(*) FROM webhook.log WHERE event_id = '$id'", extra_params => [ '-U', 'only_some' ]), 0, 'which decides what is seen');
$t->sql('SELECT webhook.isolate_operators(false)');

# ---------------------------------------------------------------- failures' index

my $failures = "SELECT sum(pg_relation_size(i.indexrelid)) FROM pg_index i WHERE i.indrelid IN (SELECT r.inhrelid FROM pg_inherits r WHERE r.inhparent = 'webhook.attempt'::regclass) AND i.indpred IS NOT NULL";
$t->sql('TRUNCATE webhook.attempt; SELECT webhook.unsubscribe(name) FROM webhook.subscription');
my $empty = $t->sql($failures);
$t->subscribe('happy', $r->url('/ok/happy'), events => "'{item.*}'");
$t->sql('UPDATE item SET v = v + 1');
$t->wait_until_settled;
cmp_ok($t->sql("SELECT count(*) FROM webhook.attempt WHERE outcome = 'delivered'"), '>=', 50, 'deliveries that succeed');
is($t->sql($failures), $empty, "are not in the index of failures");
$r->mode('/ok/happy', '/status/413/happy');
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 5');
$t->wait_until_settled;
cmp_ok($t->sql($failures), '>', $empty, 'those that fail are');

$t->stop;
done_testing();
