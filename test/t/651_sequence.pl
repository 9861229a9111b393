# The promise: whoever sets the sequence of event ids, back or ahead, loses and
# doubles no event: those that got ids which were read long ago, or which others
# have, are given new ones and delivered, in order for each entity.
#
# While the worker runs, while it is down, again and again, and with transactions
# that are open meanwhile.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '1s'\n");
my $node = $t->node;
my $r    = $t->receiver(args => [ '--no-http2', '--secret', $WebhookTest::SECRET ]);
$t->sql(<<'SQL');
CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 0);
CREATE SEQUENCE version;
CREATE TABLE truth (item int, v int PRIMARY KEY);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO truth VALUES (NEW.id, NEW.v); RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION note();
INSERT INTO item SELECT g FROM generate_series(1, 50) g;
SQL
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));

my $change = 'UPDATE item SET v = nextval(\'version\')';
my $back   = "SELECT setval('webhook.event_number_seq', 3)";

# Every committed change has arrived once, under an id of its own, and in order for each item.
sub right
{
	my ($what) = @_;
	$t->wait_until_settled;
	$t->load_requests($r, 'request');
	$t->sql("CREATE OR REPLACE VIEW arrived AS SELECT n, id, (body::json ->> 'entity_id')::int AS item, (body::json -> 'result' ->> 'v')::int AS v FROM request WHERE status = 200");
	is($t->sql('SELECT count(*) FROM truth t WHERE (SELECT count(*) FROM arrived a WHERE a.item = t.item AND a.v = t.v) <> 1'), 0, "$what: nothing is lost, nothing is doubled");
	is($t->sql('SELECT count(*) - count(DISTINCT id) FROM arrived'), 0, "$what: no two have the same id");
	is($t->sql('SELECT count(*) FROM (SELECT v, lag(v) OVER (PARTITION BY item ORDER BY n) AS before FROM arrived) x WHERE before >= v'), 0, "$what: each item's are in order");
	is($t->sql('SELECT count(*) FROM (SELECT FROM webhook.outbox GROUP BY event_number HAVING count(*) > 1) x'), 0, "$what: no id is there twice");
	$t->sql('DROP VIEW arrived');
	return;
}

sub without_worker
{
	my (@statements) = @_;
	$node->stop('fast');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$node->start;
	$t->sql($_) for @statements;
	$node->stop('fast');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'webhook'\n");
	$node->start;
	$t->wait_for_worker;
	return;
}

$t->sql($change) for 1 .. 3;
right('before');
my $worker = $t->wait_for_worker;
my $offset = -s $node->logfile;

$t->sql($back);
$t->sql("$change WHERE id <= 10");
right('set back while the worker runs');
like(slurp_file($node->logfile, $offset), qr/LOG:.*moved the sequence webhook\.event_number_seq to \d+\n.*DETAIL:.*set by hand/, 'the log says so');
my $said = () = slurp_file($node->logfile, $offset) =~ /moved the sequence/g;
is($said, 1, 'once');

$t->sql("BEGIN; $change WHERE id <= 5; $back; $change WHERE id <= 5; COMMIT");
right('in the transaction that makes events');

for my $n (1 .. 5)
{
	$t->sql("SELECT setval('webhook.event_number_seq', $n)");
	$t->sql($change);
}
right('again and again');

# transactions that are open meanwhile, with ids from before and after
my @open = map { $node->background_psql('postgres') } 1 .. 3;
$open[0]->query_safe("BEGIN; $change WHERE id = 1");
$t->sql("$change WHERE id = 10");
$t->poll_sql('it is delivered', "SELECT count(*) = (SELECT count(*) FROM truth WHERE item = 10) FROM webhook.attempt WHERE entity_id = '10'");
$open[1]->query_safe("BEGIN; $change WHERE id = 2");
$t->sql($back);
$open[0]->query_safe("$change WHERE id = 3");
$open[1]->query_safe("$change WHERE id = 4");
$open[2]->query_safe("BEGIN; $change WHERE id = 5");
$t->sql("$change WHERE id BETWEEN 11 AND 30");
$t->poll_sql('what is committed is delivered', "SELECT count(*) = (SELECT count(*) FROM truth WHERE item = 20) FROM webhook.attempt WHERE entity_id = '20'");
$open[2]->query_safe("$change WHERE id = 6; COMMIT");
$t->poll_sql('so is what was open', "SELECT count(*) = (SELECT count(*) FROM truth WHERE item = 6) FROM webhook.attempt WHERE entity_id = '6'");
$t->sql($change . ' WHERE id = 6');
$open[0]->query_safe('COMMIT');
$open[1]->query_safe("$change WHERE id = 7; COMMIT");
$_->quit for @open;
right('with transactions that were open meanwhile');
is($t->worker_pid, $worker, 'all by the same worker');

without_worker($back, "$change WHERE id <= 20");
right('while there is no worker');
without_worker("$change WHERE id <= 20", $back, $change, $change, 'SELECT setval(\'webhook.event_number_seq\', 7)', $change);
right('while there is no worker, with events that are not read yet, twice');
# a worker that was killed
$t->sql($change);
kill 'KILL', $t->wait_for_worker;
poll_until('the server is back', sub { defined $t->try_sql('SELECT 1') });
$t->sql($back);
$t->sql($change);
$t->wait_until_settled;
$t->load_requests($r, 'request');
is($t->sql("SELECT count(*) FROM truth t WHERE NOT EXISTS (SELECT FROM request a WHERE (a.body::json ->> 'entity_id')::int = t.item AND (a.body::json -> 'result' ->> 'v')::int = t.v)"), 0, 'after a crash: nothing is lost');
is($t->sql('SELECT count(*) FROM (SELECT FROM request GROUP BY id HAVING count(DISTINCT body) > 1) x'), 0, 'and what is sent again has the id it had');

# far ahead, and back
my $before = $t->sql('SELECT count(*) FROM truth');
$t->sql("SELECT setval('webhook.event_number_seq', 1000000000000000)");
$t->sql($change);
$t->wait_until_settled;
$t->sql($back);
$t->sql($change);
$t->wait_until_settled;
# a row that the sequence has nothing to do with
$t->sql("INSERT INTO webhook.outbox SELECT 9223372036854775807, xid, entity_id, entity_type, action_type, result, previous, tenant, context, subscription_id, clock_timestamp(), segment FROM webhook.outbox ORDER BY event_number DESC LIMIT 1");
$t->sql($change);
$t->wait_until_settled;
$t->load_requests($r, 'request');
is($t->sql("SELECT count(*) FROM truth t WHERE NOT EXISTS (SELECT FROM request a WHERE (a.body::json ->> 'entity_id')::int = t.item AND (a.body::json -> 'result' ->> 'v')::int = t.v)"), 0, 'far ahead and back, and the highest id there is: nothing is lost');
is($t->sql('SELECT count(*) FROM (SELECT FROM request GROUP BY id HAVING count(DISTINCT body) > 1) x'), 0, 'no two have the same id');
cmp_ok($t->sql('SELECT count(*) FROM truth'), '==', $before + 150, 'and the application noticed nothing');

$t->stop;
done_testing();
