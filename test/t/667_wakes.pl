# The promise: whatever commits an event wakes the worker, in whatever rhythm.
# Nothing is left for the regular look, which comes once an hour here: small
# commits one after another, with and without pauses, COMMIT PREPARED by any
# session, and two-phase transactions that replication applies. Of a segment that
# people have changed events are read as well, late ones too.
#
# Covers: no wake-up is lost in a stream; COMMIT PREPARED, ROLLBACK PREPARED.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $t    = WebhookTest->new(conf => "webhook.poll_interval = '1h'\nwal_level = logical\n");
my $node = $t->node;
my $r    = $t->receiver(args => ['--no-http2']);

$t->sql('CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));
my $events = 0;

# N more events have been committed: each arrives, and only once
sub arrive
{
	my ($n, $what) = @_;
	$events += $n;
	$r->wait_for_requests($events, '/ok/crm');
	$t->wait_until_settled;
	is($r->count('/ok/crm'), $events, $what);
	return;
}

#
# A stream: the last commit of each burst is the one that nobody comes after
#
srand(20261130);
my $bursts = 20;
for my $burst (1 .. $bursts)
{
	my @scripts;
	for (1 .. 3)
	{
		push @scripts, '';
		for (1 .. 25)
		{
			$scripts[-1] .= "INSERT INTO item (v) VALUES (1);\n";
			$scripts[-1] .= sprintf("SELECT pg_sleep(%.4f);\n", rand 0.005) if rand() < 0.5;    # part of the scenario: a rhythm
		}
	}
	is_deeply([ $t->finish_sessions($t->sessions(@scripts)) ], [], "burst $burst");
	arrive(75, 'all of it arrives');
}

#
# Prepared transactions
#
$t->sql("BEGIN; INSERT INTO item (v) VALUES (2); PREPARE TRANSACTION 'a'");
$t->sql("BEGIN; INSERT INTO item (v) VALUES (3); PREPARE TRANSACTION 'b'");
$t->sql("BEGIN; INSERT INTO item (v) VALUES (4); PREPARE TRANSACTION 'never'");
$t->sql('INSERT INTO item (v) VALUES (5)');
arrive(1, 'what is prepared does not arrive, what comes after it does');
# sessions that have captured nothing
$t->sql("COMMIT PREPARED 'b'");
arrive(1, 'COMMIT PREPARED: it arrives');
$t->sql("ROLLBACK PREPARED 'never'");
$t->sql("COMMIT PREPARED 'a'");
arrive(1, 'ROLLBACK PREPARED: nothing arrives, and the next one does');
my ($status, undef, $error) = $node->psql($WebhookTest::DB, "COMMIT PREPARED 'nothing'");
like($error, qr/prepared transaction with identifier "nothing" does not exist/, 'one that does not exist fails as ever');
$node->safe_psql('template1', 'CREATE DATABASE without');
$node->safe_psql('without', "CREATE TABLE t (); BEGIN; INSERT INTO t DEFAULT VALUES; PREPARE TRANSACTION 'other'");
$node->safe_psql('without', "COMMIT PREPARED 'other'");
is($node->safe_psql('without', 'SELECT count(*) FROM t'), 1, 'nor does a database without the extension notice anything');

# one that makes the extension, where its last worker has left no trace
sub in_without { return $node->safe_psql('without', $_[0]) }
in_without('CREATE EXTENSION webhook');
poll_until('its worker runs', sub { in_without('SELECT state FROM webhook.worker') eq 'running' });
in_without('DROP EXTENSION webhook');
poll_until('it is gone', sub { $t->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = 'without'") eq '0' });
in_without("BEGIN; CREATE EXTENSION webhook; PREPARE TRANSACTION 'extension'");
in_without("COMMIT PREPARED 'extension'");
poll_until('a worker runs again', sub { in_without('SELECT state FROM webhook.worker') eq 'running' });
pass('CREATE EXTENSION in a prepared transaction gets a worker');

# what a prepared transaction subscribes to
$t->sql("BEGIN; SELECT webhook.subscribe('late', '@{[ $r->url('/ok/late') ]}'); PREPARE TRANSACTION 'subscribe'");
$t->sql("COMMIT PREPARED 'subscribe'");
$t->sql('INSERT INTO item (v) VALUES (6)');
arrive(1, 'a subscription by a prepared transaction');
$r->wait_for_requests(1, '/ok/late');
$t->sql("SELECT webhook.unsubscribe('late')");

#
# Two-phase replication: COMMIT PREPARED without a command
#
my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical', extra => [ '-E', 'UTF8', '--no-locale' ]);
$publisher->append_conf('postgresql.conf', "max_prepared_transactions = 10\n");
$publisher->start;
$publisher->safe_psql('postgres', 'CREATE TABLE mirror (id int PRIMARY KEY); CREATE PUBLICATION mirrors FOR TABLE mirror');
$t->sql('CREATE TABLE mirror (id int PRIMARY KEY)');
$t->watch('mirror');
$t->sql('ALTER TABLE mirror ENABLE ALWAYS TRIGGER webhook_capture');
$t->sql("CREATE SUBSCRIPTION mirrors CONNECTION 'host=@{[ $publisher->host ]} port=@{[ $publisher->port ]} dbname=postgres' PUBLICATION mirrors WITH (two_phase = true)");
$node->wait_for_subscription_sync($publisher, 'mirrors');
$t->poll_sql('two phases are enabled', "SELECT subtwophasestate = 'e' FROM pg_subscription");
$publisher->safe_psql('postgres', "BEGIN; INSERT INTO mirror VALUES (1); PREPARE TRANSACTION 'p'");
$t->poll_sql('it is prepared here too', 'SELECT count(*) FROM pg_prepared_xacts', 1);
$publisher->safe_psql('postgres', "COMMIT PREPARED 'p'");
arrive(1, 'what replication has prepared arrives when it commits that');

# another process commits it: one that has prepared nothing itself
sub applies { return $t->sql("SELECT pid FROM pg_stat_subscription WHERE subname = 'mirrors' AND pid IS NOT NULL") }
my $apply = applies();
$publisher->safe_psql('postgres', "BEGIN; INSERT INTO mirror VALUES (2); PREPARE TRANSACTION 'q'");
$t->poll_sql('it is prepared', 'SELECT count(*) FROM pg_prepared_xacts', 1);
$t->sql('ALTER SUBSCRIPTION mirrors DISABLE');
poll_until('it does not replicate', sub { applies() eq '' });
$t->sql('ALTER SUBSCRIPTION mirrors ENABLE');
poll_until('another process does', sub { my $pid = applies(); $pid ne '' && $pid ne $apply });
$publisher->safe_psql('postgres', "COMMIT PREPARED 'q'");
arrive(1, 'what another process of replication has prepared arrives too');
$t->sql('DROP SUBSCRIPTION mirrors');
$publisher->stop;

#
# Segments that people have changed are read by statements
#
sub late_commit
{
	my ($what) = @_;
	my $late = $node->background_psql($WebhookTest::DB);
	$late->query_safe('BEGIN; INSERT INTO item (v) VALUES (7), (7)');
	$t->sql('INSERT INTO item (v) VALUES (8)');
	arrive(1, "$what: an event arrives");
	$late->query_safe('COMMIT');
	$late->quit;
	arrive(2, "$what: those of a transaction that was overtaken");
	return;
}
late_commit('as we made it');
for my $column ('event_number', 'xid')
{
	my $index = $t->sql("SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'webhook.outbox_3'::regclass AND pg_get_indexdef(indexrelid) LIKE '%($column)'");
	$t->sql("DROP INDEX $index");
	late_commit("a segment has no index of $column");
	$t->sql("CREATE INDEX ON webhook.outbox_3 ($column)");
	late_commit("it has one again");
}
$t->sql('ALTER TABLE webhook.outbox ADD note text');
late_commit('a column more');
$t->sql('REINDEX TABLE webhook.outbox; ANALYZE webhook.outbox');
late_commit('its indexes made again');
$node->safe_psql($WebhookTest::DB, "VACUUM FULL webhook.outbox_$_") for 0 .. 7;
late_commit('its files rewritten');

$t->stop;

#
# COMMIT PREPARED by a session that does not have the library
#
$t    = WebhookTest->new(name => 'bare', preload => '', conf => "webhook.poll_interval = '1h'\n");
$node = $t->node;
$r    = $t->receiver(args => ['--no-http2']);
$events = 0;
$t->sql('CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int)');
$t->watch('item');
$t->subscribe('crm', $r->url('/ok/crm'));
$t->sql('SELECT webhook.start_worker()');
$t->sql('INSERT INTO item (v) VALUES (1)');
arrive(1, 'without preload: an event arrives');
for my $round (1 .. 2)
{
	$t->sql("BEGIN; INSERT INTO item (v) VALUES (2); PREPARE TRANSACTION 'a'");
	$t->sql("BEGIN; INSERT INTO item (v) VALUES (3); PREPARE TRANSACTION 'b'");
	$t->sql("COMMIT PREPARED 'b'");
	arrive(1, "round $round: COMMIT PREPARED by a session without the library");
	$t->sql("ROLLBACK PREPARED 'a'");
}

# prepared before the worker began, and the server too
$t->sql("BEGIN; INSERT INTO item (v) VALUES (4); PREPARE TRANSACTION 'c'");
$node->restart;
$t->sql('SELECT webhook.start_worker()');
$t->wait_for_worker;
$t->wait_until_settled;
$t->sql("COMMIT PREPARED 'c'");
arrive(1, 'prepared before a restart');

$t->stop;
done_testing();
