# The promise: on a subscriber of logical replication, changes that were applied
# make no events, those of its own sessions do; a trigger that is set to ENABLE
# ALWAYS announces both; and our tables within a publication of all tables
# harm neither the worker nor the applying.
#
# Covers: a logical subscriber is suspended for what it applies; ORIGIN and
# ALWAYS.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--no-locale' ]);
$publisher->append_conf('postgresql.conf', "shared_preload_libraries = 'webhook'\n");
$publisher->start;

my $t = WebhookTest->new(name => 'subscriber');
my $r = $t->receiver(args => ['--no-http2']);

my $tables = 'CREATE TABLE item (id int PRIMARY KEY, v text); CREATE TABLE mirror (id int PRIMARY KEY, v text)';
$publisher->safe_psql('postgres', "CREATE EXTENSION webhook; $tables; CREATE PUBLICATION items FOR TABLE item, mirror");
$t->sql($tables);
$t->watch($_) for 'item', 'mirror';
$t->subscribe('crm', $r->url('/ok/crm'));
# as docs/guide.md has it
$t->sql('ALTER TABLE mirror ENABLE ALWAYS TRIGGER webhook_capture');
is($t->sql('SELECT source, fires FROM webhook.source ORDER BY source::text'), "item|origin\nmirror|always", 'webhook.source shows what fires when');

$publisher->safe_psql('postgres', "INSERT INTO item VALUES (1, 'copied'); INSERT INTO mirror VALUES (1, 'copied')");
$t->sql("CREATE SUBSCRIPTION items CONNECTION 'host=@{[ $publisher->host ]} port=@{[ $publisher->port ]} dbname=postgres' PUBLICATION items");
$t->node->wait_for_subscription_sync($publisher, 'items');
$publisher->safe_psql('postgres', <<'SQL');
INSERT INTO item VALUES (2, 'applied');
UPDATE item SET v = 'changed' WHERE id = 1;
DELETE FROM item WHERE id = 1;
INSERT INTO mirror VALUES (2, 'applied');
SQL
$publisher->wait_for_catchup('items');
is($t->sql('SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM item'), '2', 'changes arrive by replication');

# its own change comes after them, so when it is there, they would be
$t->sql("INSERT INTO item VALUES (100, 'own')");
$t->wait_until_settled;
is($t->sql("SELECT string_agg(concat_ws(' ', entity_id, action_type), ', ' ORDER BY event_number) FROM webhook.outbox WHERE entity_type = 'item'"),
	'100 new', 'what was copied and applied makes no event, its own change does');
like($t->sql("SELECT string_agg(concat_ws(' ', entity_id, action_type), ', ' ORDER BY event_number) FROM webhook.outbox WHERE entity_type = 'mirror'"),
	qr/(^|, )2 new$/, 'ENABLE ALWAYS: what was applied makes an event');
my @bodies = map { $_->{body} } $r->requests('/ok/crm');
is(scalar(grep { /"entity_type":"item"/ } @bodies), 1, 'one request for its own change');
is(scalar(grep { /"entity_type":"mirror"/ && /"entity_id":"2"/ } @bodies), 1, 'and one for the applied change that was asked for');
is($publisher->safe_psql('postgres', 'SELECT count(*) FROM webhook.outbox'), 0, '(the publisher watches nothing)');

#
# The subscriber publishes everything it has, our tables included, while the worker updates and deletes in them
#
$t->node->append_conf('postgresql.conf', "wal_level = logical\n");
$t->node->restart;
$t->wait_for_worker;
$t->sql('CREATE PUBLICATION everything FOR ALL TABLES');
$t->subscribe('again', $r->url('/fail-first/1/again'), retry_schedule => "'{100ms}'");
$t->sql("INSERT INTO item VALUES (101, 'own'), (102, 'own')");
$publisher->safe_psql('postgres', "INSERT INTO mirror VALUES (3, 'applied')");
$publisher->wait_for_catchup('items');
$t->wait_until_settled;
is($r->count('/fail-first/1/again'), 6, 'a publication of all tables: the worker delivers, retries and settles, applied changes included');
unlike(slurp_file($t->node->logfile), qr/webhook worker[^\n]*exited with exit code 1/, 'and did not die of it');

$t->stop;
$publisher->stop;
done_testing();
