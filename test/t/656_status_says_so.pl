# The promise: where nothing is delivered, the status says why, in words that
# are so: on a standby, in recovery, in a template, where no worker can be had,
# where webhook is not preloaded. Without preload it is said wherever people
# look: at watch and subscribe, in the log, in the status, with what it takes.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WebhookTest;

my $status = "SELECT state || coalesce(': ' || reason, '') || coalesce('; webhook.outbox takes ' || pg_size_pretty(outbox_size), '') FROM webhook.worker";

sub says
{
	my ($node, $db) = @_;
	return $node->safe_psql($db // 'postgres', $status);
}

sub wait_until_it_says
{
	my ($node, $db, $pattern, $name) = @_;
	my $last = '';
	my $ok   = eval { poll_until('', sub { ($last = says($node, $db)) =~ $pattern }); 1 };
	like($last, $pattern, $name);
	return;
}

my $t    = WebhookTest->new(conf => "wal_level = replica\nmax_wal_senders = 5\nhot_standby = on\n");
my $node = $t->node;
$t->wait_for_worker;
like(says($node), qr/^running; webhook\.outbox takes/, 'where all is well there is nothing to say');
$node->backup('copy');

#
# In recovery
#
sub copy_of
{
	my ($name, $conf, %args) = @_;
	my $copy = PostgreSQL::Test::Cluster->new($name);
	$copy->init_from_backup($node, 'copy', has_streaming => $args{standby} ? 1 : 0);
	append_to_file($copy->data_dir . '/recovery.signal', '') unless $args{standby};
	$copy->append_conf('postgresql.conf', $conf);
	$copy->start;
	return $copy;
}

my $standby = copy_of('standby', '', standby => 1);
is(says($standby), 'not_running: this server is a standby: delivery begins when it is promoted', 'a standby');
$standby->promote;
wait_until_it_says($standby, 'postgres', qr/^running;/, 'promoted, it delivers');
$standby->stop('immediate');
my $bare_standby = copy_of('bare_standby', "shared_preload_libraries = ''\n", standby => 1);
like(says($bare_standby), qr/^not_running: this server is in recovery.*webhook is not in shared_preload_libraries, so it will not run after that either$/, 'a standby without preload');
$bare_standby->stop('immediate');
my $recovering = copy_of('recovering', "restore_command = 'false'\nrecovery_target = 'immediate'\nrecovery_target_action = 'pause'\n");
is(says($recovering), 'not_running: this server is being recovered from a backup: when that has ended, nothing is delivered until webhook.enable_delivery() is called',
	'a backup that is being recovered');
$recovering->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
poll_until('recovery has ended', sub { $recovering->safe_psql('postgres', 'SELECT pg_is_in_recovery()') eq 'f' });
wait_until_it_says($recovering, 'postgres', qr/^suspended: this cluster was recovered.*webhook\.outbox takes \d+ kB$/, 'recovered: suspended, and why');
$recovering->stop('immediate');

#
# Databases that have no worker for what they are
#
for my $db ('closed', 'template', 'gone')
{
	$t->sql("CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION webhook');
	local $WebhookTest::DB = $db;
	$t->wait_for_worker;
}
my $session = $node->background_psql('closed', on_error_stop => 1);
$session->query_safe('SELECT 1');
$t->sql('ALTER DATABASE closed ALLOW_CONNECTIONS false');
my $last = '';
poll_until('the worker of the closed database has ended', sub { ($last = $session->query_safe($status)) !~ /^running/ });
like($last, qr/^not_running: this database does not allow connections: events are captured but not delivered; webhook\.outbox takes/, 'a database that takes no connections');
$t->sql('ALTER DATABASE closed ALLOW_CONNECTIONS true');
$session->quit;
$t->sql('ALTER DATABASE template IS_TEMPLATE true');
$t->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'webhook worker' AND datname = 'template'");
wait_until_it_says($node, 'template', qr/^not_running: this database is a template: events are captured but not delivered; webhook\.outbox takes/, 'a template');
$t->sql('ALTER DATABASE template IS_TEMPLATE false');
$node->safe_psql('template', 'SELECT webhook_internal.request_worker()');
wait_until_it_says($node, 'template', qr/^running;/, 'none any more: it delivers');
$t->stop;

#
# No launcher, no worker
#
$t    = WebhookTest->new(name => 'none', conf => "max_worker_processes = 0\nmax_logical_replication_workers = 0\nmax_parallel_workers = 0\n");
$node = $t->node;
like(says($node), qr/^not_running: the launcher is not running.*max_worker_processes.*webhook\.outbox takes/, 'max_worker_processes = 0: there is no launcher');
$t->stop;
$t    = WebhookTest->new(name => 'few', conf => "max_worker_processes = 2\nmax_logical_replication_workers = 0\n");
$node = $t->node;
$t->wait_for_worker;
$t->sql('CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION webhook');
wait_until_it_says($node, 'second', qr/^starting: no background worker is free for it: increase max_worker_processes;/, 'no background worker is free');
$t->sql('DROP EXTENSION webhook');
wait_until_it_says($node, 'second', qr/^running;/, 'one is: it delivers');
$t->stop;

#
# Not preloaded
#
$t    = WebhookTest->new(name => 'bare', preload => '');
$node = $t->node;
my $log = sub { slurp_file($node->logfile) };
my $err;
$t->sql('CREATE DATABASE bare');
(undef, undef, $err) = $node->psql('bare', 'CREATE EXTENSION webhook; CREATE TABLE item (id int PRIMARY KEY, v text); CREATE TABLE more (id int PRIMARY KEY); SELECT webhook.watch($$more$$)');
is(scalar(() = $err =~ /WARNING:.*webhook is not in shared_preload_libraries/g), 1, 'CREATE EXTENSION warns; what follows in the same session does not say it again');
(undef, undef, $err) = $node->psql('bare', "SELECT webhook.watch('item')");
like($err, qr/WARNING:  webhook is not in shared_preload_libraries\n.*DETAIL:.*captured but not delivered; webhook\.outbox takes \d+ kB, and is never emptied.\n.*HINT:.*webhook\.start/, 'watch warns, with the size');
(undef, undef, $err) = $node->psql('bare', "SELECT webhook.watch('item')");
like($err, qr/WARNING:  webhook is not in/, 'also where it changes nothing');
(undef, undef, $err) = $node->psql('bare', "SELECT webhook.subscribe('crm', 'https://hooks.example.com/crm')");
like($err, qr/WARNING:  webhook is not in/, 'subscribe warns');
like(says($node, 'bare'), qr/^not_running: webhook is not in shared_preload_libraries, and webhook\.start_worker\(\) was not called; webhook\.outbox takes \d+ kB$/, 'the status says so');
unlike($log->(), qr/LOG:  events of database/, 'nothing has been captured: nothing is in the log');
$node->safe_psql('bare', "INSERT INTO item SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g");
$node->safe_psql('bare', "UPDATE item SET v = 'y' WHERE id = $_") for 1 .. 3;
is(scalar(() = $log->() =~ /LOG:  events of database "bare" are captured but not delivered\n.*DETAIL:  webhook is not in shared_preload_libraries.*webhook\.outbox takes \d+ .B.\n.*HINT:.*webhook\.start/g),
	1, 'the log says so, once, whoever writes');
like(says($node, 'bare'), qr/webhook\.outbox takes \d+ (kB|MB)$/, 'the status tells how much is kept');
cmp_ok($node->safe_psql('bare', "SELECT outbox_size / 1024 FROM webhook_internal.worker_status()"), '>', 3000, 'which is what the outbox takes');
# a lock on it is no reason to wait
my $locker = $node->background_psql('bare', on_error_stop => 1);
$locker->query_safe('BEGIN; LOCK TABLE webhook.outbox');
like($node->safe_psql('bare', "SET statement_timeout = '60s'; SELECT outbox_size IS NULL FROM webhook_internal.worker_status()"), qr/^t$/, 'somebody has locked it: not waited for');
$locker->query_safe('ROLLBACK');
$locker->quit;

#
# More databases than there are places
#
$t->sql('DROP EXTENSION webhook');
$t->sql("CREATE DATABASE copy_$_ TEMPLATE bare") for 1 .. 64;
$node->safe_psql('bare', 'SELECT webhook.start_worker()');
poll_until('the log says that there are too many', sub { $log->() =~ /more than 64 databases have webhook/ });
my @without = ();
poll_until('all but one have a place',
	sub { @without = grep { says($node, $_) !~ /^(suspended|running)/ } 'bare', map { "copy_$_" } 1 .. 64; @without == 1 });
like(says($node, $without[0]), qr/^not_running: all 64 slots for databases with webhook are in use.*webhook\.outbox takes/, 'the 65th database says why it has no worker');
my $offset = length $log->();
$node->safe_psql($without[0], "UPDATE item SET v = 'z' WHERE id = $_") for 1 .. 5;
is(scalar(() = $log->() =~ /WARNING:  more than 64 databases have webhook\n.*DETAIL:.*\n.*HINT:.*shared_preload_libraries/g), 1, 'the log says so once');
$t->sql('DROP DATABASE ' . ($without[0] eq 'copy_1' ? 'copy_2' : 'copy_1'));
$node->safe_psql($without[0], 'SELECT webhook_internal.request_worker()');
wait_until_it_says($node, $without[0], qr/^(suspended|running)/, 'when a place is free, it has it');
$t->stop;
done_testing();
