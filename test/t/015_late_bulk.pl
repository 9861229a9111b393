# The promise: a transaction that commits late is read whole, in pages, and in
# order, however much of it there is and however far others have gone ahead.
#
# Two bulk transactions take ids 1 to 6,000 and are prepared; others commit
# above them and are delivered meanwhile, so the bulks can only be found as
# stragglers, several pages each. They are committed one after the other with
# more events in between; a third is rolled back.
#
# Covers: late commits, two-phase commit.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.poll_interval = '200ms'\n");
my $r = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));

$t->sql("BEGIN; INSERT INTO item SELECT g, 1 FROM generate_series(1, 3000) g; PREPARE TRANSACTION 'first'");
$t->sql("BEGIN; INSERT INTO item SELECT g, 1 FROM generate_series(3001, 6000) g; PREPARE TRANSACTION 'second'");
$t->sql("BEGIN; INSERT INTO item SELECT g, 1 FROM generate_series(6001, 7000) g; PREPARE TRANSACTION 'never'");
$t->sql('INSERT INTO item SELECT g, 1 FROM generate_series(10001, 10700) g');
$r->wait_for_requests(700);
$t->wait_until_settled;
pass('700 events above 7,000 uncommitted ones are delivered at once');
is($t->sql("SELECT count(*) FROM webhook.checkpoint WHERE kind = 'settled' AND hi = 7700"), 1, 'the position is above all of them');

# the updates of the first bulk's rows must follow their inserts
$t->sql("COMMIT PREPARED 'first'");
$t->sql('UPDATE item SET v = 2 WHERE id <= 500');
$t->sql("COMMIT PREPARED 'second'");
$t->sql("ROLLBACK PREPARED 'never'");
$t->sql('UPDATE item SET v = v + 1 WHERE id % 10 = 0 AND id <= 6000');
my $expected = 700 + 3000 + 500 + 3000 + 600;
$r->wait_for_requests($expected);
$t->wait_until_settled;

$t->load_requests($r, 'request');
is($t->sql('SELECT count(*), count(DISTINCT event_number) FROM request'), "$expected|$expected", 'each committed event arrived, once');
is($t->sql('SELECT count(*) FROM request q LEFT JOIN webhook.outbox o ON o.event_number = q.event_number WHERE o.event_number IS NULL'), 0, 'and no other');
is( $t->sql(<<SQL), 0, 'in order per entity');
SELECT count(*) FROM (SELECT event_number, lag(event_number) OVER (PARTITION BY body::json ->> 'entity_id' ORDER BY n) AS previous
	FROM request) r WHERE previous > event_number
SQL
is($t->sql("SELECT count(*), count(DISTINCT event_number) FROM webhook.attempt WHERE outcome = 'delivered'"), "$expected|$expected", 'each logged once');

$t->stop;
done_testing();
