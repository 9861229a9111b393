# The promise: one bad row is one subscription's trouble. Whatever our tables hold
# (an event twice, a delivery twice, what should not be null and is, rows of the
# future), and whatever they refuse for one subscription, everybody else's
# deliveries are sent and settled; and redeliver puts no event there twice, at any
# isolation level.
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
CREATE TABLE innocent (id int PRIMARY KEY, v int NOT NULL DEFAULT 0);
CREATE TABLE bad (id serial PRIMARY KEY, v int NOT NULL DEFAULT 0);
INSERT INTO innocent SELECT g FROM generate_series(1, 500) g;
SQL
$t->watch('innocent');
$t->watch('bad', entity_type => "'u'");
$t->subscribe('crm', $r->url('/ok/crm'), events => "'{innocent.*}'");

# 500 events of others are delivered and settled, whatever else there is.
my $rounds = 0;
sub others
{
	my ($what) = @_;
	$t->sql('UPDATE innocent SET v = v + 1');
	$rounds++;
	my $since = $t->sql('SELECT max(event_number) - 499 FROM webhook.outbox WHERE entity_type = \'innocent\'');
	my $ok = eval { $t->poll_sql("$what: others' deliveries are settled", "SELECT count(*) FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered'", 500 * $rounds) };
	ok($ok, "$what: others' 500 events are delivered and settled");
	return;
}

#
# An event that is only in a dead letter any more, asked for by two at once
#
sub only_dead
{
	my ($id) = @_;
	$t->sql(<<SQL);
SET client_min_messages = error;
INSERT INTO webhook.dead_letter (subscription_id, event_number, subscription, reason, attempts, xid, entity_id, entity_type, action_type, result, created_at)
	SELECT 4711, event_number, 'removed', 'x', 1, xid, entity_id, entity_type, action_type, result, created_at FROM webhook.outbox WHERE event_number = $id;
DELETE FROM webhook.outbox WHERE event_number = $id;
SQL
	return;
}
my @ids = map { $t->sql("WITH i AS (INSERT INTO bad DEFAULT VALUES RETURNING 1) SELECT 1"); $t->sql("SELECT max(event_number) FROM webhook.outbox WHERE entity_type = 'u'") } 1 .. 3;
others('before');
my %look = ('REPEATABLE READ' => shift @ids, 'SERIALIZABLE' => shift @ids, 'READ COMMITTED' => shift @ids);
for my $level (sort keys %look)
{
	my $id = $look{$level};
	my ($ida, $idb) = ("sub_$id", 'two sessions');
	only_dead($id);
	my ($one, $two) = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 2;
	$one->query("BEGIN ISOLATION LEVEL $level; SELECT webhook.redeliver('$id');");
	$t->subscribe($ida, $r->url('/status/500/bad'), events => "'{u.*}'", retry_schedule => "'{1s}'");
	$two->query("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM webhook.subscription;");
	$one->query('COMMIT;');
	$two->query("SELECT webhook.redeliver('$id', '$ida'); COMMIT;");
	$_->quit for $one, $two;
	is($t->sql("SELECT count(*) FROM webhook.outbox WHERE event_number = $id"), 1, "$level: the event is there once");
	is($t->sql("SELECT count(*) FROM webhook.pending p JOIN webhook.subscription s ON s.id = p.subscription_id WHERE event_number = $id AND s.name = '$ida'"), 1, "$level: and asked for");
	others("$level: while it fails");
}

