# The promise: capture and the worker keep nothing that an invalidation may have made
# wrong, and end: also where every look-up discards all caches (debug_discard_caches),
# which is how PostgreSQL looks for such mistakes in itself.
#
# Only a server with assertions has that setting: PG_CONFIG=... names one. With any
# other there is nothing to see here.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(preload => '', conf => "statement_timeout = '120s'\n");
if (!defined $t->try_sql('SET debug_discard_caches = 1'))
{
	$t->stop;
	plan skip_all => 'the server was built without assertions';
}

$t->sql(<<'SQL');
CREATE TABLE item (id int PRIMARY KEY, v text, at timestamptz DEFAULT '2026-01-01 00:00+00');
CREATE TABLE part (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
SELECT webhook.watch('item', keep_previous => true);
SELECT webhook.watch('part');
SQL

# The events of these statements, as they would be without the setting too.
sub events
{
	my ($discard) = @_;
	$t->sql('TRUNCATE item, part');
	my $from = $t->sql('SELECT coalesce(max(event_number), 0) FROM webhook.outbox');
	$t->sql(<<SQL);
SET debug_discard_caches = $discard;
INSERT INTO item SELECT g, repeat('x', g) FROM generate_series(1, 5) g;
UPDATE item SET v = v || 'y' WHERE id < 3;
BEGIN;
INSERT INTO item VALUES (6, 'kept');
SAVEPOINT s;
INSERT INTO item VALUES (7, 'undone');
ROLLBACK TO s;
UPDATE item SET id = 8 WHERE id = 6;
COMMIT;
DELETE FROM item WHERE id = 1;
INSERT INTO part VALUES (1, 1), (2, 2);
UPDATE part SET k = 2 WHERE id = 1;
ALTER TABLE item ADD COLUMN w int DEFAULT 7;
INSERT INTO item VALUES (9, 'altered');
ALTER TABLE item DROP COLUMN w;
INSERT INTO item VALUES (10, 'and back');
SQL
	return $t->sql("SELECT concat_ws(' ', entity_type, entity_id, action_type, result, previous) FROM webhook.outbox WHERE event_number > $from ORDER BY event_number");
}

my $expected = events(0);
cmp_ok(scalar(split /\n/, $expected), '>', 15, 'there are events');
is(events(1), $expected, 'with every cache discarded at each look-up, capture ends, and the events are the same');

# the outbox itself is altered: seen by the next event, in the same transaction too
$t->sql(<<'SQL');
SET debug_discard_caches = 1;
BEGIN;
INSERT INTO item VALUES (20, 'before');
ALTER TABLE webhook.outbox ADD COLUMN remark text DEFAULT 'noted';
INSERT INTO item VALUES (21, 'after');
COMMIT;
SQL
is($t->sql("SELECT string_agg(entity_id || ' ' || remark, ', ' ORDER BY event_number) FROM webhook.outbox WHERE entity_id IN ('20', '21')"),
	'20 noted, 21 noted', 'a column that is added to the outbox has its default');

$t->stop;

#
# The worker: what it reads by, writes with, and summarizes
#
my $w = WebhookTest->new(name => 'worker', conf => "autovacuum = off\n");
my $r = $w->receiver(args => ['--no-http2']);
$w->sql('CREATE TABLE item (id int PRIMARY KEY, v text)');
$w->watch('item');
$w->subscribe('crm', $r->url('/ok/crm'));
$w->subscribe('failing', $r->url('/status/503/failing'), retry_schedule => "'{200ms}'");
$ENV{PGOPTIONS} = '-c debug_discard_caches=0';    # of sessions; the database's is for the worker
$w->sql('ALTER DATABASE postgres SET debug_discard_caches = 1');
my $old = $w->worker_pid;
$w->sql("SELECT pg_terminate_backend($old)");
my $pid = $w->wait_for_worker($old);

my $late = $w->node->background_psql('postgres');
$late->query_safe("BEGIN; INSERT INTO item VALUES (1000, 'late')");
$w->sql("INSERT INTO item SELECT g, repeat('x', g) FROM generate_series(1, 200) g");
$r->wait_for_requests(200, '/ok/crm');
$late->query_safe('COMMIT');
$late->quit;
$r->wait_for_requests(201, '/ok/crm');
$r->wait_for_requests(2, '/status/503/failing');
$w->sql("SELECT webhook.unsubscribe('failing')");
$w->wait_until_settled;
is($w->sql("SELECT count(*), count(DISTINCT event_number), count(DISTINCT entity_id) FROM webhook.attempt WHERE subscription = 'crm' AND outcome = 'delivered'"),
	'201|201|201', 'the worker delivers each event once, a late one too, and logs it');

# its tables are altered under it
$w->sql("ALTER TABLE webhook.attempt ADD COLUMN remark text DEFAULT 'noted'; ALTER TABLE webhook.outbox ADD COLUMN remark text DEFAULT 'noted'");
$w->sql("INSERT INTO item VALUES (2000, 'altered')");
$w->wait_until_settled;
is($w->sql("SELECT remark FROM webhook.attempt WHERE entity_id = '2000'"), 'noted', '... and sees what is altered');
is($w->worker_pid, $pid, 'all of it by the same worker');

$w->stop;
done_testing();
