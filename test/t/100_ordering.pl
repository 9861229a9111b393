# The promise: 'entity' (the default) keeps the events of an entity in order and
# lets everybody else's pass; 'none' waits for nobody; 'strict' sends one at a
# time. Each holds while the endpoint fails at random, and whatever is given up.
#
# 10,000 changes of 500 entities, committed by 8 concurrent sessions whose
# transactions overlap, for four subscriptions at once: one of each ordering,
# and one more by entity whose endpoint refuses some of the events for good.
#
# What "in order" means without an entity: whatever was committed before a
# transaction began comes before what that transaction did. (Ids are not commit
# order between entities.) So each transaction notes what it sees committed.
#
# Covers: an entity goes on after a dead letter; order per entity, and none;
# deliveries are not serial.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $SESSIONS = 8;
my $ENTITIES = 500;
my $EVENTS   = 10_000;

my $t = WebhookTest->new;
my $r = $t->receiver(args => ['--no-http2']);

# committed without delay, so that the sessions are done long before the endpoints are
$t->sql("CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 0); INSERT INTO item SELECT g FROM generate_series(1, $ENTITIES) g");
$t->watch('item');

my %path = (
	entity => '/erratic/15/1/3/entity',
	none   => '/erratic/15/2/3/none',
	strict => '/flaky/2/3/strict',
	poison => '/poison/5/poison');
$t->subscribe('entity', $r->url($path{entity}), retry_schedule => "'{100ms}'");
$t->subscribe('none',   $r->url($path{none}),   retry_schedule => "'{100ms}'", ordering => "'none'");
$t->subscribe('strict', $r->url($path{strict}), retry_schedule => "'{100ms}'", ordering => "'strict'");
$t->subscribe('poison', $r->url($path{poison}), retry_schedule => "'{100ms}'", give_up_after => "'250ms'");

# A session's transactions: 1 to 10 rows in ascending order, so that none of them deadlock.
sub script
{
	my ($left) = @_;
	my $script = '';
	while ($left > 0)
	{
		my %ids;
		my $n = 1 + int rand($left < 10 ? $left : 10);
		$ids{ 1 + int rand $ENTITIES } = 1 while keys %ids < $n;
		my @updates = map { "UPDATE item SET v = v + 1 WHERE id = $_;\n" } sort { $a <=> $b } keys %ids;
		# some stay open a while, so that others commit above them
		splice @updates, $n / 2, 0, "SELECT pg_sleep(0.05); -- part of the scenario\n" if rand() < 0.1;
		$script .= "BEGIN;\nSELECT set_config('webhook.context', json_build_object('sees', pg_current_snapshot()::text)::text, true);\n"
		  . join('', @updates)
		  . "COMMIT;\n";
		$left -= $n;
	}
	return $script;
}

srand 100;
my @failed = $t->finish_sessions($t->sessions(map { script($EVENTS / $SESSIONS) } 1 .. $SESSIONS));
is("@failed", '', 'the sessions ran to their end');
is($t->sql('SELECT count(*), count(DISTINCT entity_id) FROM webhook.outbox'), "$EVENTS|$ENTITIES", "$EVENTS events of $ENTITIES entities");
$t->wait_until_settled;

# r: what arrived where, in order of arrival. before, status_before: the request before it of the same entity.
$t->load_requests($r, 'request');
my $names = join ', ', map { "('$_', '$path{$_}')" } sort keys %path;
$t->sql(<<SQL);
CREATE TABLE r AS SELECT s.name, q.n, q.at, q.event_number, q.status, q.beside, q.beside_entity, e.entity, q.id,
		lag(q.event_number) OVER w AS before, lag(q.status) OVER w AS status_before
	FROM request q JOIN (VALUES $names) s(name, path) USING (path), LATERAL (SELECT q.body::json ->> 'entity_id' AS entity) e
	WINDOW w AS (PARTITION BY s.name, e.entity ORDER BY q.n);
CREATE INDEX ON r (name, entity, n);
CREATE INDEX ON r (name, n);
ANALYZE r;
SQL

sub count_of
{
	my ($where) = @_;
	return $t->sql("SELECT count(*) FROM r WHERE $where");
}

