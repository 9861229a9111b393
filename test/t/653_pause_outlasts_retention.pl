# The promise: what waits keeps its event, however long it waits. A subscription
# that is paused for longer than webhook.retention is given all it has missed when
# it is resumed, in order; so is an endpoint that was down for longer; and
# give_up_after may be longer than the retention.
#
# With a retention of six seconds the ring goes round every eight. Others'
# events make it go round all the while.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.retention = '6s'\nwebhook.poll_interval = '1s'\n");
my $node = $t->node;
my $r    = $t->receiver(args => [ '--no-http2', '--secret', $WebhookTest::SECRET ]);
$t->sql(<<'SQL');
CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 0);
CREATE TABLE tick (id serial PRIMARY KEY);
CREATE TABLE twin (id int PRIMARY KEY);
SQL
$t->watch('item');
$t->watch('tick');
$t->subscribe('ticks', $r->url('/ok/ticks'), events => "'{tick.*}'");
$t->subscribe('paused', $r->url('/ok/paused'), events => "'{item.*}'");
$t->subscribe('batched', $r->url('/ok/batched'), events => "'{item.*}'", batch_size => 5);
$t->subscribe('down', $r->url('/ok/down'), events => "'{item.*}'", retry_schedule => "'{1s}'");
$t->subscribe('gives_up', $r->url('/status/500/gives_up'), events => "'{item.*}'", filter => q('$.result.id == 1 && $.result.v == 0'), retry_schedule => "'{1s}'", give_up_after => "'10 s'");
$t->sql("SELECT webhook.pause('paused'), webhook.pause('batched')");
$r->mode('/ok/down', '/status/503');

$t->sql('INSERT INTO item SELECT g FROM generate_series(1, 40) g');
$t->sql('UPDATE item SET v = v + 1') for 1 .. 3;
my $made = 160;

# an early one and a late one: not all are in one segment
my $ticks = 0;
sub until_older
{
	my ($seconds) = @_;
	poll_until(
		"the first event is older than $seconds seconds",
		sub {
			$t->sql('INSERT INTO tick DEFAULT VALUES');
			$ticks++;
			return $t->sql("SELECT clock_timestamp() - min(created_at) > interval '$seconds s' FROM webhook.outbox WHERE entity_type = 'item'") eq 't';
		});
	return;
}
until_older(4);
$t->sql('UPDATE item SET v = v + 1 WHERE id <= 20');
$made += 20;
until_older(22);

my $where = <<'SQL';
SELECT s.name, count(*), count(*) FILTER (WHERE (SELECT count(*) FROM webhook.outbox o WHERE o.event_number = p.event_number) = 1
	AND EXISTS (SELECT FROM webhook.outbox o WHERE o.event_number = p.event_number AND o.segment = p.segment))
FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE p.state <> 'in_flight' GROUP BY 1 ORDER BY 1
SQL
is($t->sql($where) =~ s/^down.*\n//mr, "batched|$made|$made\npaused|$made|$made", 'the ring has gone round twice: all that waits is there, and each event once');
is($t->pending('down'), $made, 'also what waits for an endpoint that is down');
is($t->sql("SELECT count(*) FROM webhook.dead_letter WHERE subscription <> 'gives_up'"), 0, 'nothing was given up for its age');
$t->poll_sql('give_up_after is longer than the retention: given up when that is over', "SELECT count(*) FROM webhook.dead_letter WHERE subscription = 'gives_up'", 1);
is($t->sql("SELECT attempts > 2, extract(epoch FROM given_up_at - first_attempt_at) >= 9, reason ~ '500', result ->> 'id' FROM webhook.dead_letter"), 't|t|t|1', 'after many attempts, with the last error and the whole event');
is($t->sql("SELECT min(created_at) > clock_timestamp() - interval '20 s' FROM webhook.outbox WHERE entity_type = 'tick'"), 't', 'others\' events go as ever');

# the server dies while they wait
$node->stop('immediate');
$node->start;
$t->wait_for_worker;
is($t->sql("SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE s.name IN ('paused', 'batched')"), 2 * $made, 'a crash changes nothing');

# somebody asks for one of them again while it waits; and for one that is gone
is($t->sql("SELECT webhook.redeliver(event_number::text, 'gives_up') FROM webhook.dead_letter"), 1, 'what was given up is asked for again');
$t->sql("UPDATE webhook.subscription SET url = '" . $r->url('/ok/gives_up') . "' WHERE name = 'gives_up'");
$r->mode('/ok/down', undef);
$t->sql("SELECT webhook.resume('paused'), webhook.resume('batched'), webhook.resume('down')");
$t->wait_until_settled;
$t->load_requests($r, 'request');
$t->sql(<<'SQL');
CREATE VIEW element AS
	SELECT split_part(path, '/', 3) AS who, n, e.nr, (e.event -> 'result' ->> 'id')::int AS item, (e.event -> 'result' ->> 'v')::int AS v
	FROM request CROSS JOIN LATERAL (
		SELECT event, nr FROM json_array_elements(CASE WHEN body LIKE '[%' THEN body::json ELSE json_build_array(body::json) END) WITH ORDINALITY x(event, nr)) e
	WHERE status = 200 AND path <> '/ok/ticks'
SQL
is($t->sql("SELECT who, count(*), count(DISTINCT (item, v)) FROM element GROUP BY 1 ORDER BY 1"), <<TXT =~ s/\n$//r, 'resumed, all of it arrives, each event once');
batched|$made|$made
down|$made|$made
gives_up|1|1
paused|$made|$made
TXT
is($t->sql('SELECT count(*) FROM (SELECT v, lag(v) OVER (PARTITION BY who, item ORDER BY n, nr) AS before FROM element) x WHERE before >= v'), 0, 'in order, for each entity');
is($t->sql("SELECT count(*) FROM request WHERE NOT verified"), 0, 'all signatures are right');
cmp_ok($t->sql("SELECT count(*) FROM request WHERE path = '/ok/batched'"), '<', $made, 'batches are batches');
$t->poll_sql('what was waited for goes as well', "SELECT count(*) FROM webhook.outbox WHERE entity_type = 'item'", 0, 60);
pass('delivered, the events go as all do');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|webhook worker.*exited with exit code 1/, 'no process died');
$t->stop;
done_testing();