#
# An event three times, in different segments; a delivery twice
#
$t->sql("INSERT INTO webhook.outbox SELECT event_number, xid, entity_id, entity_type, action_type, result, previous, tenant, context, subscription_id, created_at, d
	FROM webhook.outbox CROSS JOIN generate_series(0, 7) d WHERE entity_type = 'u' AND d <> segment AND d < 3");
others('events that are there several times');
$t->sql('DROP INDEX webhook.pending_idx');
$t->sql('INSERT INTO webhook.pending SELECT (p).* FROM (SELECT p FROM webhook.pending p) x, generate_series(1, 2)');
others('deliveries that are there several times');
$node->restart;
others('the same, after a restart');
$t->sql("UPDATE webhook.subscription SET url = '" . $r->url('/ok/bad') . "' WHERE name LIKE 'sub%'");
$t->poll_sql('they are delivered', 'SELECT count(*) FROM webhook.pending', 0);
pass('and the bad ones are delivered in the end');
$t->sql('CREATE UNIQUE INDEX pending_idx ON webhook.pending (subscription_id, event_number) WHERE subscription_id IS NOT NULL');

#
# What should not be null, numbers that overflow, times that are none
#
$t->sql("DELETE FROM webhook.subscription WHERE name LIKE 'sub%'");
$t->subscribe('odd', $r->url('/status/500/odd'), events => "'{u.*}'", retry_schedule => "'{1s}'");
$t->sql(<<'SQL');
ALTER TABLE webhook.pending ALTER lane DROP NOT NULL, ALTER attempts DROP NOT NULL, ALTER size DROP NOT NULL, ALTER segment DROP NOT NULL;
ALTER TABLE webhook.outbox ALTER entity_type DROP NOT NULL, ALTER action_type DROP NOT NULL, ALTER created_at DROP NOT NULL, ALTER xid DROP NOT NULL;
INSERT INTO bad SELECT FROM generate_series(1, 8);
SQL
$t->poll_sql('all are to be tried again', "SELECT count(*) FROM webhook.pending WHERE attempts > 0", 8);
my @odd = (
	'attempts = NULL', 'attempts = 2147483647', 'attempts = -2147483648', 'lane = NULL', 'size = NULL', 'size = -2147483648', 'segment = NULL', 'segment = 77',
	"first_attempt_at = 'infinity'", "first_attempt_at = '-infinity'", "first_attempt_at = '4000-01-01'", "next_attempt_at = '-infinity'", "state = 'in_flight', next_attempt_at = '294000-01-01'", 'batch = 99999999', 'batch = event_number');
my $n = 0;
for my $set (@odd)
{
	$t->sql(sprintf "UPDATE webhook.pending SET %s WHERE event_number = (SELECT event_number FROM webhook.pending ORDER BY event_number OFFSET %d LIMIT 1)", $set, $n++ % 8);
}
others('rows of pending with anything in them');
$node->restart;
others('the same, after a restart');
$t->sql("INSERT INTO webhook.outbox SELECT nextval('webhook.event_number_seq'), x.xid, 'odd', x.type, x.action, '{}', NULL, NULL, NULL, NULL, x.at, webhook_internal.current_segment()
	FROM (VALUES (NULL::xid8, NULL, NULL, NULL::timestamptz), ('9000000000000000000', 'u', 'new', '290000-01-01'), ('3', 'u', 'new', 'infinity'), ('1', 'u', 'new', '-infinity'),
		(NULL, 'u', NULL, NULL), ('4', NULL, 'update', now())) x(xid, type, action, at)");
others('events with anything in them');
$t->sql("UPDATE webhook.subscription SET give_up_after = '1 s' WHERE name = 'odd'");
$t->poll_sql('they are given up', "SELECT count(*) > 0 FROM webhook.dead_letter WHERE subscription = 'odd'");
others('what is given up of them');
$t->sql("SELECT webhook.unsubscribe('odd')");
# of these, what "settled" means cannot be told by position
$t->sql("DELETE FROM webhook.outbox WHERE xid IS NULL OR xid > '8000000000000000000'");

#
# What a table refuses for one subscription
#
$t->subscribe('refused', $r->url('/ok/refused'), events => "'{u.*}'");
$t->sql(<<'SQL');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.subscription_id = (SELECT id FROM webhook.subscription WHERE name = 'refused') THEN RAISE 'not of this one'; END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE INSERT ON webhook.attempt FOR EACH ROW EXECUTE FUNCTION refuse();
SQL
my $offset = -s $node->logfile;
$t->sql('INSERT INTO bad SELECT FROM generate_series(1, 30); UPDATE innocent SET v = v + 1');
$rounds++;
others('a trigger that raises for one subscription');
poll_until('the log says so', sub { slurp_file($node->logfile, $offset) =~ /WARNING:.*webhook worker failed while settling.*\n.*DETAIL:.*not of this one/ });
pass('the log says why');
$r->wait_for_requests(30, '/ok/refused');
$t->wait_until_settled;
pass('in the end its deliveries are settled without their rows of the log');
is($r->count('/ok/refused'), 30, 'and each was sent once');

# the same for what it is to try again: it waits, alone
$t->sql('DROP TRIGGER refuse ON webhook.attempt; CREATE TRIGGER refuse BEFORE INSERT ON webhook.pending FOR EACH ROW EXECUTE FUNCTION refuse()');
$r->mode('/ok/refused', '/status/503');
$t->sql('INSERT INTO bad SELECT FROM generate_series(1, 5)');
others('deliveries that cannot be kept');
$t->poll_sql('the status says so', "SELECT state = 'failing' AND reason ~ 'not of this one' FROM webhook.worker");
$r->mode('/ok/refused', undef);
$t->sql('DROP TRIGGER refuse ON webhook.pending');
$t->wait_until_settled;
$t->load_requests($r, 'request');
is($t->sql("SELECT count(DISTINCT event_number) FROM request WHERE path = '/ok/refused' AND status = 200"), 35, 'put right, its own are delivered');

#
# What is refused whatever is settled: nothing is set apart, all of it waits
#
$t->sql(<<'SQL');
CREATE FUNCTION refuse_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no position is kept'; END $$;
CREATE TRIGGER refuse_all BEFORE INSERT OR UPDATE ON webhook.checkpoint FOR EACH ROW EXECUTE FUNCTION refuse_all();
SQL
my $settled = $t->sql("SELECT count(*) FROM webhook.attempt");
my $seen    = $r->count;
$t->sql('INSERT INTO bad SELECT FROM generate_series(1, 5); UPDATE innocent SET v = v + 1');
$rounds++;
$r->wait_for_requests($seen + 505);
$t->poll_sql('the status says what refuses', "SELECT state = 'failing' AND reason ~ 'no position is kept' FROM webhook.worker");
is($t->sql('SELECT count(*) FROM webhook.attempt'), $settled, 'a trigger that raises for the position: nothing is settled');
$t->sql('DROP TRIGGER refuse_all ON webhook.checkpoint');
others('put right');
$t->wait_until_settled;
$t->load_requests($r, 'request');

is($t->sql("SELECT count(*) - count(DISTINCT id) FROM request WHERE path = '/ok/crm'"), 0, 'of all that, nobody else was sent anything twice');
unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|webhook worker.*exited with exit code 1/, 'and no process died');
$t->stop;
done_testing();