# Nothing is lost, nothing sent twice, and the log has every request.
for my $name (sort keys %path)
{
	my $of = "name = '$name'";
	my ($delivered, $events) = split /\|/, $t->sql("SELECT count(*), count(DISTINCT event_number) FROM r WHERE $of AND status = 200");
	my $dead = $t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription = '$name'");
	note "$name: ${\count_of($of)} requests for $delivered deliveries and $dead dead letters";
	is($delivered + $dead, $EVENTS, "$name: every event was delivered or given up");
	is($events, $delivered, "$name: and what was delivered, once");
	is($dead, 0, "$name: nothing was given up") if $name ne 'poison';
	cmp_ok(count_of("$of AND status <> 200"), '>', 100, "$name: the endpoint failed often");
	is( $t->sql(<<SQL), '', "$name: the log has these requests and no other");
SELECT * FROM (SELECT event_number, count(*), count(*) FILTER (WHERE status = 200) FROM r WHERE $of GROUP BY 1) arrived
	FULL JOIN (SELECT event_number, count(*), count(*) FILTER (WHERE outcome = 'delivered') FROM webhook.attempt a
		JOIN webhook.subscription s ON s.id = a.subscription_id AND s.name = '$name' GROUP BY 1) logged USING (event_number)
WHERE arrived IS DISTINCT FROM logged
SQL
}

# By entity: one after the other, each until it is delivered or given up.
for my $name ('entity', 'poison', 'strict')
{
	is(count_of("name = '$name' AND before > event_number"), 0, "$name: no event of an entity after a later one of it");
	is( $t->sql(<<SQL), '', "$name: nor while an earlier one has failed and is neither delivered nor dead");
SELECT n, event_number, before FROM r WHERE name = '$name' AND before <> event_number AND status_before <> 200
	AND NOT EXISTS (SELECT FROM webhook.dead_letter d WHERE d.event_number = r.before AND d.subscription = '$name')
SQL
	is(count_of("name = '$name' AND beside_entity > 0"), 0, "$name: nor while another request of the entity is unanswered");
}

# While an entity waits, all others pass: what arrived between a failure and the next request of that entity.
my ($waits, $passed) = split /\|/, $t->sql(<<'SQL');
SELECT count(*), count(*) FILTER (WHERE EXISTS (
	SELECT FROM r o WHERE o.name = 'entity' AND o.n > f.n AND o.n < f.again AND o.status = 200 AND o.entity <> f.entity))
FROM (SELECT n, entity, status, lead(n) OVER (PARTITION BY entity ORDER BY n) AS again FROM r WHERE name = 'entity') f
WHERE f.status <> 200
SQL
note "entity: during $passed of $waits waits others were delivered";
cmp_ok($passed, '>', $waits / 2, 'entity: while one waits others are delivered');
cmp_ok(count_of("name = 'entity' AND beside > 5"), '>', 100, 'entity: many requests are under way at a time');
is( $t->sql(<<'SQL'), 't', 'poison: after a dead letter the rest of the entity goes on');
SELECT count(*) > 100 FROM r WHERE name = 'poison' AND status = 200 AND before IN (SELECT event_number FROM webhook.dead_letter)
SQL

# 'none' waits for nobody.
cmp_ok(count_of("name = 'none' AND before > event_number"), '>', 100, 'none: events of an entity pass one that failed');
is( $t->sql(<<'SQL'), 't', 'none: later events are delivered between a failure and its success');
SELECT count(*) > 100 FROM r f WHERE name = 'none' AND status <> 200 AND EXISTS (
	SELECT FROM r o WHERE o.name = 'none' AND o.entity = f.entity AND o.n > f.n AND o.status = 200 AND o.event_number > f.event_number
		AND o.n < (SELECT max(n) FROM r d WHERE d.name = 'none' AND d.entity = f.entity AND d.event_number = f.event_number))
SQL

# 'strict' is one at a time, whatever the entity.
is(count_of("name = 'strict' AND beside > 0"), 0, 'strict: never two requests at a time');
is( $t->sql(<<'SQL'), 0, 'strict: no other event until one that failed is delivered');
SELECT count(*) FROM (SELECT status, event_number, lead(event_number) OVER (ORDER BY n) AS next FROM r WHERE name = 'strict') x
WHERE status <> 200 AND event_number <> next
SQL
# late: after one with a higher id
my $late = <<'SQL';
SELECT * FROM (SELECT n, event_number, max(event_number) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) AS highest FROM r WHERE name = 'strict' AND status = 200) x WHERE highest > event_number
SQL
note 'strict: ' . $t->sql("SELECT count(*) FROM ($late) l") . ' events came after one with a higher id';
is( $t->sql(<<SQL), '', 'strict: nothing comes after what a transaction did that saw it committed');
SELECT l.event_number, r.event_number FROM ($late) l JOIN webhook.outbox late ON late.event_number = l.event_number
	JOIN r ON r.name = 'strict' AND r.status = 200 AND r.n < l.n AND r.event_number > l.event_number
	JOIN webhook.outbox o ON o.event_number = r.event_number
WHERE pg_visible_in_snapshot(late.xid, (o.context ->> 'sees')::pg_snapshot)
SQL

$t->stop;
done_testing();
