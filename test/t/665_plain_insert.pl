# The promise: what the extension does itself, for speed, comes out as if the
# server's own functions had done it: numbers are unique and ascend, also across a
# crash right after a checkpoint; the same rows are stored, and found by each index.
#
# Everything is done twice: by our own way, and with webhook.debug_plain_insert by
# nextval() and the executor. The one difference is lastval(), which ours keeps.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '1s'\nautovacuum = off\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);
$t->sql('CREATE TABLE item (id serial PRIMARY KEY, v text)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));

# What happens to the application's table, in statements of many rows and of one, with savepoints.
my $script = <<'SQL';
INSERT INTO item (v) SELECT repeat(md5(g::text), g % 40) FROM generate_series(1, 3000) g;
UPDATE item SET v = v || 'x' WHERE id % 3 = 0;
BEGIN;
INSERT INTO item (v) VALUES ('kept');
SAVEPOINT s;
INSERT INTO item (v) SELECT 'undone' FROM generate_series(1, 50);
ROLLBACK TO s;
DELETE FROM item WHERE id % 7 = 0;
COMMIT;
INSERT INTO item (v) VALUES ('single');
SQL

my (%stored, %last);
for my $plain ('off', 'on')
{
	my $way = $plain eq 'on' ? "the server's functions" : 'our own';
	my $set = "SET webhook.debug_plain_insert = $plain;";
	$t->sql('TRUNCATE item RESTART IDENTITY');
	my $first = $t->sql("$set INSERT INTO item (v) VALUES ('first'); SELECT max(event_number) FROM webhook.outbox");
	$last{$plain} = $t->sql("$set INSERT INTO item (v) VALUES ('lastval'); SELECT lastval() = currval('item_id_seq')");
	$t->sql($set . $script);
	$stored{$plain} = $t->sql("SELECT md5(string_agg(concat_ws('|', entity_id, action_type, result, previous, segment IS NULL), E'\\n' ORDER BY event_number)) || ' ' || count(*) FROM webhook.outbox WHERE event_number > $first");
	is($t->sql("SELECT count(*) - count(DISTINCT event_number) FROM webhook.outbox"), 0, "$way: every event has a number of its own");
	is($t->sql("SELECT count(*) FROM (SELECT created_at < lag(created_at) OVER (ORDER BY event_number) AS back FROM webhook.outbox) x WHERE back"),
		0, "$way: numbers ascend in the order of events");

	# each index has an entry for every row, and finds it
	$t->sql('CREATE EXTENSION IF NOT EXISTS amcheck');
	is($t->try_sql(<<'SQL') // 'an error', 't', "$way: the indexes have every row");
SELECT count(bt_index_check(i.indexrelid, true)) > 0 FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relname ~ '^outbox_\d$' AND c.relnamespace = 'webhook'::regnamespace
SQL

	# A crash right after a checkpoint: the sequence's page on disk is as the checkpoint left it.
	my $highest = 0;
	for my $round (1 .. 3)
	{
		my $before = $t->sql("$set CHECKPOINT; INSERT INTO item (v) SELECT 'round' FROM generate_series(1, $round); SELECT max(event_number) FROM webhook.outbox");
		$node->stop('immediate');
		$node->start;
		my $kept = $t->sql('SELECT max(event_number) FROM webhook.outbox');
		is($kept, $before, "$way: what was committed is there after crash $round");
		my $after = $t->sql("$set INSERT INTO item (v) VALUES ('after'); SELECT min(event_number) FROM webhook.outbox WHERE event_number > $kept");
		cmp_ok($after, '>', $kept, "$way: no number is given twice, crash $round");
		cmp_ok($after - $kept, '<=', 33, "$way: and at most 32 are skipped");
		$highest = $after;
	}
	is($t->sql("SELECT count(*) - count(DISTINCT event_number) FROM webhook.outbox"), 0, "$way: still every event has a number of its own");
}
is($stored{on}, $stored{off}, 'both ways store the same');
is("$last{off} $last{on}", 't f', 'our own keeps lastval() for the application');

# From one statement to the next, in one transaction.
$t->sql(<<'SQL');
BEGIN;
INSERT INTO item (v) SELECT 'mixed' FROM generate_series(1, 10);
SET LOCAL webhook.debug_plain_insert = on;
INSERT INTO item (v) SELECT 'mixed' FROM generate_series(1, 10);
SET LOCAL webhook.debug_plain_insert = off;
INSERT INTO item (v) SELECT 'mixed' FROM generate_series(1, 10);
COMMIT;
SQL
is($t->sql("SELECT count(DISTINCT event_number) || ' ' || count(*) FROM webhook.outbox WHERE result ->> 'v' = 'mixed'"), '30 30', 'the ways may alternate');
$t->wait_until_settled;
is($t->sql("SELECT count(*) FROM webhook.outbox o WHERE NOT EXISTS (SELECT FROM webhook.attempt a WHERE a.event_number = o.event_number AND a.outcome = 'delivered')"),
	0, 'all of it was delivered');

$t->stop;
done_testing();
