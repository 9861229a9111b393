# The promise: webhook.retention may be lowered at any time, and disk comes back: the
# segments of the longer retention are emptied one after the other, except of what is
# not settled.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use WebhookTest;

my $t = WebhookTest->new(conf => "webhook.retention = '30d'\n");
my $r = $t->receiver(args => ['--no-http2']);
$t->sql('CREATE TABLE item (id int PRIMARY KEY)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'), events => "'{item.new}'");
$t->subscribe('waits', $r->url('/ok/waits'), events => "'{item.delete}'");
$t->sql("SELECT webhook.pause('waits')");
$t->sql('INSERT INTO item SELECT generate_series(1, 100)');
$t->sql('DELETE FROM item WHERE id <= 3');
$t->poll_sql('three deliveries wait, all others are settled',
	'SELECT (SELECT count(*) FROM webhook.outbox), (SELECT count(*) FROM webhook.attempt), (SELECT count(*) FROM webhook.pending)', '103|100|3');

$t->sql("ALTER SYSTEM SET webhook.retention = '6s'");
$t->sql('SELECT pg_reload_conf()');
$t->poll_sql('lowered, the log and what is settled go', q(SELECT (SELECT string_agg(DISTINCT action_type, ' ') FROM webhook.outbox), (SELECT count(*) FROM webhook.attempt)), 'delete|0');
is($t->sql('SELECT count(*) FROM webhook.outbox'), 3, 'what waits keeps its event');
$t->sql("SELECT webhook.resume('waits')");
$r->wait_for_requests(3, '/ok/waits');
$t->poll_sql('and when that has arrived, it goes as well', 'SELECT (SELECT count(*) FROM webhook.outbox), (SELECT count(*) FROM webhook.pending)', '0|0');
$t->stop;
done_testing();
